"""Shows on a GPU where the time of 3a's training step goes.

    python tests/benchmarks/probe.py                        # a minute on a GPU
    python tests/benchmarks/probe.py --device cpu --small   # tiny sizes, to try the probe itself

Each line, printed at once, has a name, the settings, and the median, the least and the most milliseconds of fifty calls
behind ten that warm up, by CUDA's own clock. What fails says why in its line, and the next one follows. It needs torch
and numpy alone; token ids are drawn at random.
"""

import statistics
import sys
import time
from contextlib import contextmanager
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
from common.training.options import OptionParser, add_device_option

CLIP = 2.0


class Sizes(NamedTuple):
    """The first of several is the handout's."""

    batches: tuple = (200, 128, 104, 96)
    time: int = 49
    units: tuple = (500, 512)
    words: tuple = (8001, 8064)
    warm_ups: int = 10
    calls: int = 50


SMALL = Sizes(batches=(6, 4), time=9, units=(8, 16), words=(30, 32), warm_ups=1, calls=3)


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
                busy += max(0, span.end - max(span.start, latest)) / 1000  # those of cuDNN's several streams overlap
                latest = max(latest, span.end)
            report(f"{len(spans)} a step, {busy:.3f} ms busy, {busy / median:.0%} of the step's median")

    def training_step(self, name, settings, model, precision=None):
        """Times a step of the language model that `model()` gives, and counts its kernels."""
        with self.line(name, settings):
            model = model().to(self.device)
            optimizer = torch.optim.Adam(model.parameters(), fused=True)
            autocast = choose_precision(precision or self.usual, self.device)
            call = partial(step, model, optimizer, (self.x,), CLIP, autocast)
            if median := self.time(name, settings, call):
                self.kernels(f"{name}, kernels", settings, call, median)


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


if __name__ == "__main__":
    run_script(main)
