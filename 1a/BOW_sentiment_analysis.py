"""Part 1a: trains the bag-of-words model, its embedding included."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from

import_from(Path(__file__).resolve().parent)

import torch
from BOW_model import BOW_model

from common.data.batches import bags_of, batches_in_order
from common.data.reviews import Vocabulary, hold_out, load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.training.evaluation import evaluate_batches
from common.training.loop import Training, make_optimizer, make_scheduler
from common.training.metrics import no_of_hits
from common.training.options import add_bag_of_words_options, parse_training_options, training_options


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = training_options(__doc__, epochs=6)
    add_bag_of_words_options(parser)
    return parse_training_options(parser, __file__, arguments)


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)
    torch.manual_seed(options.seed)

    vocabulary = Vocabulary.of_options(options)
    train = load_reviews(options.data, "train", vocabulary, device)
    train, validation = hold_out(train, options.validation, options.seed)
    test = load_reviews(options.data, "test", vocabulary, device)
    tested = validation or test
    train_bags, tested_bags = bags_of(train), bags_of(tested)

    hyperparameters = {
        "vocab_size": vocabulary.size + 1,  # the unknown token has id 0
        "no_of_hidden_units": options.hidden_units,
        "no_of_hidden_layers": options.hidden_layers,
        "dropout": options.dropout,
    }
    model = BOW_model(**hyperparameters).to(device)
    optimizer = make_optimizer(options, model.parameters())
    scheduler = make_scheduler(options, optimizer, len(train))

    def evaluate(reviews, bags):
        """Accuracy, loss and seconds of the model on `reviews`."""
        rows_of_batches = batches_in_order(reviews, options.batch_size)
        batches = ((bags.take(rows), reviews.labels[rows]) for rows in rows_of_batches)
        with autocast:
            return evaluate_batches(model, batches)

    with Training(options, "BOW.model", model, optimizer, scheduler, train, vocabulary, device) as training:
        for _ in training.epochs():
            model.train()
            tally = training.tally()
            # all at once: no batch waits for the device
            sizes = training.reduce_each_batch(torch.sum, train_bags.lengths())
            for rows, size in zip(training.batches(), sizes, strict=True):
                x = train_bags.take(rows, size)
                t = train.labels[rows]

                optimizer.zero_grad()
                with autocast:
                    loss, logits = model(x, t)
                loss.backward()
                optimizer.step()
                scheduler.step()  # sets the next step's learning rate

                tally.add(loss, no_of_hits(logits, t), len(rows))
            training.report_training(tally.figures())

            if training.test_is_due():
                if options.precise_batch_norm:
                    with autocast, training.precise_batch_norm() as rows:
                        model(train_bags.take(rows), train.labels[rows])
                training.report_test(evaluate(tested, tested_bags))
            training.end_epoch()
        training.finish(hyperparameters, lambda: evaluate(test, bags_of(test)))


if __name__ == "__main__":
    run_script(main)
