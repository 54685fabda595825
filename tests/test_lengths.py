"""Tests at several lengths read a review once for all lengths at which all of it is the crop: the same figures."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from twins import load_file

from common.data.batches import batches_by_length, crop_batches
from common.data.reviews import Reviews
from common.training import evaluation

LENGTHS = [5, 60, 20, 60]
VOCAB_SIZE, UNITS = 30, 8
OPTIONS = Namespace(lengths=LENGTHS, batch_size=4, seed=3, whole=False)


@pytest.fixture
def reviews():
    rng = np.random.default_rng(0)
    lengths = [5, 6, 20, 21, 60, 61, 200, *rng.integers(2, 100, size=13)]
    return Reviews.of([rng.integers(1, VOCAB_SIZE, size=length) for length in lengths], rng.integers(2, size=20))


def test_every_review_has_its_crop_of_every_length_once(reviews):
    found = {length: [] for length in LENGTHS}
    tokens = 0
    for length, batches in batches_by_length(reviews, LENGTHS, 4, seed=3):
        for x, t, ends in batches:
            assert ends[0] == length
            assert x.shape == (len(t), ends[-1])
            assert len(t) <= 4
            tokens += x.numel()
            for end in ends:
                found[end] += [(*ids, label) for ids, label in zip(x[:, :end].tolist(), t.tolist(), strict=True)]
    for length, crops in found.items():
        expected = [
            (*ids, label)
            for x, t in crop_batches(reviews, length, 4, seed=3)
            for ids, label in zip(x.tolist(), t.tolist(), strict=True)
        ]
        assert sorted(crops) == sorted(expected)
    assert tokens < len(reviews) * sum(found)


@pytest.mark.parametrize(("part", "pool"), [("2a", "concat"), ("2b", "max"), ("3c", "mean")])
def test_sentiment_models(part, pool, reviews):
    torch.manual_seed(0)
    embeddings = torch.randn(VOCAB_SIZE, UNITS)
    of_ids = (lambda ids: embeddings[ids]) if part == "2b" else (lambda ids: ids)
    model = load_file(f"{part}/RNN_model.py").RNN_model(UNITS if part == "2b" else VOCAB_SIZE, UNITS, pool=pool)
    torch.nn.init.normal_(model.fc_output.weight)
    passes = list(evaluation.evaluate_lengths(model, reviews, OPTIONS, of_ids))
    assert [length for length, _ in passes] == sorted(set(LENGTHS))
    for length, (accuracy, loss, _) in passes:
        batches = ((of_ids(x), t) for x, t in crop_batches(reviews, length, 4, seed=3))
        expected = evaluation.evaluate_batches(model, batches)
        assert (accuracy, loss) == pytest.approx(expected[:2], rel=1e-5)


def test_language_model(reviews, monkeypatch):
    monkeypatch.setattr(evaluation, "PIECE", 7)
    torch.manual_seed(0)
    model = load_file("3a/RNN_language_model.py").RNN_language_model(VOCAB_SIZE, UNITS)
    torch.nn.init.constant_(model.decoder.bias[:1], 1.0)  # as a trained one it predicts that padding follows padding
    for length, (accuracy, loss, _) in evaluation.evaluate_language_lengths(model, reviews, OPTIONS):
        expected = evaluation.evaluate_language_batches(model, crop_batches(reviews, length, 4, seed=3))
        assert (accuracy, loss) == pytest.approx(expected[:2], rel=1e-5)
