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
    run_here,
    run_script,
    same_weights,
    succeed,
    train,
    training,
)
from twins import load_file

from common.data.reviews import Vocabulary, load_reviews
from common.distributed.device import cpu_has_bf16, cpu_is_fast_in_bf16
from common.training import loop as training_loop
from common.training.loop import make_optimizer

RNN_PARTS = ["2a", "2b", "3a", "3c"]

# with the TINY settings
EPOCHS_WITH_TEST = {"1a": [0, 1, 2], "1b": [0, 1, 2], "2a": [2, 3], "2b": [2, 3], "3a": [0, 1], "3c": [1, 2]}
# training accuracy in percent that a model which learns passes; the TINY 3c barely does
LEARNED = {"1a": 65, "1b": 65, "2a": 53, "2b": 53, "3a": 15, "3c": 0}

needs_bf16 = pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU has no LSTM in bf16")


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
def test_training_prints_the_handouts_lines(part, trained, model_of):
    training, tests = printed_epochs(part, trained[part].stdout)
    assert list(training) == list(range(len(training)))
    assert list(tests) == EPOCHS_WITH_TEST[part]
    last = training[len(training) - 1]
    assert last[0] > LEARNED[part]
    if part == "3a":
        for _, loss, perplexity in [*training.values(), *tests.values()]:
            assert perplexity == pytest.approx(math.exp(loss), rel=1e-3)
    # messages go to standard error
    faster = "with --precision bf16 this CPU needs half to two thirds of the time\n"
    faster = faster if part in RNN_PARTS and cpu_is_fast_in_bf16() else ""
    assert trained[part].stderr == f"running on the CPU, 1 thread\n{faster}saved {model_of(part)}\n"


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
    is_default = {name for name in given if f"{name} {given[name]}" in HANDOUT_DEFAULTS[part]}
    assert settings == {name: f"{float(given[name]):g}" for name in given.keys() - is_default}


def is_buffer(name):
    """Whether an entry of a state_dict is a running figure of batch norm, which no optimizer changes."""
    return name.endswith(("running_mean", "running_var", "num_batches_tracked"))


@pytest.fixture(scope="session")
def after_one_epoch(trained, model_of, sample_data, tmp_path_factory):
    """A function from a part to its model file with the TINY settings and one epoch."""
    folder = tmp_path_factory.mktemp("one-epoch")
    made = {}

    def model(part):
        if part not in made:
            made[part] = folder / part / PARTS[part][2]
            extra = ["--language-model", model_of("3a")] if part == "3c" else []
            succeed(train(part, sample_data, made[part].parent, "--epochs", 1, *extra))
        return made[part]

    return model


@pytest.mark.parametrize("part", PARTS)
def test_same_seed_same_weights_from_any_directory(part, after_one_epoch, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeed(run(part, "again", "--epochs", 1))
    assert same_weights(tmp_path / "again" / PARTS[part][2], after_one_epoch(part))
    succeed(run(part, "other", "--epochs", 1, "--seed", 1))
    assert not same_weights(tmp_path / "other" / PARTS[part][2], after_one_epoch(part))


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


BOW_DEFAULTS = "epochs 6, hidden-layers 1, dropout 0.5"
RNN_DEFAULTS = "epochs 20, train-length 100, test-length 200, test-every 3, dropout 0.5, pool max"
LANGUAGE_DEFAULTS = "epochs 75, train-length 50, test-length 100, test-every 1, dropout 0.3, clip 2.0, lr-drop-epoch 50"
HANDOUT_DEFAULTS = {
    "1a": f"{BOW_DEFAULTS}, vocab-size 8000",
    "1b": f"{BOW_DEFAULTS}, vocab-size all",
    "2a": f"{RNN_DEFAULTS}, vocab-size 8000, layers 1",
    "2b": f"{RNN_DEFAULTS}, vocab-size all, layers 1",
    "3a": f"{LANGUAGE_DEFAULTS}, vocab-size 8000, layers 3",
    "3c": f"{RNN_DEFAULTS}, vocab-size 8000, layers 3, fine-tune last",
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
    assert defaults == common | dict(default.split() for default in HANDOUT_DEFAULTS[part].split(", "))


# part, options, what the model file's hyperparameters then say
OPTIONS = [
    (
        "1a",
        "--hidden-layers 3 --dropout 0.2 --hidden-units 8 --vocab-size 300 --optimizer sgd",
        {"no_of_hidden_layers": 3, "dropout": 0.2, "no_of_hidden_units": 8, "vocab_size": 301},
    ),
    (
        "1b",
        "--hidden-layers 3 --dropout 0 --hidden-units 8",
        {"no_of_hidden_layers": 3, "dropout": 0, "no_of_hidden_units": 8, "in_size": 50},
    ),
    ("1b", "--vocab-size 300", {"in_size": 50}),
    (
        "2a",
        "--layers 2 --dropout 0 --hidden-units 8 --vocab-size 400 --pool mean",
        {"no_of_layers": 2, "dropout": 0, "no_of_hidden_units": 8, "vocab_size": 401, "pool": "mean"},
    ),
    ("2a", "--train-length 15", {"no_of_layers": 1, "pool": "max"}),
    (
        "2b",
        "--layers 2 --dropout 0 --hidden-units 8 --pool mean",
        {"no_of_layers": 2, "dropout": 0, "no_of_hidden_units": 8, "pool": "mean", "in_size": 50},
    ),
    (
        "3a",
        "--layers 2 --dropout 0 --hidden-units 8 --vocab-size 400",
        {"no_of_layers": 2, "dropout": 0, "no_of_hidden_units": 8, "vocab_size": 401},
    ),
    ("3a", "--tied-weights", {"tied_weights": True}),
    ("3a", "--clip 0.01", {"no_of_layers": 3, "dropout": 0.3}),
    (
        "3c",
        "--pool concat --dropout 0",
        {"pool": "concat", "dropout": 0, "no_of_layers": 3},
    ),
]


@pytest.mark.parametrize(("part", "options", "hyperparameters"), OPTIONS, ids=lambda value: str(value))
def test_an_option_changes_the_model(part, options, hyperparameters, after_one_epoch, run, sample_data, tmp_path):
    succeed(run(part, "changed", "--epochs", 1, *options.split()))
    model = tmp_path / "changed" / PARTS[part][2]
    assert hyperparameters.items() <= read_model(model)["hyperparameters"].items()
    assert not same_weights(model, after_one_epoch(part))

    # the test script needs no word about them
    lengths = ["--lengths", 30] if part in RNN_PARTS else []
    succeed(run_here(f"{part}/{PARTS[part][1]}", "--data", sample_data, "--model", model, *lengths))


@pytest.mark.parametrize("part", RNN_PARTS)
def test_testing_leaves_the_training_alone(part, after_one_epoch, run, tmp_path):
    succeed(run(part, "other", "--epochs", 1, "--test-length", 30, "--test-every", 1))
    models = tmp_path / "other" / PARTS[part][2], after_one_epoch(part)
    assert same_weights(*models)
    other, mine = (np.load(model.parent / "data.npy") for model in models)
    np.testing.assert_array_equal(mine[:2], other[:2])
    other, mine = (json.loads((model.parent / "run.json").read_text())["epochs"][0] for model in models)
    assert mine["test_loss"] != other["test_loss"]


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [("sgd", {"lr": 0.01, "momentum": 0.9}), ("adam", {"lr": 0.001, "betas": (0.9, 0.999)})],
)
def test_defaults_of_the_optimizers(optimizer, settings):
    options = load_file("1a/BOW_sentiment_analysis.py").parse_options(["--optimizer", optimizer])
    (group,) = make_optimizer(options, [torch.zeros(1, requires_grad=True)]).param_groups
    assert settings.items() <= group.items()


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


@pytest.mark.parametrize("fine_tune", ["last", "all"])
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
    # a process of its own, for NLTK keeps a list that it has read
    succeed(run_script(*training("1a", data, tmp_path, "--epochs", 1, "--remove-stop-words")))

    # the embedding of a word that no review holds keeps its first values
    torch.manual_seed(0)
    start = nn.EmbeddingBag(1001, 32).weight
    learned = (read_model(tmp_path / "BOW.model")["state_dict"]["embedding.weight"] != start).any(dim=1)
    dictionary = np.load(sample_data / "imdb_dictionary.npy").tolist()
    assert [bool(learned[dictionary.index(word) + 1]) for word in ("the", "a", "is", "film", "great")] == (
        [False] * 3 + [True] * 2
    )


# ------------------------------------------------------------------------------------------------- testing


@pytest.mark.parametrize("part", PARTS)
def test_test_script_agrees_with_the_training(part, trained, tree, sample_data):
    _, tests = printed_epochs(part, trained[part].stdout)
    last = list(tests.values())[-1]
    options = ["--data", sample_data, "--batch-size", 50, "--device", "cpu"]
    options += ["--lengths", 20, 60] if part in RNN_PARTS else []
    done = succeed(run_here(str(tree / part / PARTS[part][1]), *options))  # the model is the one beside it
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
def test_precision_of_trainings_and_tests(part, after_one_epoch, run, sample_data, tmp_path):
    coarse = ["--precision", "bf16"]
    done = succeed(run(part, "coarse", "--epochs", 1, *coarse))
    model = tmp_path / "coarse" / PARTS[part][2]
    assert not same_weights(model, after_one_epoch(part))

    script = [f"{part}/{PARTS[part][1]}", "--data", sample_data, "--model", model, "--device", "cpu"]
    script += ["--batch-size", 50] + (["--lengths", 60] if part in RNN_PARTS else [])
    last = done.stdout.splitlines()[-1].split()
    of_bf16, of_fp32 = (succeed(run_here(*script, *options)).stdout.split() for options in (coarse, []))
    start = 1 if part in RNN_PARTS else 0  # after the length
    assert of_bf16[start : start + 2] == last[:2]
    if part in ("2a", "3a"):  # the others' small models hardly differ
        assert of_fp32[start : start + 2] != last[:2]


def test_long_trainings_say_where_bf16_is_faster(run, monkeypatch):
    """Only in parts with LSTM layers, only where the user has not chosen."""
    monkeypatch.setattr(training_loop, "cpu_is_fast_in_bf16", lambda: True)
    for part, options, says_so in (("2a", [], True), ("2a", ["--precision", "fp32"], False), ("1a", [], False)):
        assert ("--precision bf16" in succeed(run(part, part, "--epochs", 1, *options)).stderr) == says_so


def test_lengths_are_the_handouts_by_default(model_of, sample_data):
    done = succeed(run_here("2a/RNN_test.py", "--data", sample_data, "--model", model_of("2a")))
    assert list(printed_lengths("2a", done.stdout)) == list(range(50, 501, 50))


@pytest.mark.parametrize("part", ["2a", "3a"])
def test_crops_are_drawn_by_the_seed(part, model_of, sample_data):
    script = f"{part}/{PARTS[part][1]}"
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu", "--lengths", 40]
    figures = [printed_lengths(part, succeed(run_here(script, *options, "--seed", seed)).stdout) for seed in (0, 0, 1)]
    assert figures[0] == figures[1] != figures[2]


def test_own_review_of_the_language_model(model_of, sample_data):
    options = ["3a/RNN_language_test.py", "--data", sample_data, "--model", model_of("3a"), "--review"]
    plain, shuffled = (
        re.fullmatch(figures_pattern("3a") + "\n", succeed(run_here(*options, text)).stdout)
        for text in ("this is a great film and the music is great .", ". great film and is the a great music is this")
    )
    assert float(plain[2]) < float(shuffled[2])
