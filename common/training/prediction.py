"""A user's own words as input of a trained model."""

import csv
import os
import sys

import torch
from tqdm import tqdm

from common.data.batches import Bags, shortest_first, whole_batches
from common.data.reviews import Reviews, load_reviews
from common.data.tokenizing import load_punkt, tokenize
from common.errors import InputError
from common.files import no_formula
from common.training.mistakes import print_mistakes

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

FIRST_WORDS = 8  # shown beside a verdict


def answer(options, vocabulary, device, probabilities_of, with_words=False):
    """Prints what `--review`, `--reviews` or `--mistakes` asks for; returns whether one of them was given.

    `probabilities_of` gives the probabilities that `Reviews` are positive, a list of float. `with_words` adds to the
    verdict on `--review` the words that moved it most.
    """
    if options.review is not None:
        review = own_review(options.review, options.data, vocabulary, device)
        (probability,) = probabilities_of(review)
        print(verdict(probability), flush=True)
        if with_words:
            for word, change in influential_words(review, vocabulary, probabilities_of):
                print(f"{change:+.4f} {word}")
    elif options.reviews is not None:
        print_verdicts(options.reviews, options.data, vocabulary, device, probabilities_of)
    elif options.mistakes is not None:
        test = load_reviews(options.data, "test", vocabulary, device)
        print_mistakes(probabilities_of(test), test.labels, options.data, options.mistakes)
    else:
        return False
    return True


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


def print_verdicts(path, data, vocabulary, device, probabilities_of):
    """Prints a table for a spreadsheet, a line for each of the user's own reviews in `path`, which is a file with one
    a line, or a folder of `.txt` files. `probabilities_of` is that of `answer`.

    InputError where there is nothing to read, and for a table, whose other columns are no reviews.
    """
    advice = "give a file of the reviews alone, one a line, or a folder of .txt files"
    if path.suffix.lower() in (".csv", ".tsv"):
        raise InputError(f"{path} is a table: {advice}")
    try:
        if path.is_dir():
            files = sorted(path.glob("[!.]*.txt"))  # hidden files are no reviews
            names, contents = [file.name for file in files], [file.read_bytes() for file in files]
        else:
            contents = path.read_bytes().splitlines()  # of bytes, lines end at \n, \r\n and \r alone
            names = range(1, len(contents) + 1)
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error
    if not contents:
        raise InputError(f"{path} holds no reviews: {advice}")
    load_punkt(data)
    pairs = tqdm(zip(names, contents, strict=True), desc="reading", total=len(contents), leave=False, disable=None)
    reviews = vocabulary.reviews_of(
        [own_tokens(content, f"review {name} in {path}") for name, content in pairs], device
    )
    # only a review with a known word has a verdict
    is_known = torch.stack([ids.any() for ids in reviews.ids.split(reviews.lengths.tolist())])
    probabilities = iter(probabilities_of(reviews.take(is_known.nonzero()[:, 0])) if is_known.any() else [])
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["review", "probability", "verdict", "first words"])
    for name, content, has_verdict in zip(names, contents, is_known.tolist(), strict=True):
        told = verdict(next(probabilities)).split() if has_verdict else ("", "no known word")
        first_words = " ".join(content.decode("utf-8-sig").split()[:FIRST_WORDS])
        table.writerow([no_formula(str(name)), *told, no_formula(first_words)])


@torch.no_grad()
def probability_positive(model, x, *lengths):
    """What a sentiment model thinks of each review of a batch, in evaluation mode: probabilities, a list of float.

    x is what the model takes: token ids (batch, time) int64, vectors (batch, features) or (batch, time, features)
    float, or `Bags`; `lengths` (batch,) int64 too, if the timesteps after them are padding.
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


def verdict(probability):
    """The probability that a review is positive, and what follows: "0.9895 positive"."""
    return f"{probability:.4f} {'positive' if probability >= 0.5 else 'negative'}"


def influential_words(review, vocabulary, probabilities_of):
    """The words that move a review's probability most: a list of up to ten pairs (word, change), the largest first.

    The change is the probability that the review is positive, less that of the review with all occurrences of the word
    left out: above 0, the word makes the review more positive. Unknown words are not listed, nor is a word that is the
    whole review. `review` is `Reviews` of one, `probabilities_of` is that of `answer`.
    """
    # where several models read, ids are (time, models): the same words, in each model's direction
    columns = review.ids.view(len(review.ids), -1).unbind(dim=1)
    words, counts = columns[0].unique(return_counts=True)
    words = words[(words > 0) & (counts < len(review.ids))]

    is_kept = [column != words[:, None] for column in columns]  # (words, time)
    ids = torch.stack([column.expand(kept.shape)[kept] for column, kept in zip(columns, is_kept, strict=True)], dim=1)
    shortened = Reviews(ids.view(-1, *review.ids.shape[1:]), is_kept[0].sum(dim=1), words.float())

    (probability,) = probabilities_of(review)
    names = (str(vocabulary.words[word - 1]) for word in words.tolist())
    changes = [(name, probability - other) for name, other in zip(names, probabilities_of(shortened), strict=True)]
    return sorted(changes, key=lambda pair: abs(pair[1]), reverse=True)[:10]
