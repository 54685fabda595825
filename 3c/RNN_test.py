"""Part 3c: tests the sentiment model that started from the language model, or several together, at several lengths."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from

import_from(Path(__file__).resolve().parent)

from RNN_model import RNN_model

from common.data.reviews import load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.training.checkpoints import load_models
from common.training.evaluation import evaluate_lengths
from common.training.metrics import figures_line
from common.training.options import add_input_options, evaluation_options, parse_evaluation_options
from common.training.prediction import answer, probabilities_of_whole


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = evaluation_options(__doc__, model=Path(__file__).resolve().parent / "rnn.model", several_models=True)
    add_input_options(parser)
    return parse_evaluation_options(parser, arguments)


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)

    model, vocabulary = load_models(options.model, "3c", RNN_model, "RNN_sentiment_analysis.py", options.data)
    model.to(device)

    def probabilities_of(reviews):
        """The probability that each of the `reviews`, to its end, is positive, a list."""
        return probabilities_of_whole(model, reviews, options.batch_size)

    with autocast:
        if answer(options, vocabulary, device, probabilities_of, with_words=True):  # --review, --reviews or --mistakes
            return

        test = load_reviews(options.data, "test", vocabulary, device)
        for sequence_length, figures in evaluate_lengths(model, test, options):
            print(sequence_length, figures_line(figures), flush=True)


if __name__ == "__main__":
    run_script(main)
