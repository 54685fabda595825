"""Shows on a GPU where the time of 3a's training step goes, and how long it would take as a CUDA graph or a wavefront.

    python tests/benchmarks/probe.py                        # a minute and a half on a GPU
    python tests/benchmarks/probe.py --device cpu --small   # tiny sizes, to try the probe itself

Each line, printed at once, has a name, the settings, and the median, the least and the most milliseconds of fifty calls
behind ten that warm up, by CUDA's own clock. What fails says why in its line, and the next one follows. It needs torch
and numpy alone; token ids are drawn at random.
"""

import statistics
import sys
import time
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = map(str, Path(__file__).resolve().parents[:3])  # this folder, tests/, and the folder of common/

import handout
import torch
import torch.nn as nn
from steps import Plain_language_model, step
from twins import load_file

from common.distributed.device import choose_device, choose_precision
from common.distributed.ending import run_script
from common.models.layers import LockedDropout, TimestepBatchNorm
from common.models.losses import LeanCrossEntropyLoss
from common.training.metrics import no_of_words_predicted
from common.training.options import OptionParser, add_device_option

CLIP = 2.0
CHUNK = 7  # timesteps of the wavefront
# the greatest difference that the rounding of float32 explains, as a share of a tensor's greatest value
TOLERANCE = 1e-3


class Sizes(NamedTuple):
    """The first of several is the handout's."""

    batches: tuple = (200, 128, 104, 96)
    time: int = 49
    units: tuple = (500, 512)
    words: tuple = (8001, 8064)
    warm_ups: int = 10
    calls: int = 50


SMALL = Sizes(batches=(6, 4), time=9, units=(8, 16), words=(30, 32), warm_ups=1, calls=3)


class Counted(nn.Module):
    """A language model's loss and how many words it predicted, without the logits: to these a CUDA graph would give a
    gradient of their size, all zeros."""

    def __init__(self, model, autocast):
        super().__init__()
        self.model = model
        self.autocast = autocast

    def forward(self, x):
        with self.autocast:
            loss, logits = self.model(x)
        return loss, no_of_words_predicted(logits.detach(), x[:, 1:])


def with_cuda_graph(model, x):
    """`model`, trained as a CUDA graph on batches of the shape of x; as it was in evaluation and on other batches.

    What it returns, and its gradients, lie where its next call writes.
    """
    buffers = [buffer.clone() for buffer in model.buffers()]
    plain = model.forward
    graphed = torch.cuda.make_graphed_callables(model, (x.clone(),)).forward
    # its warm-up has moved batch norm's running figures, and the graph knows them by their place
    for buffer, before in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    model.forward = lambda batch: (graphed if batch.shape == x.shape else plain)(batch)
    return model


class Wavefront(nn.Module):
    """3a's model, layer beside layer: while one reads a chunk of timesteps, the next one reads the chunk before.

    Each layer has a stream of its own; PyTorch runs the backward pass on the same streams.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.backend = torch.get_device_module(model.decoder.weight.device)
        self.streams = [self.backend.Stream() for _ in range(model.no_of_layers)]

    def forward(self, x):
        model, main, outputs = self.model, self.backend.current_stream(), []
        model.reset_state()
        for h in model.embedding(x[:, :-1]).split(CHUNK, dim=1):
            below = main
            for i, stream in enumerate(self.streams, 1):
                stream.wait_stream(below)  # for its chunk, the last that was given to it so far
                with self.backend.stream(stream):
                    if h.is_cuda:  # its memory is not to be given away before this stream has read it
                        h.record_stream(stream)
                    h = model.get_submodule(f"lstm{i}")(h)
                    h = model.get_submodule(f"bn_lstm{i}")(h)
                    h = model.get_submodule(f"dropout{i}")(h)
                below = stream
            outputs.append(h)
        main.wait_stream(below)
        logits = model.decoder(torch.cat(outputs, dim=1))
        return model.loss(logits.flatten(0, 1), x[:, 1:].flatten()), logits


class Probe:
    """Measures on `device`, and prints a line for each result."""

    def __init__(self, device, sizes):
        self.device = device
        self.sizes = sizes
        self.backend = torch.get_device_module(device)
        self.usual = "tf32" if device.type == "cuda" else "fp32"
        self.x = torch.randint(sizes.words[0], (sizes.batches[0], sizes.time + 1), device=device)
        self.language_model = load_file("3a/RNN_language_model.py").RNN_language_model
        self.ours = partial(self.language_model, sizes.words[0], sizes.units[0])

    @contextmanager
    def line(self, name, settings):
        """Gives the function that prints the line; where what follows fails, the line says why."""
        report = partial(print, f"{name:<37} {settings:<33}", flush=True)
        try:
            yield report
        except Exception as error:
            report(f"failed: {type(error).__name__}: {error}".splitlines()[0])

    def mark(self):
        """A moment on the device: CUDA's event, or seconds."""
        if self.device.type == "cpu":
            return time.perf_counter()
        return torch.cuda.current_stream().record_event(torch.cuda.Event(enable_timing=True))

    def milliseconds(self, start, end):
        return (end - start) * 1000 if self.device.type == "cpu" else start.elapsed_time(end)

    def time(self, name, settings, call, prepare=lambda: ()):
        """Times `call(*prepare())`, without `prepare()`; gives the median, None where it fails."""
        with self.line(name, settings) as report:
            marks = []
            for _ in range(self.sizes.warm_ups + self.sizes.calls):
                arguments = prepare()
                start = self.mark()
                call(*arguments)
                marks.append((start, self.mark()))
            self.backend.synchronize()
            times = [self.milliseconds(*pair) for pair in marks[self.sizes.warm_ups :]]
            report(f"{statistics.median(times):9.3f} {min(times):9.3f} {max(times):9.3f}")
            return statistics.median(times)

    def both_ways(self, name, settings, function, inputs):
        """Times `function()`, and its backward pass for the gradients of `inputs`."""

        def prepare():
            output = function()
            return output, inputs, torch.ones_like(output)

        self.time(f"{name} forward", settings, function)
        self.time(f"{name} backward", settings, torch.autograd.grad, prepare)

    def kernels(self, name, settings, call, median):
        """Counts the kernels that `call()` starts, and the share of its `median` in which any of them runs."""
        with self.line(name, settings) as report:
            with torch.profiler.profile(acc_events=True) as profiler:
                call()
                self.backend.synchronize()
            events = [e for e in profiler.events() if e.device_type.name.lower() == self.device.type]
            spans = [event.time_range for event in events if not event.is_user_annotation]
            busy, latest = 0, 0
            for span in sorted(spans, key=lambda span: span.start):
                busy += max(0, span.end - max(span.start, latest)) / 1000  # those of several streams overlap
                latest = max(latest, span.end)
            report(f"{len(spans)} a step, {busy:.3f} ms busy, {busy / median:.0%} of the step's median")

    def training_step(self, name, settings, model, precision=None, make=Counted):
        """Times a step of the language model that `model()` gives, and counts its kernels."""
        with self.line(name, settings):
            # the autocast is the model's, for the graph
            model = make(model().to(self.device), choose_precision(precision or self.usual, self.device))
            optimizer = torch.optim.Adam(model.parameters(), fused=True)
            call = partial(step, model, optimizer, (self.x,), CLIP, nullcontext())
            if median := self.time(name, settings, call):
                self.kernels(f"{name}, kernels", settings, call, median)

    def figures(self, make):
        """What `make` makes of 3a's model in float32, from seed 0: losses and gradients of steps, one of them on a
        shorter batch, then the running figures and a test's loss."""
        torch.manual_seed(0)
        model = make(self.ours().to(self.device), choose_precision("fp32", self.device))
        torch.manual_seed(0)  # for the masks
        figures = []
        for x in (self.x, self.x, self.x[1:], self.x):
            model.zero_grad()
            loss, _ = model(x)
            loss.backward()
            figures += [loss.detach().clone(), *(parameter.grad.clone() for parameter in model.parameters())]
        figures += [buffer.clone() for buffer in model.buffers()]
        model.eval()
        with torch.no_grad():
            return [*figures, model(self.x)[0]]

    def prototype(self, name, settings, make):
        """Compares what `make` makes of 3a's model with the model; then times its training step."""
        with self.line(f"{name}, compared", "fp32") as report:
            ours, theirs = self.figures(make), self.figures(Counted)
            shares = [(a - b).abs().max() / b.abs().max().clamp(min=1e-3) for a, b in zip(ours, theirs, strict=True)]
            difference = float(torch.stack(shares).max())
            if not difference <= TOLERANCE:
                raise ValueError(f"differs from 3a's model by {difference:.1e}")
            report(f"the same to {difference:.0e}")
            self.training_step(name, settings, self.ours, make=make)


def whole_steps(probe):
    (units, wide), (words, padded) = probe.sizes.units, probe.sizes.words
    probe.training_step("3a step", probe.usual, probe.ours)
    probe.training_step("3a step", "bf16", probe.ours, "bf16")
    settings = f"{probe.usual}, {wide} units, {padded} words"
    probe.training_step("3a step", settings, partial(probe.language_model, padded, wide))
    probe.training_step("plain nn.LSTM", probe.usual, partial(Plain_language_model, words, units))
    probe.training_step("the handout's loop", probe.usual, partial(handout.RNN_language_model, words, units))


def parts_of_the_step(probe):
    device, x, units = probe.device, probe.x, probe.sizes.units[0]
    choose_precision(probe.usual, device)
    embedding = nn.Embedding(probe.sizes.words[0], units, device=device)
    probe.both_ways("embedding", probe.usual, lambda: embedding(x[:, :-1]), [embedding.weight])

    h = torch.randn(*x[:, 1:].shape, units, device=device, requires_grad=True)
    norm = TimestepBatchNorm(units).to(device)
    probe.both_ways("batch norm", probe.usual, lambda: norm(h), [h, *norm.parameters()])
    probe.both_ways("dropout", probe.usual, lambda: LockedDropout(0.3)(h), [h])

    targets = x[:, 1:].flatten()
    for words in probe.sizes.words:
        decoder = nn.Linear(units, words, device=device)
        for precision in (probe.usual, "bf16"):

            def loss(decoder=decoder, precision=precision):
                with choose_precision(precision, device):
                    logits = decoder(h)
                return LeanCrossEntropyLoss()(logits.flatten(0, 1), targets)

            probe.both_ways("decoder and loss", f"{precision}, {words} words", loss, [h, *decoder.parameters()])

    parameters = list(probe.ours().to(device).parameters())
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    probe.time("clip", probe.usual, partial(nn.utils.clip_grad_norm_, parameters, CLIP))
    probe.time("Adam", probe.usual, torch.optim.Adam(parameters, fused=True).step)


def lstm_layers(probe):
    choose_precision(probe.usual, probe.device)
    for name, dtype in {probe.usual: torch.float32, "bf16": torch.bfloat16, "float16": torch.float16}.items():
        for units in probe.sizes.units:
            lstm = nn.LSTM(units, units, batch_first=True).to(probe.device, dtype)
            for batch in probe.sizes.batches:
                h = torch.randn(batch, probe.sizes.time, units, device=probe.device, dtype=dtype, requires_grad=True)
                settings = f"{name}, {units} units, batch {batch}"
                probe.both_ways("LSTM", settings, lambda lstm=lstm, h=h: lstm(h)[0], [h, *lstm.parameters()])


def prototypes(probe):
    def wavefront(model, autocast):
        return Counted(Wavefront(model), autocast)

    chunks = f"{probe.usual}, chunks of {CHUNK}"
    probe.prototype("wavefront", chunks, wavefront)
    probe.prototype("CUDA graph", probe.usual, lambda *of: with_cuda_graph(Counted(*of), probe.x))
    probe.prototype("wavefront in a CUDA graph", chunks, lambda *of: with_cuda_graph(wavefront(*of), probe.x))


def main():
    parser = OptionParser(__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the probe itself")
    options = parser.parse_args()
    device = choose_device(options.device)
    print(f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}", file=sys.stderr)
    torch.manual_seed(0)
    probe = Probe(device, SMALL if options.small else Sizes())
    whole_steps(probe)
    parts_of_the_step(probe)
    lstm_layers(probe)
    prototypes(probe)


if __name__ == "__main__":
    run_script(main)
