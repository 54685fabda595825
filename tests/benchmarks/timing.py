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

    `tokens` is what a call works on, `flops` the operations of the matrix products that ours cannot avoid.
    """

    name: str
    theirs: Callable
    ours: Callable
    tokens: int
    flops: float = 0.0
    check: Callable | None = None


class Timing(NamedTuple):
    """The median seconds of both sides, and the ratio of each pair."""

    theirs: float
    ours: float
    ratios: list


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
        """The seconds of a call, the mean of so many in a row."""
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
                    connection.send(seconds_of(getattr(row, name), device, times=request))
        connection.send(None)


def time_row(theirs, ours):
    """The `Timing` of a row on two `Side`s: they warm up, then take turns, so that a slow moment slows both."""
    their_times, our_times = (_calls_a_turn(side) for side in (theirs, ours))
    pairs = []
    end = time.perf_counter() + SECONDS_A_ROW
    while len(pairs) < 3 or time.perf_counter() < end:
        pairs.append((theirs.time(their_times), ours.time(our_times)))
    return Timing(*map(statistics.median, zip(*pairs, strict=True)), [one / other for one, other in pairs])


def _calls_a_turn(side):
    side.time()  # the first call sets up what later ones find
    return max(1, round(SECONDS_A_TURN / side.time()))


def measure_matrix_rate(device, precision):
    """The operations a second of a large matrix product, measured in a process of its own: it leaves the device's
    memory to the rows."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_matrix_rate, (device, precision))


def _matrix_rate(device, precision):
    choose_precision(precision, device)
    size = 8192 if device.type == "cuda" else 2048
    # bf16 by itself: autocast would make it of float32 in each call, which layers do with their weights once a step
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    product = torch.empty_like(a)
    return 2 * size**3 / min(seconds_of(lambda: torch.mm(a, b, out=product), device) for _ in range(6))


def _synchronize(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
