"""Counts loss and hits of a pass over the data, and shows them: as the handout's lines, and on a progress bar."""

import math
import time

import torch
from tqdm import tqdm

from common.distributed.processes import add_up, rank


class Tally:
    """Adds up the loss and the hits of a pass over the data, on the device, and times it.

    Each process counts its own rows. `state`, of an earlier `Tally.state()`, lets the tally go on from there.
    """

    def __init__(self, state=None):
        seconds = state["seconds"] if state else 0.0
        if state is None or rank() > 0:  # one process goes on from what all of them had
            state = {"loss_sum": 0.0, "hits": 0, "count": 0}
        self.loss_sum = state["loss_sum"]
        self.hits = state["hits"]
        self.count = state["count"]
        self.start = time.perf_counter() - seconds

    def add(self, loss, hits, count):
        """Counts a batch: its mean loss and its number of hits (scalar tensors), of `count` predictions."""
        # in float64 the sum is exact, so it does not depend on the order, nor on how batches are shared out
        self.loss_sum += loss.detach().double() * count
        self.hits += hits
        self.count += count

    def state(self):
        """What all processes have added up so far, as a dict of plain numbers; it waits for the device."""
        loss_sum, hits, count = add_up(
            torch.tensor([float(self.loss_sum), float(self.hits), self.count], dtype=torch.float64)
        ).tolist()
        seconds = time.perf_counter() - self.start
        return {"loss_sum": loss_sum, "hits": int(hits), "count": int(count), "seconds": seconds}

    def figures(self):
        """(accuracy as a share of 1, mean loss, seconds since the start); it waits for the device."""
        state = self.state()
        return state["hits"] / state["count"], state["loss_sum"] / state["count"], state["seconds"]


def no_of_hits(logits, t):
    """How many reviews' logits (batch,) have the sign of their labels t (batch,): a scalar tensor."""
    return ((logits >= 0) == (t >= 0.5)).sum()


def no_of_words_predicted(logits, t):
    """How many of the words t (batch, time) have the largest of their logits (batch, time, vocab): a scalar tensor."""
    return (logits.max(dim=2).indices == t).sum()  # argmax's, but faster in bf16 on a CPU


def figures_line(figures, perplexity=False):
    """`Tally.figures` as the handout prints them: accuracy in percent, loss, seconds; then exp(loss) if asked."""
    accuracy, loss, seconds = figures
    line = f"{accuracy * 100:.2f} {loss:.4f} {seconds:.4f}"
    return f"{line} {perplexity_of(loss):.2f}" if perplexity else line


def perplexity_of(loss):
    """exp of a mean loss; infinite where a training has run away."""
    return math.exp(loss) if loss < 700 else math.inf


class ProgressBar(tqdm):
    """The bar of a training epoch, on a terminal: reviews done and reviews a second, and the epoch's loss so far.

    It starts at `done` of `total` reviews. With `tokens`, how many a language model takes of each, it counts tokens
    and shows the perplexity. The `Tally` is looked at only when the bar is drawn: a GPU does not wait for it.
    """

    def __init__(self, epoch, done, total, tally, tokens=None):
        self.tally = tally
        self.tokens = tokens
        size = tokens or 1
        unit = "tokens" if tokens else "reviews"
        super().__init__(
            desc=f"epoch {epoch}",
            initial=done * size,
            total=total * size,
            unit=f" {unit}",
            unit_scale=True,
            mininterval=0.5,
            leave=False,
            disable=None,
        )

    @property
    def format_dict(self):
        """What tqdm draws the bar from."""
        postfix = None
        if self.tally.count:
            loss = float(self.tally.loss_sum) / self.tally.count
            postfix = f"perplexity {perplexity_of(loss):.2f}" if self.tokens else f"loss {loss:.4f}"
        return super().format_dict | {"postfix": postfix}
