"""Test passes: accuracy and loss of a model over all reviews of the test set."""

import torch
from tqdm import tqdm

from common.data.reviews import random_crops
from common.distributed.processes import in_turns
from common.training.metrics import Tally, no_of_hits


def batches_in_order(reviews, batch_size):
    """The rows of all `reviews`, in their order, in batches: int64 tensors (batch,), the last may be shorter."""
    rows = torch.arange(len(reviews), device=reviews.ids.device).split(batch_size)
    return tqdm(rows, desc="test", leave=False, disable=None)


def crop_batches(reviews, sequence_length, batch_size, seed):
    """Batches of random crops x (batch, sequence_length) int64 with their labels t (batch,), in order.

    The same seed draws the same crops, so that the tests of two epochs or two models compare.
    """
    generator = torch.Generator(reviews.ids.device).manual_seed(seed)
    for rows in batches_in_order(reviews, batch_size):
        yield random_crops(reviews, rows, sequence_length, generator), reviews.labels[rows]


# whole reviews of a batch hold no more tokens than its crops of the greatest default length of the test scripts
LONGEST_CROP = 500


def whole_batches(reviews, batch_size):
    """Batches of whole reviews x (batch, time) int64, padded with 0, with their labels and lengths t, l (batch,).

    Reviews of like length share a batch, the shortest first, of at most `batch_size` and less where they are long.
    """
    generator = torch.Generator(reviews.ids.device)  # a crop that is as long as its review leaves it no choice
    order = reviews.lengths.argsort(stable=True)
    for rows in tqdm(order.split(batch_size), desc="test", leave=False, disable=None):
        longest = int(reviews.lengths[rows[-1]])
        for some in rows.split(max(1, min(batch_size, batch_size * LONGEST_CROP // longest))):
            lengths = reviews.lengths[some]
            yield random_crops(reviews, some, int(lengths[-1]), generator), reviews.labels[some], lengths


@torch.no_grad()
def test_pass(model, batches):
    """(accuracy, loss, seconds) of a sentiment model over `batches`, its arguments (x, t, …), in evaluation mode."""
    model.eval()
    tally = Tally()
    for x, t, *lengths in in_turns(batches):
        loss, logits = model(x, t, *lengths)
        tally.add(loss, no_of_hits(logits, t), len(t))
    return tally.figures()


# timesteps whose logits, (batch, time, vocab), exist at once in a test of the language model
PIECE = 50


@torch.no_grad()
def language_test_pass(model, batches):
    """(share of words predicted, loss, seconds) of a language model over `batches` of (x, _), in evaluation mode.

    A crop goes through in pieces of 50 timesteps: the model's state carries over, so the figures are those of
    the whole crop, at a bounded amount of memory for the logits.
    """
    model.eval()
    tally = Tally()
    for x, _ in in_turns(batches):
        model.reset_state()
        for start in range(0, x.shape[1] - 1, PIECE):
            inputs = x[:, start : start + PIECE + 1]
            logits, targets = model.predict(inputs[:, :-1]), inputs[:, 1:]
            loss = model.loss(logits.flatten(0, 1), targets.flatten())
            tally.add(loss, (logits.argmax(dim=2) == targets).sum(), targets.numel())
    return tally.figures()
