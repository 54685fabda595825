"""The processes of one run: they meet, share each batch out, add up what each has found, agree, and end together.

A run's result does not depend on how many there are: what is drawn at random for a batch is drawn for all of it in each
of them, which then keeps its own rows, and figures of a batch are added up over all of them. Only process 0 prints
and writes. A script that was started alone is process 0 of 1, for which nothing here costs anything.
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

# the rows of the running training batch: how many it has, and the slice that is this process's own
_batch = None


def rank():
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def count():
    """How many processes this run has."""
    return dist.get_world_size() if dist.is_initialized() else 1


def meet(device_type):
    """Waits for the other processes that torchrun started, if it started several, with a device of "cuda" or "cpu"."""
    if is_one_of_several():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device_type == "cuda" else "gloo", timeout=WAITING)
        atexit.register(dist.destroy_process_group)


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


def add_up(tensor):
    """The sum of `tensor` over all processes, the same in each; gradients flow through."""
    return _Sum.apply(tensor) if count() > 1 else tensor


class _Sum(torch.autograd.Function):
    # each process's result depends on each process's tensor, so its gradient is the sum of theirs

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
