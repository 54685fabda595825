"""A user's own words as input of a trained model."""

import csv
import os
import re
import sys

import torch
from tqdm import tqdm

from common.data.batches import Bags, shortest_first, whole_batches
from common.data.tokenizing import load_punkt, tokenize
from common.errors import InputError
from common.files import no_formula

# how phones and word processors write what the reviews of the data set hold as typewriters do
STRAIGHT = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e", '"'),
        **dict.fromkeys("\u2013\u2014", " -- "),
        "\u2026": "...",
        "\u00a0": " ",
    }
)

# the largest batch of shortened reviews, as large as a training batch of part 2a: larger ones are no faster on a CPU
ROWS = 200
TOKENS = 20_000

FIRST_WORDS = 8  # shown beside a verdict


def own_tokens(content, where):
    """The tokens of a user's own words, `content`, which are bytes; `load_punkt` comes before.

    InputError, which tells `where` they are, for what is not UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")  # with or without a byte-order mark
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8 text ({error})") from None
    return tokenize(text.translate(STRAIGHT))


def own_review(text, data, vocabulary, device):
    """A user's own words as `Reviews` of one review; a `text` of "-" reads them from standard input.

    InputError for what is not UTF-8, holds no words, or none that the model knows: it would have no meaning.
    """
    load_punkt(data)
    if text == "-":
        tokens = own_tokens(sys.stdin.buffer.read(), "--review -: standard input")
    else:
        tokens = own_tokens(os.fsencode(text), "--review")
    review = vocabulary.reviews_of([tokens], device)
    if len(review.ids) == 0:
        raise InputError("--review holds no words")
    if not review.ids.any():
        raise InputError("--review holds no word that the model knows: write English, or choose a larger --vocab-size")
    return review


def own_reviews(path, data, vocabulary, device):
    """The user's own reviews in `path`, a file with one a line, or a folder of `.txt` files: their names, their
    first words, `Reviews`.

    The names are the numbers of the lines, from 1, or the files'. InputError where there is nothing to read, and for a
    table, whose other columns are no reviews.
    """
    try:
        if path.is_dir():
            names = [file.name for file in sorted(path.glob("[!.]*.txt"))]
            places = [path / name for name in names]
            contents = [place.read_bytes() for place in places]
        else:
            contents = path.read_bytes().splitlines()  # of bytes, lines end at \n, \r\n and \r alone
            names = range(1, len(contents) + 1)
            places = [f"{path}, line {number}," for number in names]
            if path.suffix.lower() in (".csv", ".tsv") or (contents and _is_header(contents[0])):
                raise InputError(
                    f"{path} is a table: give a file of the reviews alone, one a line, or a folder of .txt files"
                )
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error
    if not contents:
        raise InputError(f"{path} holds no reviews: give a file with one a line, or a folder of .txt files")
    load_punkt(data)
    pairs = tqdm(zip(contents, places, strict=True), desc="reading", total=len(contents), leave=False, disable=None)
    tokens = [own_tokens(content, place) for content, place in pairs]
    first_words = [" ".join(content.decode("utf-8-sig").split()[:FIRST_WORDS]) for content in contents]
    return list(names), first_words, vocabulary.reviews_of(tokens, device)


def _is_header(line):
    """Whether a line, bytes, is the first of a table of reviews and their labels."""
    cells = {cell.strip(b" \"'\xef\xbb\xbf") for cell in re.split(b"[,;\t]", line.lower())}
    return bool(cells & {b"review", b"text"}) and bool(cells & {b"sentiment", b"label"})


def print_verdicts(names, first_words, reviews, probabilities_of):
    """Prints a table for a spreadsheet, a line for each of `own_reviews`.

    `probabilities_of` is asked for those that hold a known word, as `Reviews`: it gives their probabilities, a list.
    """
    is_known = [bool(ids.any()) for ids in reviews.ids.split(reviews.lengths.tolist())]
    known = torch.tensor(is_known, device=reviews.ids.device).nonzero()[:, 0]
    probabilities = iter(probabilities_of(reviews.take(known)) if len(known) else [])
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["review", "probability", "verdict", "first words"])
    for name, words, has_verdict in zip(names, first_words, is_known, strict=True):
        told = _verdict(next(probabilities)) if has_verdict else ("", "no known word")
        table.writerow([name, *told, no_formula(words)])


@torch.no_grad()
def probability_positive(model, x, *lengths):
    """What a sentiment model thinks of each review of a batch, in evaluation mode: probabilities, a list of float.

    x is what the model takes: token ids (batch, time) int64, vectors (batch, features) or (batch, time, features)
    float, or `Bags`; `lengths` (batch,) int64 too, if the timesteps behind them are padding.
    """
    model.eval()
    batch = len(x.offsets) - 1 if isinstance(x, Bags) else len(x)
    labels = torch.zeros(batch, device=next(model.parameters()).device)  # any: they only go into the loss
    _, logits = model(x, labels, *lengths)
    return torch.sigmoid(logits).tolist()


def probabilities_of_whole(model, reviews, batch_size, input_of=lambda ids: ids):
    """What a recurrent sentiment model thinks of each of the `Reviews`, to its end: a list of float, in their order.

    `input_of` makes the model's input of ids (batch, time) int64, by default these themselves.
    """
    found = [0.0] * len(reviews)
    rows = iter(shortest_first(reviews).tolist())
    for x, _, lengths in whole_batches(reviews, batch_size):
        for probability in probability_positive(model, input_of(x), lengths):
            found[next(rows)] = probability
    return found


def verdict(model, x):
    """The probability that the one review of a batch x is positive, and what follows: "0.9895 positive".

    x is as for `probability_positive`.
    """
    (probability,) = probability_positive(model, x)
    return " ".join(_verdict(probability))


def _verdict(probability):
    return f"{probability:.4f}", "positive" if probability >= 0.5 else "negative"


def influential_words(model, ids, vocabulary, input_of=lambda ids: ids):
    """The words that move a review's probability most: a list of up to ten pairs (word, change), the largest first.

    The change is the probability that the review is positive, less that of the review with all occurrences of the word
    left out: above 0, the word makes the review more positive. Unknown words are not listed, nor is a word that is the
    whole review.

    ids: (time,) int64, of the `Vocabulary`, or, as several models read them, (time, models). `input_of` makes the
    model's input of ids (batch, time) int64, by default these themselves.
    """
    columns = ids.view(len(ids), -1).unbind(dim=1)  # the same words, in each model's direction
    words, counts = columns[0].unique(return_counts=True)
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
        shortened = []
        for column in columns:
            kept = column != batch[:, None]
            shortened.append(column.expand(kept.shape)[kept].view(len(batch), -1))
        shortened = torch.stack(shortened, dim=-1).view(len(batch), -1, *ids.shape[1:])
        without = probability_positive(model, input_of(shortened))
        names = (str(vocabulary.words[word - 1]) for word in batch.tolist())
        changes += ((name, probability - other) for name, other in zip(names, without, strict=True))
    return sorted(changes, key=lambda pair: abs(pair[1]), reverse=True)[:10]
