"""Part 1b: trains the bag-of-words model on mean GloVe vectors."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from

import_from(Path(__file__).resolve().parent)

import torch
from BOW_model import BOW_model

from common.data.batches import batches_in_order, mean_embeddings
from common.data.reviews import Vocabulary, hold_out, load_glove_embeddings, load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.training.evaluation import evaluate_batches
from common.training.loop import Training, make_optimizer, make_scheduler
from common.training.metrics import no_of_hits
from common.training.options import add_bag_of_words_options, parse_training_options, training_options


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = training_options(__doc__, epochs=6, vocab_size=None)
    add_bag_of_words_options(parser)
    return parse_training_options(parser, __file__, arguments)


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)
    torch.manual_seed(options.seed)

    vocabulary = Vocabulary.of_options(options, glove=True)
    train = load_reviews(options.data, "train", vocabulary, device)
    train, validation = hold_out(train, options.validation, options.seed)
    test = load_reviews(options.data, "test", vocabulary, device)
    embeddings = load_glove_embeddings(options.data, vocabulary.size, device)
    tested = validation or test
    x_train, x_tested = mean_embeddings(train, embeddings), mean_embeddings(tested, embeddings)

    hyperparameters = {
        "in_size": embeddings.shape[1],
        "no_of_hidden_units": options.hidden_units,
        "no_of_hidden_layers": options.hidden_layers,
        "dropout": options.dropout,
    }
    model = BOW_model(**hyperparameters).to(device)
    optimizer = make_optimizer(options, model.parameters())
    scheduler = make_scheduler(options, optimizer, len(train))

    def evaluate(reviews, x):
        """Accuracy, loss and seconds of the model on `reviews`."""
        rows_of_batches = batches_in_order(reviews, options.batch_size)
        batches = ((x[rows], reviews.labels[rows]) for rows in rows_of_batches)
        with autocast:
            return evaluate_batches(model, batches)

    with Training(
        options, "BOW.model", model, optimizer, scheduler, train, vocabulary, device, vectors=embeddings
    ) as training:
        for _ in training.epochs():
            model.train()
            tally = training.tally()
            for rows in training.batches():
                x = x_train[rows]
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
                        model(x_train[rows], train.labels[rows])
                training.report_test(evaluate(tested, x_tested))
            training.end_epoch()
        training.finish(hyperparameters, lambda: evaluate(test, mean_embeddings(test, embeddings)))


if __name__ == "__main__":
    run_script(main)
