"""What a sentiment model gets wrong: how many reviews of each kind, and about which of them it is surest."""

import torch

from common.data.detokenizing import detokenize
from common.data.reviews import Vocabulary, load_lines, load_reviews

FIRST_WORDS = 40  # shown of a review


def print_mistakes(probabilities, labels, data, no_of_mistakes):
    """Prints the confusion matrix of the test reviews, precision, recall and F1, and the surest mistakes.

    `probabilities`, a list of float, are those that each test review is positive, `labels` (reviews,) float what it is.
    `data` is the folder of preprocessed data, where their texts are.
    """
    names = load_lines(data, "imdb_test_names.txt")
    probabilities = torch.tensor(probabilities, dtype=torch.float64)
    is_positive, said_positive = labels.cpu() == 1, probabilities >= 0.5
    print("              said negative  said positive")
    for kind, rows in (("negative", ~is_positive), ("positive", is_positive)):
        print(f"is {kind} {int((rows & ~said_positive).sum()):>15}{int((rows & said_positive).sum()):>15}")
    hits = int((is_positive & said_positive).sum())
    no_said, no_positive = int(said_positive.sum()), int(is_positive.sum())
    precision, recall = hits / max(1, no_said), hits / max(1, no_positive)
    f1 = 2 * hits / max(1, no_said + no_positive)
    accuracy = (is_positive == said_positive).double().mean().item()
    print(f"accuracy {accuracy:.2%}, of the positive: precision {precision:.2%}, recall {recall:.2%}, F1 {f1:.2%}")

    wrong = (is_positive != said_positive).nonzero()[:, 0]
    surest = (probabilities[wrong] - 0.5).abs().argsort(descending=True, stable=True)
    rows = wrong[surest][:no_of_mistakes].tolist()
    for row, text in zip(rows, _texts(data, rows), strict=True):
        kinds = ("positive", "negative") if said_positive[row] else ("negative", "positive")
        print(f"\n{probabilities[row]:.4f} {kinds[0]}, but it is {kinds[1]}: {names[row]}\n{text}")


def _texts(data, rows):
    """The first words of each of the test reviews `rows`."""
    vocabulary = Vocabulary(data)
    reviews = load_reviews(data, "test", vocabulary, "cpu")
    # the words that became zeros, of all reviews in their order
    unknown = load_lines(data, "imdb_test_unknown.txt")
    for row in rows:
        start = int(reviews.starts[row])
        ids = reviews.ids[start : start + min(FIRST_WORDS, int(reviews.lengths[row]))].tolist()
        others = iter(unknown[int((reviews.ids[:start] == 0).sum()) :])
        words = [str(vocabulary.words[number - 1]) if number else next(others) for number in ids]
        yield detokenize(words) + (" …" if reviews.lengths[row] > FIRST_WORDS else "")
