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
from common.training.evaluation import evaluate_batches
from common.training.metrics import figures_line
from common.training.options import add_input_options, evaluation_options, parse_evaluation_options
from common.training.prediction import answer, probability_positive


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = evaluation_options(__doc__, model=Path(__file__).resolve().parent / "BOW.model")
    add_input_options(parser, recurrent=False)
    return parse_evaluation_options(parser, arguments)


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)

    model, words = load_model(options.model, "1b", BOW_model, "BOW_sentiment_analysis.py")
    model.to(device)
    vocabulary = Vocabulary.of_model(options.data, words, glove=True)
    embeddings = load_glove_embeddings(options.data, vocabulary.size, device, model.fc_hidden1.in_features)

    def probabilities_of(reviews):
        """The probability that each of the `reviews` is positive, a list."""
        return probability_positive(model, mean_embeddings(reviews, embeddings))

    with autocast:
        if answer(options, vocabulary, device, probabilities_of):  # --review, --reviews or --mistakes
            return

        test = load_reviews(options.data, "test", vocabulary, device)
        x_test = mean_embeddings(test, embeddings)
        rows_of_batches = batches_in_order(test, options.batch_size)
        batches = ((x_test[rows], test.labels[rows]) for rows in rows_of_batches)
        print(figures_line(evaluate_batches(model, batches)))


if __name__ == "__main__":
    run_script(main)
