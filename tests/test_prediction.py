"""A user's own words: the probability of reviews, the verdict, and the words that moved it most."""

import csv
import functools
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn as nn
from conftest import ENVIRONMENT, PARTS, REPO, refused, run_here, succeed
from twins import load_file

from common.data.reviews import Reviews, Vocabulary
from common.training.prediction import influential_words, probabilities_of_whole, verdict

VOCAB_SIZE = 600
HIDDEN_UNITS = 8

# word 7 three times, 3 and 9 twice, unknown words, thirteen distinct known words
REVIEW = [7, 3, 0, 12, 7, 30, 9, 4, 0, 7, 3, 21, 22, 23, 24, 9, 25, 26, 27]

POSITIVE = "I loved it. Great music, a wonderful cast and an excellent story. Highly recommend, 8/10."
NEGATIVE = "I hated it. Terrible music, a wooden cast and a boring, dull, awful story. Avoid, 2/10."


def model_of_part(part):
    """A small model with random weights, left in training mode."""
    torch.manual_seed(0)
    model = load_file(f"{part}/RNN_model.py").RNN_model(VOCAB_SIZE + 1, HIDDEN_UNITS)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)  # large enough for a word to matter
    return model


@pytest.fixture
def vocabulary(tmp_path):
    np.save(tmp_path / "imdb_dictionary.npy", np.array([f"word{i}" for i in range(1, VOCAB_SIZE + 1)]))
    return Vocabulary(tmp_path)


def score_by_hand(model, x):
    """The probability of a batch of one review."""
    with torch.no_grad():
        _, logits = model.eval()(x, torch.ones(1))
    return torch.sigmoid(logits).item()


# ----------------------------------------------------------------------------------- probability and verdict


def test_verdict():
    assert [verdict(p) for p in (0.5, 0.49975, 1.0)] == ["0.5000 positive", "0.4998 negative", "1.0000 positive"]


# ------------------------------------------------------------------------------------------ influential words


@pytest.mark.parametrize("part", ["2a", "3c"])
@pytest.mark.parametrize("length", [6, len(REVIEW)])
def test_a_change_is_the_difference_to_the_review_without_the_word(part, length, vocabulary):
    model, ids = model_of_part(part), REVIEW[:length]
    score = lambda ids: score_by_hand(model, torch.tensor([ids]))  # noqa: E731
    by_hand = {f"word{word}": score(ids) - score([other for other in ids if other != word]) for word in {*ids} - {0}}

    review = Reviews.of([np.array(ids)], [-1])
    found = influential_words(review, vocabulary, functools.partial(probabilities_of_whole, model, batch_size=4))

    assert len(found) == min(len(by_hand), 10)
    assert dict(found) == pytest.approx({word: by_hand[word] for word, _ in found}, abs=1e-6)
    sizes = [abs(change) for _, change in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == pytest.approx(sorted(map(abs, by_hand.values()), reverse=True)[:10], abs=1e-6)
    assert max(sizes) > 1e-4  # more than rounding


@pytest.mark.parametrize(("ids", "words"), [([3, 3], []), ([0], []), ([0, 3, 0], ["word3"]), ([2, 4], ["word4"])])
def test_what_can_be_left_out(ids, words, vocabulary):
    vocabulary.stop_ids = np.array([2])  # a stop word is unknown
    review = vocabulary.reviews_of([[f"word{i}" if i else "elsewhere" for i in ids]], "cpu")
    probabilities_of = functools.partial(probabilities_of_whole, model_of_part("2a"), batch_size=4)
    assert [word for word, _ in influential_words(review, vocabulary, probabilities_of)] == words


# ------------------------------------------------------------------------------------------------- the scripts


def answer(part, model_of, sample_data, review):
    """What a part's test script prints for a review: the probability, and a list of pairs (word, change)."""
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu", "--review", review]
    done = succeed(run_here(f"{part}/{PARTS[part][1]}", *options))
    assert done.stderr == "running on the CPU, 1 thread\n"  # no progress bar but on a terminal
    first, *lines = done.stdout.splitlines()
    matches = [re.fullmatch(r"([+-][01]\.\d{4}) (\S+)", line) for line in lines]
    assert all(matches), done.stdout
    return float(first.split()[0]), [(match[2], float(match[1])) for match in matches]


@pytest.mark.parametrize("part", ["2a", "2b", "3c"])
def test_the_scripts_print_the_words(part, model_of, sample_data):
    tokens = ["a", "great", "film", "qwxz", "and", "a", "great", "cast"]
    probability, changes = answer(part, model_of, sample_data, " ".join(tokens))
    assert {word for word, _ in changes} == set(tokens) - {"qwxz"}
    for word, change in changes:
        rest = " ".join(token for token in tokens if token != word)
        assert change == pytest.approx(probability - answer(part, model_of, sample_data, rest)[0], abs=2e-4)


@pytest.mark.parametrize("part", ["1a", "1b", "2a", "2b"])
def test_own_review(part, model_of, sample_data):
    positive, negative = (answer(part, model_of, sample_data, text) for text in (POSITIVE, NEGATIVE))
    assert positive[0] > negative[0]
    if part in ("1a", "1b"):
        assert positive[0] > 0.6 > 0.4 > negative[0]
        assert positive[1] == negative[1] == []
    # as in the training reviews, <br /> is a space and capitals do not count
    assert answer(part, model_of, sample_data, POSITIVE.upper().replace(" ", "<br />")) == positive


# ------------------------------------------------------------------------------------- how people's text is written


def score(part, model_of, sample_data, *options, **more):
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu", *options]
    return succeed(run_here(f"{part}/{PARTS[part][1]}", *options, **more)).stdout


WRITTEN = [
    ("it wasn't a good film", "\ufeffit wasn\u2019t a good film"),
    ('a "great" story, a great cast', "a \u201cgreat\u201d story, a\u00a0great cast"),
    ("a great cast... but a dull story -- dull", "a great cast\u2026 but a dull story \u2014 dull"),
]


@pytest.mark.parametrize(("straight", "written"), WRITTEN)
def test_text_as_phones_and_word_processors_write_it(straight, written, model_of, sample_data):
    expected = score("2a", model_of, sample_data, "--review", straight)
    assert score("2a", model_of, sample_data, "--review", written) == expected
    assert score("2a", model_of, sample_data, "--review", "-", stdin=written) == expected


# -------------------------------------------------------------------------------------------- many reviews at once

TEXTS = [
    "I loved it. Great music, a wonderful cast and an excellent story.",
    "I hated it. Terrible music and a wooden cast.",
    "",
    "这部电影",
    "great, " * 300,
    "It wasn\u2019t good.",
    "= great",
]


def table(stdout):
    return list(csv.reader(stdout.splitlines()))


@pytest.mark.parametrize("part", ["1a", "1b", "2a", "2b", "3c"])
def test_a_file_of_reviews(part, model_of, sample_data, tmp_path):
    (tmp_path / "reviews.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8-sig")
    rows = table(score(part, model_of, sample_data, "--reviews", tmp_path / "reviews.txt", "--batch-size", 3))
    assert rows[0] == ["review", "probability", "verdict", "first words"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4", "5", "6", "7"]
    for text, (_, probability, word, first_words) in zip(TEXTS, rows[1:], strict=True):
        assert first_words == " ".join(text.split()[:8]).replace("= great", "'= great")  # no formula
        if text in TEXTS[2:4]:
            assert (probability, word) == ("", "no known word")
        else:
            alone = score(part, model_of, sample_data, "--review", text).splitlines()[0].split()
            assert float(probability) == pytest.approx(float(alone[0]), abs=2e-4)
            assert word == alone[1]


def test_lines_end_where_a_line_ends(model_of, sample_data, tmp_path):
    """And nowhere else: reviews hold next-line characters, line separators, form feeds."""
    lines = ["a great\x85film", "a great\u2028film", "a great\x0cfilm", "a bad film", ""]
    for end in ("\n", "\r\n"):
        (tmp_path / "reviews.txt").write_bytes(end.join(lines).encode())
        rows = table(score("1a", model_of, sample_data, "--reviews", tmp_path / "reviews.txt"))
        assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4"]


def test_a_table_is_refused(model_of, sample_data, tmp_path):
    (tmp_path / "Reviews.CSV").write_text("a great film,positive\n")
    options = ["--data", sample_data, "--model", model_of("1a"), "--reviews", tmp_path / "Reviews.CSV"]
    refused(run_here("1a/BOW_test.py", *options), tmp_path / "Reviews.CSV", "is a table", "one a line")


def test_a_folder_of_reviews(model_of, sample_data, tmp_path):
    for number, text in enumerate(TEXTS[:2]):
        (tmp_path / f"{number}.txt").write_text(text + "\n\nIt goes on.\n")
    (tmp_path / "notes.md").write_text("no review")
    (tmp_path / "._1.txt").write_bytes(b"\xff\x00")  # a Mac leaves it
    rows = table(score("1a", model_of, sample_data, "--reviews", tmp_path))
    assert [row[0] for row in rows] == ["review", "0.txt", "1.txt"]


@pytest.mark.parametrize("content", [None, b"", "a film\ntrès".encode("latin-1")])
def test_reviews_that_cannot_be_read(content, model_of, sample_data, tmp_path):
    if content is not None:
        (tmp_path / "reviews.txt").write_bytes(content)
    options = ["--data", sample_data, "--model", model_of("1a"), "--reviews", tmp_path / "reviews.txt"]
    words = ["review 2 in", "UTF-8"] if content else []
    refused(run_here("1a/BOW_test.py", *options), tmp_path / "reviews.txt", *words)


def test_output_for_a_terminal_that_is_not_utf_8(model_of, sample_data):
    # a word of the dictionary that ASCII lacks
    options = ["--data", sample_data, "--model", model_of("3a"), "--prime", "a clichéd film", "--length", 3]
    words = np.load(sample_data / "imdb_dictionary.npy").tolist()
    assert words.index("clichéd") < 500
    done = subprocess.run(
        [sys.executable, "3b/generate_review.py", *map(str, options)],
        cwd=REPO,
        capture_output=True,
        env={**os.environ, **ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    assert b"clich?d" in done.stdout
