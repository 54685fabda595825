"""Whole reviews: padding does not count, whatever shares a batch, in a test and in training."""

import re

import handout
import pytest
import torch
import torch.nn.functional as F
from conftest import read_model, refused, run_here, succeed, train
from twins import copy_weights, handout_name, load_file

from common.data.batches import LONGEST_CROP, like_lengths_together, whole_batches
from common.data.reviews import Reviews
from common.models.layers import pool_over_time
from common.training.evaluation import evaluate_batches


@pytest.mark.parametrize("pool", ["max", "mean", "concat"])
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


@pytest.mark.parametrize(("part", "pool"), [("2a", "max"), ("3c", "mean"), ("3c", "concat")])
def test_the_figures_are_those_of_the_reviews_one_by_one(part, pool, reviews):
    torch.manual_seed(0)
    model = load_file(f"{part}/RNN_model.py").RNN_model(31, 8, pool=pool)
    torch.nn.init.normal_(model.fc_output.weight)
    accuracy, loss, _ = evaluate_batches(model, whole_batches(reviews, 5))
    alone = [evaluate_batches(model, [batch[:2]]) for batch in whole_batches(reviews, 1)]
    assert accuracy == pytest.approx(sum(figures[0] for figures in alone) / 8)
    assert loss == pytest.approx(sum(figures[1] for figures in alone) / 8, rel=1e-5)


@pytest.mark.parametrize("part", ["2a", "2b", "3c"])
def test_the_option(part, model_of, sample_data):
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu", "--whole"]
    done = [succeed(run_here(f"{part}/RNN_test.py", *options, "--batch-size", size)) for size in (50, 200)]
    lines = [re.fullmatch(r"whole (\d+\.\d\d \d\.\d{4}) \d+\.\d{4}\n", run.stdout)[1] for run in done]
    assert lines[0] == lines[1]


# ----------------------------------------------------------------------------------------------- training (3c)


def test_reviews_of_like_length_share_a_batch():
    lengths = torch.randint(1, 1000, (1050,))
    rows = torch.randperm(1050)
    generator = torch.Generator().manual_seed(0)
    ordered = like_lengths_together(rows, lengths, 4, generator)
    assert sorted(ordered.tolist()) == list(range(1050))
    batches = ordered.split(4)
    assert [len(batch) for batch in batches] == [4] * 262 + [2]
    spans = torch.stack([lengths[batch].max() - lengths[batch].min() for batch in batches]).float()
    assert spans.median() < 20  # four of 400 sorted lengths; of four lengths at random: 600
    # neither the batches nor what is in them come again
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest[:100] != sorted(longest[:100])
    again = like_lengths_together(torch.randperm(1050), lengths, 4, generator).split(4)
    sets, sets_again = ({frozenset(batch.tolist()) for batch in some} for some in (batches, again))
    assert len(sets & sets_again) < 10


def alone_and_whole(theirs, x, t, lengths, masks, pool):
    """Loss and logits of the handout's model, which walks each review by itself, to its end and no further."""
    logits = []
    for i, length in enumerate(lengths):
        theirs.reset_state()
        for n in theirs.layer_names:
            theirs.get_submodule(f"dropout{n}").mask = masks[n][i]
        outputs = torch.cat([theirs.step(theirs.embedding(x[i : i + 1, step])) for step in range(length)])
        pooled = {"max": outputs.max(dim=0).values, "mean": outputs.mean(dim=0)}
        h = torch.cat([outputs[-1], *pooled.values()]) if pool == "concat" else pooled[pool]
        logits.append(theirs.fc_output(h)[0])
    logits = torch.stack(logits)
    return F.binary_cross_entropy_with_logits(logits, t), logits


@pytest.mark.parametrize("pool", ["max", "mean", "concat"])
def test_a_step_on_whole_reviews_equals_the_handouts_walk(pool):
    torch.manual_seed(0)
    ours = load_file("3c/RNN_model.py").RNN_model(31, 8, pool=pool).double()
    theirs = handout.RNN_model_2a(31, 8, no_of_layers=3, pool=pool).double()
    for weight in ours.parameters():
        torch.nn.init.uniform_(weight, -0.7, 0.7)
    for i in (1, 2, 3):
        norm = ours.get_submodule(f"bn_lstm{i}")
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    copy_weights(ours, theirs)
    before = {name: value.clone() for name, value in ours.named_buffers()}
    lengths = torch.tensor([7, 3, 20, 6])
    x = torch.randint(1, 31, (4, 20)) * (torch.arange(20) < lengths[:, None])
    t = torch.tensor([1.0, 0, 1, 1]).double()

    ours.train()
    ours.freeze_batch_norm()
    loss, logits = ours(x, t, lengths)
    loss.backward()
    masks = {n: ours.get_submodule(f"dropout{n}").mask for n in (1, 2, 3)}
    theirs.train()
    for n in theirs.layer_names:
        theirs.get_submodule(f"bn_lstm{n}").eval()
    expected = alone_and_whole(theirs, x, t, lengths, masks, pool)
    expected[0].backward()

    torch.testing.assert_close((loss, logits), expected, rtol=1e-9, atol=1e-9)
    gradients = {handout_name(name): weight.grad for name, weight in ours.named_parameters()}
    torch.testing.assert_close(
        gradients, {name: weight.grad for name, weight in theirs.named_parameters()}, rtol=1e-9, atol=1e-9
    )
    torch.testing.assert_close(dict(ours.named_buffers()), before, rtol=0, atol=0)


WHOLE = ["--whole", "--train-length", 100, "--test-length", 200]


def test_training_on_whole_reviews(run, sample_data, model_of, tmp_path):
    crops, whole = (succeed(run("3c", name, "--epochs", 1, *more)) for name, more in (("crops", []), ("whole", WHOLE)))
    assert crops.stdout.split()[2] != whole.stdout.split()[2]  # training losses
    # the test of the training is that of RNN_test.py --whole
    model = tmp_path / "whole" / "rnn.model"
    tested = succeed(run_here("3c/RNN_test.py", "--data", sample_data, "--model", model, "--device", "cpu", "--whole"))
    assert tested.stdout.split()[1:3] == whole.stdout.splitlines()[1].split()[:2]
    # batch norm keeps the language model's figures
    figures, language_figures = (
        {name: value for name, value in read_model(path)["state_dict"].items() if "running" in name}
        for path in (model, model_of("3a"))
    )
    torch.testing.assert_close(figures, language_figures, rtol=0, atol=0)


def test_what_whole_reviews_have_not(run, sample_data, tmp_path):
    refused(run("3c", "whole", "--whole", "--train-length", 100, "--test-length", 100), "--test-length goes with crops")
    refused(run("3c", "whole", "--whole", "--train-length", 50, "--test-length", 200), "--train-length goes with crops")
    alone = train("3c", sample_data, tmp_path, *WHOLE, "--from-scratch")
    refused(alone, "--from-scratch has none")
