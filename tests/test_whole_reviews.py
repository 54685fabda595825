"""The test on whole reviews: padding does not count, whatever shares a batch."""

import re

import pytest
import torch
from conftest import run_here, succeed
from twins import load_file

from common.data.batches import LONGEST_CROP, whole_batches
from common.data.reviews import Reviews
from common.models.layers import pool_over_time
from common.training import evaluation as testing


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_pooling_leaves_the_padding_out(pool):
    h = torch.randn(4, 6, 3) - 5  # below the zeros that padding would be
    lengths = torch.tensor([6, 1, 3, 5])
    alone = [pool_over_time(h[i : i + 1, :length], pool) for i, length in enumerate(lengths)]
    torch.testing.assert_close(pool_over_time(h, pool, lengths), torch.cat(alone))
    torch.testing.assert_close(pool_over_time(h, pool, torch.full((4,), 6)), pool_over_time(h, pool))


@pytest.fixture
def reviews():
    lengths = [7, 3, 900, 3, 1, 12, 40, 700]
    arrays = [torch.randint(1, 30, (length,)).numpy() for length in lengths]
    return Reviews.of(arrays, [1, 0] * 4)


def test_every_review_is_whole(reviews):
    batches = list(whole_batches(reviews, 3))
    # 700 tokens leave room for two reviews of a batch of three with 500
    assert [len(x) for x, _, _ in batches] == [3, 3, 1, 1]
    assert all(x.numel() <= 3 * LONGEST_CROP or len(x) == 1 for x, _, _ in batches)
    seen = []
    for x, t, lengths in batches:
        assert x.shape == (len(t), lengths.max())
        seen += [(ids[:length].tolist(), label.item()) for ids, length, label in zip(x, lengths, t, strict=True)]
        assert not any(ids[length:].any() for ids, length in zip(x, lengths, strict=True))
    pieces = reviews.ids.split(reviews.lengths.tolist())
    assert sorted(seen) == sorted(
        (ids.tolist(), label.item()) for ids, label in zip(pieces, reviews.labels, strict=True)
    )


@pytest.mark.parametrize("part", ["2a", "3c"])
@pytest.mark.parametrize("pool", ["max", "mean"])
def test_the_figures_are_those_of_the_reviews_one_by_one(part, pool, reviews):
    torch.manual_seed(0)
    model = load_file(f"{part}/RNN_model.py").RNN_model(31, 8, pool=pool)
    torch.nn.init.normal_(model.fc_output.weight)
    accuracy, loss, _ = testing.test_pass(model, whole_batches(reviews, 5))
    alone = [testing.test_pass(model, [batch[:2]]) for batch in whole_batches(reviews, 1)]
    assert accuracy == pytest.approx(sum(figures[0] for figures in alone) / 8)
    assert loss == pytest.approx(sum(figures[1] for figures in alone) / 8, rel=1e-5)


@pytest.mark.parametrize("part", ["2a", "2b", "3c"])
def test_the_option(part, model_of, sample_data):
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu", "--whole"]
    done = [succeed(run_here(f"{part}/RNN_test.py", *options, "--batch-size", size)) for size in (50, 200)]
    lines = [re.fullmatch(r"whole (\d+\.\d\d \d\.\d{4}) \d+\.\d{4}\n", run.stdout)[1] for run in done]
    assert lines[0] == lines[1]
