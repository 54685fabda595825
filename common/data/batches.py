"""Makes batches of reviews: random crops, whole reviews, bags of words, means of word vectors."""

import sys
from typing import NamedTuple

import torch
import torch.nn.functional as F
from tqdm import tqdm

from common.distributed.processes import draw_rows


def batches_in_order(reviews, batch_size):
    """The rows of all `reviews`, in their order, in batches: int64 tensors (batch,), the last may be shorter."""
    rows = torch.arange(len(reviews), device=reviews.ids.device).split(batch_size)
    return tqdm(rows, desc="test", leave=False, disable=None)


def random_crops(reviews, rows, sequence_length, generator):
    """A random piece of each review, (rows, sequence_length) int64; a shorter review is padded with 0 at its end.

    `rows` (int64 tensor) chooses the reviews (handout, part 2a, "RNN_sentiment_analysis.py"). As several models read
    them (`Vocabulary.as_read`), the pieces are (rows, sequence_length, models).
    """
    lengths = reviews.lengths[rows]
    no_of_starts = (lengths - sequence_length).clamp(min=0) + 1
    chance = draw_rows(len(rows), lambda n: torch.rand(n, dtype=torch.float64, generator=generator, device=rows.device))
    starts = reviews.starts[rows] + (chance * no_of_starts).long()
    steps = torch.arange(sequence_length, device=rows.device)
    inside = steps < lengths[:, None]
    positions = (starts[:, None] + steps) * inside
    inside = inside.view(*inside.shape, *[1] * (reviews.ids.ndim - 1))
    return reviews.ids[positions] * inside.long()


def like_lengths_together(rows, lengths, batch_size, generator):
    """The shuffled `rows` (int64 tensor) of reviews in an order that gives each batch reviews of like length.

    `lengths` is (reviews,) int64. The rows of a hundred batches at a time are sorted, then the batches are
    shuffled, but for a shorter last one.
    """
    rows = torch.cat([some[lengths[some].argsort(stable=True)] for some in rows.split(100 * batch_size)])
    no_of_full = len(rows) // batch_size
    full, last = rows.split([no_of_full * batch_size, len(rows) % batch_size])
    order = torch.randperm(no_of_full, generator=generator, device=rows.device)
    return torch.cat([full.view(no_of_full, batch_size)[order].flatten(), last])


def crop_batches(reviews, sequence_length, batch_size, seed):
    """Batches of random crops x (batch, sequence_length) int64 with their labels t (batch,), in order.

    The same seed draws the same crops, so that the tests of two epochs or two models compare.
    """
    generator = torch.Generator(reviews.ids.device).manual_seed(seed)
    for rows in batches_in_order(reviews, batch_size):
        yield random_crops(reviews, rows, sequence_length, generator), reviews.labels[rows]


def batches_by_length(reviews, lengths, batch_size, seed):
    """For each of the `lengths`, in rising order: the length, and batches of crops x (batch, time) int64, their labels
    t (batch,), and `ends`, the lengths that they are crops of.

    The first tokens of x, as many as an end says, are the crops of `crop_batches` (on CUDA, others as random). Where a
    crop is all of its review, longer ones only add padding: such a review comes once, with the shortest of these
    lengths, for all of them.
    """
    lengths = sorted(set(lengths))
    rows = torch.arange(len(reviews), device=reviews.ids.device)
    shorter = 0
    for i, length in enumerate(lengths):
        generator = torch.Generator(rows.device).manual_seed(seed)
        is_cut = reviews.lengths > length
        is_new = (reviews.lengths > shorter) & ~is_cut
        cut = random_crops(reviews, rows, length, generator)[is_cut]
        whole = random_crops(reviews, rows[is_new], lengths[-1], generator)  # which leaves the generator no choice
        batches = []
        for x, kept, ends in ((cut, is_cut, [length]), (whole, is_new, lengths[i:])):
            if len(x):
                t = reviews.labels[kept]
                batches += [(*batch, ends) for batch in zip(x.split(batch_size), t.split(batch_size), strict=True)]
        yield length, tqdm(batches, desc=f"length {length}", leave=False, disable=None)
        shorter = length


# whole reviews of a batch hold no more tokens than its crops of the greatest default length of the test scripts
LONGEST_CROP = 500


def shortest_first(reviews):
    """The rows of the `reviews` by their lengths: (reviews,) int64."""
    return reviews.lengths.argsort(stable=True)


def whole_batches(reviews, batch_size):
    """Batches of whole reviews x (batch, time) int64, padded with 0, with their labels and lengths t, l (batch,).

    Reviews of like length share a batch, in the order of `shortest_first`, of at most `batch_size` and less where they
    are long.
    """
    generator = torch.Generator(reviews.ids.device)  # a crop that is as long as its review leaves it no choice
    order = shortest_first(reviews)
    # on the host, so that no batch waits for the device
    sorted_lengths = reviews.lengths[order].tolist()
    for start in tqdm(range(0, len(order), batch_size), desc="test", leave=False, disable=None):
        end = min(start + batch_size, len(order))
        size = max(1, min(batch_size, batch_size * LONGEST_CROP // sorted_lengths[end - 1]))
        for first in range(start, end, size):
            last = min(first + size, end)
            rows = order[first:last]
            x = random_crops(reviews, rows, sorted_lengths[last - 1], generator)
            yield x, reviews.labels[rows], reviews.lengths[rows]


class Bags(NamedTuple):
    """Bags of words: each review's distinct ids, weighted so that the weighted sum is the mean over its tokens.

    ids: (entries,) int64; offsets: (reviews + 1,) int64, where each review's entries start, and the end;
    weights: (entries,) float32, occurrences in the review / its length.
    """

    ids: torch.Tensor
    offsets: torch.Tensor
    weights: torch.Tensor

    def lengths(self):
        """How many entries each review has, (reviews,) int64."""
        return self.offsets.diff()

    def take(self, rows, no_of_entries=None):
        """The bags of the reviews `rows` (int64 tensor); without the sum of their lengths it waits for the device."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        offsets = F.pad(lengths.cumsum(0), (1, 0))
        entries = torch.repeat_interleave(starts - offsets[:-1], lengths, output_size=no_of_entries)
        entries += torch.arange(len(entries), device=rows.device)
        return Bags(self.ids[entries], offsets, self.weights[entries])


def bags_of(reviews):
    """The bags of all `reviews`, in their order (handout, part 1a: the mean of a review's embeddings)."""
    no_of_reviews = len(reviews)
    no_of_ids = int(reviews.ids.max()) + 1
    rows = torch.repeat_interleave(torch.arange(no_of_reviews, device=reviews.ids.device), reviews.lengths)
    pairs, counts = torch.unique(rows * no_of_ids + reviews.ids, return_counts=True)
    rows = pairs // no_of_ids
    offsets = F.pad(torch.bincount(rows, minlength=no_of_reviews).cumsum(0), (1, 0))
    return Bags(pairs % no_of_ids, offsets, counts / reviews.lengths[rows])


def mean_embeddings(reviews, embeddings):
    """The mean embedding of each review's known words, (reviews, features) (handout, part 1b).

    `embeddings` is (ids, features) float32. A review without a known word gets zeros, and a warning tells how
    many there are.
    """
    means = F.embedding_bag(reviews.ids.long(), embeddings, reviews.starts, mode="mean", padding_idx=0)
    no_of_empty = int((means == 0).all(dim=1).sum())
    if no_of_empty:
        print(f"warning: {no_of_empty} of {len(reviews)} reviews hold no known word: zeros for them", file=sys.stderr)
    return means
