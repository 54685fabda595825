"""Part 2b: trains the recurrent sentiment model on the GloVe vectors of random crops of the reviews."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from

import_from(Path(__file__).resolve().parent)

import torch
from RNN_model import RNN_model

from common.data.batches import crop_batches, random_crops
from common.data.reviews import Vocabulary, hold_out, load_glove_embeddings, load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.training.evaluation import evaluate_batches
from common.training.loop import Training, make_optimizer, make_scheduler
from common.training.metrics import no_of_hits
from common.training.options import add_pool_option, add_sequence_options, parse_training_options, training_options


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = training_options(__doc__, epochs=20, vocab_size=None)
    add_sequence_options(parser, train_length=100, test_length=200, test_every=3, layers=1)
    add_pool_option(parser)
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

    hyperparameters = {
        "in_size": embeddings.shape[1],
        "no_of_hidden_units": options.hidden_units,
        "no_of_layers": options.layers,
        "dropout": options.dropout,
        "pool": options.pool,
    }
    model = RNN_model(**hyperparameters).to(device)
    optimizer = make_optimizer(options, model.parameters())
    scheduler = make_scheduler(options, optimizer, len(train))

    def evaluate(reviews):
        """Accuracy, loss and seconds of the model on random crops of `reviews`."""
        crops = crop_batches(reviews, options.test_length, options.batch_size, options.seed)
        with autocast:
            return evaluate_batches(model, ((embeddings[x], t) for x, t in crops))

    with Training(
        options, "rnn.model", model, optimizer, scheduler, train, vocabulary, device, vectors=embeddings
    ) as training:
        for _ in training.epochs():
            model.train()
            tally = training.tally()
            for rows in training.batches():
                x = embeddings[random_crops(train, rows, options.train_length, training.generator)]
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
                training.report_test(evaluate(validation or test))
            training.end_epoch()
        training.finish(hyperparameters, lambda: evaluate(test))


if __name__ == "__main__":
    run_script(main)
