"""Shows on a GPU where the time of 3a's training step goes.

    python tests/benchmarks/probe.py                        # about a minute on a GPU
    python tests/benchmarks/probe.py --device cpu --small   # tiny sizes, to try the probe itself

Each line has a name, the settings, and the median, the least and the most milliseconds of a call, by PyTorch's own
timer. A measurement that fails prints why, and the next one follows. It needs torch and numpy alone; token ids are
random.
"""

import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = map(str, Path(__file__).resolve().parents[:3])  # this folder, tests/, and the folder of common/

import handout
import torch
import torch.nn as nn
from steps import Plain_language_model, step
from torch.utils.benchmark import Timer
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
    seconds: float = 0.5  # a measurement


SMALL = Sizes(batches=(6, 4), time=9, units=(8, 16), words=(30, 32), seconds=0.001)


def print_line(name, settings, figures):
    """Prints what `figures()` returns, or why it fails."""
    try:
        text = figures()
    except Exception as error:
        text = f"failed: {type(error).__name__}: {error}".splitlines()[0]
    print(f"{name:<35} {settings:<33} {text}", flush=True)


def measure(name, settings, call, sizes):
    def milliseconds():
        times = Timer("call()", globals={"call": call}).blocked_autorange(min_run_time=sizes.seconds)
        return " ".join(f"{seconds * 1000:9.3f}" for seconds in (times.median, min(times.times), max(times.times)))

    print_line(name, settings, milliseconds)


def measure_both_ways(name, settings, function, inputs, sizes):
    """Measures `function()` alone, and with its backward pass for the gradients of `inputs`."""
    measure(f"{name} forward", settings, function, sizes)
    measure(f"{name} forward, backward", settings, lambda: torch.autograd.grad(function().sum(), inputs), sizes)


def kernels(call, device):
    """How many kernels `call()` starts, and how long they run."""
    with torch.profiler.profile(acc_events=True) as profiler:
        call()
        torch.get_device_module(device).synchronize()
    events = [e for e in profiler.key_averages() if e.device_type.name.lower() == device.type]
    kind = "device" if device.type == "cuda" else "cpu"
    milliseconds = sum(getattr(event, f"self_{kind}_time_total") for event in events) / 1000
    return f"{sum(event.count for event in events)} a step, {milliseconds:.3f} ms busy"


def whole_steps(device, sizes, usual, x):
    (units, wide), (words, padded) = sizes.units, sizes.words
    ours = load_file("3a/RNN_language_model.py").RNN_language_model
    for name, settings, precision, model in [
        ("3a step", usual, usual, partial(ours, words, units)),
        ("3a step", "bf16", "bf16", partial(ours, words, units)),
        ("3a step", f"{usual}, {wide} units, {padded} words", usual, partial(ours, padded, wide)),
        ("plain nn.LSTM", usual, usual, partial(Plain_language_model, words, units)),
        ("the handout's loop", usual, usual, partial(handout.RNN_language_model, words, units)),
    ]:
        model = model().to(device)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        call = partial(step, model, optimizer, (x,), CLIP, choose_precision(precision, device))
        measure(name, settings, call, sizes)
        print_line(f"{name}, kernels", settings, lambda call=call: kernels(call, device))


def parts_of_the_step(device, sizes, usual, x):
    choose_precision(usual, device)
    units, words = sizes.units[0], sizes.words[0]
    embedding = nn.Embedding(words, units, device=device)
    measure_both_ways("embedding", usual, lambda: embedding(x[:, :-1]), [embedding.weight], sizes)
    h = torch.randn(*x[:, 1:].shape, units, device=device, requires_grad=True)
    norm = TimestepBatchNorm(units).to(device)
    measure_both_ways("batch norm", usual, lambda: norm(h), [h, *norm.parameters()], sizes)
    measure_both_ways("dropout", usual, lambda: LockedDropout(0.3)(h), [h], sizes)
    for words in sizes.words:
        decoder = nn.Linear(units, words, device=device)
        for precision in (usual, "bf16"):

            def loss(decoder=decoder, precision=precision):
                with choose_precision(precision, device):
                    logits = decoder(h)
                return LeanCrossEntropyLoss()(logits.flatten(0, 1), x[:, 1:].flatten())

            settings = f"{precision}, {words} words"
            measure_both_ways("decoder and loss", settings, loss, [h, *decoder.parameters()], sizes)
    parameters = [*decoder.parameters(), *embedding.parameters(), *nn.LSTM(units, units, 3, device=device).parameters()]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    measure("clip", usual, partial(nn.utils.clip_grad_norm_, parameters, CLIP), sizes)
    measure("Adam", usual, torch.optim.Adam(parameters, fused=True).step, sizes)


def lstm_layers(device, sizes, usual):
    choose_precision(usual, device)
    for name, dtype in {usual: torch.float32, "bf16": torch.bfloat16, "float16": torch.float16}.items():
        for units in sizes.units:
            lstm = nn.LSTM(units, units, batch_first=True).to(device, dtype)
            for batch in sizes.batches:
                h = torch.randn(batch, sizes.time, units, device=device, dtype=dtype, requires_grad=True)
                settings = f"{name}, {units} units, batch {batch}"
                inputs = [h, *lstm.parameters()]
                measure_both_ways("LSTM", settings, lambda lstm=lstm, h=h: lstm(h)[0], inputs, sizes)


def main():
    parser = OptionParser(__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the probe itself")
    options = parser.parse_args()
    device = choose_device(options.device)
    print(f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}", file=sys.stderr)
    torch.manual_seed(0)
    sizes = SMALL if options.small else Sizes()
    usual = "tf32" if device.type == "cuda" else "fp32"
    x = torch.randint(sizes.words[0], (sizes.batches[0], sizes.time + 1), device=device)
    whole_steps(device, sizes, usual, x)
    parts_of_the_step(device, sizes, usual, x)
    lstm_layers(device, sizes, usual)


if __name__ == "__main__":
    run_script(main)
