"""Part 3a: trains the language model on random crops of all reviews, the unlabelled ones included."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from

import_from(Path(__file__).resolve().parent)

import torch
import torch.nn as nn
from RNN_language_model import RNN_language_model

from common.data.batches import crop_batches, random_crops
from common.data.reviews import Vocabulary, hold_out, load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.errors import InputError
from common.training.evaluation import evaluate_language_batches
from common.training.loop import Training, make_optimizer, make_scheduler
from common.training.metrics import no_of_words_predicted
from common.training.options import (
    add_sequence_options,
    parse_training_options,
    positive_float,
    training_options,
)


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = training_options(__doc__, epochs=75, dropout=0.3, lr_drop_epoch=50)
    add_sequence_options(parser, train_length=50, test_length=100, test_every=1, layers=3)
    parser.add_argument("--clip", type=positive_float, default=2.0, metavar="X", help="largest norm of the gradient")
    parser.add_argument("--tied-weights", action="store_true", help="the decoder's weights are the embedding's too")
    parser.add_argument("--backwards", action="store_true", help="read each review from its end")
    options = parse_training_options(parser, __file__, arguments)
    if min(options.train_length, options.test_length) < 2:
        raise InputError("--train-length and --test-length: a language model needs crops of 2 tokens or more")
    return options


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)
    torch.manual_seed(options.seed)

    vocabulary = Vocabulary.of_options(options, backwards=options.backwards)
    train = load_reviews(options.data, "train", vocabulary, device, labelled=False)
    train, validation = hold_out(train, options.validation, options.seed)
    test = load_reviews(options.data, "test", vocabulary, device)

    hyperparameters = {
        "vocab_size": vocabulary.size + 1,  # the unknown token has id 0
        "no_of_hidden_units": options.hidden_units,
        "no_of_layers": options.layers,
        "dropout": options.dropout,
        "tied_weights": options.tied_weights,
    }
    model = RNN_language_model(**hyperparameters).to(device)
    optimizer = make_optimizer(options, model.parameters())
    scheduler = make_scheduler(options, optimizer, len(train))

    def evaluate(reviews):
        """Share of words predicted, loss and seconds of the model on random crops of `reviews`."""
        batches = crop_batches(reviews, options.test_length, options.batch_size, options.seed)
        with autocast:
            return evaluate_language_batches(model, batches)

    with Training(options, "language.model", model, optimizer, scheduler, train, vocabulary, device) as training:
        for _ in training.epochs():
            model.train()
            tally = training.tally()
            for rows in training.batches(tokens=options.train_length):
                x = random_crops(train, rows, options.train_length, training.generator)
                t = x[:, 1:]  # each word's target is the next one

                optimizer.zero_grad()
                with autocast:
                    loss, logits = model(x)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), options.clip)
                optimizer.step()
                scheduler.step()  # sets the next step's learning rate

                tally.add(loss, no_of_words_predicted(logits, t), t.numel())
                del logits  # so large that the next forward pass should find their memory free
            training.report_training(tally.figures(), perplexity=True)

            if training.test_is_due():
                training.report_test(evaluate(validation or test), perplexity=True)
            training.end_epoch()
            training.save_model(hyperparameters)  # 3b and 3c can start from it while 3a trains
        training.finish(hyperparameters, lambda: evaluate(test), perplexity=True)


if __name__ == "__main__":
    run_script(main)
