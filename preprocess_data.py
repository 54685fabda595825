"""Turns the IMDB reviews and a GloVe file into files of token ids (handout, "Preprocessing the Data")."""

import multiprocessing
import os
import shlex
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent))  # the folder that common/ lies in
from common.data.download import fetch_glove, fetch_reviews
from common.data.glove import read_glove
from common.data.imdb import SPLITS, find_reviews
from common.data.sample import write_sample
from common.data.tokenizing import load_punkt, tokenize
from common.distributed.ending import run_script
from common.errors import InputError, RunInterruptedError
from common.files import REPOSITORY, make_directory, new_set, npy_bytes, sole_use
from common.training.options import OptionParser, positive_int

REVIEWS_PER_CHUNK = 200  # what a worker takes at once
PUNKT_REVIEWS = 5000  # enough to train Punkt on, where it must be trained
GLOVE_FILES = ["glove_dictionary.npy", "glove_embeddings.npy", "glove_name.txt"]
GLOVE_FILES += [f"imdb_{split}_glove.txt" for split in SPLITS]


class Tokens(NamedTuple):
    """The reviews of a split as one run of word numbers.

    ids: (tokens,) int32, the word i stands at `words[i - 1]`; lengths: (reviews,) int32, tokens of each review.
    """

    ids: np.ndarray
    lengths: np.ndarray


class Corpus(NamedTuple):
    """All reviews. `words` is the dictionary, `no_of_words` long, then the words that only the test set has."""

    words: list
    no_of_words: int
    train: Tokens
    test: Tokens


def main():
    options = parse_options()
    make_directory(options.output)
    with sole_use(options.output, "--output"):
        preprocess(options)


def preprocess(options):
    output = options.output
    imdb, glove = find_input(options)
    if imdb:
        reviews = find_reviews(imdb, warn=not options.sample)
    else:
        corpus = read_corpus(output)
    vectors = None
    if glove:  # before the reviews: a mistake in the file is better told before the minutes of tokenizing than after
        note(f"reading {glove}")
        vectors = read_glove(glove)
        note(f"{len(vectors[0])} GloVe tokens of {vectors[1].shape[1]} dimensions")
    if imdb:
        corpus = tokenize_corpus(reviews, output, options.workers)
        labels = {split: labels for split, (_, labels) in reviews.items()}
        write_imdb(output, corpus, labels, [review.name() for review in reviews["test"][0]])
    if vectors:
        write_glove(output, corpus, glove.name, *vectors)
    else:
        command = shlex.join(["python", sys.argv[0], "--glove", "FILE", "--output", str(output)])
        note(f"no GloVe files (parts 1b and 2b need them): run later  {command}")
    if imdb:
        print_statistics(corpus)


def parse_options():
    parser = OptionParser(description=__doc__)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--imdb", type=Path, metavar="PATH", help="the folder aclImdb, or the file aclImdb_v1.tar.gz")
    source.add_argument("--download", type=Path, metavar="DIR", help="fetch the reviews and GloVe 840B (2 GB) into DIR")
    source.add_argument("--sample", action="store_true", help="make up reviews and vectors to try the scripts on")
    glove = parser.add_mutually_exclusive_group()
    glove.add_argument("--glove", type=Path, metavar="FILE", help="GloVe vectors, .txt, .gz or .zip; may come later")
    glove.add_argument("--no-glove", action="store_true", help="with --download: fetch the reviews only")
    default = REPOSITORY / "preprocessed_data"
    parser.add_argument("--output", type=Path, default=default, metavar="DIR", help="the folder that is written to")
    # only Linux knows which cores a process may use
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser.add_argument("--workers", type=positive_int, default=cores, metavar="N", help="processes that tokenize")
    options = parser.parse_args()
    if not (options.imdb or options.download or options.sample or options.glove):
        parser.error("give --imdb DIR, --download DIR, --sample or --glove FILE")
    if options.no_glove and not options.download:
        parser.error("--no-glove goes with --download")
    if options.sample and options.glove:
        parser.error("--sample makes its own GloVe file, so it takes no --glove")
    return options


def find_input(options):
    """The folder of the reviews and the GloVe file (None where there is none), fetched or made up if asked."""
    if options.sample:
        return write_sample(options.output / "sample")
    if options.download:
        imdb = fetch_reviews(options.download)
        return imdb, options.glove or (None if options.no_glove else fetch_glove(options.download))
    return options.imdb, options.glove


def note(message):
    print(message, file=sys.stderr)


# ---- reviews to tokens


def tokenize_corpus(reviews, output, workers):
    """The `Corpus` of the reviews {split: (list of Review, labels)}, tokenized in so many worker processes."""
    train, test = reviews["train"][0], reviews["test"][0]
    every = -(-len(train) // PUNKT_REVIEWS)
    load_punkt(output, (review.text() for review in train[::every]))
    both = train + test
    chunks = [both[start : start + REVIEWS_PER_CHUNK] for start in range(0, len(both), REVIEWS_PER_CHUNK)]
    word_to_number = {}
    ids, lengths = [], []
    with tqdm(total=len(both), desc="tokenizing", unit=" reviews", disable=None) as bar:
        for words, chunk_ids, chunk_lengths in tokenize_in_workers(chunks, output, workers):
            numbers = [word_to_number.setdefault(word, len(word_to_number)) for word in words]
            ids.append(np.array(numbers, np.int32)[chunk_ids])
            lengths.append(chunk_lengths)
            bar.update(len(chunk_lengths))
    ids, lengths = np.concatenate(ids), np.concatenate(lengths)
    no_of_train_tokens = lengths[: len(train)].sum()
    return sort_words(
        list(word_to_number),
        Tokens(ids[:no_of_train_tokens], lengths[: len(train)]),
        Tokens(ids[no_of_train_tokens:], lengths[len(train) :]),
    )


def tokenize_in_workers(chunks, output, workers):
    """What `tokenize_chunk` makes of each chunk, in their order, in so many worker processes."""
    try:
        with ProcessPoolExecutor(min(workers, len(chunks)), initializer=start_worker, initargs=(output,)) as pool:
            yield from pool.map(tokenize_chunk, chunks)
    except BrokenProcessPool as error:
        message = "error: a process that tokenizes was killed, as the system does when memory runs out"
        raise RunInterruptedError(f"{message}; fewer --workers than {workers} need less", 1) from error


def start_worker(output):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
    threading.Thread(target=end_with_main_process, daemon=True).start()
    load_punkt(output)


def end_with_main_process():
    """Where the main process is killed, its workers would wait for ever, and hold the output folder."""
    multiprocessing.parent_process().join()
    os._exit(1)


def tokenize_chunk(reviews):
    """Tokenizes some reviews: their distinct words (list), the place there of each token, and the reviews' lengths."""
    word_to_number = {}
    ids, lengths = [], []
    for review in reviews:
        tokens = tokenize(review.text())
        if not tokens:
            raise InputError(f"{review.path} is empty")
        ids += [word_to_number.setdefault(token, len(word_to_number)) for token in tokens]
        lengths.append(len(tokens))
    return list(word_to_number), np.array(ids, np.int32), np.array(lengths, np.int32)


def sort_words(words, train, test):
    """The `Corpus` of tokens whose ids are places in `words`: by decreasing count in `train`, ties by the alphabet."""
    counts = np.bincount(train.ids, minlength=len(words)).tolist()
    order = sorted(range(len(words)), key=lambda number: (-counts[number], words[number]))
    new_ids = np.empty(len(words), np.int32)
    new_ids[order] = np.arange(1, len(words) + 1)
    return Corpus(
        [words[number] for number in order],
        np.count_nonzero(counts),
        Tokens(new_ids[train.ids], train.lengths),
        Tokens(new_ids[test.ids], test.lengths),
    )


def print_statistics(corpus):
    """What the handout looks at: the lengths of the training reviews and how often its words occur."""
    lengths = corpus.train.lengths
    total = lengths.sum()
    print(f"Total: {total} Min: {lengths.min()} Max: {lengths.max()} Mean: {lengths.mean()} Std: {lengths.std()}")
    count = np.bincount(corpus.train.ids)[1:]
    print(f"Distinct tokens: {corpus.no_of_words}")
    print(np.histogram(count, bins=[1, 10, 100, 1000, 10000]))
    for word, occurrences in zip(corpus.words[:10], count, strict=False):
        print(word, occurrences)
    for most in (100, 8000):
        print(f"The {most} most common: {count[:most].sum() / total:.2%} of all tokens")


# ---- tokens to files


def write_imdb(output, corpus, labels, test_names):
    """Writes the dictionary, the reviews as ids, labels and test names; all of them appear at the end, or none does.

    The dictionary is their mark, for every reader needs it first. GloVe's files go: they may be of other reviews.
    """
    unknown = corpus.test.ids > corpus.no_of_words
    with new_set(outdated=[output / name for name in GLOVE_FILES]) as new_file:
        write_tokens(new_file, output / "imdb_train.txt", corpus.train)
        test = corpus.test._replace(ids=np.where(unknown, 0, corpus.test.ids))
        write_tokens(new_file, output / "imdb_test.txt", test)
        # the words that are 0 in imdb_test.txt: GloVe may know them
        words = [corpus.words[number - 1] for number in corpus.test.ids[unknown]]
        write_lines(new_file, output / "imdb_test_unknown.txt", words)
        write_lines(new_file, output / "imdb_test_names.txt", test_names)
        for split in SPLITS:
            write_array(new_file, output / f"imdb_{split}_labels.npy", labels[split])
        write_array(new_file, output / "imdb_dictionary.npy", np.array(corpus.words[: corpus.no_of_words]))


def write_array(new_file, path, array):
    with new_file(path) as file:
        file.write(npy_bytes(array))


def write_lines(new_file, path, lines):
    with new_file(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode(errors="replace"))


def write_tokens(new_file, path, tokens):
    """Writes a line of ids, with single spaces between them, for each review."""
    width = len(str(tokens.ids.max()))
    # every id's digits, filled up with zero bytes to one width, and a column for what follows the id
    text_of = np.zeros((tokens.ids.max() + 1, width + 1), np.uint8)
    text_of[:, :width] = np.arange(len(text_of)).astype(f"S{width}").view(np.uint8).reshape(-1, width)
    ends = np.cumsum(tokens.lengths)
    with new_file(path) as file:
        for first in range(0, len(ends), 1000):
            last = min(first + 1000, len(ends))
            start = ends[first] - tokens.lengths[first]
            text = text_of[tokens.ids[start : ends[last - 1]]]
            text[:, -1] = ord(" ")
            text[ends[first:last] - start - 1, -1] = ord("\n")
            file.write(text[text != 0])


def read_corpus(output):
    """The `Corpus` that an earlier run wrote to `output`."""
    from common.data.reviews import Vocabulary, load_lines, load_reviews  # only this needs PyTorch

    if not (output / "imdb_dictionary.npy").exists():
        raise InputError(f"{output} holds no reviews yet: give --imdb PATH too, or the --output of an earlier run")
    vocabulary = Vocabulary(output)
    both = (load_reviews(output, split, vocabulary, "cpu", labelled=False) for split in SPLITS)
    train, test = (Tokens(reviews.ids.numpy(), reviews.lengths.numpy()) for reviews in both)
    unknown_words = load_lines(output, "imdb_test_unknown.txt")
    unknown = np.flatnonzero(test.ids == 0)
    if len(unknown) != len(unknown_words):
        raise InputError(f"imdb_test.txt and imdb_test_unknown.txt in {output} do not fit; give --imdb DIR too")
    test.ids[unknown] = np.arange(1, len(unknown) + 1) + len(vocabulary.words)
    return Corpus(vocabulary.words.tolist() + unknown_words, len(vocabulary.words), train, test)


# ---- GloVe


def write_glove(output, corpus, name, glove_tokens, embeddings):
    """Writes GloVe's vectors, the name of their file, the reviews in GloVe's ids, and GloVe's dictionary, the mark of
    these files."""
    token_to_id = {token: number for number, token in enumerate(glove_tokens, 1)}
    glove_ids = np.array([0] + [token_to_id.get(word, 0) for word in corpus.words], np.int32)
    with new_set() as new_file:
        write_array(new_file, output / "glove_embeddings.npy", embeddings)
        write_lines(new_file, output / "glove_name.txt", [name])
        for split, tokens in (("train", corpus.train), ("test", corpus.test)):
            write_tokens(new_file, output / f"imdb_{split}_glove.txt", tokens._replace(ids=glove_ids[tokens.ids]))
        write_array(new_file, output / "glove_dictionary.npy", np.array(glove_tokens))


if __name__ == "__main__":
    run_script(main, "fewer --workers need less, and so does the GloVe file in a run of its own, --glove FILE")
