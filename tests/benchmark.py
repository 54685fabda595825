"""Times the handout's loops and ours side by side, in one run, and prints one table.

    python tests/benchmark.py                                     # made-up ids with IMDB's lengths and frequencies
    python tests/benchmark.py --device cuda --data preprocessed_data
    python tests/benchmark.py --parts 2a 3a

Before a pair is timed, both sides compute the same from the same weights and inputs; where they differ, the run ends
with status 1. Their calls then take turns, so that a machine that slows down slows both: the ratio is the median over
the pairs, with its range. The shares are of what the machine itself does in a large matrix product and a large copy.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import handout
import numpy as np
import torch
import torch.nn as nn
from twins import copy_weights, handout_name, load_file

from common.cluster import choose_device
from common.errors import run_script
from common.figures import Tally, no_of_hits
from common.files import npy_bytes
from common.options import OptionParser
from common.reviews import Vocabulary, bags_of, load_glove_embeddings, load_reviews, mean_embeddings, random_crops
from common.testing import test_pass
from preprocess_data import Tokens, write_tokens

BATCH = 200
VOCAB_SIZE = 8001  # with the unknown word
UNITS = 500
LENGTH = {"2a": 100, "2b": 100, "3a": 50, "3c": 100}  # the handout's crops for training
GLOVE_DIMENSIONS = 300

# a pair takes turns until this many seconds have passed, but at least three times
SECONDS_A_ROW = 40
# the greatest difference that the rounding of float32 explains, as a share of the greatest value
TOLERANCE = 1e-4


class Row(NamedTuple):
    """Two ways to the same result, functions without arguments.

    `tokens` is what a call works on; `flops` and `bytes` are what ours cannot avoid: the operations of the matrix
    products, and each large tensor that it needs written once and read once.
    """

    name: str
    theirs: Callable
    ours: Callable
    tokens: int
    flops: float = 0.0
    bytes: float = 0.0


class Machine(NamedTuple):
    """What the device does a second: operations of a large float32 matrix product, bytes of a large copy."""

    flops: float
    bytes: float


# ------------------------------------------------------------------------------------------------ made-up data


def make_data(folder, glove):
    """Writes preprocessed files of random ids with the lengths and word frequencies of the IMDB reviews to `folder`.

    The training reviews have 268 tokens on average, with a standard deviation of 199 (lognormal, cut at 10 and 2874);
    of 188,803 words the 100 commonest make up 56 %, the 8000 commonest 93 % of all tokens.
    """
    rng = np.random.default_rng(0)
    no_of_words = 188_803
    cumulative = np.cumsum(1 / (np.arange(1, no_of_words + 1) + 11) ** 1.34)
    cumulative /= cumulative[-1]
    spread = np.log(1 + (199.0 / 268.5) ** 2)
    for split, no_of_reviews in (("train", 75_000), ("test", 25_000)):
        lengths = rng.lognormal(np.log(268.5) - spread / 2, spread**0.5, no_of_reviews).clip(10, 2874).astype(np.int32)
        ids = (np.searchsorted(cumulative, rng.random(lengths.sum())) + 1).clip(max=no_of_words).astype(np.int32)
        files = [(f"imdb_{split}.txt", ids)]
        if glove:
            files.append((f"imdb_{split}_glove.txt", np.where(ids > 100_000, 0, ids)))
        for name, tokens in files:
            with contextlib.ExitStack() as stack:
                write_tokens(stack, folder / name, Tokens(tokens, lengths))
        labels = np.arange(no_of_reviews) % 2
        labels[25_000:] = -1
        (folder / f"imdb_{split}_labels.npy").write_bytes(npy_bytes(labels.astype(np.int8)))
    words = np.array([f"word{i}" for i in range(no_of_words)])
    (folder / "imdb_dictionary.npy").write_bytes(npy_bytes(words))
    if glove:
        (folder / "glove_dictionary.npy").write_bytes(npy_bytes(words[:100_000]))
        vectors = rng.normal(size=(100_001, GLOVE_DIMENSIONS)).astype(np.float32)
        vectors[0] = 0
        (folder / "glove_embeddings.npy").write_bytes(npy_bytes(vectors))
    return folder


# -------------------------------------------------------------------------------------------------- comparison


def check(name, ours, theirs):
    """The greatest difference between two tensors or lists of them, as a share of the greatest value.

    Ends the run with status 1 where rounding does not explain it.
    """
    ours, theirs = ([x] if isinstance(x, torch.Tensor) else list(x) for x in (ours, theirs))
    greatest = max(float(y.abs().max()) for y in theirs)
    difference = max(float((x - y).abs().max()) for x, y in zip(ours, theirs, strict=True)) / (greatest or 1)
    if not difference <= TOLERANCE:
        sys.exit(f"{name}: ours differs from the handout's by {difference:.1e} of the greatest value")
    return difference


def first_step(model, inputs, names):
    """Logits, loss, the gradients of the parameters `names` and the running figures after a step from seed 0."""
    torch.manual_seed(0)
    model.train()
    model.zero_grad()
    loss, logits = model(*inputs)
    loss.backward()
    gradients = dict(model.named_parameters())
    return {
        "logits": logits.detach(),
        "loss": loss.detach(),
        "gradients": [gradients[name].grad for name in names],
        "running figures": [value for name, value in model.named_buffers() if "running" in name],
    }


def check_models(part, ours, theirs, our_inputs, their_inputs):
    """Gives `theirs` the weights of `ours`, compares a training step and an evaluation; prints the differences."""
    copy_weights(ours, theirs)
    names = [name for name, parameter in ours.named_parameters() if parameter.requires_grad]
    mine = first_step(ours, our_inputs, names)
    other = first_step(theirs, their_inputs, map(handout_name, names))
    differences = {name: check(f"{part}, {name}", mine[name], other[name]) for name in mine}
    ours.eval()
    theirs.eval()
    with torch.no_grad():
        evaluated = check(f"{part}, logits in evaluation", ours(*our_inputs)[1], theirs(*their_inputs)[1])
    differences["logits in evaluation"] = evaluated
    note(f"{part} equal: " + ", ".join(f"{name} to {difference:.0e}" for name, difference in differences.items()))
    ours.train()
    theirs.train()


# ------------------------------------------------------------------------------------------------------ timing


def synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(call, device):
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


class Timing(NamedTuple):
    theirs: float  # seconds, the median
    ours: float
    ratios: list
    peak_memory: int  # bytes that ours holds on the GPU at most, 0 on the CPU


def time_row(row, device):
    peak_memory = 0
    row.theirs()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    row.ours()
    if device.type == "cuda":
        peak_memory = torch.cuda.max_memory_allocated()
    theirs, ours = [], []
    end = time.perf_counter() + SECONDS_A_ROW
    while len(ours) < 3 or time.perf_counter() < end:
        theirs.append(seconds_of(row.theirs, device))
        ours.append(seconds_of(row.ours, device))
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return Timing(statistics.median(theirs), statistics.median(ours), ratios, peak_memory)


def measure_machine(device):
    size = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    source = torch.zeros(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    product = min(seconds_of(lambda: a @ b, device) for _ in range(6))
    copy = min(seconds_of(lambda: target.copy_(source), device) for _ in range(6))
    return Machine(2 * size**3 / product, 2 * source.numel() * 4 / copy)


HEADER = (
    "row                                handout      ours  times (range)          tokens/s  matrix  memory  peak MB"
)


def print_row(row, timing, machine):
    times = f"{statistics.median(timing.ratios):.1f} ({min(timing.ratios):.1f}-{max(timing.ratios):.1f})"
    matrix = f"{row.flops / timing.ours / machine.flops:.0%}" if row.flops else "-"
    memory = f"{row.bytes / timing.ours / machine.bytes:.0%}" if row.bytes else "-"
    peak = f"{timing.peak_memory / 1e6:.0f}" if timing.peak_memory else "-"
    theirs, ours = (f"{seconds * 1000:.2f} ms" for seconds in (timing.theirs, timing.ours))
    tokens = f"{row.tokens / timing.ours:,.0f}"
    print(
        f"{row.name:<29} {theirs:>12} {ours:>11}  {times:<18} {tokens:>11} {matrix:>7} {memory:>7} {peak:>8}",
        flush=True,
    )


def note(message):
    print(message, file=sys.stderr)


# -------------------------------------------------------------------------------------------------------- rows


class Corpus:
    """The labelled training reviews, ours and as the handout's list of arrays."""

    def __init__(self, data, device, glove=False, labelled=True):
        self.vocabulary = Vocabulary(data, None if glove else VOCAB_SIZE - 1, glove=glove)
        self.reviews = load_reviews(data, "train", self.vocabulary, device, labelled)
        self.arrays = [ids.numpy() for ids in self.reviews.ids.cpu().long().split(self.reviews.lengths.tolist())]
        self.labels = self.reviews.labels.cpu().numpy()
        self.rows = torch.randperm(len(self.reviews), generator=torch.Generator().manual_seed(0))[:BATCH].to(device)


def reading_rows(data, device):
    vocabulary = Vocabulary(data, VOCAB_SIZE - 1)

    def ours():
        return load_reviews(data, "train", vocabulary, device, labelled=False)

    def theirs():
        return handout.read_reviews(data / "imdb_train.txt", VOCAB_SIZE - 1)

    reviews = ours()
    check("ids read", reviews.ids.cpu().long(), torch.from_numpy(np.concatenate(theirs())))
    yield Row(f"reading {len(reviews):,} reviews", theirs, ours, len(reviews.ids))


def crops_rows(data, device):
    corpus = Corpus(data, device)
    generator, rng = torch.Generator(device).manual_seed(0), np.random.default_rng(0)
    rows = corpus.rows

    def ours(sequence_length=100):
        return random_crops(corpus.reviews, rows, sequence_length, generator)

    def theirs(sequence_length=100):
        crops = handout.make_batch(corpus.arrays, rows.tolist(), sequence_length, rng)
        return torch.from_numpy(crops).to(device)

    # of the longest review's length there is one crop of each, with its padding
    longest = int(corpus.reviews.lengths[rows].max())
    check("crops", ours(longest), theirs(longest))
    yield Row("a batch of crops of 100", theirs, ours, BATCH * 100)


def step(model, optimizer, inputs, clip=None):
    """A training step, which is the handout's for both sides: (loss, logits)."""
    optimizer.zero_grad()
    loss, logits = model(*inputs)
    loss.backward()
    if clip:
        nn.utils.clip_grad_norm_([parameter for group in optimizer.param_groups for parameter in group["params"]], clip)
    optimizer.step()
    return loss, logits


def training_rows(part, ours, theirs, our_batch, their_batch, device, *, trained=None, clip=None, **costs):
    """A training step of a part, and the same as an epoch has it: with the making of the batch and the counting.

    `our_batch` and `their_batch` make the inputs of a model and the targets that its logits meet; `trained` are the
    names of the modules that learn, all where it is None.
    """
    ours.requires_grad_(trained is None)
    for name in trained or ():
        ours.get_submodule(name).requires_grad_(True)
    our_inputs = our_batch()[0]
    their_inputs = our_inputs if isinstance(our_inputs[0], torch.Tensor) else their_batch()[0]
    check_models(part, ours, theirs, our_inputs, their_inputs)

    # as in the handout, only the optimizer leaves the frozen layers alone: the backward pass runs through them
    names = [name for name, parameter in ours.named_parameters() if parameter.requires_grad]
    parameters = dict(theirs.named_parameters())
    our_optimizer = torch.optim.Adam([parameter for parameter in ours.parameters() if parameter.requires_grad])
    their_optimizer = torch.optim.Adam([parameters[handout_name(name)] for name in names])
    tally = Tally()

    def our_share():
        inputs, targets = our_batch()
        loss, logits = step(ours, our_optimizer, inputs, clip)
        tally.add(loss, hits(logits, targets), targets.numel())

    def their_share():
        inputs, targets = their_batch()
        loss, logits = step(theirs, their_optimizer, inputs, clip)
        return hits(logits, targets).cpu().numpy(), loss.item()

    def hits(logits, targets):
        return no_of_hits(logits, targets) if logits.dim() == 1 else (logits.argmax(dim=2) == targets).sum()

    yield Row(
        f"{part} training step",
        lambda: step(theirs, their_optimizer, their_inputs, clip),
        lambda: step(ours, our_optimizer, our_inputs, clip),
        **costs,
    )
    yield Row(f"{part} a batch of an epoch", their_share, our_share, **costs)


def bow_rows(part, data, device):
    corpus = Corpus(data, device, glove=part == "1b")
    rows = corpus.rows
    t = corpus.reviews.labels[rows]
    tokens = int(corpus.reviews.lengths[rows].sum())
    if part == "1a":
        bags = bags_of(corpus.reviews)
        in_size, oracle = VOCAB_SIZE, handout.BOW_model_1a
        # the embeddings of the batch read, their gradients added up, and Adam over the whole table
        costs = {"bytes": 4 * UNITS * (3 * len(bags.take(rows).ids) + 7 * VOCAB_SIZE)}

        def our_batch():
            return (bags.take(rows), corpus.reviews.labels[rows]), t

        def their_batch():
            arrays = [corpus.arrays[row] for row in rows.tolist()]
            labels = torch.from_numpy(corpus.labels[rows.cpu().numpy()]).to(device)
            return (arrays, labels), labels
    else:
        embeddings = load_glove_embeddings(data, corpus.vocabulary.size, device)
        means = mean_embeddings(corpus.reviews, embeddings)
        arrays = means.cpu().numpy()
        in_size, oracle = means.shape[1], handout.BOW_model_1b
        costs = {"flops": 6 * BATCH * in_size * UNITS}

        def our_batch():
            return (means[rows], corpus.reviews.labels[rows]), t

        def their_batch():
            x = torch.FloatTensor(arrays[rows.cpu().numpy()]).to(device)
            labels = torch.from_numpy(corpus.labels[rows.cpu().numpy()]).to(device)
            return (x, labels), labels

    ours = load_file(f"{part}/BOW_model.py").BOW_model(in_size, UNITS).to(device)
    theirs = oracle(in_size, UNITS).to(device)
    yield from training_rows(part, ours, theirs, our_batch, their_batch, device, tokens=tokens, **costs)


def lstm_flops(tokens, in_size):
    """Of one LSTM layer's matrix products, forward."""
    return 2 * tokens * (in_size + UNITS) * 4 * UNITS


# what a token leaves in each layer, forward: gates, c, h, and the outputs of batch norm and dropout
FLOATS_A_LAYER = 8 * UNITS


def rnn_rows(part, data, device):
    corpus = Corpus(data, device, glove=part == "2b", labelled=part != "3a")
    rows, length = corpus.rows, LENGTH[part]
    generator, rng = torch.Generator(device).manual_seed(0), np.random.default_rng(0)
    if part == "2b":
        embeddings = load_glove_embeddings(data, corpus.vocabulary.size, device)
        vectors = embeddings.cpu().numpy()

    def our_batch():
        x = random_crops(corpus.reviews, rows, length, generator)
        if part == "3a":
            return (x,), x[:, 1:]
        t = corpus.reviews.labels[rows]
        return (embeddings[x] if part == "2b" else x, t), t

    def their_batch():
        x = handout.make_batch(corpus.arrays, rows.tolist(), length, rng)
        x = torch.from_numpy(vectors[x] if part == "2b" else x).to(device)
        if part == "3a":
            return (x,), x[:, 1:]
        t = torch.from_numpy(corpus.labels[rows.cpu().numpy()]).to(device)
        return (x, t), t

    tokens = BATCH * (length - (part == "3a"))
    layer = lstm_flops(tokens, UNITS)
    if part == "2b":
        in_size, trained, no_of_layers = embeddings.shape[1], None, 1
        # no gradient of the vectors
        flops = 3 * lstm_flops(tokens, in_size) - 2 * tokens * in_size * 4 * UNITS
    elif part == "3c":
        in_size, trained, no_of_layers = VOCAB_SIZE, ("lstm3", "bn_lstm3", "fc_output"), 3
        # forward through three layers, backward through the last, which needs no gradient of its input
        flops = 3 * layer + 2 * layer - layer / 2
    else:
        in_size, trained, no_of_layers = VOCAB_SIZE, None, 3 if part == "3a" else 1
        flops = 3 * no_of_layers * layer
    floats = tokens * FLOATS_A_LAYER * no_of_layers * (2 if trained is None else 1)
    if part == "3a":
        ours = load_file("3a/RNN_language_model.py").RNN_language_model(in_size, UNITS).to(device)
        theirs = handout.RNN_language_model(in_size, UNITS).to(device)
        flops += 3 * 2 * tokens * UNITS * VOCAB_SIZE
        floats += 2 * tokens * VOCAB_SIZE  # logits and their gradients
    else:
        oracle = handout.RNN_model_2b if part == "2b" else handout.RNN_model_2a
        ours = load_file(f"{part}/RNN_model.py").RNN_model(in_size, UNITS, no_of_layers).to(device)
        theirs = oracle(in_size, UNITS, no_of_layers).to(device)
    costs = {"tokens": tokens, "flops": flops, "bytes": 2 * 4 * floats}
    clip = 2.0 if part == "3a" else None
    yield from training_rows(part, ours, theirs, our_batch, their_batch, device, trained=trained, clip=clip, **costs)
    if part == "2a":
        yield from test_rows(ours, theirs, corpus, device)
    if part == "3a":
        yield plain_language_model_row(ours, our_batch, costs, device)


def test_rows(ours, theirs, corpus, device):
    """A batch of 2a's test, crops included, at the shortest and the longest sequences that are usual."""
    generator, rng = torch.Generator(device).manual_seed(0), np.random.default_rng(0)
    rows, t = corpus.rows, corpus.reviews.labels[corpus.rows]
    theirs.eval()
    for length in (100, 500):

        def our_test(length=length):
            return test_pass(ours, [(random_crops(corpus.reviews, rows, length, generator), t)])

        def their_test(length=length):
            x = torch.from_numpy(handout.make_batch(corpus.arrays, rows.tolist(), length, rng)).to(device)
            with torch.no_grad():
                loss, logits = theirs(x, t)
            return no_of_hits(logits, t).cpu().numpy(), loss.item()

        tokens = BATCH * length
        yield Row(f"2a test batch, length {length}", their_test, our_test, tokens, lstm_flops(tokens, UNITS))


class Plain_language_model(nn.Module):
    """A language model of the same size as PyTorch's word_language_model example builds one: an nn.LSTM of three layers
    with dropout between and after them, no batch norm, all timesteps at once."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.3)
        self.encoder = nn.Embedding(VOCAB_SIZE, UNITS)
        self.rnn = nn.LSTM(UNITS, UNITS, 3, dropout=0.3, batch_first=True)
        self.decoder = nn.Linear(UNITS, VOCAB_SIZE)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x):
        outputs, _ = self.rnn(self.drop(self.encoder(x[:, :-1])))
        logits = self.decoder(self.drop(outputs))
        return self.loss(logits.flatten(0, 1), x[:, 1:].flatten()), logits


def plain_language_model_row(ours, our_batch, costs, device):
    plain = Plain_language_model().to(device)
    optimizers = [torch.optim.Adam(model.parameters()) for model in (plain, ours)]
    inputs = our_batch()[0]
    ours.train()
    return Row(
        "3a step (plain nn.LSTM)",
        lambda: step(plain, optimizers[0], inputs, 2.0),
        lambda: step(ours, optimizers[1], inputs, 2.0),
        **costs,
    )


def generation_rows(data, device):
    generate = load_file("3b/generate_review.py").generate
    ours = load_file("3a/RNN_language_model.py").RNN_language_model(VOCAB_SIZE, UNITS).to(device).eval()
    theirs = handout.RNN_language_model(VOCAB_SIZE, UNITS).to(device).eval()
    copy_weights(ours, theirs)
    primes = [[3, 17, 5]] * 32

    def our_reviews(length=150):
        return generate(ours, primes, length, 1.0, torch.Generator(device).manual_seed(0))

    @torch.no_grad()
    def their_reviews(length=150):
        torch.manual_seed(0)
        return handout.generate(theirs, torch.tensor(primes, device=device), length, 1.0).tolist()

    # in float64 the same seed draws the same words
    ours.double()
    theirs.double()
    if our_reviews(20) != their_reviews(20):
        sys.exit("3b: ours draws other words than the handout's")
    ours.float()
    theirs.float()
    tokens = 32 * 150
    flops = 3 * lstm_flops(tokens, UNITS) + 2 * tokens * UNITS * VOCAB_SIZE
    yield Row("3b 32 reviews of 150 words", their_reviews, our_reviews, tokens, flops)


ROWS = {
    "reading": reading_rows,
    "crops": crops_rows,
    "1a": partial(bow_rows, "1a"),
    "1b": partial(bow_rows, "1b"),
    "2a": partial(rnn_rows, "2a"),
    "2b": partial(rnn_rows, "2b"),
    "3a": partial(rnn_rows, "3a"),
    "3b": generation_rows,
    "3c": partial(rnn_rows, "3c"),
}


def main():
    parser = OptionParser(__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["auto", "cuda", "cpu"], default="auto", help="auto: CUDA if there is one")
    parser.add_argument("--parts", nargs="+", choices=ROWS, default=list(ROWS), metavar="PART", help="which rows")
    parser.add_argument("--data", type=Path, metavar="DIR", help="what preprocess_data.py wrote (default: made up)")
    options = parser.parse_args()
    device = choose_device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or make_data(Path(folder), glove=bool({"1b", "2b"} & set(options.parts)))
        machine = measure_machine(device)
        note(f"{machine.flops / 1e9:,.0f} GFLOP/s in a matrix product, {machine.bytes / 1e9:.1f} GB/s in a copy")
        print(HEADER)
        for part in options.parts:
            torch.manual_seed(0)
            for row in ROWS[part](data, device):
                print_row(row, time_row(row, device), machine)


if __name__ == "__main__":
    run_script(main)
