"""The processes of one run: they meet, share each batch out, and add up what each has found.

The result of a run does not depend on how many there are. Random numbers for a batch are drawn for the whole batch in
every process, which then keeps those of its own rows; figures of a batch are added up over all processes. Only process
0 prints and writes. A script that was started alone is process 0 of 1, for which nothing here costs anything.
"""

import atexit
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable

from common.distributed.ending import is_one_of_several

# how long processes wait for each other before one counts as lost; one that ends is noticed at once
WAITING = timedelta(minutes=5)

# the running training batch: how many rows it has, and the slice of them that is this process's own
_batch = None


def rank():
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def count():
    """How many processes this run has."""
    return dist.get_world_size() if dist.is_initialized() else 1


def meet(device_type):
    """Waits for the other processes that torchrun has started, if any, for a device of "cuda" or "cpu"."""
    if is_one_of_several():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo", timeout=WAITING)
        atexit.register(dist.destroy_process_group)


# ---- sharing out


@contextmanager
def shared_batch(rows):
    """Gives this process its own part of `rows` (batch,), for which `draw_rows` draws within the block."""
    global _batch
    size = len(rows)
    own = slice(rank() * size // count(), (rank() + 1) * size // count())
    _batch = size, own
    try:
        yield rows[own]
    finally:
        _batch = None


def draw_rows(no_of_rows, draw):
    """Random numbers for this process's `no_of_rows` rows of the running batch: those that one process would draw.

    `draw(n)` gives a tensor of n rows; it is called for the whole batch.
    """
    if _batch is None:
        return draw(no_of_rows)
    size, own = _batch
    return draw(size)[own]


def batch_size():
    """How many rows the running batch has in all processes."""
    return _batch[0]


def in_turns(batches):
    """This process's share of the `batches` of a test: the processes take turns."""
    return islice(batches, rank(), None, count())


# ---- adding up


def add_up(tensor):
    """The sum of `tensor` over all processes, the same in each; gradients flow through."""
    return _Sum.apply(tensor) if count() > 1 else tensor


class _Sum(torch.autograd.Function):
    # each process's result depends on each process's tensor, so its gradient is the sum of their gradients

    @staticmethod
    def forward(ctx, tensor):
        tensor = tensor.contiguous().clone()
        dist.all_reduce(tensor)
        return tensor

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        return _Sum.forward(ctx, gradient)


def largest(number):
    """The largest of the processes' whole numbers; it does not wait for the device."""
    if count() == 1:
        return number
    number = torch.tensor(number)
    dist.all_reduce(number, dist.ReduceOp.MAX)
    return int(number)


def gather(value):
    """The processes' plain values, in a list."""
    if count() == 1:
        return [value]
    values = [None] * count()
    dist.all_gather_object(values, value)
    return values
