"""A user's own words: the probability of reviews, the verdict, and the words that moved it most."""

import csv
import math
import os
import re
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn as nn
from conftest import ENVIRONMENT, PARTS, REPO, refused, run_here, run_script, succeed
from twins import load_file

from common.data.batches import bags_of
from common.data.reviews import Reviews, Vocabulary
from common.training.prediction import ROWS, TOKENS, influential_words, probability_positive, verdict

VOCAB_SIZE = 600
VECTOR_SIZE = 5
HIDDEN_UNITS = 8

# word 7 three times, 3 and 9 twice, unknown words, thirteen distinct known words
REVIEW = [7, 3, 0, 12, 7, 30, 9, 4, 0, 7, 3, 21, 22, 23, 24, 9, 25, 26, 27]


def model_of_part(part):
    """A small model with random weights, left in training mode."""
    torch.manual_seed(0)
    sizes = {"1b": [VECTOR_SIZE], "2b": [VECTOR_SIZE]}.get(part, [VOCAB_SIZE + 1])
    name, file = ("BOW_model", "BOW_model.py") if part in ("1a", "1b") else ("RNN_model", "RNN_model.py")
    model = getattr(load_file(f"{part}/{file}"), name)(*sizes, HIDDEN_UNITS)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)  # large enough for a word to matter
    return model


def input_of_part(part):
    """What makes the model's input of ids."""
    vectors = torch.randn(VOCAB_SIZE + 1, VECTOR_SIZE, generator=torch.Generator().manual_seed(1))
    return (lambda ids: vectors[ids]) if part == "2b" else (lambda ids: ids)


@pytest.fixture
def vocabulary(tmp_path):
    np.save(tmp_path / "imdb_dictionary.npy", np.array([f"word{i}" for i in range(1, VOCAB_SIZE + 1)]))
    return Vocabulary(tmp_path)


def score_by_hand(model, x):
    """The probability of a batch of one review."""
    with torch.no_grad():
        _, logits = model.eval()(x, torch.ones(1))
    return torch.sigmoid(logits).item()


class Recorder(nn.Module):
    """A sentiment model that keeps its inputs; a review's logit is the sum of its ids times a number."""

    def __init__(self, scale=0.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.inputs = []

    def forward(self, x, t):
        assert not self.training
        assert not torch.is_grad_enabled()
        assert x.shape[1] > 0
        assert t.shape == x.shape[:1]
        self.inputs.append(x)
        return torch.tensor(0.0), x.sum(dim=1) * self.scale


# ----------------------------------------------------------------------------------- probability and verdict


@pytest.mark.parametrize("part", ["1a", "1b", "2a", "2b", "3c"])
def test_probabilities_of_a_batch_are_those_of_its_reviews(part):
    model = model_of_part(part)
    arrays = [np.array(ids) for ids in ([1, 2, 3, 4], [5, 5, 0, 6], [9, 8, 7, 1])]
    if part == "1a":
        x = bags_of(Reviews.of(arrays, [-1] * 3))
        reviews = [bags_of(Reviews.of([array], [-1])) for array in arrays]
    elif part == "1b":
        x = torch.randn(3, VECTOR_SIZE)
        reviews = x.split(1)
    else:
        x = input_of_part(part)(torch.from_numpy(np.stack(arrays)))
        reviews = x.split(1)
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    probabilities = probability_positive(model, x)

    assert all(type(probability) is float for probability in probabilities)
    assert len(set(probabilities)) == 3
    assert probabilities == pytest.approx([score_by_hand(model, review) for review in reviews], abs=1e-6)
    assert not model.training
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())


def test_the_model_is_asked_without_gradients_in_evaluation_mode():
    model = Recorder(scale=1.0).train()
    assert probability_positive(model, torch.tensor([[1, 1], [0, 0]])) == pytest.approx([1 / (1 + math.exp(-2)), 0.5])


@pytest.mark.parametrize(
    ("scale", "words"), [(0.0, "0.5000 positive"), (-1e-3, "0.4998 negative"), (9.0, "0.9999 positive")]
)
def test_verdict(scale, words):
    assert verdict(Recorder(scale), torch.tensor([[1]])) == words


# ------------------------------------------------------------------------------------------ influential words


def changes_by_hand(model, review, input_of):
    """A dict of word to change, each scored with the word removed from the list, a batch of one review at a time."""
    score = lambda ids: score_by_hand(model, input_of(torch.tensor([ids])))  # noqa: E731
    return {
        f"word{word}": score(review) - score([other for other in review if other != word]) for word in set(review) - {0}
    }


@pytest.mark.parametrize("part", ["2a", "2b", "3c"])
@pytest.mark.parametrize("length", [6, len(REVIEW)])
def test_a_change_is_the_difference_to_the_review_without_the_word(part, length, vocabulary):
    model, input_of, review = model_of_part(part), input_of_part(part), REVIEW[:length]
    by_hand = changes_by_hand(model, review, input_of)
    model.train()

    found = influential_words(model, torch.tensor(review), vocabulary, input_of)

    assert len(found) == min(len(by_hand), 10)
    assert dict(found) == pytest.approx({word: by_hand[word] for word, _ in found}, abs=1e-6)
    sizes = [abs(change) for _, change in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == pytest.approx(sorted(map(abs, by_hand.values()), reverse=True)[:10], abs=1e-6)
    assert max(sizes) > 1e-4  # more than rounding


def test_signs_and_order(vocabulary):
    model = Recorder(scale=0.01)
    words = influential_words(model, torch.tensor([5, 50, 5, 0, 20]), vocabulary)
    assert [word for word, _ in words] == ["word50", "word20", "word5"]
    assert all(change > 0 for _, change in words)
    model = Recorder(scale=-0.01)
    assert all(change < 0 for _, change in influential_words(model, torch.tensor([5, 50, 20]), vocabulary))


@pytest.mark.parametrize("review", [[3], [3, 3, 3], [0], [0, 0]])
def test_nothing_to_leave_out(review, vocabulary):
    assert influential_words(Recorder(), torch.tensor(review), vocabulary) == []


def test_unknown_words_stay_in_the_review(vocabulary):
    model = Recorder()
    assert influential_words(model, torch.tensor([0, 3, 0]), vocabulary) == [("word3", 0.0)]
    assert [x.tolist() for x in model.inputs] == [[[0, 3, 0]], [[0, 0]]]


def test_stop_words_are_unknown(vocabulary):
    vocabulary.stop_ids = np.array([2])
    review = vocabulary.reviews_of([["word1", "word2", "elsewhere", "word3"]], "cpu")
    assert {word for word, _ in influential_words(Recorder(), review.ids.long(), vocabulary)} == {"word1", "word3"}


def test_words_of_a_short_review_run_as_one_batch(vocabulary):
    model = Recorder()
    influential_words(model, torch.arange(1, 61), vocabulary)
    assert [x.shape for x in model.inputs] == [(1, 60), (60, 59)]


@pytest.mark.parametrize("time", [250, 1000, 3 * TOKENS])
def test_a_long_review_runs_in_large_batches_without_padding(time, vocabulary):
    """The work of a long review, whatever the machine: how many batches there are, and of what shapes."""
    no_of_words = 240 if time < 10_000 else 3
    ids = torch.tensor([min(i, no_of_words - 1) + 1 for i in range(time)])  # the last one fills it up
    model = Recorder()
    influential_words(model, ids, vocabulary)

    batches = model.inputs[1:]
    assert all(len(x) <= ROWS and (x.numel() <= TOKENS or len(x) == 1) for x in batches)
    assert all((x > 0).all() for x in batches)
    counts = Counter(ids.tolist())
    rows_of_length = Counter(time - count for count in counts.values())
    for length, no_of_rows in rows_of_length.items():
        of_length = [len(x) for x in batches if x.shape[1] == length]
        assert sum(of_length) == no_of_rows
        assert len(of_length) == math.ceil(no_of_rows / max(1, min(ROWS, TOKENS // length)))
    assert sum(map(len, batches)) == no_of_words


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


@pytest.mark.parametrize("part", ["2a", "2b", "3c"])
@pytest.mark.parametrize("review", ["great", "Great great"])
def test_the_scripts_print_one_line_where_nothing_can_be_left_out(part, review, model_of, sample_data):
    assert answer(part, model_of, sample_data, review)[1] == []


@pytest.mark.parametrize("part", ["1a", "1b"])
def test_bags_of_words_print_one_line(part, model_of, sample_data):
    assert answer(part, model_of, sample_data, "a great film and a great cast")[1] == []


# ------------------------------------------------------------------------------------- how people's text is written


def score(part, model_of, sample_data, *options, **more):
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu", *options]
    return succeed(run_here(f"{part}/{PARTS[part][1]}", *options, **more)).stdout


WRITTEN = [
    ("it wasn't a good film", "it wasn\u2019t a good film"),
    ("it wasn't a good film", "\ufeffit wasn't a good film"),
    ('a "great" story, a great cast', "a \u201cgreat\u201d story, a great cast"),
    ("a great cast... but a dull story", "a great cast\u2026 but a dull story"),
    ("a great cast -- but a dull story", "a great cast \u2014 but a dull story"),
    ("a great cast", "a\u00a0great cast"),
]


@pytest.mark.parametrize(("straight", "written"), WRITTEN)
def test_text_as_phones_and_word_processors_write_it(straight, written, model_of, sample_data):
    expected = score("2a", model_of, sample_data, "--review", straight)
    assert score("2a", model_of, sample_data, "--review", written) == expected
    assert score("2a", model_of, sample_data, "--review", "-", stdin=written) == expected
    # and so are primes
    primes = [
        ["--data", sample_data, "--model", model_of("3a"), "--length", 1, "--prime", x] for x in (straight, written)
    ]
    of_straight, of_written = (succeed(run_here("3b/generate_review.py", *options)).stdout for options in primes)
    assert of_written == of_straight


# -------------------------------------------------------------------------------------------- many reviews at once

TEXTS = [
    "I loved it. Great music, a wonderful cast and an excellent story.",
    "I hated it. Terrible music and a wooden cast.",
    "",
    "这部电影",
    "great, " * 300,
    "It wasn\u2019t good.",
]


def table(stdout):
    return list(csv.reader(stdout.splitlines()))


@pytest.mark.parametrize("part", ["1a", "1b", "2a", "2b", "3c"])
def test_a_file_of_reviews(part, model_of, sample_data, tmp_path):
    (tmp_path / "reviews.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8-sig")
    rows = table(score(part, model_of, sample_data, "--reviews", tmp_path / "reviews.txt", "--batch-size", 3))
    assert rows[0] == ["review", "probability", "verdict"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "4", "5", "6"]
    for text, (_, probability, word) in zip(TEXTS, rows[1:], strict=True):
        if text in TEXTS[2:4]:
            assert (probability, word) == ("", "no known word")
        else:
            alone = score(part, model_of, sample_data, "--review", text).splitlines()[0].split()
            assert float(probability) == pytest.approx(float(alone[0]), abs=2e-4)
            assert word == alone[1]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_where_a_line_ends(end, model_of, sample_data, tmp_path):
    """And nowhere else: reviews hold next-line characters, line separators, form feeds."""
    odd = [f"a great{character}film" for character in "\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e"]
    (tmp_path / "reviews.txt").write_bytes(end.join([*odd, "a bad film", ""]).encode())
    rows = table(score("1a", model_of, sample_data, "--reviews", tmp_path / "reviews.txt"))
    assert [row[0] for row in rows[1:]] == [str(number) for number in range(1, len(odd) + 2)]
    assert all(row[2] in ("positive", "negative") for row in rows[1:])


TABLES = {
    "reviews.csv": "a great film,positive\n",
    "Reviews.TSV": "a great film\tpositive\n",
    "reviews.txt": '\ufeff"review","sentiment"\n"a great film",positive\n',
    "reviews": "id;Text;Label\n1;a great film;1\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_refused(name, model_of, sample_data, tmp_path):
    (tmp_path / name).write_text(TABLES[name], encoding="utf-8")
    options = ["--data", sample_data, "--model", model_of("1a"), "--reviews", tmp_path / name]
    refused(run_here("1a/BOW_test.py", *options), tmp_path / name, "is a table", "one a line")


def test_a_review_may_name_what_tables_do(model_of, sample_data, tmp_path):
    (tmp_path / "reviews.txt").write_text("a review, with sentiment, of a great film\n")
    assert len(table(score("1a", model_of, sample_data, "--reviews", tmp_path / "reviews.txt"))) == 2


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
    words = ["line 2", "UTF-8"] if content else []
    refused(run_here("1a/BOW_test.py", *options), tmp_path / "reviews.txt", *words)


def test_the_model_of_a_trial(tree, trained):
    folder = tree / "1a" / "trials" / "scored"
    folder.mkdir(parents=True)
    refused(run_script("1a/BOW_test.py", "--trial", "scored", cwd=tree), folder / "BOW.model", "first")
    (folder / "BOW.model").write_bytes((tree / "1a" / "BOW.model").read_bytes())
    done = succeed(run_script("1a/BOW_test.py", "--trial", "scored", "--review", "a great film", cwd=tree))
    shutil.rmtree(folder.parent)  # the other tests see the tree as the trainings left it
    assert done.stdout.split()[1] in ("positive", "negative")


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
