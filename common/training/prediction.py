"""A user's own words as input of a trained model."""

import sys

import torch
from tqdm import tqdm

from common.data.batches import Bags
from common.data.tokenizing import load_punkt, tokenize
from common.errors import InputError

# the largest batch of shortened reviews, as large as a training batch of part 2a: larger ones are no faster on a CPU
ROWS = 200
TOKENS = 20_000


def own_review(text, data, vocabulary, device):
    """A user's own words as `Reviews` of one review; a `text` of "-" reads them from standard input."""
    if text == "-":
        try:
            text = sys.stdin.read()
        except UnicodeDecodeError as error:
            raise InputError(f"--review -: standard input is not UTF-8 text ({error})") from None
    load_punkt(data)
    tokens = tokenize(text)
    if not tokens:
        raise InputError("--review holds no words")
    return vocabulary.review_of(tokens, device)


@torch.no_grad()
def probability_positive(model, x):
    """What a sentiment model thinks of each review of a batch, in evaluation mode: probabilities, a list of float.

    x is what the model takes: token ids (batch, time) int64, vectors (batch, features) or (batch, time, features)
    float, or `Bags`.
    """
    model.eval()
    batch = len(x.offsets) - 1 if isinstance(x, Bags) else len(x)
    labels = torch.zeros(batch, device=next(model.parameters()).device)  # any: they only go into the loss
    _, logits = model(x, labels)
    return torch.sigmoid(logits).tolist()


def verdict(model, x):
    """The probability that the one review of a batch x is positive, and what follows: "0.9895 positive".

    x is as for `probability_positive`.
    """
    (probability,) = probability_positive(model, x)
    return f"{probability:.4f} {'positive' if probability >= 0.5 else 'negative'}"


def influential_words(model, ids, vocabulary, input_of=lambda ids: ids):
    """The words that move a review's probability most: a list of up to ten pairs (word, change), the largest first.

    The change is the probability that the review is positive, less that of the review with all occurrences of the word
    left out: above 0, the word makes the review more positive. Unknown words are not listed, nor is a word that is the
    whole review.

    ids: (time,) int64, of the `Vocabulary`. `input_of` makes the model's input of ids (batch, time) int64, by default
    these themselves.
    """
    words, counts = ids.unique(return_counts=True)
    listed = (words > 0) & (counts < len(ids))
    words, counts = words[listed], counts[listed]

    # reviews of the same length share a batch: padding would be read as unknown words
    batches = []
    for count in counts.unique().tolist():
        rows = max(1, min(ROWS, TOKENS // (len(ids) - count)))
        batches += words[counts == count].split(rows)

    (probability,) = probability_positive(model, input_of(ids[None]))
    changes = []
    for batch in tqdm(batches, desc="words", leave=False, disable=None):
        kept = ids != batch[:, None]
        shortened = ids.expand(kept.shape)[kept].view(len(batch), -1)
        without = probability_positive(model, input_of(shortened))
        names = (str(vocabulary.words[word - 1]) for word in batch.tolist())
        changes += ((name, probability - other) for name, other in zip(names, without, strict=True))
    return sorted(changes, key=lambda pair: abs(pair[1]), reverse=True)[:10]
