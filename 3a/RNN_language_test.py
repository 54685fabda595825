"""Part 3a: tests the trained language model at several lengths."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from

import_from(Path(__file__).resolve().parent)

from RNN_language_model import RNN_language_model

from common.data.reviews import Vocabulary, load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.errors import InputError
from common.training.checkpoints import load_model
from common.training.evaluation import evaluate_language_batches, evaluate_language_lengths
from common.training.metrics import figures_line
from common.training.options import add_input_options, evaluation_options, parse_evaluation_options
from common.training.prediction import own_review


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = evaluation_options(__doc__, model=Path(__file__).resolve().parent / "language.model")
    add_input_options(parser, sentiment=False)
    options = parse_evaluation_options(parser, arguments)
    if min(options.lengths) < 2:
        raise InputError("--lengths: a language model needs crops of 2 tokens or more")
    return options


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)

    model, words = load_model(options.model, "3a", RNN_language_model, "train_language_model.py")
    model.to(device)
    vocabulary = Vocabulary.of_model(options.data, words)

    with autocast:
        if options.review is not None:
            review = own_review(options.review, options.data, vocabulary, device)
            if len(review.ids) < 2:
                raise InputError("--review: a language model needs 2 words or more")
            figures = evaluate_language_batches(model, [(review.ids[None].long(), review.labels)])
            print(figures_line(figures, perplexity=True))
            return

        test = load_reviews(options.data, "test", vocabulary, device)
        for sequence_length, figures in evaluate_language_lengths(model, test, options):
            print(sequence_length, figures_line(figures, perplexity=True), flush=True)


if __name__ == "__main__":
    run_script(main)
