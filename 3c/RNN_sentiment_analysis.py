"""Part 3c: trains a sentiment model that starts from the language model of part 3a."""

import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the folder that common/ lies in
from common import import_from

import_from(Path(__file__).resolve().parent)

import torch
from RNN_model import RNN_model

from common.data.batches import crop_batches, random_crops, whole_batches
from common.data.reviews import Vocabulary, hold_out, load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.errors import InputError
from common.files import REPOSITORY
from common.training.checkpoints import fitting_model_file, load_model_file, load_models
from common.training.evaluation import evaluate_batches
from common.training.loop import Training, make_optimizer, make_scheduler
from common.training.metrics import no_of_hits
from common.training.options import (
    add_pool_option,
    add_sequence_options,
    parse_training_options,
    training_options,
)
from common.training.prediction import probabilities_of_whole

LANGUAGE_MODEL = REPOSITORY / "3a" / "language.model"
# of what is longer, one review in eighty, --whole takes a crop: its memory grows with the length
LONGEST_REVIEW = 1000


def start_from(language_model, path, model, hyperparameters, vocabulary):
    """Copies the embedding, the LSTM layers and their batch norms of the `language_model`, read from `path`, to
    `model`.

    InputError where that one has another size, number of layers or vocabulary, or is none of this version.
    """
    for name in ("vocab_size", "no_of_hidden_units", "no_of_layers"):
        theirs, ours = language_model["hyperparameters"].get(name), hyperparameters[name]
        if theirs != ours:
            raise InputError(
                f"{path} has {name} {theirs}, this model has {ours}: give part 3c the options of part 3a's run"
            )
    if language_model["vocabulary"] != vocabulary.description():
        raise InputError(f"{path} was trained with other words than those of this run's vocabulary")
    weights = {name: weight for name, weight in language_model["state_dict"].items() if "decoder" not in name}
    output_weights = {name: weight for name, weight in model.state_dict().items() if "fc_output" in name}
    with fitting_model_file(path, "3a"):
        model.load_state_dict(weights | output_weights)


def groups_by_layer(model, lr):
    """All parameters in groups for an optimizer: the output layer at the learning rate `lr`, each LSTM layer below at a
    2.6th of the one above, the embedding at the lowest one's (Howard and Ruder 2018, "discriminative fine-tuning").
    """
    layers = [[model.fc_output]]
    for i in range(model.no_of_layers, 0, -1):
        layers.append([model.get_submodule(f"lstm{i}"), model.get_submodule(f"bn_lstm{i}")])
    layers[-1].append(model.embedding)
    return [
        {"params": [param for module in layer for param in module.parameters()], "lr": lr / 2.6**depth}
        for depth, layer in enumerate(layers)
    ]


def add_verdicts(reviews, options, device):
    """The labels of the training `reviews`, (reviews,) float, those of unlabelled ones being the probability that the
    models of `--teachers` give them, their mean (self-training: Xie et al. 2020, "noisy student").

    InputError where no review is unlabelled.
    """
    is_unlabelled = reviews.labels < 0
    if not is_unlabelled.any():
        raise InputError(f"{options.data} holds no unlabelled training reviews: leave --teachers out")
    model, vocabulary = load_models(options.teachers, "3c", RNN_model, "RNN_sentiment_analysis.py", options.data)
    theirs = load_reviews(options.data, "train", vocabulary, device, labelled=False)  # as they read them
    theirs = theirs.take((theirs.labels < 0).nonzero()[:, 0])
    labels = reviews.labels.clone()
    labels[is_unlabelled] = torch.tensor(
        probabilities_of_whole(model.to(device), theirs, options.batch_size), device=device
    )
    return labels


def parse_options(arguments=None):
    """The options of the command line, or of a list of `arguments`."""
    parser = training_options(__doc__, epochs=20)
    add_sequence_options(parser, train_length=100, test_length=200, test_every=3, layers=3)
    add_pool_option(parser)
    add = parser.add_argument
    add_start = parser.add_mutually_exclusive_group().add_argument
    add_start("--language-model", type=Path, default=LANGUAGE_MODEL, metavar="FILE", help="made by part 3a")
    add_start("--from-scratch", action="store_true", help="start from random weights instead")
    parts = "last: the last LSTM layer and the output; by-layer: all, each at a 2.6th of the rate of the one above"
    add("--fine-tune", choices=["last", "all", "by-layer"], default="last", help=parts)
    verdicts = "models of this part, whose verdicts are the labels of the unlabelled reviews: these are trained on, too"
    add("--teachers", type=Path, nargs="+", metavar="FILE", help=verdicts)
    add("--whole", action="store_true", help="train and test on whole reviews, with batch norm as in a test")
    options = parse_training_options(parser, __file__, arguments)
    for name in ("train_length", "test_length"):
        if options.whole and getattr(options, name) != parser.get_default(name):
            parser.error(f"--{name.replace('_', '-')} goes with crops, --whole has none")
    if options.whole and options.from_scratch:
        parser.error("--whole takes batch norm's figures from a language model, --from-scratch has none")
    return options


def main():
    options = parse_options()
    device = choose_device(options.device)
    autocast = choose_precision(options.precision, device)
    torch.manual_seed(options.seed)

    language_model, backwards = None, False
    if not options.from_scratch:
        language_model = load_model_file(options.language_model, "3a", "train_language_model.py")
        backwards = language_model["vocabulary"].get("backwards", False)  # reviews are read as it reads them
    vocabulary = Vocabulary.of_options(options, backwards=backwards)
    train = load_reviews(options.data, "train", vocabulary, device, labelled=options.teachers is None)
    train, validation = hold_out(train, options.validation, options.seed)
    labels = train.labels
    if options.teachers is not None:
        with autocast:
            labels = add_verdicts(train, options, device)
    test = load_reviews(options.data, "test", vocabulary, device)

    hyperparameters = {
        "vocab_size": vocabulary.size + 1,  # the unknown token has id 0
        "no_of_hidden_units": options.hidden_units,
        "no_of_layers": options.layers,
        "dropout": options.dropout,
        "pool": options.pool,
    }
    model = RNN_model(**hyperparameters)
    if language_model is not None:
        start_from(language_model, options.language_model, model, hyperparameters, vocabulary)
    model.to(device)

    if options.fine_tune == "last":
        model.requires_grad_(False)
        for name in (f"lstm{options.layers}", f"bn_lstm{options.layers}", "fc_output"):
            model.get_submodule(name).requires_grad_(True)
    params = [param for param in model.parameters() if param.requires_grad]
    if options.fine_tune == "by-layer":
        params = groups_by_layer(model, options.lr)
    optimizer = make_optimizer(options, params)
    scheduler = make_scheduler(options, optimizer, len(train))

    def evaluate(reviews):
        """Accuracy, loss and seconds of the model on random crops of `reviews` or, with --whole, on all of them."""
        if options.whole:
            batches = whole_batches(reviews, options.batch_size)
        else:
            batches = crop_batches(reviews, options.test_length, options.batch_size, options.seed)
        with autocast:
            return evaluate_batches(model, batches)

    with Training(
        options, "rnn.model", model, optimizer, scheduler, train, vocabulary, device, by_length=options.whole
    ) as training:
        for _ in training.epochs():
            model.train()
            crop_lengths = itertools.repeat(options.train_length)
            if options.whole:
                model.freeze_batch_norm()  # the last timesteps of a batch have too few reviews to take figures of
                # all at once: no batch waits for the device
                longest = training.reduce_each_batch(torch.max, train.lengths)
                crop_lengths = [min(length, LONGEST_REVIEW) for length in longest]
            tally = training.tally()
            for rows, crop_length in zip(training.batches(), crop_lengths, strict=False):
                x = random_crops(train, rows, crop_length, training.generator)
                t = labels[rows]
                lengths = train.lengths[rows].clamp(max=crop_length) if options.whole else None  # None: padding counts

                optimizer.zero_grad()
                with autocast:
                    loss, logits = model(x, t, lengths)
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
