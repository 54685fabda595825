"""Whole reviews: in a test padding does not count, whatever shares a batch; in training each is cut into pieces."""

import re

import handout
import pytest
import torch
import torch.nn.functional as F
from conftest import refused, run_here, succeed
from twins import copy_weights, handout_name, load_file

from common.data.batches import LONGEST_CROP, no_of_pieces, whole_batches, whole_in_pieces
from common.data.reviews import Reviews
from common.models.layers import pool_over_pieces, pool_over_time
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


# ----------------------------------------------------------------------------------- training in pieces (3c)

PIECE_LENGTH = 6


def in_pieces(reviews, rows):
    counts = no_of_pieces(reviews.lengths, PIECE_LENGTH)
    return whole_in_pieces(reviews, rows, PIECE_LENGTH, int(counts[rows].sum()))


def test_pieces_hold_all_of_each_review(reviews):
    texts = [ids.tolist() for ids in reviews.ids.split(reviews.lengths.tolist())]
    rows = torch.tensor([5, 1, 7, 4, 0, 2])
    x, lengths, owners = in_pieces(reviews, rows)
    assert x.shape == (len(lengths), PIECE_LENGTH)
    assert owners.tolist() == sorted(owners.tolist())
    for place, row in enumerate(rows):
        text = texts[row]
        pieces = [ids[:length].tolist() for ids, length in zip(x, lengths, strict=True)]
        pieces = [piece for piece, owner in zip(pieces, owners, strict=True) if owner == place]
        # whole pieces one behind the other, and the last as many tokens before the end
        before = len(text) - len(pieces[-1])
        starts = [*range(0, before, PIECE_LENGTH), before]
        assert pieces == [text[start : start + PIECE_LENGTH] for start in starts]
    assert not any(ids[length:].any() for ids, length in zip(x, lengths, strict=True))


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_pooling_over_the_pieces_of_each_review(pool):
    h = (torch.randn(6, 3) - 5).requires_grad_()
    pooled = pool_over_pieces(h, pool, torch.tensor([0, 0, 0, 1, 2, 2]), 3)
    expected = torch.cat([pool_over_time(piece[None], pool) for piece in h.split([3, 1, 2])])
    torch.testing.assert_close(pooled, expected)
    gradients = [torch.autograd.grad(rows.square().sum(), h)[0] for rows in (pooled, expected)]
    torch.testing.assert_close(*gradients)


def walk(theirs, x, t, lengths, owners, pool):
    """Loss and logits of the handout's model, which takes pieces as its batch: one timestep after the other, and, of
    each review, one piece after the other."""
    theirs.reset_state()
    for n in theirs.layer_names:  # one mask a review
        dropout = theirs.get_submodule(f"dropout{n}")
        dropout.mask = (t.new_empty(len(t), 8).bernoulli_(1 - dropout.dropout) / (1 - dropout.dropout))[owners]
    outputs = torch.stack([theirs.step(theirs.embedding(column)) for column in x.T])  # (time, pieces, features)
    logits = []
    for review in range(len(t)):
        pieces = [outputs[: lengths[i], i] for i in range(len(x)) if owners[i] == review]
        if pool == "max":
            h = torch.cat(pieces).max(dim=0).values
        else:
            h = torch.stack([piece.mean(dim=0) for piece in pieces]).mean(dim=0)
        logits.append(theirs.fc_output(h)[0])
    logits = torch.stack(logits)
    return F.binary_cross_entropy_with_logits(logits, t), logits


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_pieces_through_the_model_equal_the_handouts_walk(pool):
    torch.manual_seed(0)
    ours = load_file("3c/RNN_model.py").RNN_model(31, 8, pool=pool).double()
    theirs = handout.RNN_model_2a(31, 8, no_of_layers=3, pool=pool).double()
    for weight in ours.parameters():
        torch.nn.init.uniform_(weight, -0.7, 0.7)
    copy_weights(ours, theirs)
    reviews = Reviews.of([torch.randint(1, 31, (n,)).numpy() for n in (7, 3, 20, 6, 13)], [1, 0, 1, 1, 0])
    t = reviews.labels.double()
    pieces = in_pieces(reviews, torch.arange(5))
    for training in (True, False):
        found = []
        for model, forward in ((ours, ours), (theirs, lambda *inputs: walk(theirs, *inputs, pool))):
            torch.manual_seed(1)  # the same dropout masks
            model.train(training)
            model.zero_grad()
            loss, logits = forward(pieces[0], t, *pieces[1:])
            loss.backward()
            found.append((loss, logits))
        torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
        gradients = {handout_name(name): weight.grad for name, weight in ours.named_parameters()}
        torch.testing.assert_close(
            gradients, {name: weight.grad for name, weight in theirs.named_parameters()}, rtol=1e-9, atol=1e-9
        )
    for name, value in ours.state_dict().items():  # the running figures too
        torch.testing.assert_close(value, theirs.state_dict()[handout_name(name)], rtol=1e-9, atol=1e-9)


def test_training_on_whole_reviews(run, sample_data, tmp_path):
    options = ["--epochs", 1, "--test-length", 200]
    crops, whole, long_pieces = (
        succeed(run("3c", name, *options, *more))
        for name, more in [
            ("crops", []),
            ("whole", ["--whole"]),
            ("long", ["--whole", "--train-length", 60]),
        ]
    )
    assert len({done.stdout.split()[2] for done in (crops, whole, long_pieces)}) == 3  # training losses
    # the test of the training is that of RNN_test.py --whole
    model = tmp_path / "whole" / "rnn.model"
    tested = succeed(run_here("3c/RNN_test.py", "--data", sample_data, "--model", model, "--device", "cpu", "--whole"))
    assert tested.stdout.split()[1:3] == whole.stdout.splitlines()[1].split()[:2]


def test_whole_reviews_have_no_test_length(run):
    refused(run("3c", "whole", "--whole", "--test-length", 100), "--test-length goes with crops")
