"""Counts loss and hits of a pass over the data, and prints them as the handout does."""

import math
import time


class Tally:
    """Adds up the loss and the hits of a pass over the data, on the device, and times it.

    `state`, of an earlier `Tally.state()`, lets it go on from there.
    """

    def __init__(self, state=None):
        state = state or {"loss_sum": 0.0, "hits": 0, "count": 0, "seconds": 0.0}
        self.loss_sum = state["loss_sum"]
        self.hits = state["hits"]
        self.count = state["count"]
        self.start = time.perf_counter() - state["seconds"]

    def add(self, loss, hits, count):
        """Counts a batch: its mean loss and its number of hits (scalar tensors), of `count` predictions."""
        self.loss_sum += loss.detach() * count
        self.hits += hits
        self.count += count

    def state(self):
        """What has been added up so far, as a dict of plain numbers; it waits for the device."""
        return {
            "loss_sum": float(self.loss_sum),
            "hits": int(self.hits),
            "count": self.count,
            "seconds": time.perf_counter() - self.start,
        }

    def figures(self):
        """(accuracy as a share of 1, mean loss, seconds since the start); it waits for the device."""
        accuracy, loss = float(self.hits) / self.count, float(self.loss_sum) / self.count
        return accuracy, loss, time.perf_counter() - self.start


def no_of_hits(logits, t):
    """How many reviews' logits (batch,) have the sign of their labels t (batch,): a scalar tensor."""
    return ((logits >= 0) == (t >= 0.5)).sum()


def figures_line(figures, perplexity=False):
    """`Tally.figures` as the handout prints them: accuracy in percent, loss, seconds; then exp(loss) if asked."""
    accuracy, loss, seconds = figures
    line = f"{accuracy * 100:.2f} {loss:.4f} {seconds:.4f}"
    if not perplexity:
        return line
    return f"{line} {math.exp(loss) if loss < 700 else math.inf:.2f}"  # exp overflows where a training blows up
