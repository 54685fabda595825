"""Evaluation: accuracy and loss of a model over all reviews of the test set."""

from collections import defaultdict

import torch

from common.data.batches import batches_by_length, whole_batches
from common.distributed.processes import in_turns
from common.training.metrics import Tally, no_of_hits, no_of_words_predicted


@torch.no_grad()
def evaluate_batches(model, batches):
    """(accuracy, loss, seconds) of a sentiment model over `batches`, its arguments (x, t, …), in evaluation mode."""
    model.eval()
    tally = Tally()
    for x, t, *lengths in in_turns(batches):
        loss, logits = model(x, t, *lengths)
        tally.add(loss, no_of_hits(logits, t), len(t))
    return tally.figures()


def evaluate_lengths(model, reviews, options, input_of=lambda ids: ids):
    """Yields (length, figures) of a recurrent sentiment model on random crops of each of the `--lengths`, or with
    `--whole` once, on whole reviews; the figures are those of `evaluate_batches`.

    `input_of` makes the model's input of ids (batch, time) int64, by default these themselves.
    """
    if options.whole:
        batches = whole_batches(reviews, options.batch_size)
        yield "whole", evaluate_batches(model, ((input_of(x), t, lengths) for x, t, lengths in batches))
        return

    def counts(x, t, ends):
        model.reset_state()
        h = model.features(input_of(x))
        for end in ends:
            loss, logits = model.classify(h[:, :end], t)
            yield loss, no_of_hits(logits, t), len(t)

    yield from _figures_by_length(model, reviews, options, counts)


@torch.no_grad()
def evaluate_language_batches(model, batches):
    """(share of words predicted, loss, seconds) of a language model over `batches` of (x, _), in evaluation mode."""
    model.eval()
    tally = Tally()
    for x, _ in in_turns(batches):
        for counted in _counts_of_words(model, x, [x.shape[1]]):
            tally.add(*counted)
    return tally.figures()


def evaluate_language_lengths(model, reviews, options):
    """Yields (length, figures) of a language model on random crops of each of the `--lengths`."""
    return _figures_by_length(model, reviews, options, lambda x, t, ends: _counts_of_words(model, x, ends))


# timesteps whose logits, (batch, time, vocab), exist at once in a test of the language model
PIECE = 50


def _counts_of_words(model, x, ends):
    """What `Tally.add` takes of the first tokens of the crops x (batch, time), up to each of `ends`, which rise.

    A crop goes through in pieces of 50 timesteps: the model's state carries over, so the figures are those of
    the whole crop, at a bounded amount of memory for the logits.
    """
    model.reset_state()
    loss_sum, hits, start = 0.0, 0, 0
    for end in ends:
        while start < end - 1:
            stop = min(start + PIECE, end - 1)
            logits, targets = model.predict(x[:, start:stop]), x[:, start + 1 : stop + 1]
            loss_sum += model.loss(logits.flatten(0, 1), targets.flatten()).double() * targets.numel()
            hits = hits + no_of_words_predicted(logits, targets)  # not in place: what was yielded stays
            start = stop
        count = len(x) * start
        yield loss_sum / count, hits, count


@torch.no_grad()
def _figures_by_length(model, reviews, options, counts):
    """Yields (length, `Tally.figures`) for each of the `--lengths`.

    `counts` gives, of a batch, what `Tally.add` takes of its crops of each of its lengths (`batches_by_length`).
    """
    model.eval()
    longer = defaultdict(list)  # what is counted already for lengths to come
    for length, batches in batches_by_length(reviews, options.lengths, options.batch_size, options.seed):
        tally = Tally()
        for counted in longer.pop(length, []):
            tally.add(*counted)
        for x, t, ends in in_turns(batches):
            for end, counted in zip(ends, counts(x, t, ends), strict=True):
                if end == length:
                    tally.add(*counted)
                else:
                    longer[end].append(counted)
        yield length, tally.figures()
