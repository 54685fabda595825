"""Part 3c: tests the sentiment model that started from the language model, or several together, at several lengths."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from

import_from(Path(__file__).resolve().parent)

from RNN_model import RNN_model

from common.data.batches import whole_batches
from common.data.reviews import Vocabulary, load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.models.average import AverageOfModels
from common.training.checkpoints import load_model
from common.training.evaluation import test_pass, test_passes
from common.training.metrics import figures_line
from common.training.options import (
    add_review_option,
    add_reviews_option,
    add_whole_option,
    parse_testing_options,
    testing_options,
)
from common.training.prediction import (
    influential_words,
    own_review,
    own_reviews,
    print_verdicts,
    probabilities_of_whole,
    verdict,
)


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    model_file = Path(__file__).resolve().parent / "rnn.model"
    parser = testing_options(__doc__, model=model_file, lengths=list(range(50, 501, 50)), several_models=True)
    add_review_option(parser)
    add_reviews_option(parser)
    add_whole_option(parser)
    return parse_testing_options(parser, arguments)


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)

    models, words = zip(
        *(load_model(path, "3c", RNN_model, "RNN_sentiment_analysis.py") for path in options.model), strict=True
    )
    model = models[0] if len(models) == 1 else AverageOfModels(models)
    model.to(device)
    vocabulary = Vocabulary.of_models(options.data, words)

    if options.review is not None:
        review = own_review(options.review, options.data, vocabulary, device)
        ids = review.ids.long()
        with autocast:
            print(verdict(model, ids[None]), flush=True)
            for word, change in influential_words(model, ids, vocabulary):
                print(f"{change:+.4f} {word}")
        return

    if options.reviews is not None:
        names, reviews = own_reviews(options.reviews, options.data, vocabulary, device)
        with autocast:
            print_verdicts(names, reviews, lambda known: probabilities_of_whole(model, known, options.batch_size))
        return

    test = load_reviews(options.data, "test", vocabulary, device)
    if options.whole:
        batches = whole_batches(test, options.batch_size)
        with autocast:
            print("whole", figures_line(test_pass(model, batches)))
        return

    with autocast:
        for sequence_length, figures in test_passes(model, test, options.lengths, options.batch_size, options.seed):
            print(sequence_length, figures_line(figures), flush=True)


if __name__ == "__main__":
    run_script(main)
