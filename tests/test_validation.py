"""Trainings that hold reviews out, and schedules of the learning rate; trainings that run away."""

import csv
import json
import math
import re

import numpy as np
import pytest
import torch
from conftest import (
    PARTS,
    TINY,
    data_with,
    read_model,
    refused,
    run_here,
    same_weights,
    succeed,
    train,
)

from common.data.reviews import Vocabulary, hold_out, load_reviews


def log(folder):
    """The lines of log.csv, dicts from column to text."""
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------------------------------------ reviews held out


def reviews_of(sample_data, labelled=True):
    return load_reviews(sample_data, "train", Vocabulary(sample_data), "cpu", labelled)


def as_lists(reviews):
    return [ids.tolist() for ids in reviews.ids.split(reviews.lengths.tolist())]


@pytest.mark.parametrize("number", [1, 2, 101, 998])
def test_half_of_the_reviews_held_out_are_positive(number, sample_data):
    reviews = reviews_of(sample_data)
    rest, held_out = hold_out(reviews, number, seed=3)
    assert (len(rest), len(held_out)) == (len(reviews) - number, number)
    assert held_out.labels.sum() == number // 2
    # they are the same reviews, each with its label
    pairs = [list(zip(as_lists(x), x.labels.tolist(), strict=True)) for x in (reviews, rest, held_out)]
    assert sorted(pairs[0]) == sorted(pairs[1] + pairs[2])


def test_the_seed_draws_them(sample_data):
    reviews = reviews_of(sample_data)
    one, same, other = (hold_out(reviews, 50, seed)[1] for seed in (1, 1, 2))
    assert as_lists(one) == as_lists(same) != as_lists(other)
    # 3a holds the same out as the sentiment parts, and no unlabelled one
    rest, held_out = hold_out(reviews_of(sample_data, labelled=False), 50, seed=1)
    assert as_lists(held_out) == as_lists(one)
    assert (rest.labels < 0).sum() == 2000


def test_too_many_held_out(run):
    refused(run("1a", "run", "--validation", 1000), "--validation 1000", "500", "smaller")


@pytest.mark.parametrize("part", PARTS)
def test_the_test_reviews_are_looked_at_once(part, run, tmp_path, sample_data):
    done = succeed(
        run(part, "run", "--validation", 100, "--batch-size", 50, "--test-every", 1)
        if part not in ("1a", "1b")
        else run(part, "run", "--validation", 100)
    )
    lines = done.stdout.splitlines()
    epochs = int(re.search(r"--epochs (\d+)", TINY[part])[1])
    assert [line.split()[0] for line in lines[:-1]] == [word for n in range(epochs) for word in (str(n), "validation")]
    assert re.fullmatch(r"   \d+\.\d\d \d+\.\d{4} \d+\.\d{4}( \d+\.\d\d)?", lines[-1])
    rows = log(tmp_path / "run")
    assert all(row["validation accuracy"] for row in rows)
    assert [bool(row["test accuracy"]) for row in rows] == [False] * (epochs - 1) + [True]
    assert f"{100 * float(rows[-1]['test accuracy']):.2f}" == lines[-1].split()[0]
    assert np.isnan(np.load(tmp_path / "run" / "data.npy")[2]).sum() == epochs - 1

    again = succeed(
        run(part, "run", "--validation", 100, "--batch-size", 50, "--test-every", 1, "--resume")
        if part not in ("1a", "1b")
        else run(part, "run", "--validation", 100, "--resume")
    )
    assert again.stdout == ""


def test_the_model_has_the_weights_that_were_best_on_the_reviews_held_out(run, sample_data, tmp_path):
    options = ["--validation", 100, "--early-stopping", 2, "--epochs", 60, "--lr", 0.02]
    done = succeed(run("1a", "run", *options))
    rows = log(tmp_path / "run")
    accuracies = [float(row["validation accuracy"]) for row in rows]
    best = accuracies.index(max(accuracies))
    assert len(rows) == best + 3 < 60
    assert [number for number, row in enumerate(rows) if row["test accuracy"]] == [best]
    # the test script finds what the final test found
    options = ["--data", sample_data, "--model", tmp_path / "run" / "BOW.model", "--device", "cpu", "--batch-size", 50]
    tested = succeed(run_here("1a/BOW_test.py", *options))
    assert tested.stdout.split()[:2] == done.stdout.splitlines()[-1].split()[:2]
    assert not same_weights(read_model(tmp_path / "run" / "BOW.state")["weights"], tmp_path / "run" / "BOW.model")


def test_the_test_reviews_decide_nothing(run, sample_data, tmp_path):
    # other labels of the test reviews, the same run
    labels = np.load(sample_data / "imdb_test_labels.npy")
    with open(tmp_path / "labels.npy", "wb") as file:
        np.save(file, labels[::-1])
    changed = {"imdb_test_labels.npy": (tmp_path / "labels.npy").read_bytes()}
    data = data_with(tmp_path / "data", sample_data, changed)
    options = ["--validation", 100, "--early-stopping", 2, "--epochs", 30]
    succeed(run("1a", "run", *options))
    succeed(train("1a", data, tmp_path / "other", *options))
    assert same_weights(tmp_path / "run" / "BOW.model", tmp_path / "other" / "BOW.model")


# --------------------------------------------------------------------------------------------------- the schedule


def test_one_cycle_is_pytorchs(run, tmp_path, monkeypatch):
    rates = []
    step = torch.optim.Adam.step

    def step_and_note(self, *arguments):
        rates.append((self.param_groups[0]["lr"], self.param_groups[0]["betas"][0]))
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", step_and_note)
    succeed(run("1a", "run", "--schedule", "one-cycle", "--lr", 0.02, "--epochs", 3))
    monkeypatch.undo()

    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=60)
    expected = []
    for _ in range(60):
        expected.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["betas"][0]))
        optimizer.step()
        scheduler.step()
    assert rates == expected
    assert max(rate for rate, _ in rates) == pytest.approx(0.02, rel=0.01)
    assert rates[-1][0] < 1e-6
    assert [float(row["learning rate"]) for row in log(tmp_path / "run")] == [rate for rate, _ in expected[::20]]


def test_one_cycle_has_no_drop_and_an_end(run):
    for schedule in ("one-cycle", "plateau"):
        refused(run("1a", "run", "--schedule", schedule, "--lr-drop-epoch", 2), "--lr-drop-epoch", "--schedule")
    succeed(run("1a", "run", "--schedule", "one-cycle", "--epochs", 2))
    done = run("1a", "run", "--schedule", "one-cycle", "--epochs", 3, "--resume")
    refused(done, "--epochs 2", "--overwrite")


@pytest.mark.parametrize("validation", [[], ["--validation", 100, "--batch-size", 45]], ids=["test", "validation"])
def test_a_plateau_is_pytorchs(validation, run, tmp_path):
    options = ["--schedule", "plateau", "--lr", 0.05, *validation]
    succeed(run("1a", "run", *options, "--epochs", 7))
    rows = log(tmp_path / "run")
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.05)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=1)
    for row in rows:
        assert float(row["learning rate"]) == optimizer.param_groups[0]["lr"]
        scheduler.step(float(row["validation loss" if validation else "test loss"]))
    assert {round(float(row["learning rate"]), 9) for row in rows} >= {0.05, 0.005}

    # a run that is cut off remembers the tests before
    for epochs in range(1, 8):
        succeed(run("1a", "cut", *options, "--epochs", epochs, *(["--resume"] if epochs > 1 else [])))
    assert [row["learning rate"] for row in log(tmp_path / "cut")] == [row["learning rate"] for row in rows]
    if not validation:
        assert same_weights(tmp_path / "cut" / "BOW.model", tmp_path / "run" / "BOW.model")


def test_the_rate_drops_at_its_step(run, tmp_path):
    succeed(run("3a", "run", "--lr-drop-epoch", 1))
    assert [float(row["learning rate"]) for row in log(tmp_path / "run")] == [0.01, pytest.approx(0.001)]


# ------------------------------------------------------------------------------------- states of before an option


def test_a_state_that_knew_fewer_options_is_gone_on_from(run, tmp_path):
    options = ["--lr-drop-epoch", 1]
    succeed(run("1a", "straight", *options, "--epochs", 2))
    succeed(run("1a", "cut", *options, "--epochs", 1))
    path = tmp_path / "cut" / "BOW.state"
    saved = read_model(path)
    for name in ("schedule", "validation"):
        del saved["options"][name]
    # that version set the rate when an epoch began, and kept none in the history
    saved["optimizer"]["param_groups"][0] = {
        name: value for name, value in saved["optimizer"]["param_groups"][0].items() if name != "initial_lr"
    } | {"lr": 0.005}
    saved["history"] = [
        {name: value for name, value in epoch.items() if name != "learning_rate"} for epoch in saved["history"]
    ]
    torch.save(saved, path)
    succeed(run("1a", "cut", *options, "--epochs", 2, "--resume"))
    assert same_weights(tmp_path / "cut" / "BOW.model", tmp_path / "straight" / "BOW.model")
    refused(run("1a", "cut", *options, "--epochs", 3, "--resume", "--schedule", "one-cycle"), "--schedule constant")


def test_a_state_with_the_default_vocabulary_is_gone_on_from(sample_data, tmp_path):
    options = ["--data", sample_data, "--output", tmp_path, "--device", "cpu", "--hidden-units", 4, "--batch-size", 50]
    first = succeed(run_here("1a/BOW_sentiment_analysis.py", *options, "--epochs", 1))
    words = len(np.load(sample_data / "imdb_dictionary.npy"))
    assert f"the dictionary in {sample_data} has {words} words: all are kept\n" in first.stderr
    assert read_model(tmp_path / "BOW.model")["hyperparameters"]["vocab_size"] == words + 1
    saved = read_model(tmp_path / "BOW.state")
    saved["options"]["vocab_size"] = 8000
    torch.save(saved, tmp_path / "BOW.state")
    succeed(run_here("1a/BOW_sentiment_analysis.py", *options, "--epochs", 2, "--resume"))
    refused(
        run_here("1a/BOW_sentiment_analysis.py", *options, "--epochs", 2, "--vocab-size", 8000), "8000 words", words
    )


# -------------------------------------------------------------------------------------------- trainings that run away

AWAY = ["--optimizer", "sgd", "--lr", 1e30]


@pytest.mark.parametrize(("part", "options"), [("1a", AWAY), ("2a", AWAY), ("3a", AWAY), ("1a", ["--lr", 1e9])])
def test_a_loss_without_meaning_ends_the_run(part, options, run, tmp_path):
    done = run(part, "run", *options)
    refused(done, "loss of epoch 0", "--lr")
    assert not list((tmp_path / "run").glob("*.model"))


def test_the_epochs_before_are_kept(run, tmp_path, monkeypatch):
    succeed(run("1a", "run", "--epochs", 1))
    saved = read_model(tmp_path / "run" / "BOW.state")
    saved["weights"]["fc_output.weight"].fill_(math.nan)
    torch.save(saved, tmp_path / "run" / "BOW.state")
    done = run("1a", "run", "--epochs", 2, "--resume")
    assert done.returncode == 2
    assert "epoch 1 is nan" in done.stderr
    assert len(json.loads((tmp_path / "run" / "run.json").read_text())["epochs"]) == 1


@pytest.mark.parametrize("script", ["3a/RNN_language_test.py", "3b/generate_review.py", "3c/RNN_sentiment_analysis.py"])
def test_a_model_without_numbers_is_refused(script, sample_data, model_of, tmp_path):
    saved = read_model(model_of("3a"))
    saved["state_dict"]["lstm2.lstm.weight_hh_l0"][3, 3] = math.nan
    torch.save(saved, tmp_path / "language.model")
    if script.startswith("3c"):
        done = train("3c", sample_data, tmp_path, "--language-model", tmp_path / "language.model")
    else:
        done = run_here(script, "--data", sample_data, "--model", tmp_path / "language.model", "--device", "cpu")
    refused(done, tmp_path / "language.model", "not numbers", "3a/train_language_model.py")
