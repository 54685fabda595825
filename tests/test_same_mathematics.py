"""The fast models equal the handout's loops: logits, loss, gradients, running figures, weights."""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import handout
import numpy as np
import pytest
import torch
import torch.nn as nn
from twins import copy_weights, draw_with, handout_name, load_file

from common.data.batches import bags_of, mean_embeddings, random_crops
from common.data.reviews import Reviews
from common.models import layers
from common.training.evaluation import PIECE, evaluate_language_batches
from common.training.loop import make_optimizer

VOCAB_SIZE = 40
VECTOR_SIZE = 5
HIDDEN_UNITS = 8

# (reviews, timesteps) of the training batches, the last one ragged, and of a test batch with longer sequences
TRAINING_BATCHES = [(7, 6), (7, 6), (7, 6), (4, 6)]
TEST_BATCH = (5, 9)

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}
# both of the handout's; in float32 Adam makes a full step of the mere rounding of a gradient that is 0, such as
# that of a bias before a batch norm
OPTIMIZERS = {
    torch.float64: ("adam", 0.001, partial(torch.optim.Adam, lr=0.001)),
    torch.float32: ("sgd", 0.01, partial(torch.optim.SGD, lr=0.01, momentum=0.9)),
}
# low enough to clip the small gradients of these small models
CLIP = 0.05


generate_review = load_file("3b/generate_review.py")


@pytest.fixture(params=["cpu", "cuda"])
def device(request, monkeypatch):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    # cuDNN's default for float32 keeps only 10 bits of the mantissa
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    return request.param


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request):
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


# ---------------------------------------------------------------------------------------- the table of models


def floats(array, device):
    return torch.tensor(array, dtype=torch.get_default_dtype(), device=device)


def labels(rng, batch, device):
    return floats(rng.integers(2, size=batch), device)


def bags(rng, batch, time, device):
    arrays = [rng.integers(VOCAB_SIZE, size=rng.integers(1, 5 * time)) for _ in range(batch)]
    t = labels(rng, batch, device)
    return (bags_of(Reviews.of(arrays, t, device)), t), (arrays, t)


def vectors(rng, batch, time, device):
    inputs = floats(rng.normal(size=(batch, VECTOR_SIZE)), device), labels(rng, batch, device)
    return inputs, inputs


def sequences_of_vectors(rng, batch, time, device):
    inputs = floats(rng.normal(size=(batch, time, VECTOR_SIZE)), device), labels(rng, batch, device)
    return inputs, inputs


def sequences(rng, batch, time, device):
    x = torch.tensor(rng.integers(VOCAB_SIZE, size=(batch, time)), device=device)
    inputs = x, labels(rng, batch, device)
    return inputs, inputs


def sequences_without_labels(rng, batch, time, device):
    inputs = (torch.tensor(rng.integers(VOCAB_SIZE, size=(batch, time)), device=device),)
    return inputs, inputs


class Case(NamedTuple):
    """A model file, the handout's class for it, and what `inputs` gives the one and the other."""

    file: str
    oracle: type
    in_size: int
    inputs: Callable
    options: dict
    frozen: tuple = ()

    def __str__(self):
        words = [self.file.split("/")[0], *map(str, self.options.values()), *(["frozen"] if self.frozen else [])]
        return "-".join(words)


def cases(file, oracle, in_size, inputs, all_options, frozen=()):
    return [Case(file, oracle, in_size, inputs, options, frozen) for options in all_options]


HIDDEN_LAYERS = [{"no_of_hidden_layers": n} for n in (1, 2, 3)]
LAYERS = [{"no_of_layers": n} for n in (1, 2, 3)]
LAYERS_AND_POOLS = [{**layers, "pool": pool} for layers, pool in zip(LAYERS, ["max", "mean", "concat"], strict=True)]
# what 3c leaves as the language model had it
BELOW_LAST = ("embedding", "lstm1", "bn_lstm1", "lstm2", "bn_lstm2")

CASES = [
    *cases("1a/BOW_model.py", handout.BOW_model_1a, VOCAB_SIZE, bags, HIDDEN_LAYERS),
    *cases("1b/BOW_model.py", handout.BOW_model_1b, VECTOR_SIZE, vectors, HIDDEN_LAYERS),
    *cases("2a/RNN_model.py", handout.RNN_model_2a, VOCAB_SIZE, sequences, LAYERS_AND_POOLS),
    *cases("2b/RNN_model.py", handout.RNN_model_2b, VECTOR_SIZE, sequences_of_vectors, LAYERS_AND_POOLS),
    *cases(
        "3a/RNN_language_model.py",
        handout.RNN_language_model,
        VOCAB_SIZE,
        sequences_without_labels,
        [*LAYERS, {"no_of_layers": 2, "tied_weights": True}],
    ),
    *cases("3c/RNN_model.py", handout.RNN_model_2a, VOCAB_SIZE, sequences, LAYERS_AND_POOLS),
    *cases("3c/RNN_model.py", handout.RNN_model_2a, VOCAB_SIZE, sequences, LAYERS_AND_POOLS[2:], BELOW_LAST),
]
CASE_3A = next(case for case in CASES if str(case) == "3a-3")


# --------------------------------------------------------------------------------------------- the comparison


def twins(case, device):
    """Our model and the handout's with the same weights, all random, the running figures too."""
    ours = getattr(load_file(case.file), Path(case.file).stem)
    ours = ours(case.in_size, HIDDEN_UNITS, **case.options).to(device)
    theirs = case.oracle(case.in_size, HIDDEN_UNITS, **case.options).to(device)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.uniform_(-0.7, 0.7)
        for name, buffer in ours.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
    copy_weights(ours, theirs)
    for name, parameter in ours.named_parameters():
        parameter.requires_grad_(name.split(".")[0] not in case.frozen)
    return ours, theirs


def trained_parameters(case, model):
    return {
        handout_name(name): parameter
        for name, parameter in model.named_parameters()
        if name.split(".")[0] not in case.frozen
    }


def assert_close(ours, theirs, name):
    tolerance = TOLERANCES[torch.get_default_dtype()]
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, msg=lambda text: f"{name}: {text}")


def assert_same_state(ours, theirs):
    for name, value in ours.state_dict().items():
        assert_close(value, theirs.state_dict()[handout_name(name)], name)


def forward(model, inputs, seed):
    """Both models draw their dropout masks in the same order, so the same seed gives them the same masks."""
    torch.manual_seed(seed)
    return model(*inputs)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_models_equal_the_handouts(case, dtype, device):
    """Training steps and a test on both models; each figure is compared as soon as it is there."""
    rng = np.random.default_rng(1)
    ours, theirs = twins(case, device)
    our_parameters, their_parameters = trained_parameters(case, ours), trained_parameters(case, theirs)
    name, lr, optimizer = OPTIMIZERS[dtype]
    our_optimizer = make_optimizer(Namespace(optimizer=name, lr=lr), our_parameters.values())
    their_optimizer = optimizer(their_parameters.values())

    for seed, (batch, time) in enumerate(TRAINING_BATCHES):
        our_inputs, their_inputs = case.inputs(rng, batch, time, device)
        our_optimizer.zero_grad()
        their_optimizer.zero_grad()
        our_loss, our_logits = forward(ours, our_inputs, seed)
        their_loss, their_logits = forward(theirs, their_inputs, seed)
        assert_close(our_logits, their_logits, "logits")
        assert_close(our_loss, their_loss, "loss")

        our_loss.backward()
        their_loss.backward()
        for name, parameter in our_parameters.items():
            assert_close(parameter.grad, their_parameters[name].grad, f"gradient of {name}")
        no_of_gradients = sum(parameter.grad is not None for parameter in ours.parameters())
        assert no_of_gradients == len(our_parameters)

        our_norm = nn.utils.clip_grad_norm_(our_parameters.values(), CLIP)
        their_norm = nn.utils.clip_grad_norm_(their_parameters.values(), CLIP)
        assert_close(our_norm, their_norm, "norm of the gradients")
        assert our_norm > CLIP
        our_optimizer.step()
        their_optimizer.step()
        assert_same_state(ours, theirs)

    ours.eval()
    theirs.eval()
    our_inputs, their_inputs = case.inputs(rng, *TEST_BATCH, device)
    with torch.no_grad():
        our_loss, our_logits = ours(*our_inputs)
        their_loss, their_logits = theirs(*their_inputs)
    assert_close(our_logits, their_logits, "logits of the test")
    assert_close(our_loss, their_loss, "loss of the test")
    assert_same_state(ours, theirs)


# ------------------------------------------------------------------------------------------------- the layers


def test_running_figures_are_float32_sums_under_bf16(device):
    torch.manual_seed(0)
    x = torch.randn(8, 6, 5, device=device) * 3 + 1
    exact, ours = (layers.TimestepBatchNorm(5).to(device) for _ in range(2))
    exact(x)
    with torch.autocast(device, torch.bfloat16):
        ours(x)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours, name), getattr(exact, name), rtol=0, atol=1e-6)


@pytest.mark.parametrize("p", [0.3, 0.5])
def test_dropout_mask_is_locked_until_reset(p, device):
    torch.manual_seed(0)
    dropout = layers.LockedDropout(p)
    batch, time, features = 200, 7, 50
    x = torch.ones(batch, time, features, device=device)

    y = dropout(x)
    assert dropout.mask.shape == (batch, 1, features)
    assert torch.equal(y, dropout.mask.expand_as(y))
    kept = y[:, 0] != 0
    torch.testing.assert_close(y[:, 0][kept], torch.full_like(y[:, 0][kept], 1 / (1 - p)))
    # 10,000 draws: 0.02 is four standard deviations
    assert kept.float().mean().item() == pytest.approx(1 - p, abs=0.02)
    # no row and no feature is dropped as a whole
    assert kept.any(dim=0).all()
    assert kept.any(dim=1).all()

    # the same mask in the next call, another after a reset
    assert torch.equal(dropout(x[:, :1]), y[:, :1])
    dropout.reset_state()
    assert not torch.equal(dropout(x), y)

    dropout.eval()
    assert torch.equal(dropout(x), x)


@pytest.mark.parametrize("training", [True, False])
def test_layers_take_a_sequence_in_pieces(training, dtype, device):
    torch.manual_seed(0)
    whole, pieces = (
        nn.Sequential(
            layers.StatefulLSTM(VECTOR_SIZE, HIDDEN_UNITS),
            layers.TimestepBatchNorm(HIDDEN_UNITS),
            layers.LockedDropout(0.5 if training else 0.0),
        )
        .to(device)
        .train(training)
        for _ in range(2)
    )
    pieces.load_state_dict(whole.state_dict())
    lstm1, bn_lstm1, dropout1 = pieces
    # the second sequence, of another batch size, shows that reset_state() forgets the first
    for batch in (4, 3):
        x = torch.randn(batch, 6, VECTOR_SIZE, device=device)
        for layer in (whole[0], lstm1, whole[2], dropout1):
            layer.reset_state()
        expected = whole(x)
        dropout1.mask = whole[2].mask
        h = [pieces(x[:, :3])] + [
            dropout1(bn_lstm1(lstm1(x[:, i, :])))[:, None] for i in (3, 4, 5)
        ]  # the handout's line
        assert_close(torch.cat(h, dim=1), expected, "outputs")
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            assert_close(getattr(bn_lstm1, name), getattr(whole[1], name), name)


# --------------------------------------------------------------- the language model's test, and generation


@pytest.fixture
def language_models(dtype, device):
    ours, theirs = twins(CASE_3A, device)
    return ours.eval(), theirs.eval()


def test_language_model_is_tested_in_pieces(language_models, device):
    ours, theirs = language_models
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.integers(VOCAB_SIZE, size=(3, 2 * PIECE + 20)), device=device)
    accuracy, loss, _ = evaluate_language_batches(ours, [(x, None)])
    with torch.no_grad():
        their_loss, their_logits = theirs(x)
    assert accuracy == pytest.approx((their_logits.argmax(dim=2) == x[:, 1:]).double().mean().item())
    assert loss == pytest.approx(their_loss.item(), rel=1e-5)


# in float64 the same uniform numbers draw the same words
float64_only = pytest.mark.parametrize("dtype", [torch.float64], indirect=True, ids=["float64"])


@float64_only
@pytest.mark.parametrize("temperature", [0.25, 1.0, 1.3])
def test_generated_reviews_are_the_handouts(temperature, language_models, device):
    ours, theirs = language_models
    primes = [[3, 17, 5], [8, 1, 30]]
    generators = [torch.Generator(device).manual_seed(0) for _ in range(2)]
    reviews = generate_review.generate(ours, primes, 20, temperature, generators[0])
    ids = torch.tensor(primes, device=device)
    assert reviews == handout.generate(theirs, ids, 20, temperature, draw_with(generators[1])).tolist()


def test_words_are_drawn_by_their_probabilities(device):
    torch.manual_seed(0)
    logits = torch.randn(1, 6, device=device).repeat(30_000, 1)
    words = generate_review.sample_words(logits, 0.7, torch.Generator(device).manual_seed(0))
    shares = torch.bincount(words, minlength=6) / len(words)
    # 30,000 draws: 0.012 is four standard deviations
    torch.testing.assert_close(shares, handout.probabilities(logits[:1], 0.7)[0], rtol=0, atol=0.012)
    assert shares[0] == 0


# so cold that the most likely word is drawn, whatever the seed
@float64_only
def test_primes_of_unequal_length_do_not_touch_each_other(language_models, device):
    ours, theirs = language_models
    primes = [[3], [8, 1, 30, 4], [17, 2]]
    reviews = generate_review.generate(ours, primes, 20, 0.01, torch.Generator(device).manual_seed(0))
    for review, prime in zip(reviews, primes, strict=True):
        assert review == handout.generate(theirs, torch.tensor([prime], device=device), 20, 0.01)[0].tolist()


def test_sampling_near_temperature_0_takes_the_likeliest_known_word(device):
    logits = torch.tensor([[2e4, 1e4, -1e4, 9e3], [3.0, -1.0, 1.0, 0.5]], device=device)
    for seed in range(20):
        generator = torch.Generator(device).manual_seed(seed)
        assert generate_review.sample_words(logits.clone(), 1e-6, generator).tolist() == [1, 2]


# ------------------------------------------------------------------------------------------------ the batches

SEQUENCE_LENGTH = 6


def reviews_of_all_lengths(device):
    """Reviews of 1 to 12 tokens, no id twice: a crop shows where it was taken."""
    ids = iter(range(1, 1000))
    arrays = [np.array([next(ids) for _ in range(length)]) for length in range(1, 2 * SEQUENCE_LENGTH + 1)]
    return arrays, Reviews.of(arrays, [0] * len(arrays), device)


def test_crops_are_the_handouts(device):
    arrays, reviews = reviews_of_all_lengths(device)
    generator = torch.Generator(device).manual_seed(0)
    rng = np.random.default_rng(0)
    draws = 2000
    for row, array in enumerate(arrays):
        rows = torch.full((draws,), row, device=device)
        crops = random_crops(reviews, rows, SEQUENCE_LENGTH, generator)
        assert crops.dtype == torch.int64
        found, counts = np.unique(crops.cpu().numpy(), axis=0, return_counts=True)
        expected = np.unique(handout.make_batch(arrays, [row] * draws, SEQUENCE_LENGTH, rng), axis=0)
        np.testing.assert_array_equal(found, expected)
        # as often from every start: within five standard deviations
        no_of_starts = max(len(array) - SEQUENCE_LENGTH, 0) + 1
        assert len(found) == no_of_starts
        assert abs(counts - draws / no_of_starts).max() <= 5 * (draws / no_of_starts) ** 0.5


def test_crops_follow_the_rows(device):
    arrays, reviews = reviews_of_all_lengths(device)
    rows = torch.tensor([11, 0, 5, 11, 7, 2], device=device)
    generator = torch.Generator(device).manual_seed(0)
    crops = random_crops(reviews, rows, SEQUENCE_LENGTH, generator)
    assert crops.shape == (len(rows), SEQUENCE_LENGTH)
    for crop, row in zip(crops.tolist(), rows.tolist(), strict=True):
        assert set(crop) <= {0, *arrays[row].tolist()}


def test_bags_weigh_each_word_by_its_share(device):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(VOCAB_SIZE, size=length) for length in (30, 1, 100, 7)]
    all_bags = bags_of(Reviews.of(arrays, [0] * len(arrays), device))
    for rows in ([0, 1, 2, 3], [3, 1], [2, 2, 0]):
        rows_there = torch.tensor(rows, device=device)
        taken = all_bags.take(rows_there)
        told = all_bags.take(rows_there, int(all_bags.lengths()[rows_there].sum()))
        assert all(torch.equal(one, other) for one, other in zip(taken, told, strict=True))
        assert len(taken.offsets) == len(rows) + 1
        for i, row in enumerate(rows):
            entries = slice(taken.offsets[i], taken.offsets[i + 1])
            ids, counts = np.unique(arrays[row], return_counts=True)
            np.testing.assert_array_equal(taken.ids[entries].cpu(), ids)
            np.testing.assert_allclose(taken.weights[entries].cpu(), counts / len(arrays[row]), rtol=1e-6)


def test_mean_embeddings_leave_out_unknown_words(device, capsys):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(VOCAB_SIZE, VECTOR_SIZE)).astype(np.float32)
    arrays = [np.array([0, 5, 0, 5, 2]), np.array([7]), rng.integers(VOCAB_SIZE, size=100)]
    nothing_known = np.array([0, 0])
    reviews = Reviews.of([*arrays, nothing_known], [0] * 4, device)
    means = mean_embeddings(reviews, torch.from_numpy(embeddings).to(device)).cpu().numpy()
    np.testing.assert_allclose(means[:3], handout.mean_vectors(arrays, embeddings), rtol=1e-5, atol=1e-6)
    # here the handout has NaN
    assert not means[3].any()
    assert "warning: 1 of 4 reviews" in capsys.readouterr().err
