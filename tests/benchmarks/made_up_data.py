"""Preprocessed files of random ids, of IMDB's size: what the benchmarks run on where the real data is not at hand."""

import numpy as np

from common.files import new_file
from preprocess_data import Tokens, write_tokens

GLOVE_DIMENSIONS = 300


def make_data(folder, glove):
    """Writes preprocessed files of random ids with the lengths and word frequencies of the IMDB reviews to `folder`.

    The training reviews have 268 tokens on average, with a standard deviation of 199 (lognormal, cut at 10 and 2874);
    of 188,803 words the 100 commonest make up 56 %, the 8000 commonest 93 % of all tokens. `glove` adds GloVe's files.
    Returns `folder`.
    """
    rng = np.random.default_rng(0)
    no_of_words = 188_803
    cumulative = np.cumsum(1 / (np.arange(1, no_of_words + 1) + 11) ** 1.34)
    cumulative /= cumulative[-1]
    spread = np.log(1 + (199.0 / 268.5) ** 2)
    for split, no_of_reviews in (("train", 75_000), ("test", 25_000)):
        lengths = rng.lognormal(np.log(268.5) - spread / 2, spread**0.5, no_of_reviews).clip(10, 2874).astype(np.int32)
        ids = (np.searchsorted(cumulative, rng.random(lengths.sum())) + 1).clip(max=no_of_words).astype(np.int32)
        files = [(f"imdb_{split}.txt", ids)]
        if glove:
            files.append((f"imdb_{split}_glove.txt", np.where(ids > 100_000, 0, ids)))
        for name, tokens in files:
            write_tokens(new_file, folder / name, Tokens(tokens, lengths))
        labels = np.arange(no_of_reviews) % 2
        labels[25_000:] = -1
        np.save(folder / f"imdb_{split}_labels.npy", labels.astype(np.int8))
    words = np.array([f"word{i}" for i in range(no_of_words)])
    np.save(folder / "imdb_dictionary.npy", words)
    if glove:
        np.save(folder / "glove_dictionary.npy", words[:100_000])
        vectors = rng.normal(size=(100_001, GLOVE_DIMENSIONS)).astype(np.float32)
        vectors[0] = 0
        np.save(folder / "glove_embeddings.npy", vectors)
    return folder


def write_glove_lines(path, no_of_lines):
    """Writes a GloVe text file of random vectors of 300 dimensions, with five decimals, as 840B has them."""
    rng = np.random.default_rng(0)
    with open(path, "w", encoding="utf-8") as file:
        for number, vector in enumerate(rng.normal(scale=0.4, size=(no_of_lines, GLOVE_DIMENSIONS))):
            file.write(f"word{number} " + " ".join(f"{x:.5g}" for x in vector) + "\n")
