"""Part 1b: tests the trained bag-of-words model on GloVe vectors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from

import_from(Path(__file__).resolve().parent)

from BOW_model import BOW_model

from common.data.batches import batches_in_order, mean_embeddings
from common.data.reviews import Vocabulary, load_glove_embeddings, load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.training.checkpoints import load_model
from common.training.evaluation import test_pass
from common.training.metrics import figures_line
from common.training.options import add_review_option, add_reviews_option, parse_testing_options, testing_options
from common.training.prediction import own_review, own_reviews, print_verdicts, probability_positive, verdict


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = testing_options(__doc__, model=Path(__file__).resolve().parent / "BOW.model")
    add_review_option(parser)
    add_reviews_option(parser)
    return parse_testing_options(parser, arguments)


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)

    model, words = load_model(options.model, "1b", BOW_model, "BOW_sentiment_analysis.py")
    model.to(device)
    vocabulary = Vocabulary.of_model(options.data, words, glove=True)
    embeddings = load_glove_embeddings(options.data, vocabulary.size, device, model.fc_hidden1.in_features)

    if options.review is not None:
        review = own_review(options.review, options.data, vocabulary, device)
        with autocast:
            print(verdict(model, mean_embeddings(review, embeddings)))
        return

    if options.reviews is not None:
        names, reviews = own_reviews(options.reviews, options.data, vocabulary, device)
        with autocast:
            print_verdicts(
                names, reviews, lambda known: probability_positive(model, mean_embeddings(known, embeddings))
            )
        return

    test = load_reviews(options.data, "test", vocabulary, device)
    x_test = mean_embeddings(test, embeddings)
    rows_of_batches = batches_in_order(test, options.batch_size)
    batches = ((x_test[rows], test.labels[rows]) for rows in rows_of_batches)
    with autocast:
        print(figures_line(test_pass(model, batches)))


if __name__ == "__main__":
    run_script(main)
