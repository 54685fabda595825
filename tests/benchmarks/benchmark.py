"""Times the handout's loops and ours side by side, in one run, and prints one table.

    python tests/benchmarks/benchmark.py     # made-up ids with IMDB's lengths and frequencies
    python tests/benchmarks/benchmark.py --device cuda --data preprocessed_data
    python tests/benchmarks/benchmark.py --parts 2a 3a --precision fp32 bf16

Before a pair is timed, both sides compute the same from the same weights and inputs, in float32; where they differ, the
run ends with status 1. They are timed in the same `--precision`, by default the scripts', each in a process of its own,
with the memory settings of its scripts, and their calls take turns: the ratio is the median over the pairs, with its
range.
The last column is the share of what the machine itself does in a large matrix product of that precision (of bf16,
although LSTMs on CUDA have tf32 then).
"""

import importlib.util
import random
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = map(str, Path(__file__).resolve().parents[:3])  # this folder, tests/, and the folder of common/

import handout
import numpy as np
import torch
from made_up_data import make_data, write_glove_lines
from steps import Plain_language_model, step
from timing import Row, Side, measure_matrix_rate, time_row
from twins import copy_weights, draw_with, handout_name, load_file

from common.data.batches import bags_of, mean_embeddings, random_crops
from common.data.glove import read_glove
from common.data.reviews import Vocabulary, load_glove_embeddings, load_reviews
from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.files import REPOSITORY
from common.training.evaluation import evaluate_batches
from common.training.loop import make_optimizer
from common.training.metrics import Tally, no_of_hits, no_of_words_predicted
from common.training.options import OptionParser, add_device_option

BATCH = 200
VOCAB_SIZE = 8001  # with the unknown word
UNITS = 500
# the scripts' default
ADAM = Namespace(optimizer="adam", lr=0.001)

# the greatest difference that the rounding of float32 explains, as a share of the greatest value
TOLERANCE = 1e-4


class Setting(NamedTuple):
    """What all rows share; `precision` is that of both sides."""

    data: Path
    is_real: bool
    device: torch.device
    precision: str

    def autocast(self):
        """The context for forward passes."""
        return choose_precision(self.precision, self.device)


# -------------------------------------------------------------------------------------------------- comparison


def check(name, ours, theirs):
    """Ends the run with status 1 where rounding does not explain the difference between two tensors."""
    # a gradient of mere rounding, such as that of a bias before batch norm, has no scale of its own
    difference = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-3))
    if not difference <= TOLERANCE:
        sys.exit(f"{name}: ours differs from the handout's by {difference:.1e} of the greatest value")


def first_step(model, inputs, names):
    """Logits, loss and the gradients of the parameters `names` of a training step from seed 0."""
    torch.manual_seed(0)
    model.train()
    model.zero_grad()
    loss, logits = model(*inputs)
    loss.backward()
    parameters = dict(model.named_parameters())
    return [logits.detach(), loss.detach(), *(parameters[name].grad for name in names)]


def check_models(part, ours, theirs, our_inputs, their_inputs):
    """Gives `theirs` the weights of `ours`, and compares a training step."""
    copy_weights(ours, theirs)
    names = [name for name, parameter in ours.named_parameters() if parameter.requires_grad]
    mine = first_step(ours, our_inputs, names)
    other = first_step(theirs, their_inputs, map(handout_name, names))
    for name, one, another in zip(["logits", "loss", *names], mine, other, strict=True):
        check(f"{part}, {name}", one, another)


# ------------------------------------------------------------------------------------------------------- table

HEADER = "row                             precision      handout         ours  times (range)          tokens/s  matrix"


def print_row(row, precision, timing, matrix_rate):
    times = f"{statistics.median(timing.ratios):.1f} ({min(timing.ratios):.1f}-{max(timing.ratios):.1f})"
    matrix = f"{row.flops / timing.ours / matrix_rate:.0%}" if row.flops else "-"
    theirs, ours = (f"{seconds * 1000:.2f} ms" for seconds in (timing.theirs, timing.ours))
    tokens = f"{row.tokens / timing.ours:,.0f}" if row.tokens else "-"
    print(f"{row.name:<31} {precision:<9} {theirs:>12} {ours:>12}  {times:<18} {tokens:>12} {matrix:>7}", flush=True)


def note(message):
    print(message, file=sys.stderr)


# ----------------------------------------------------------------------------------------- reading, and batches


class Corpus:
    """The training reviews, ours and as the handout's list of arrays; and the rows of one batch of them."""

    def __init__(self, setting, glove=False, labelled=True):
        self.vocabulary = Vocabulary(setting.data, None if glove else VOCAB_SIZE - 1, glove=glove)
        self.reviews = load_reviews(setting.data, "train", self.vocabulary, setting.device, labelled)
        self.arrays = [ids.numpy() for ids in self.reviews.ids.cpu().long().split(self.reviews.lengths.tolist())]
        self.labels = self.reviews.labels.cpu().numpy()
        rows = torch.randperm(len(self.reviews), generator=torch.Generator().manual_seed(0))[:BATCH]
        self.our_rows, self.their_rows = rows.to(setting.device), rows.numpy()
        self.generator, self.rng = torch.Generator(setting.device).manual_seed(0), np.random.default_rng(0)

    def our_labels(self):
        return self.reviews.labels[self.our_rows]

    def their_labels(self):
        return torch.FloatTensor(self.labels[self.their_rows]).to(self.our_rows.device)

    def our_crops(self, sequence_length):
        return random_crops(self.reviews, self.our_rows, sequence_length, self.generator)

    def their_crops(self, sequence_length):
        """The handout's batch as it leaves NumPy: (BATCH, sequence_length) int64."""
        return handout.make_batch(self.arrays, self.their_rows, sequence_length, self.rng)


def reading_rows(setting):
    vocabulary = Vocabulary(setting.data, VOCAB_SIZE - 1)

    def ours():
        return load_reviews(setting.data, "train", vocabulary, setting.device, labelled=False)

    def theirs():
        return handout.read_reviews(setting.data / "imdb_train.txt", VOCAB_SIZE - 1)

    def check_ids():
        check("ids read", ours().ids.cpu().long(), torch.from_numpy(np.concatenate(theirs())))

    reviews = ours()
    yield Row(f"reading {len(reviews):,} reviews", theirs, ours, len(reviews.ids), check=check_ids)


def tokenizing_rows(setting):
    """NLTK's own two steps beside ours on made-up reviews; each call of ours begins without any words remembered."""
    from nltk import redos
    from odd_texts import Oracle

    from common.data import tokenizing
    from common.data.sample import write_review

    rng = random.Random(0)
    texts = [" ".join(write_review(rng, 1 + number % 10)) for number in range(2000)]
    with tempfile.TemporaryDirectory() as folder:
        time_limit = redos.DEFAULT_TIMEOUT
        tokenizing.load_punkt(folder, texts)
    oracle = Oracle()

    def theirs():
        redos.DEFAULT_TIMEOUT = time_limit
        tokens = list(map(oracle.tokens, texts))
        redos.DEFAULT_TIMEOUT = None
        return tokens

    def ours():
        tokenizing._words_of_piece.clear()
        return list(map(tokenizing.tokenize, texts))

    expected = theirs()

    def check_tokens():
        if ours() != expected:
            sys.exit("tokenizing: ours differ from NLTK's tokens")

    yield Row("tokenizing (NLTK)", theirs, ours, sum(map(len, expected)), check=check_tokens)


def glove_rows(setting):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "glove.txt"
        no_of_lines = 20_000
        write_glove_lines(path, no_of_lines)

        def ours():
            return read_glove(path)

        def theirs():
            return handout.read_glove(path)

        def check_glove():
            note(f"20,000 GloVe lines are {path.stat().st_size / 1e6:.0f} MB")
            (our_words, our_vectors), (their_words, their_vectors) = ours(), theirs()
            if our_words != their_words:
                sys.exit("GloVe: ours reads other words than the handout's")
            check("GloVe vectors read", torch.from_numpy(our_vectors), torch.from_numpy(their_vectors))

        yield Row("reading 20,000 GloVe lines", theirs, ours, no_of_lines, check=check_glove)


# ---------------------------------------------------------------------------------------------- training steps


def hits(logits, targets):
    return no_of_hits(logits, targets) if logits.dim() == 1 else no_of_words_predicted(logits, targets)


def training_rows(part, setting, ours, theirs, our_batch, their_batch, *, trained=None, clip=None, **costs):
    """A training step of a part, and the same as an epoch has it: with the making of the batch and the counting.

    `our_batch` and `their_batch` make the inputs of a model and the targets that its logits meet; `trained` are the
    names of the modules that learn, all where it is None.
    """
    ours.requires_grad_(trained is None)
    for name in trained or ():
        ours.get_submodule(name).requires_grad_(True)
    our_inputs = our_batch()[0]
    their_inputs = our_inputs if isinstance(our_inputs[0], torch.Tensor) else their_batch()[0]

    # as in the handout, only the optimizer leaves the frozen layers alone: the backward pass runs through them
    names = [name for name, parameter in ours.named_parameters() if parameter.requires_grad]
    parameters = dict(theirs.named_parameters())
    our_optimizer = make_optimizer(ADAM, [parameter for parameter in ours.parameters() if parameter.requires_grad])
    their_optimizer = torch.optim.Adam([parameters[handout_name(name)] for name in names])
    tally = Tally()

    def our_step(inputs):
        ours.train()
        return step(ours, our_optimizer, inputs, clip, setting.autocast())

    def their_step(inputs):
        theirs.train()
        return step(theirs, their_optimizer, inputs, clip, setting.autocast())

    def our_share():
        inputs, targets = our_batch()
        loss, logits = our_step(inputs)
        tally.add(loss, hits(logits, targets), targets.numel())

    def their_share():
        inputs, targets = their_batch()
        loss, logits = their_step(inputs)
        return hits(logits, targets).cpu().numpy(), loss.item()

    yield Row(
        f"{part} training step",
        lambda: their_step(their_inputs),
        lambda: our_step(our_inputs),
        check=lambda: check_models(part, ours, theirs, our_inputs, their_inputs),
        **costs,
    )
    yield Row(f"{part} a batch of an epoch", their_share, our_share, **costs)


def bow_rows_1a(setting):
    corpus = Corpus(setting)
    bags = bags_of(corpus.reviews)
    size = int(bags.lengths()[corpus.our_rows].sum())  # the script asks for it once an epoch

    def our_batch():
        labels = corpus.our_labels()
        return (bags.take(corpus.our_rows, size), labels), labels

    def their_batch():
        labels = corpus.their_labels()
        return ([corpus.arrays[row] for row in corpus.their_rows], labels), labels

    costs = {"tokens": int(corpus.reviews.lengths[corpus.our_rows].sum())}
    ours = load_file("1a/BOW_model.py").BOW_model(VOCAB_SIZE, UNITS).to(setting.device)
    theirs = handout.BOW_model_1a(VOCAB_SIZE, UNITS).to(setting.device)
    yield from training_rows("1a", setting, ours, theirs, our_batch, their_batch, **costs)
    if importlib.util.find_spec("sklearn"):
        yield whole_job_row(setting)
    else:
        note("scikit-learn is not installed (pip install scikit-learn==1.9.1): no row for 1a's whole job")


def bow_rows_1b(setting):
    corpus = Corpus(setting, glove=True)
    means = mean_embeddings(corpus.reviews, load_glove_embeddings(setting.data, corpus.vocabulary.size, setting.device))
    arrays = means.cpu().numpy()
    in_size = means.shape[1]

    def our_batch():
        labels = corpus.our_labels()
        return (means[corpus.our_rows], labels), labels

    def their_batch():
        labels = corpus.their_labels()
        return (torch.FloatTensor(arrays[corpus.their_rows]).to(setting.device), labels), labels

    costs = {
        "tokens": int(corpus.reviews.lengths[corpus.our_rows].sum()),
        "flops": 6 * BATCH * in_size * UNITS,
    }
    ours = load_file("1b/BOW_model.py").BOW_model(in_size, UNITS).to(setting.device)
    theirs = handout.BOW_model_1b(in_size, UNITS).to(setting.device)
    yield from training_rows("1b", setting, ours, theirs, our_batch, their_batch, **costs)


class Recurrent(NamedTuple):
    """What tells the recurrent parts apart, with the handout's settings."""

    file: str
    oracle: type
    length: int = 100
    layers: int = 1
    glove: bool = False
    language: bool = False
    trained: tuple | None = None
    clip: float | None = None


RECURRENT = {
    "2a": Recurrent("2a/RNN_model.py", handout.RNN_model_2a),
    "2b": Recurrent("2b/RNN_model.py", handout.RNN_model_2b, glove=True),
    "3a": Recurrent(
        "3a/RNN_language_model.py", handout.RNN_language_model, length=50, layers=3, language=True, clip=2.0
    ),
    "3c": Recurrent("3c/RNN_model.py", handout.RNN_model_2a, layers=3, trained=("lstm3", "bn_lstm3", "fc_output")),
}


def rnn_rows(part, setting):
    recurrent = RECURRENT[part]
    corpus = Corpus(setting, recurrent.glove, labelled=not recurrent.language)
    in_size = VOCAB_SIZE
    if recurrent.glove:
        embeddings = load_glove_embeddings(setting.data, corpus.vocabulary.size, setting.device)
        vectors = embeddings.cpu().numpy()
        in_size = vectors.shape[1]

    def our_batch():
        x = corpus.our_crops(recurrent.length)
        if recurrent.language:
            return (x,), x[:, 1:]
        labels = corpus.our_labels()
        return (embeddings[x] if recurrent.glove else x, labels), labels

    def their_batch():
        x = corpus.their_crops(recurrent.length)
        x = torch.from_numpy(vectors[x] if recurrent.glove else x).to(setting.device)
        if recurrent.language:
            return (x,), x[:, 1:]
        labels = corpus.their_labels()
        return (x, labels), labels

    model_class = getattr(load_file(recurrent.file), Path(recurrent.file).stem)
    ours = model_class(in_size, UNITS, recurrent.layers).to(setting.device)
    theirs = recurrent.oracle(in_size, UNITS, recurrent.layers).to(setting.device)
    tokens = BATCH * (recurrent.length - recurrent.language)
    costs = {"tokens": tokens, "flops": recurrent_flops(recurrent, in_size if recurrent.glove else UNITS, tokens)}
    choices = {"trained": recurrent.trained, "clip": recurrent.clip}
    yield from training_rows(part, setting, ours, theirs, our_batch, their_batch, **choices, **costs)
    if part == "2a":
        yield from test_rows(setting, ours, theirs, corpus)
    if recurrent.language:
        yield plain_language_model_row(setting, ours, our_batch, costs)


def lstm_flops(tokens, in_size):
    """Of one LSTM layer's matrix products, forward."""
    return 2 * tokens * (in_size + UNITS) * 4 * UNITS


def recurrent_flops(recurrent, in_size, tokens):
    """`Row.flops` of a training step: a product costs two backward, one for the gradient of each factor."""
    forward = lstm_flops(tokens, in_size) + (recurrent.layers - 1) * lstm_flops(tokens, UNITS)
    # the lowest layer that learns needs no gradient of its input where that does not learn: vectors, or layers
    lowest = lstm_flops(tokens, in_size)
    unneeded = lowest * in_size / (in_size + UNITS) if recurrent.glove or recurrent.trained else 0
    flops = forward + 2 * (lowest if recurrent.trained else forward) - unneeded
    return flops + (3 * 2 * tokens * UNITS * VOCAB_SIZE if recurrent.language else 0)


# ------------------------------------------------------------------------------------------ tests, generation


def test_rows(setting, ours, theirs, corpus):
    """A batch of 2a's test, crops included, at the shortest and the longest sequences that are usual."""
    t = corpus.our_labels()
    for length in (100, 500):

        def our_test(length=length):
            with setting.autocast():
                return evaluate_batches(ours, [(corpus.our_crops(length), t)])

        def their_test(length=length):
            theirs.eval()
            x = torch.from_numpy(corpus.their_crops(length)).to(setting.device)
            with torch.no_grad(), setting.autocast():
                loss, logits = theirs(x, t)
            return no_of_hits(logits, t).cpu().numpy(), loss.item()

        tokens = BATCH * length
        yield Row(f"2a test batch, length {length}", their_test, our_test, tokens, lstm_flops(tokens, UNITS))


def generation_rows(setting):
    generate = load_file("3b/generate_review.py").generate
    device = setting.device
    ours = load_file("3a/RNN_language_model.py").RNN_language_model(VOCAB_SIZE, UNITS).to(device).eval()
    theirs = handout.RNN_language_model(VOCAB_SIZE, UNITS).to(device).eval()
    primes = [[3, 17, 5]] * 32

    token_ids = torch.tensor(primes, device=device)

    def our_reviews(length=150):
        return generate(ours, primes, length, 1.0, torch.Generator(device).manual_seed(0))

    @torch.no_grad()
    def their_reviews(length=150, **choices):
        return handout.generate(theirs, token_ids, length, 1.0, **choices).tolist()

    def check_reviews():
        # in float64 the same uniform numbers draw the same words
        copy_weights(ours.double(), theirs.double())
        if our_reviews(20) != their_reviews(20, draw=draw_with(torch.Generator(device).manual_seed(0))):
            sys.exit("3b: ours draws other words than the handout's")
        ours.float()

    tokens = 32 * 150
    flops = 3 * lstm_flops(tokens, UNITS) + 2 * tokens * UNITS * VOCAB_SIZE

    def in_precision(reviews):
        with setting.autocast():
            return reviews()

    theirs_timed, ours_timed = partial(in_precision, their_reviews), partial(in_precision, our_reviews)
    yield Row("3b 32 reviews of 150 words", theirs_timed, ours_timed, tokens, flops, check=check_reviews)


# ------------------------------------------------------------------------------------------------- other peers


def plain_language_model_row(setting, ours, our_batch, costs):
    plain = Plain_language_model(VOCAB_SIZE, UNITS).to(setting.device)
    optimizers = torch.optim.Adam(plain.parameters()), make_optimizer(ADAM, ours.parameters())
    inputs = our_batch()[0]
    ours.train()

    def a_step(model, optimizer):
        return step(model, optimizer, inputs, 2.0, setting.autocast())

    return Row(
        "3a step (theirs: plain nn.LSTM)",
        lambda: a_step(plain, optimizers[0]),
        lambda: a_step(ours, optimizers[1]),
        **costs,
    )


def whole_job_row(setting):
    """Reading, training and testing: scikit-learn's TF-IDF with logistic regression in this process, 1a as a script."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    def labelled(split):
        labels = np.load(setting.data / f"imdb_{split}_labels.npy")
        lines = (setting.data / f"imdb_{split}.txt").read_text().splitlines()
        return [line for line, label in zip(lines, labels, strict=True) if label >= 0], labels[labels >= 0]

    def theirs():
        train, train_labels = labelled("train")
        test, test_labels = labelled("test")
        vectorizer = TfidfVectorizer(analyzer=str.split, max_features=VOCAB_SIZE - 1)
        classifier = LogisticRegression(max_iter=1000).fit(vectorizer.fit_transform(train), train_labels)
        return 100 * classifier.score(vectorizer.transform(test), test_labels)

    def ours():
        with tempfile.TemporaryDirectory() as folder:
            script = [sys.executable, REPOSITORY / "1a" / "BOW_sentiment_analysis.py", "--device", setting.device.type]
            command = [*script, "--precision", setting.precision, "--data", setting.data, "--output", folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(done.stdout.splitlines()[-1].split()[0])

    def accuracies():
        if setting.is_real:
            note(f"1a's whole job: scikit-learn reaches {theirs():.2f} %, ours {ours():.2f} % on the test reviews")

    return Row("1a whole job (scikit-learn)", theirs, ours, 0, check=accuracies)


ROWS = {
    "tokenizing": tokenizing_rows,
    "reading": reading_rows,
    "glove": glove_rows,
    "1a": bow_rows_1a,
    "1b": bow_rows_1b,
    "2a": partial(rnn_rows, "2a"),
    "2b": partial(rnn_rows, "2b"),
    "3a": partial(rnn_rows, "3a"),
    "3b": generation_rows,
    "3c": partial(rnn_rows, "3c"),
}


def main():
    parser = OptionParser(__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--parts", nargs="+", choices=ROWS, default=list(ROWS), metavar="PART", help="which rows")
    parser.add_argument("--data", type=Path, metavar="DIR", help="what preprocess_data.py wrote (default: made up)")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=["fp32", "tf32", "bf16"],
        help="of both sides; of several, one after the other",
    )
    options = parser.parse_args()
    device = choose_device(options.device)
    precisions = options.precision or ["tf32" if device.type == "cuda" else "fp32"]
    for precision in precisions:
        choose_precision(precision, device)  # refuses what the device cannot do
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or make_data(Path(folder), glove=bool({"1b", "2b"} & set(options.parts)))
        rates = {precision: measure_matrix_rate(device, precision) for precision in precisions}
        for precision, rate in rates.items():
            note(f"{rate / 1e9:,.0f} GFLOP/s in a matrix product in {precision}")
        print(HEADER)
        for part in options.parts:
            for precision, rate in rates.items():
                setting = Setting(data, options.data is not None, device, precision)
                ours = Side("ours", ROWS[part], setting)
                theirs = Side("theirs", ROWS[part], setting)
                while row := ours.next_row():
                    theirs.next_row()
                    ours.check()
                    print_row(row, precision, time_row(theirs, ours), rate)


if __name__ == "__main__":
    run_script(main)
