"""The processes of one run: they meet, share each batch out, add up what each has found, agree, and end together.

A run's result does not depend on how many there are: what is drawn at random for a batch is drawn for all of it in each
of them, which then keeps its own rows, and figures of a batch are added up over all of them. Only process 0 prints
and writes. A script that was started alone is process 0 of 1, for which nothing here costs anything.
"""

import json
import os
import re
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable

from common.distributed import ending
from common.distributed.launcher import find_launch
from common.errors import InputError, LostProcessError

# how long processes wait for each other: until all have started, and until a node counts as lost (a process
# that ends is noticed at once)
MEETING = timedelta(minutes=5)
WAITING = timedelta(minutes=5)

# the rows of the running training batch: how many it has, and the slice that is this process's own
_batch = None


def rank():
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def count():
    """How many processes this run has."""
    return dist.get_world_size() if dist.is_initialized() else 1


# ---- meeting


def meet(kind, first_gpu):
    """Waits for the other processes that a launcher started; returns this one's number on its node, from 0, and the
    `first_gpu` of each process there.

    `kind` is that of the device it found, "cuda" or "cpu", `first_gpu` the UUID of the GPU that it sees as number 0, or
    None. InputError where the others do not come, two have the same number, or they found devices of another kind.
    """
    launch = find_launch()
    if launch.count == 1:
        return 0, [first_gpu]
    os.environ |= {
        "RANK": str(launch.rank),
        "WORLD_SIZE": str(launch.count),
        "MASTER_ADDR": launch.master_addr,
        "MASTER_PORT": str(launch.master_port),
    }
    if launch.rank != 0:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open till the end
        sys.excepthook = lambda *error: traceback.print_exception(*error, file=sys.__stderr__)
    where = f"{launch.master_addr}, port {launch.master_port} (MASTER_ADDR, MASTER_PORT)"
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=MEETING))
        if launch.rank == 0:
            store.set("run", launch.run)
        elif store.get("run").decode() != launch.run:
            raise InputError(f"another run meets at {where}: give this one another MASTER_PORT")
        ending.ending = _EndingTogether(store, launch)
        if store.add(f"process {launch.rank}", 1) > 1:
            raise InputError(f"two processes have the number {launch.rank}; start them all with one launcher")
        places = _tell_places(store, launch, [os.uname().nodename, kind, first_gpu])
        backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
        group_store = dist.PrefixStore("group", store)
        dist.init_process_group(backend, store=group_store, rank=launch.rank, world_size=launch.count, timeout=WAITING)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the {launch.count} processes did not meet at {where}: {_first_line(error)}") from error
    node = places[launch.rank][0]
    return (
        sum(place[0] == node for place in places[: launch.rank]),
        [first_gpu for name, _, first_gpu in places if name == node],
    )


def _tell_places(store, launch, place):
    """The places of all processes, each a list of node, kind of device and first GPU; this one's is `place`.

    InputError where the kinds differ. They go through the store, since the kind decides how the group communicates.
    """
    store.set(f"place {launch.rank}", json.dumps(place))
    places = [json.loads(store.get(f"place {rank}")) for rank in range(launch.count)]
    found = {"cuda": "CUDA", "cpu": "only the CPU"}
    for rank, (node, kind, _) in enumerate(places):
        if kind != places[0][1]:
            raise InputError(
                f"process 0 on {places[0][0]} found {found[places[0][1]]}, process {rank} on {node} {found[kind]}: "
                "nvidia-smi tells what is wrong with a GPU or its driver there, or give all processes --device cpu"
            )
    return places


# ---- sharing out


@contextmanager
def shared_batch(rows):
    """Gives this process its own of the `rows` of a batch, (batch,), for which `draw_rows` draws in the block."""
    global _batch
    size = len(rows)
    own = slice(rank() * size // count(), (rank() + 1) * size // count())
    _batch = size, own
    try:
        yield rows[own]
    finally:
        _batch = None


def draw_rows(no_of_rows, draw):
    """`draw(n)`, a tensor with n rows of random numbers: for all n rows of the running batch, of which this process's
    own `no_of_rows` are returned, so that they are those that one process alone would draw for them."""
    if _batch is None:
        return draw(no_of_rows)
    size, own = _batch
    return draw(size)[own]


def share_of_batch():
    """This process's share of the running batch, a number up to 1."""
    size, own = _batch
    return (own.stop - own.start) / size


def batch_size(no_of_rows):
    """How many rows the running batch has in all processes, of which this one has `no_of_rows`."""
    return no_of_rows if _batch is None else _batch[0]


def in_turns(batches):
    """Those of the `batches` of a test that are this process's: they take turns."""
    return islice(batches, rank(), None, count())


# ---- adding up and agreeing


@contextmanager
def _all_together():
    """What the processes do together fails where one of them is gone; what this one's GPU says is raised as it is."""
    try:
        yield
    except RuntimeError as error:
        if re.search(f"{ending.OUT_OF_MEMORY}|CUDA error", str(error)):
            raise
        raise LostProcessError(
            f"another process of this run has ended or cannot be reached ({_first_line(error)}), so process {rank()} "
            f"of {count()} ends too; the state saved last is whole: the same command with --resume goes on from it"
        ) from error


def add_up(tensor):
    """The sum of `tensor` over all processes, the same in each; gradients flow through."""
    return _Sum.apply(tensor) if count() > 1 else tensor


class _Sum(torch.autograd.Function):
    # each process's result depends on each process's tensor, so its gradient is the sum of theirs

    @staticmethod
    def forward(ctx, tensor):
        tensor = tensor.contiguous().clone()
        with _all_together():
            dist.all_reduce(tensor)
        return tensor

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return _Sum.forward(ctx, gradient)


def start_adding_up(tensor):
    """Makes `tensor` its sum over all processes, while the device goes on; returns what `wait_for` takes."""
    with _all_together():
        return dist.all_reduce(tensor, async_op=True)


def wait_for(work):
    """Waits for what `start_adding_up` started."""
    with _all_together():
        work.wait()


def largest(number):
    """The largest of the processes' whole numbers; it does not wait for the device."""
    if count() == 1:
        return number
    number = torch.tensor(number)
    with _all_together():
        dist.all_reduce(number, dist.ReduceOp.MAX)
    return int(number)


def gather(value):
    """The processes' plain values, in a list."""
    if count() == 1:
        return [value]
    values = [None] * count()
    with _all_together():
        dist.all_gather_object(values, value)
    return values


def wait_for_all():
    """Waits until every process is here."""
    largest(0)


# ---- ending


class _EndingTogether(ending.Ending):
    """The first process that knows why the run ends tells it; the others end with the same status, in silence.

    They are told through the store, where a thread of each waits for it, with a connection of its own: they themselves
    may wait for a process that is gone, or hold the other connection. Process 0 keeps the store (unless torchrun does),
    so it is the last to leave.
    """

    WHY = "why the run ends"
    WELL = "it is done"

    def __init__(self, store, launch):
        self.store = store
        self.rank, self.count = launch[:2]
        self.name = f"{os.uname().nodename}:{os.getpid()}"  # two may have the same rank, by mistake
        self.watcher = threading.Thread(target=self._watch, args=[store.clone()], daemon=True)
        self.watcher.start()

    def well(self):
        self.store.add("done", 1)
        if self.rank == 0:
            self._wait_until(self.store, "done", self.count, WAITING.total_seconds())
            self.store.set(self.WHY, self.WELL)
            self._wait_until(self.store, "others who know", self.count - 1, 5)
        self.watcher.join()
        dist.destroy_process_group()

    def badly(self, message, status):
        sys.stdout.flush()
        told = mine = f"{self.name} {status} {message}"
        with suppress(RuntimeError):  # the store is gone with process 0: each of the others tells for itself
            told = self.store.compare_set(self.WHY, "", mine).decode()
        if told != mine:
            self.watcher.join()
        print(message, file=sys.__stderr__, flush=True)
        if self.rank == 0:
            self._wait_until(self.store, "others who know", self.count - 1, 5)
        os._exit(status)  # past the other threads, which may wait for processes that are gone

    def _watch(self, store):
        try:
            store.wait([self.WHY], timedelta(days=365))
            told = store.get(self.WHY).decode()
            store.add("others who know", self.rank > 0)
        except RuntimeError:
            return
        if told != self.WELL and not told.startswith(f"{self.name} "):
            if self.rank == 0:
                self._wait_until(store, "others who know", self.count - 1, 5)
            os._exit(int(told.split(" ", 2)[1]))

    @staticmethod
    def _wait_until(store, key, number, seconds):
        """Waits until the store's `key` has counted to `number`, but not for ever: some may be gone."""
        end = time.monotonic() + seconds
        with suppress(RuntimeError):  # so may torchrun, which keeps the store
            while time.monotonic() < end and store.add(key, 0) < number:
                time.sleep(0.02)


def _first_line(error):
    return str(error).partition("\n")[0]
