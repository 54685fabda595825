"""Times pairs of calls in turns, and what the machine itself can do: what the benchmarks share."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

# a pair takes turns until this many seconds have passed, but at least three times
SECONDS_A_ROW = 10


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


class Timing(NamedTuple):
    """The median seconds of both sides, the ratio of each pair, and the most bytes that ours held on a GPU (0: CPU)."""

    theirs: float
    ours: float
    ratios: list
    peak_memory: int


def seconds_of(call, device):
    """How long `call()` takes, the device's work included."""
    _synchronize(device)
    start = time.perf_counter()
    call()
    _synchronize(device)
    return time.perf_counter() - start


def time_row(row, device):
    """The `Timing` of a `Row`: each side once to warm up, then in turns, so that a slow moment slows both."""
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
        row.ours()  # in a training, the memory of the step before is there
        ours.append(seconds_of(row.ours, device))
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return Timing(statistics.median(theirs), statistics.median(ours), ratios, peak_memory)


def measure_machine(device):
    """The `Machine` that `device` is, at the precision of matrix products that is set."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(size, size, device=device), torch.randn(size, size, device=device)
    source = torch.zeros(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    product = min(seconds_of(lambda: a @ b, device) for _ in range(6))
    copy = min(seconds_of(lambda: target.copy_(source), device) for _ in range(6))
    return Machine(2 * size**3 / product, 2 * source.numel() * 4 / copy)


def _synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
