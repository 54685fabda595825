"""Part 3c trained on unlabelled reviews, too, with the verdicts of other models as their labels."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import data_with, read_model, refused, same_weights, succeed
from twins import load_file

from common.data.reviews import Vocabulary, hold_out, load_reviews
from common.files import npy_bytes
from common.training.prediction import probabilities_of_whole


@pytest.fixture
def teachers(model_of, tmp_path):
    """The files of two models: 3c's, and the same as if it read backwards."""
    saved = read_model(model_of("3c"))
    saved["vocabulary"]["backwards"] = True
    torch.save(saved, tmp_path / "backward.model")
    return [model_of("3c"), tmp_path / "backward.model"]


def test_an_unlabelled_review_gets_the_teachers_mean_verdict(teachers, sample_data):
    script = load_file("3c/RNN_sentiment_analysis.py")
    options = script.parse_options(["--data", f"{sample_data}", "--batch-size", "7", "--teachers", *map(str, teachers)])
    vocabulary = Vocabulary(sample_data, 500)
    reviews, _ = hold_out(load_reviews(sample_data, "train", vocabulary, "cpu", labelled=False), 100, seed=3)
    labels = script.add_verdicts(reviews, options, "cpu")
    is_labelled = reviews.labels >= 0
    assert 0 < is_labelled.sum() < len(reviews)
    assert torch.equal(labels[is_labelled], reviews.labels[is_labelled])

    saved = read_model(teachers[0])
    model = load_file("3c/RNN_model.py").RNN_model(**saved["hyperparameters"])
    model.load_state_dict(saved["state_dict"])
    unlabelled = reviews.take((~is_labelled).nonzero()[:, 0])
    verdicts = [torch.tensor(probabilities_of_whole(model, x, 50)) for x in (unlabelled, unlabelled.backwards())]
    assert not torch.allclose(*verdicts, atol=1e-3)
    torch.testing.assert_close(labels[~is_labelled], (verdicts[0] + verdicts[1]) / 2)


def test_a_student(run, teachers, sample_data, tmp_path):
    options = ["--teachers", *teachers, "--test-every", 1]
    succeed(run("3c", "alone", "--epochs", 1))
    straight = succeed(run("3c", "straight", *options, "--epochs", 2))
    succeed(run("3c", "resumed", *options, "--epochs", 1))
    assert not same_weights(tmp_path / "resumed" / "rnn.model", tmp_path / "alone" / "rnn.model")
    resumed = succeed(run("3c", "resumed", *options, "--epochs", 2, "--resume"))
    assert same_weights(tmp_path / "resumed" / "rnn.model", tmp_path / "straight" / "rnn.model")
    assert resumed.stdout.split()[:3] == straight.stdout.splitlines()[2].split()[:3]
    told = json.loads((tmp_path / "straight" / "run.json").read_text())
    assert told["options"]["teachers"] == [str(path) for path in teachers]
    assert f"--teachers {teachers[0]} {teachers[1]}" in told["options"]["settings"]
    no_of_batches = math.ceil(len(np.load(sample_data / "imdb_train_labels.npy")) / 50)  # of all reviews
    assert read_model(tmp_path / "straight" / "rnn.state")["scheduler"]["last_epoch"] == 2 * no_of_batches
    refused(run("3c", "resumed", *options[3:], "--epochs", 3, "--resume"), "--teachers", "was saved")


def test_teachers_need_unlabelled_reviews(run, teachers, sample_data, tmp_path):
    labels = np.load(sample_data / "imdb_train_labels.npy")
    labels[labels < 0] = 0
    data = data_with(tmp_path / "data", sample_data, {"imdb_train_labels.npy": npy_bytes(labels)})
    refused(run("3c", "labelled", "--teachers", *teachers, data=data), data, "no unlabelled")


def test_a_teacher_is_a_model_of_this_part(run, model_of):
    refused(run("3c", "wrong", "--teachers", model_of("2a")), "belongs to part 2a")
