"""Times two ways to the same result, each in a process of its own, and what the machine itself can do."""

import contextlib
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import torch

from common.distributed.device import choose_precision, keep_freed_memory

# a pair takes turns until this many seconds have passed, but at least three times
SECONDS_A_ROW = 10
# a turn is one call, or as many as this takes: caches are as warm as in a training
SECONDS_A_TURN = 0.5


class Row(NamedTuple):
    """Two ways to the same result, functions without arguments, and one that ends the run where the results differ.

    `tokens` is what a call works on; `flops` and `bytes` are what ours cannot avoid: the operations of the matrix
    products, and each large tensor that it needs written once and read once.
    """

    name: str
    theirs: Callable
    ours: Callable
    tokens: int
    flops: float = 0.0
    bytes: float = 0.0
    check: Callable | None = None


class Machine(NamedTuple):
    """What the device does a second: operations of a large matrix product, bytes of a large copy."""

    flops: float
    bytes: float


class Timing(NamedTuple):
    """The median seconds of both sides, the ratio of each pair, and the most bytes that ours held on a GPU (0: CPU)."""

    theirs: float
    ours: float
    ratios: list
    peak_memory: int


def seconds_of(call, device, times=1):
    """How long `call()` takes, the device's work included: the mean of so many calls in a row."""
    _synchronize(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    _synchronize(device)
    return (time.perf_counter() - start) / times


class Side:
    """A process that runs one side, "theirs" or "ours", of the rows that `rows(setting)` yields, one after the other.

    `setting` has the `device` and the `precision` of both sides. Where the process ends on its own, so does the run.
    """

    def __init__(self, name, rows, setting):
        processes = multiprocessing.get_context("spawn")
        self._connection, connection = processes.Pipe()
        processes.Process(target=_serve, args=(connection, name, rows, setting), daemon=True).start()
        connection.close()

    def next_row(self):
        """The next row without its functions, None after the last."""
        return self._ask("next")

    def check(self):
        """Checks the row, in float32."""
        self._ask("check")

    def time(self, times=1):
        """(seconds, the most bytes held on a GPU or 0) of a call, of so many in a row."""
        return self._ask(times)

    def _ask(self, request):
        self._connection.send(request)
        try:
            return self._connection.recv()
        except EOFError:
            sys.exit(1)  # the process has said why


def _serve(connection, name, rows, setting):
    device = setting.device
    if name == "ours" and device.type == "cpu":
        keep_freed_memory()
    torch.manual_seed(0)
    with contextlib.suppress(EOFError, KeyboardInterrupt):  # the run was broken off
        connection.recv()
        for row in rows(setting):
            connection.send(row._replace(theirs=None, ours=None, check=None))
            while (request := connection.recv()) != "next":
                if request == "check":
                    choose_precision("fp32", device)
                    connection.send(row.check and row.check())
                else:
                    choose_precision(setting.precision, device)
                    connection.send(_seconds_and_memory(getattr(row, name), device, times=request))
        connection.send(None)


def _seconds_and_memory(call, device, times):
    if device.type != "cuda":
        return seconds_of(call, device, times), 0
    torch.cuda.reset_peak_memory_stats()
    return seconds_of(call, device, times), torch.cuda.max_memory_allocated()


def time_row(theirs, ours):
    """The `Timing` of a row on two `Side`s: they warm up, then take turns, so that a slow moment slows both."""
    their_times, our_times = (_calls_a_turn(side) for side in (theirs, ours))
    their_seconds, our_seconds, peaks = [], [], []
    end = time.perf_counter() + SECONDS_A_ROW
    while len(peaks) < 3 or time.perf_counter() < end:
        their_seconds.append(theirs.time(their_times)[0])
        seconds, peak = ours.time(our_times)
        our_seconds.append(seconds)
        peaks.append(peak)
    ratios = [a / b for a, b in zip(their_seconds, our_seconds, strict=True)]
    return Timing(statistics.median(their_seconds), statistics.median(our_seconds), ratios, max(peaks))


def _calls_a_turn(side):
    side.time()  # the first call sets up what later ones find
    return max(1, round(SECONDS_A_TURN / side.time()[0]))


def measure_machine(device, precision):
    """The `Machine` that `device` is, with matrix products in `precision`, measured in a process of its own: it leaves
    the device's memory to the rows."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (device, precision))


def _measure(device, precision):
    if device.type == "cpu":
        keep_freed_memory()
    choose_precision(precision, device)
    size = 8192 if device.type == "cuda" else 2048
    # bf16 by itself: autocast would make it of float32 in each call, which layers do with their weights once a step
    factors = torch.randn(2, size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    a, b = factors
    source = torch.zeros(2**28 if device.type == "cuda" else 2**26, device=device)
    target = torch.empty_like(source)
    product = min(seconds_of(lambda: a @ b, device) for _ in range(6))
    copy = min(seconds_of(lambda: target.copy_(source), device) for _ in range(6))
    return Machine(2 * size**3 / product, 2 * source.numel() * 4 / copy)


def _synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
