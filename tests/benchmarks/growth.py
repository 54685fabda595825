"""Shows how time and memory of a training step grow with sequence length, batch and vocabulary, for 2a and 3a.

    python tests/benchmarks/growth.py                   # prints two tables for a README, of this machine
    python tests/benchmarks/growth.py --device cuda --parts 3a

Each line is measured in a process of its own: the mean of two training steps with the handout's settings but for
the one that grows, and the most memory that the process held on the GPU, or on the CPU beyond what it held before the
model was made.
"""

import multiprocessing
import resource
import sys
from pathlib import Path

sys.path[:0] = map(str, Path(__file__).resolve().parents[:3])  # this folder, tests/, and the folder of common/

import torch
from benchmark import ADAM, BATCH, RECURRENT, UNITS, VOCAB_SIZE, step
from timing import seconds_of
from twins import load_file

from common.distributed.device import choose_device, choose_precision, keep_freed_memory
from common.distributed.ending import run_script
from common.training.loop import make_optimizer
from common.training.options import OptionParser, add_device_option, add_precision_option

# the handout's settings
SETTINGS = {
    part: {"length": RECURRENT[part].length, "batch": BATCH, "vocabulary": VOCAB_SIZE - 1} for part in ("2a", "3a")
}
BATCHES = [50, 100, 200, 400, 800]
VOCABULARIES = [500, 2000, 8000, 30_000, 100_000]
GROWTH = {
    "2a": {"length": [50, 100, 200, 500], "batch": BATCHES, "vocabulary": VOCABULARIES},
    # 500 tokens would need 26 GB
    "3a": {"length": [50, 100, 200], "batch": BATCHES, "vocabulary": VOCABULARIES},
}
STEPS = 2


def resident_bytes():
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def measure(part, device_type, precision, length, batch, vocabulary):
    """(seconds, bytes) of a training step on random ids."""
    device = torch.device(device_type)
    if device.type == "cpu":
        keep_freed_memory()
    autocast = choose_precision(precision, device)
    torch.manual_seed(0)
    x = torch.randint(vocabulary + 1, (batch, length), device=device)
    t = torch.randint(2, (batch,), device=device).float()
    before = resident_bytes()
    recurrent = RECURRENT[part]
    model_class = getattr(load_file(recurrent.file), Path(recurrent.file).stem)
    model = model_class(vocabulary + 1, UNITS, recurrent.layers).to(device)
    inputs = (x,) if recurrent.language else (x, t)
    optimizer = make_optimizer(ADAM, model.parameters())

    def our_step():
        step(model, optimizer, inputs, recurrent.clip, autocast)

    our_step()  # to warm up
    seconds = seconds_of(our_step, device, STEPS)
    if device.type == "cuda":
        return seconds, torch.cuda.max_memory_allocated()
    return seconds, resident_bytes() - before


def main():
    parser = OptionParser(__doc__.splitlines()[0])
    add_device_option(parser)
    parser.add_argument("--parts", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="PART", help="2a or 3a")
    add_precision_option(parser)
    options = parser.parse_args()
    device = choose_device(options.device)
    processes = multiprocessing.get_context("spawn")
    for part in options.parts:
        print(f"| {part}: {', '.join(SETTINGS[part])} | seconds a step | tokens a second | memory, MB |")
        print("| --- | --- | --- | --- |")
        for name, values in GROWTH[part].items():
            for value in values:
                setting = {**SETTINGS[part], name: value}
                with processes.Pool(1) as pool:
                    seconds, memory = pool.apply(measure, (part, device.type, options.precision), setting)
                tokens = setting["batch"] * setting["length"] / seconds
                shown = ", ".join(f"**{number}**" if key == name else f"{number}" for key, number in setting.items())
                print(f"| {shown} | {seconds:.3f} | {tokens:,.0f} | {memory / 1e6:,.0f} |", flush=True)
        print()


if __name__ == "__main__":
    run_script(main)
