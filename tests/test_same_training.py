"""Each train script, from its first batch to its last test, does what the handout's loop does with the same batches."""

import json
from typing import NamedTuple

import handout
import numpy as np
import pytest
import torch
import torch.nn as nn
from conftest import PARTS, read_model, run_here, succeed
from twins import copy_weights, handout_name, load_file

from common.data.reviews import Vocabulary, hold_out, load_reviews
from common.training.checkpoints import save_model
from common.training.loop import Training

NO_OF_WORDS, VECTOR_SIZE, LENGTH = 30, 5, 12
# 26 labelled training reviews less 6 held out are 20: three batches, the last one smaller, as are those of the tests
LABELS = {"train": [1] * 13 + [0] * 13 + [-1] * 10, "test": [1] * 8 + [0] * 5}
HELD_OUT, BATCH_SIZE, EPOCHS, LR, CLIP = 6, 8, 2, 0.1, 0.05

SETTINGS = [
    *["--epochs", EPOCHS, "--batch-size", BATCH_SIZE, "--validation", HELD_OUT, "--hidden-units", 6, "--dropout", 0],
    *["--optimizer", "sgd", "--lr", LR, "--schedule", "one-cycle", "--device", "cpu"],
]
# no review is longer, so there is nothing to draw
CROPS = ["--train-length", LENGTH, "--test-length", LENGTH, "--test-every", 1]

BOW = {"no_of_hidden_units": 6, "no_of_hidden_layers": 1, "dropout": 0}
RNN = {"no_of_hidden_units": 6, "dropout": 0}
WORDS, VECTORS = {"vocab_size": NO_OF_WORDS + 1}, {"in_size": VECTOR_SIZE}


class Case(NamedTuple):
    """A part's model file, the handout's class for it, what both are made with, and the options of the script."""

    file: str
    oracle: type
    hyperparameters: dict
    options: list


CASES = {
    "1a": Case("BOW_model", handout.BOW_model_1a, {**BOW, **WORDS}, []),
    "1b": Case("BOW_model", handout.BOW_model_1b, {**BOW, **VECTORS}, []),
    "2a": Case("RNN_model", handout.RNN_model_2a, {**RNN, **WORDS, "no_of_layers": 1}, CROPS),
    "2b": Case("RNN_model", handout.RNN_model_2b, {**RNN, **VECTORS, "no_of_layers": 1}, CROPS),
    "3a": Case("RNN_language_model", handout.RNN_language_model, {**RNN, **WORDS}, [*CROPS, "--clip", CLIP]),
    "3c": Case("RNN_model", handout.RNN_model_2a, {**RNN, **WORDS, "no_of_layers": 3}, CROPS),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with a few short reviews of made-up ids and vectors."""
    folder = tmp_path_factory.mktemp("few")
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(1, NO_OF_WORDS + 1)])
    vectors = rng.normal(size=(NO_OF_WORDS + 1, VECTOR_SIZE)).astype(np.float32)
    vectors[0] = 0
    arrays = {"imdb_dictionary": words, "glove_dictionary": words, "glove_embeddings": vectors}
    for split, labels in LABELS.items():
        arrays[f"imdb_{split}_labels"] = np.array(labels, np.int8)
        reviews = [
            [rng.integers(1, NO_OF_WORDS + 1), *rng.integers(NO_OF_WORDS + 1, size=rng.integers(LENGTH))]
            for _ in labels
        ]
        for name in (f"imdb_{split}.txt", f"imdb_{split}_glove.txt"):
            (folder / name).write_text("".join(" ".join(map(str, review)) + "\n" for review in reviews))
    for name, array in arrays.items():
        with open(folder / f"{name}.npy", "wb") as file:
            np.save(file, array)
    return folder


@pytest.fixture
def batches_of(monkeypatch):
    """The rows of the batches of each epoch that a script trains on, while it does so: a list of lists of tensors."""
    seen, batches = [], Training.batches

    def batches_and_note(self, *arguments, **options):
        seen.append([])
        for rows in batches(self, *arguments, **options):
            seen[-1].append(rows.clone())
            yield rows

    monkeypatch.setattr(Training, "batches", batches_and_note)
    return seen


def inputs(part, reviews, rows, embeddings):
    """What the handout's model takes of the reviews `rows`."""
    lists = [ids.numpy().astype(np.int64) for ids in reviews.ids.split(reviews.lengths.tolist())]
    t = reviews.labels[rows]
    if part == "1a":
        return [lists[row] for row in rows], t
    if part == "1b":
        return torch.from_numpy(handout.mean_vectors([lists[row] for row in rows], embeddings)), t
    x = torch.from_numpy(handout.make_batch(lists, rows, LENGTH, np.random.default_rng(0)))
    if part == "2b":
        return torch.from_numpy(embeddings)[x], t
    return (x,) if part == "3a" else (x, t)


class Handout:
    """The handout's model of a part, its loop over an epoch and its loop over a test."""

    def __init__(self, part, model, embeddings, optimizer, scheduler):
        self.part, self.model, self.embeddings = part, model, embeddings
        self.optimizer, self.scheduler = optimizer, scheduler

    def run(self, reviews, batches, training):
        """Accuracy and mean loss over the batches, counted prediction for prediction."""
        self.model.train(training)
        loss_sum = hits = count = 0
        for rows in batches:
            x = inputs(self.part, reviews, rows, self.embeddings)
            with torch.set_grad_enabled(training):
                loss, logits = self.model(*x)
            if training:
                self.optimizer.zero_grad()
                loss.backward()
                if self.part == "3a":
                    nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
                self.optimizer.step()
                self.scheduler.step()
            right = logits.argmax(dim=2) == x[0][:, 1:] if self.part == "3a" else (logits >= 0) == (x[1] >= 0.5)
            loss_sum += loss.item() * right.numel()
            hits += int(right.sum())
            count += right.numel()
        return hits / count, loss_sum / count

    def test(self, reviews):
        return self.run(reviews, torch.arange(len(reviews)).split(BATCH_SIZE), training=False)


def start(part, data, language_model):
    """The part's model as its script starts with it: the handout's, and the parameters that are trained."""
    case = CASES[part]
    model_class = getattr(load_file(f"{part}/{case.file}.py"), case.file)
    torch.manual_seed(0)
    ours = model_class(**case.hyperparameters)
    if part == "3c":
        weights = language_model.state_dict()
        ours.load_state_dict({name: weights.get(name, value) for name, value in ours.state_dict().items()})
    theirs = case.oracle(**case.hyperparameters)
    copy_weights(ours, theirs)
    trained = ("lstm3", "bn_lstm3", "fc_output") if part == "3c" else ("",)
    return theirs, [value for name, value in theirs.named_parameters() if name.startswith(trained)]


@pytest.mark.parametrize("part", PARTS)
def test_a_script_is_the_handouts_loop(part, data, batches_of, tmp_path):
    case = CASES[part]
    options = [*SETTINGS, *case.options, "--data", data, "--output", tmp_path]
    language_model = None
    if part == "3c":
        torch.manual_seed(1)
        hyperparameters = CASES["3a"].hyperparameters
        language_model = load_file("3a/RNN_language_model.py").RNN_language_model(**hyperparameters)
        file = tmp_path / "language.model"
        hyperparameters = {**hyperparameters, "no_of_layers": 3}
        save_model(file, "3a", language_model, hyperparameters, Vocabulary(data), epochs_done=1, finished=True)
        options += ["--language-model", file]
    succeed(run_here(f"{part}/{PARTS[part][0]}", *options))

    vocabulary = Vocabulary(data, glove=part in ("1b", "2b"))
    train, validation = hold_out(load_reviews(data, "train", vocabulary, "cpu", part != "3a"), HELD_OUT, seed=0)
    test = load_reviews(data, "test", vocabulary, "cpu")
    sizes = [len(rows) for rows in torch.arange(len(train)).split(BATCH_SIZE)]
    assert sizes[-1] < BATCH_SIZE
    for batches in batches_of:
        assert [len(rows) for rows in batches] == sizes
        assert sorted(torch.cat(batches).tolist()) == list(range(len(train)))
    assert len(batches_of) == EPOCHS

    model, parameters = start(part, data, language_model)
    optimizer = torch.optim.SGD(parameters, lr=LR, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=EPOCHS * len(sizes))
    loop = Handout(part, model, np.load(data / "glove_embeddings.npy"), optimizer, scheduler)
    expected = []
    for batches in batches_of:
        figures = {"train": loop.run(train, batches, training=True), "validation": loop.test(validation)}
        expected.append({f"{name}_accuracy": accuracy for name, (accuracy, _) in figures.items()})
        expected[-1] |= {f"{name}_loss": loss for name, (_, loss) in figures.items()}
    accuracy, loss = loop.test(test)
    expected[-1] |= {"test_accuracy": accuracy, "test_loss": loss}

    epochs = json.loads((tmp_path / "run.json").read_text())["epochs"]
    for epoch, figures in zip(epochs, expected, strict=True):
        found = {name: epoch[name] for name in epoch if name.endswith(("accuracy", "loss"))}
        assert found == pytest.approx(figures, abs=1e-4)
    weights = read_model(tmp_path / PARTS[part][2])["state_dict"]
    theirs = model.state_dict()
    assert {handout_name(name) for name in weights} == set(theirs)
    for name, value in weights.items():
        torch.testing.assert_close(value, theirs[handout_name(name)], rtol=1e-4, atol=1e-4, msg=lambda m, n=name: n + m)
