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
    data_with,
    read_model,
    refused,
    run_here,
    same_weights,
    succeed,
    train,
)

from common.data.reviews import Vocabulary, hold_out, load_reviews
from common.files import npy_bytes


def log(folder):
    """The lines of log.csv, dicts from column to text."""
    with open(folder / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


# ------------------------------------------------------------------------------------------------ reviews held out


def reviews_of(sample_data, labelled=True):
    return load_reviews(sample_data, "train", Vocabulary(sample_data), "cpu", labelled)


def as_lists(reviews):
    return [ids.tolist() for ids in reviews.ids.split(reviews.lengths.tolist())]


@pytest.mark.parametrize("number", [1, 101, 998])
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
def test_the_test_reviews_are_looked_at_once(part, run, tmp_path):
    options = ["--validation", 100, "--epochs", 2, *(["--test-every", 1] if part not in ("1a", "1b") else [])]
    done = succeed(run(part, "run", *options))
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["0", "validation", "1", "validation"]
    assert re.fullmatch(r"   \d+\.\d\d \d+\.\d{4} \d+\.\d{4}( \d+\.\d\d)?", lines[-1])
    rows = log(tmp_path / "run")
    assert all(row["validation accuracy"] for row in rows)
    assert [bool(row["test accuracy"]) for row in rows] == [False, True]
    assert f"{100 * float(rows[-1]['test accuracy']):.2f}" == lines[-1].split()[0]
    assert np.isnan(np.load(tmp_path / "run" / "data.npy")[2]).tolist() == [True, False]


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
    changed = {"imdb_test_labels.npy": npy_bytes(labels[::-1])}
    data = data_with(tmp_path / "data", sample_data, changed)
    options = ["--validation", 100, "--early-stopping", 2, "--epochs", 30]
    succeed(run("1a", "run", *options))
    succeed(train("1a", data, tmp_path / "other", *options))
    assert same_weights(tmp_path / "run" / "BOW.model", tmp_path / "other" / "BOW.model")


# --------------------------------------------------------------------------------------------------- the schedule


def test_one_cycle_has_no_drop_and_an_end(run):
    for schedule in ("one-cycle", "plateau"):
        refused(run("1a", "run", "--schedule", schedule, "--lr-drop-epoch", 2), "--lr-drop-epoch", "--schedule")
    succeed(run("1a", "run", "--schedule", "one-cycle", "--epochs", 2))
    done = run("1a", "run", "--schedule", "one-cycle", "--epochs", 3, "--resume")
    refused(done, "--epochs 2", "--overwrite")


# rates so high that the loss soon stops falling
@pytest.mark.parametrize(("lr", "validation"), [(1.0, []), (3.0, ["--validation", 100, "--batch-size", 45])])
def test_a_plateau_is_pytorchs(lr, validation, run, tmp_path):
    options = ["--schedule", "plateau", "--lr", lr, *validation]
    succeed(run("1a", "run", *options, "--epochs", 7))
    rows = log(tmp_path / "run")
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=1)
    for row in rows:
        assert float(row["learning rate"]) == optimizer.param_groups[0]["lr"]
        scheduler.step(float(row["validation loss" if validation else "test loss"]))
    assert {round(float(row["learning rate"]), 9) for row in rows} >= {lr, lr / 10}

    # a run that was cut off remembers the tests before
    for epochs in (1, 3, 7):
        succeed(run("1a", "cut", *options, "--epochs", epochs, "--resume"))
    assert [row["learning rate"] for row in log(tmp_path / "cut")] == [row["learning rate"] for row in rows]


def test_the_rate_drops_at_its_step(run, tmp_path):
    succeed(run("3a", "run", "--lr-drop-epoch", 1))
    assert [float(row["learning rate"]) for row in log(tmp_path / "run")] == [0.01, pytest.approx(0.001)]


def test_a_dictionary_smaller_than_the_vocabulary(sample_data, tmp_path):
    options = ["--data", sample_data, "--output", tmp_path, "--device", "cpu", "--hidden-units", 4, "--epochs", 1]
    done = succeed(run_here("1a/BOW_sentiment_analysis.py", *options))
    words = len(np.load(sample_data / "imdb_dictionary.npy"))
    assert f"the dictionary in {sample_data} has {words} words: all are kept\n" in done.stderr
    assert read_model(tmp_path / "BOW.model")["hyperparameters"]["vocab_size"] == words + 1


# -------------------------------------------------------------------------------------------- trainings that run away


@pytest.mark.parametrize(("part", "options"), [("3a", ["--optimizer", "sgd", "--lr", 1e30]), ("1a", ["--lr", 1e9])])
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
