"""A user's own words as input of a trained model."""

import sys

import torch

from common.errors import InputError
from common.tokenizing import load_punkt, tokenize


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
def verdict(model, x, t):
    """What a sentiment model thinks of a batch x of one review, in words: the probability that it is positive,
    and the verdict. The label t (1,) may be any."""
    model.eval()
    _, logits = model(x, t)
    probability = torch.sigmoid(logits).item()
    return f"{probability:.4f} {'positive' if probability >= 0.5 else 'negative'}"
