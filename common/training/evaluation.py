"""Test passes: accuracy and loss of a model over all reviews of the test set."""

import torch

from common.distributed.processes import in_turns
from common.training.metrics import Tally, no_of_hits


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
