"""The scripts of the parts, run as a user runs them: what they print, what they leave, what their options do."""

import json
import math
import re

import numpy as np
import pytest
import torch
import torch.nn as nn
from conftest import (
    PARTS,
    REPO,
    TINY,
    data_with,
    read_model,
    refused,
    run_here,
    run_script,
    same_weights,
    succeed,
    train,
)

from common.data.reviews import Vocabulary, load_reviews
from common.distributed.device import cpu_has_bf16

RNN_PARTS = ["2a", "2b", "3a", "3c"]
SENTIMENT_PARTS = ["1a", "1b", "2a", "2b", "3c"]

# with the TINY settings
EPOCHS_WITH_TEST = {"1a": [0, 1, 2], "1b": [0, 1, 2], "2a": [2, 3], "2b": [2, 3], "3a": [0, 1], "3c": [1, 2]}
# training accuracy in percent that a model which learns passes; the TINY 3c barely does
LEARNED = {"1a": 65, "1b": 65, "2a": 53, "2b": 53, "3a": 15, "3c": 0}

POSITIVE = "I loved it. Great music, a wonderful cast and an excellent story. Highly recommend, 8/10."
NEGATIVE = "I hated it. Terrible music, a wooden cast and a boring, dull, awful story. Avoid, 2/10."

needs_bf16 = pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU has no LSTM in bf16")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def figures_pattern(part):
    """Accuracy, loss, seconds, and for the language model the perplexity; all but the seconds are groups."""
    return r"(\d+\.\d\d) (\d+\.\d{4}) \d+\.\d{4}" + (r" (\d+\.\d\d)" if part == "3a" else "")


def printed_epochs(part, stdout):
    """What a training printed, as two dicts from the epoch to its figures: training's and tests'."""
    training, tests = {}, {}
    for line in stdout.splitlines():
        if match := re.fullmatch(rf"(\d+) {figures_pattern(part)}", line):
            training[int(match[1])] = [float(figure) for figure in match.groups()[1:]]
        else:
            match = re.fullmatch(rf"   {figures_pattern(part)}", line)
            assert match, line
            tests[len(training) - 1] = [float(figure) for figure in match.groups()]
    return training, tests


def printed_lengths(part, stdout):
    """What the test script of an RNN part printed: a dict from the length to its figures."""
    matches = [re.fullmatch(rf"(\d+) {figures_pattern(part)}", line) for line in stdout.splitlines()]
    assert all(matches), stdout
    return {int(match[1]): [float(figure) for figure in match.groups()[1:]] for match in matches}


def no_constant(name):
    """Given to json.loads, refuses NaN and Infinity, which are no JSON."""
    raise ValueError(name)


# ------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("part", PARTS)
def test_training_prints_the_handouts_lines(part, trained):
    training, tests = printed_epochs(part, trained[part].stdout)
    assert list(training) == list(range(len(training)))
    assert list(tests) == EPOCHS_WITH_TEST[part]
    last = training[len(training) - 1]
    assert last[0] > LEARNED[part]
    if part == "3a":
        for _, loss, perplexity in [*training.values(), *tests.values()]:
            assert perplexity == pytest.approx(math.exp(loss), rel=1e-3)


@pytest.mark.parametrize("part", PARTS)
def test_messages_go_to_standard_error(part, trained, model_of):
    assert trained[part].stderr == f"running on the CPU, 1 thread\nsaved {model_of(part)}\n"


@pytest.mark.parametrize("part", PARTS)
def test_training_leaves_its_files(part, trained, model_of):
    folder, model = model_of(part).parent, model_of(part).name
    scripts = {path.name for path in folder.glob("*.py")} | {"__pycache__"}
    left = {model, model.replace(".model", ".state"), "data.npy", "log.csv", "run.json"}
    assert {path.name for path in folder.iterdir()} - scripts == left

    training, tests = printed_epochs(part, trained[part].stdout)
    data = np.load(folder / "data.npy")
    assert data.dtype == np.float64
    assert data.shape == (3, len(training))
    nan = [math.nan, math.nan]
    expected = [[loss, accuracy / 100] for accuracy, loss, *_ in training.values()]
    np.testing.assert_allclose(data[:2].T, expected, atol=6e-5)
    tested = [tests.get(epoch, nan)[0] / 100 for epoch in training]
    np.testing.assert_allclose(data[2], tested, atol=6e-5)

    run = json.loads((folder / "run.json").read_text(), parse_constant=no_constant)
    assert (run["part"], run["trial"], run["note"], run["finished"]) == (part, "default", "", True)
    assert run["no_of_weights"] == sum(
        weight.numel() for name, weight in read_model(folder / model)["state_dict"].items() if not is_buffer(name)
    )
    assert run["options"]["output"] == part  # not where it lies on this machine
    assert len(run["epochs"]) == len(training)
    given = dict(re.findall(r"--([\w-]+) (\S+)", TINY[part]))
    assert {name: run["options"][name.replace("-", "_")] for name in given} == {
        name: float(value) for name, value in given.items()
    }
    settings = dict(re.findall(r"--([\w-]+) (\S+)", run["options"]["settings"]))
    assert settings.keys() == given.keys() - {name for name in given if HANDOUT_DEFAULTS[part].get(name) == given[name]}
    assert {name: float(settings[name]) for name in settings} == {name: float(given[name]) for name in settings}


def is_buffer(name):
    """Whether an entry of a state_dict is a running figure of batch norm, which no optimizer changes."""
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


@pytest.mark.parametrize("part", PARTS)
def test_same_seed_same_weights_from_any_directory(part, trained, model_of, sample_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extra = ["--language-model", model_of("3a")] if part == "3c" else []
    again = succeed(train(part, sample_data, "again", *extra))
    assert printed_epochs(part, again.stdout) == printed_epochs(part, trained[part].stdout)
    assert same_weights(tmp_path / "again" / PARTS[part][2], model_of(part))

    succeed(train(part, sample_data, "other", "--seed", 1, "--epochs", 1, *extra))
    succeed(train(part, sample_data, "first", "--seed", 0, "--epochs", 1, *extra))
    assert not same_weights(*(tmp_path / name / PARTS[part][2] for name in ("other", "first")))


def test_a_trial_has_a_folder_of_its_own(tree, trained, model_of):
    before = model_of("1a").read_bytes()
    options = [*TINY["1a"].split(), "--epochs", 1, "--trial", "two-layers", "--hidden-layers", 2, "--note", "deeper"]
    succeed(run_script("1a/BOW_sentiment_analysis.py", *options, cwd=tree))
    folder = tree / "1a" / "trials" / "two-layers"
    assert {path.name for path in folder.iterdir()} == {"BOW.model", "BOW.state", "data.npy", "log.csv", "run.json"}
    run = json.loads((folder / "run.json").read_text())
    assert (run["trial"], run["note"]) == ("two-layers", "deeper")
    assert model_of("1a").read_bytes() == before


# ------------------------------------------------------------------------------------------------- options


BOW_DEFAULTS = {"epochs": "6", "hidden-layers": "1", "dropout": "0.5"}
RNN_DEFAULTS = {"epochs": "20", "train-length": "100", "test-length": "200", "test-every": "3", "dropout": "0.5"}
HANDOUT_DEFAULTS = {
    "1a": {**BOW_DEFAULTS, "vocab-size": "8000"},
    "1b": BOW_DEFAULTS,
    "2a": {**RNN_DEFAULTS, "vocab-size": "8000", "layers": "1", "pool": "max"},
    "2b": {**RNN_DEFAULTS, "layers": "1", "pool": "max"},
    "3a": {
        "vocab-size": "8000",
        "epochs": "75",
        "train-length": "50",
        "test-length": "100",
        "test-every": "1",
        "layers": "3",
        "dropout": "0.3",
        "clip": "2.0",
        "lr-drop-epoch": "50",
        "weight-drop": "0.0",
    },
    "3c": {
        **RNN_DEFAULTS,
        "vocab-size": "8000",
        "layers": "3",
        "pool": "max",
        "fine-tune": "last",
        "weight-drop": "0.0",
    },
}


@pytest.mark.parametrize("part", PARTS)
def test_defaults_are_the_handouts(part, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    text = succeed(run_here(f"{part}/{PARTS[part][0]}", "--help")).stdout
    defaults = dict(re.findall(r"^ +--([\w-]+) [^\n]*(?:\n {9,})?[^\n]*\(default: ([^)]*)\)$", text, re.MULTILINE))
    common = {"batch-size": "200", "hidden-units": "500", "optimizer": "adam", "device": "auto", "seed": "0"}
    common |= {"precision": "tf32 on CUDA, fp32 on the CPU", "schedule": "constant"}
    common |= {"lr": "adam 0.001, sgd 0.01", "output": "the part's directory", "trial": "default"}
    defaults = {name: value for name, value in defaults.items() if str(REPO) not in value}
    assert defaults == {**common, **HANDOUT_DEFAULTS[part]}


# part, options, what the model file's hyperparameters then say
OPTIONS = [
    ("1a", "--hidden-layers 2", {"no_of_hidden_layers": 2}),
    ("1a", "--hidden-layers 3 --dropout 0", {"no_of_hidden_layers": 3, "dropout": 0}),
    ("1a", "--dropout 0.2", {"dropout": 0.2}),
    ("1a", "--hidden-units 8", {"no_of_hidden_units": 8}),
    ("1a", "--vocab-size 900", {"vocab_size": 901}),
    ("1a", "--optimizer sgd", {}),
    ("1a", "--lr 0.002", {}),
    ("1a", "--batch-size 100", {}),
    ("1b", "--hidden-layers 3 --hidden-units 8", {"in_size": 50, "no_of_hidden_layers": 3, "no_of_hidden_units": 8}),
    ("1b", "--vocab-size 900", {"in_size": 50}),
    ("1b", "--optimizer sgd --dropout 0", {"dropout": 0}),
    ("2a", "--pool mean", {"pool": "mean"}),
    ("2a", "--layers 2", {"no_of_layers": 2}),
    ("2a", "--layers 3 --dropout 0", {"no_of_layers": 3, "dropout": 0}),
    ("2a", "--train-length 15", {"no_of_layers": 1, "pool": "max"}),
    ("2a", "--optimizer sgd", {}),
    ("2b", "--layers 2 --pool mean", {"no_of_layers": 2, "pool": "mean", "in_size": 50}),
    ("2b", "--layers 3 --dropout 0 --optimizer sgd", {"no_of_layers": 3, "dropout": 0}),
    ("3a", "--layers 1", {"no_of_layers": 1}),
    ("3a", "--layers 2 --dropout 0", {"no_of_layers": 2, "dropout": 0}),
    ("3a", "--tied-weights", {"tied_weights": True}),
    ("3a", "--clip 0.01 --optimizer sgd", {"no_of_layers": 3, "dropout": 0.3}),
    ("3c", "--pool mean --dropout 0", {"pool": "mean", "dropout": 0, "no_of_layers": 3}),
    ("3c", "--pool concat", {"pool": "concat"}),
    ("3c", "--fine-tune all --optimizer sgd", {"pool": "max", "dropout": 0.5}),
]


@pytest.fixture(scope="session")
def after_one_epoch(trained, model_of, sample_data, tmp_path_factory):
    """A function from a part to its model file with the TINY settings and one epoch."""
    folder = tmp_path_factory.mktemp("one-epoch")
    made = {}

    def model(part):
        if part not in made:
            extra = ["--language-model", model_of("3a")] if part == "3c" else []
            succeed(train(part, sample_data, folder / part, "--epochs", 1, *extra))
            made[part] = folder / part / PARTS[part][2]
        return made[part]

    return model


@pytest.mark.parametrize(("part", "options", "hyperparameters"), OPTIONS, ids=lambda value: str(value))
def test_an_option_changes_the_model(part, options, hyperparameters, after_one_epoch, model_of, sample_data, tmp_path):
    extra = ["--language-model", model_of("3a")] if part == "3c" else []
    succeed(train(part, sample_data, tmp_path, "--epochs", 1, *options.split(), *extra))
    model = tmp_path / PARTS[part][2]
    assert hyperparameters.items() <= read_model(model)["hyperparameters"].items()
    assert not same_weights(model, after_one_epoch(part))

    # the test script needs no word about them
    lengths = ["--lengths", 30] if part in RNN_PARTS else []
    succeed(run_here(f"{part}/{PARTS[part][1]}", "--data", sample_data, "--model", model, *lengths))


@pytest.mark.parametrize("part", RNN_PARTS)
def test_testing_leaves_the_training_alone(part, after_one_epoch, model_of, sample_data, tmp_path):
    extra = ["--language-model", model_of("3a")] if part == "3c" else []
    options = ["--epochs", 1, "--test-length", 30, "--test-every", 1]
    done = succeed(train(part, sample_data, tmp_path, *options, *extra))
    assert same_weights(tmp_path / PARTS[part][2], after_one_epoch(part))
    other = np.load(after_one_epoch(part).parent / "data.npy")
    mine = np.load(tmp_path / "data.npy")
    np.testing.assert_array_equal(mine[:2], other[:2])
    assert mine[2] != other[2]
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "optimizer"),
    [("--optimizer sgd", {"lr": 0.01, "momentum": 0.9}), ("--optimizer adam", {"lr": 0.001, "betas": (0.9, 0.999)})],
)
def test_defaults_of_the_optimizers(options, optimizer, sample_data, tmp_path):
    arguments = [*options.split(), "--data", sample_data, "--output", tmp_path, "--device", "cpu"]
    arguments += ["--vocab-size", 100, "--hidden-units", 4, "--epochs", 1]
    succeed(run_here("1a/BOW_sentiment_analysis.py", *arguments))
    (group,) = read_model(tmp_path / "BOW.state")["optimizer"]["param_groups"]
    assert optimizer.items() <= group.items()


def test_precise_batch_norm(sample_data, tmp_path):
    options = ["--epochs", 1, "--hidden-layers", 2]
    succeed(train("1a", sample_data, tmp_path / "average", *options))
    succeed(train("1a", sample_data, tmp_path / "precise", *options, "--precise-batch-norm"))
    before, after = (read_model(tmp_path / name / "BOW.model")["state_dict"] for name in ("average", "precise"))
    assert {name for name in after if not torch.equal(before[name], after[name])} == {
        f"bn_hidden{number}.{figure}"
        for number in ("", 2)
        for figure in ("running_mean", "running_var", "num_batches_tracked")
    }
    # by hand, over all training reviews
    reviews = load_reviews(sample_data, "train", Vocabulary(sample_data, 1000), "cpu")
    weight = after["embedding.weight"]
    h = torch.stack([weight[ids].mean(dim=0) for ids in reviews.ids.long().split(reviews.lengths.tolist())])
    for number in ("", 2):
        h = h @ after[f"fc_hidden{number}.weight"].T + after[f"fc_hidden{number}.bias"]
        mean, variance = h.mean(dim=0), h.var(dim=0)
        torch.testing.assert_close(after[f"bn_hidden{number}.running_mean"], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(after[f"bn_hidden{number}.running_var"], variance, rtol=1e-4, atol=1e-5)
        norm = after[f"bn_hidden{number}.weight"], after[f"bn_hidden{number}.bias"]
        h = nn.functional.batch_norm(h, None, None, *norm, training=True).relu()


@pytest.mark.parametrize("fine_tune", ["last", "all", "by-layer"])
def test_fine_tuning_changes_what_it_should(fine_tune, model_of, sample_data, tmp_path):
    options = ["--language-model", model_of("3a"), "--epochs", 1, "--fine-tune", fine_tune]
    succeed(train("3c", sample_data, tmp_path, *options))
    before, after = (read_model(path)["state_dict"] for path in (model_of("3a"), tmp_path / "rnn.model"))
    assert after.keys() - before.keys() == {"fc_output.weight", "fc_output.bias"}
    assert before.keys() - after.keys() == {"decoder.weight", "decoder.bias"}
    shared = [name for name in after if name in before and not is_buffer(name)]
    changed = {name for name in shared if not torch.equal(before[name], after[name])}
    expected = [name for name in shared if fine_tune != "last" or name.startswith(("lstm3", "bn_lstm3"))]
    assert changed == set(expected)


def test_the_rate_falls_from_layer_to_layer(model_of, sample_data, tmp_path):
    options = ["--language-model", model_of("3a"), "--epochs", 1, "--fine-tune", "by-layer"]
    succeed(train("3c", sample_data, tmp_path, *options))
    optimizer = read_model(tmp_path / "rnn.state")["optimizer"]
    rates = {i: group["lr"] for group in optimizer["param_groups"] for i in group["params"]}
    shapes = {i: state["exp_avg"].shape for i, state in optimizer["state"].items()}
    # output; third, second, first LSTM layer with its norm; embedding
    expected = [*[0.01] * 2, *[0.01 / 2.6] * 6, *[0.01 / 2.6**2] * 6, *[0.01 / 2.6**3] * 7]
    assert [rates[i] for i in range(21)] == pytest.approx(expected)
    assert shapes[0] == (1, 16)
    assert shapes[20] == (501, 16)


def test_stop_words_are_unknown(sample_data, tmp_path):
    data = data_with(tmp_path / "data", sample_data, {"nltk_data": None})
    stopwords = data / "nltk_data" / "corpora" / "stopwords" / "english"
    stopwords.parent.mkdir(parents=True)
    stopwords.write_text("the\na\nis\n")
    options = [*TINY["1a"].split(), "--epochs", 1, "--data", data, "--device", "cpu"]
    model = tmp_path / "BOW.model"
    script = "1a/BOW_sentiment_analysis.py"
    succeed(run_script(script, *options, "--output", tmp_path, "--remove-stop-words"))
    succeed(run_script("1a/BOW_test.py", "--data", data, "--model", model))

    # the embedding of a word that no review holds keeps its first values
    torch.manual_seed(0)
    start = nn.EmbeddingBag(1001, 32).weight
    learned = (read_model(model)["state_dict"]["embedding.weight"] != start).any(dim=1)
    dictionary = np.load(sample_data / "imdb_dictionary.npy").tolist()
    assert [bool(learned[dictionary.index(word) + 1]) for word in ("the", "a", "is", "film", "great")] == (
        [False] * 3 + [True] * 2
    )


# ------------------------------------------------------------------------------------------------- testing


@pytest.mark.parametrize("part", PARTS)
def test_test_script_agrees_with_the_training(part, trained, tree):
    _, tests = printed_epochs(part, trained[part].stdout)
    last = list(tests.values())[-1]
    lengths = ["--lengths", 20, 60] if part in RNN_PARTS else []
    done = succeed(run_script(PARTS[part][1], *lengths, "--batch-size", 50, "--device", "cpu", cwd=tree / part))
    if part in RNN_PARTS:
        printed = printed_lengths(part, done.stdout)
        assert list(printed) == [20, 60]
        assert printed[60] == last
        assert printed[20] != last
    else:
        match = re.fullmatch(figures_pattern(part) + "\n", done.stdout)
        assert [float(figure) for figure in match.groups()] == last
    assert done.stderr == "running on the CPU, 1 thread\n"


@needs_bf16
@pytest.mark.parametrize("part", PARTS)
def test_precision_of_trainings_and_tests(part, after_one_epoch, model_of, sample_data, tmp_path):
    extra = ["--language-model", model_of("3a")] if part == "3c" else []
    coarse = ["--precision", "bf16"]
    done = succeed(train(part, sample_data, tmp_path, "--epochs", 1, *coarse, *extra))
    model = tmp_path / PARTS[part][2]
    assert not same_weights(model, after_one_epoch(part))

    script = [f"{part}/{PARTS[part][1]}", "--data", sample_data, "--model", model, "--device", "cpu"]
    script += ["--batch-size", 50] + (["--lengths", 60] if part in RNN_PARTS else [])
    last = done.stdout.splitlines()[-1].split()
    of_bf16, of_fp32 = (succeed(run_here(*script, *options)).stdout.split() for options in (coarse, []))
    start = 1 if part in RNN_PARTS else 0  # behind the length
    assert of_bf16[start : start + 2] == last[:2]
    if part not in ("2b", "3c"):  # their 16 units hardly differ
        assert of_fp32[start : start + 2] != last[:2]


def test_lengths_are_the_handouts_by_default(model_of, sample_data):
    done = succeed(run_here("2a/RNN_test.py", "--data", sample_data, "--model", model_of("2a")))
    assert list(printed_lengths("2a", done.stdout)) == list(range(50, 501, 50))


@pytest.mark.parametrize("part", PARTS)
def test_figures_do_not_depend_on_the_batch_size(part, model_of, sample_data):
    script = f"{part}/{PARTS[part][1]}"
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu"]
    options += ["--lengths", 60] if part in RNN_PARTS else []
    figures = []
    for batch_size in (1000, 999, 64):
        done = succeed(run_here(script, *options, "--batch-size", batch_size))
        # the last match of the line: without the length
        figures.append([float(figure) for figure in re.search(figures_pattern(part) + "$", done.stdout)[0].split()])
    for other in figures[1:]:
        assert other[:2] == pytest.approx(figures[0][:2], abs=2e-3)


@pytest.mark.parametrize("part", RNN_PARTS)
def test_crops_are_drawn_by_the_seed(part, model_of, sample_data):
    script = f"{part}/{PARTS[part][1]}"
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu", "--lengths", 40]
    figures = [printed_lengths(part, succeed(run_here(script, *options, "--seed", seed)).stdout) for seed in (0, 0, 1)]
    assert figures[0] == figures[1] != figures[2]


def score(done):
    """The probability that a test script printed for a review, which its verdict must fit."""
    words = r"(?:[+-][01]\.\d{4} \S+\n){0,10}"  # of parts 2a, 2b and 3c
    match = re.fullmatch(r"([01]\.\d{4}) (positive|negative)\n" + words, succeed(done).stdout)
    probability = float(match[1])
    assert match[2] == ("positive" if probability >= 0.5 else "negative")
    return probability


@pytest.mark.parametrize("part", SENTIMENT_PARTS)
def test_own_review(part, model_of, sample_data):
    script = f"{part}/{PARTS[part][1]}"
    options = ["--data", sample_data, "--model", model_of(part)]
    positive, negative = (score(run_here(script, *options, "--review", text)) for text in (POSITIVE, NEGATIVE))
    if part in ("1a", "1b"):
        assert positive > 0.6 > 0.4 > negative
    elif part != "3c":
        assert positive > negative
    assert score(run_here(script, *options, "--review", "-", stdin=POSITIVE + "\n")) == positive
    # as in the training reviews, <br /> is a space and capitals do not count
    assert score(run_here(script, *options, "--review", POSITIVE.upper().replace(" ", "<br />"))) == positive
    # words that are all unknown have none
    refused(run_here(script, *options, "--review", "qwxz"), "no word that the model knows")


def test_own_review_in_the_parts_directory(trained, tree):
    done = run_script("BOW_test.py", "--review", "-", cwd=tree / "1a", stdin=NEGATIVE)
    assert score(done) < 0.4


def test_own_review_of_the_language_model(model_of, sample_data):
    options = ["3a/RNN_language_test.py", "--data", sample_data, "--model", model_of("3a"), "--review"]
    plain, shuffled = (
        re.fullmatch(figures_pattern("3a") + "\n", succeed(run_here(*options, text)).stdout)
        for text in ("this is a great film and the music is great .", ". great film and is the a great music is this")
    )
    assert float(plain[2]) < float(shuffled[2])


# ---------------------------------------------------------------------------------------------- generation


@pytest.fixture
def generate(model_of, sample_data):
    """A function that runs 3b with options and returns its reviews, lists of words."""

    def run(*options):
        arguments = ["--data", sample_data, "--model", model_of("3a"), "--device", "cpu", "--raw", *options]
        return [line.split(" ") for line in succeed(run_here("3b/generate_review.py", *arguments)).stdout.splitlines()]

    return run


def test_generation_in_its_own_directory(trained, tree):
    runs = [succeed(run_script("generate_review.py", "--raw", "--device", "cpu", cwd=tree / "3b")) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout
    reviews = [line.split(" ") for line in runs[0].stdout.splitlines()]
    assert [review[0] for review in reviews] == ["a", "i"]
    assert [len(review) for review in reviews] == [151, 151]
    assert runs[0].stderr == "running on the CPU, 1 thread\n"


def test_primes_count_and_length(generate):
    primes = ["The film", "I was", "This wasn't the GREAT qwxz film that"]
    reviews = generate(*[word for prime in primes for word in ("--prime", prime)], "--count", 3, "--length", 20)
    # a word outside the vocabulary is shown as what the model sees
    tokens = [["the", "film"], ["i", "was"], ["this", "was", "n't", "the", "great", "<unk>", "film", "that"]]
    expected = [prime for prime in tokens for _ in range(3)]
    assert [review[: len(prime)] for review, prime in zip(reviews, expected, strict=True)] == expected
    assert [len(review) - len(prime) for review, prime in zip(reviews, expected, strict=True)] == [20] * 9
    assert len({tuple(review) for review in reviews}) == 9


def test_generation_repeats_itself_for_the_same_seed(generate):
    options = ["--length", 30, "--count", 4, "--temperature", 1.3]
    assert generate(*options, "--seed", 3) == generate(*options, "--seed", 3)
    assert generate(*options, "--seed", 3) != generate(*options, "--seed", 4)


@needs_bf16
def test_generation_in_bf16(generate):
    options = ["--length", 100, "--count", 4]
    assert generate(*options, "--precision", "bf16") != generate(*options)


def test_the_unknown_word_is_never_sampled(generate, sample_data):
    # with a vocabulary of 500 it is among the commonest
    reviews = generate("--length", 100, "--count", 10)
    known = set(np.load(sample_data / "imdb_dictionary.npy")[:500].tolist())
    assert {word for review in reviews for word in review} <= known


@pytest.mark.parametrize("temperature", [1e-3, 1e-300])
def test_near_temperature_0_the_seed_does_not_matter(temperature, generate):
    reviews = [generate("--temperature", temperature, "--length", 30, "--seed", seed) for seed in (0, 1)]
    assert reviews[0] == reviews[1]


def test_a_higher_temperature_is_wilder(generate):
    words = [
        {word for review in generate("--temperature", temperature, "--count", 5) for word in review}
        for temperature in (0.25, 1.0, 1.5)
    ]
    assert len(words[0]) < len(words[1]) < len(words[2])


def test_generation_in_batches(generate):
    assert [len(review) for review in generate("--count", 5, "--batch-size", 4, "--length", 10)] == [11] * 10


# ---------------------------------------------------------------------------------------------------- CUDA


@needs_cuda
@pytest.mark.parametrize("part", PARTS)
def test_on_cuda(part, model_of, sample_data, tmp_path):
    extra = ["--language-model", model_of("3a")] if part == "3c" else []
    done = succeed(train(part, sample_data, tmp_path, *extra, "--device", "cuda"))
    assert done.stderr.startswith("running on CUDA: ")
    training, _ = printed_epochs(part, done.stdout)
    assert training[len(training) - 1][0] > LEARNED[part]
    lengths = ["--lengths", 60] if part in RNN_PARTS else []
    for device in ("auto", "cpu"):
        options = ["--data", sample_data, "--model", tmp_path / PARTS[part][2], "--device", device, *lengths]
        succeed(run_here(f"{part}/{PARTS[part][1]}", *options))


@needs_cuda
def test_generation_on_cuda(generate):
    options = ["--device", "cuda", "--length", 20]
    assert generate(*options) == generate(*options)
