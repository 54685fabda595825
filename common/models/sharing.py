"""Makes a model compute with its rows of a shared batch what one process would compute with all of it.

Batch norm takes the figures of the whole batch, dropout the own rows of the whole batch's mask, and the gradients are
those of the whole batch's loss.
"""

import functools

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F

from common.distributed import processes
from common.models.layers import LockedDropout, TimestepBatchNorm


def share_batches(model):
    """Makes `model`, whose `forward` gives (mean loss, logits), train on batches from `processes.shared_batch`.

    After `loss.backward()` the gradients are those of the whole batch.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.__class__ = SharedDropout
        elif isinstance(layer, nn.BatchNorm1d):
            layer.__class__ = TimestepBatchNorm  # which takes (batch, features), too; nn.SyncBatchNorm needs GPUs
            layer.normalise = functools.partial(_normalise, eps=layer.eps)
        elif isinstance(layer, LockedDropout):
            layer.draw_mask = functools.partial(_draw_own_rows, layer.draw_mask)
    model.register_forward_hook(_weigh_loss)
    _add_up_gradients(model.parameters())


def _weigh_loss(model, inputs, outputs):
    """The mean loss of a process's own rows counts by their share of the batch."""
    loss, logits = outputs
    if loss.requires_grad:
        share = len(logits) / processes.batch_size()
        loss.register_hook(lambda gradient: gradient * share)


def _add_up_gradients(weights):
    """Adds up the gradients of `weights` over all processes, each as soon as the backward pass has made it.

    Each tensor has a sum of its own: DistributedDataParallel's buckets change after the first step, so that a resumed
    run would add in another order. The backward pass ends when all sums are there.
    """
    running = []

    def wait():
        for sum_of_gradients in running:
            sum_of_gradients.wait()
        running.clear()

    def start(weight):
        if not running:
            torch.autograd.Variable._execution_engine.queue_callback(wait)  # as DistributedDataParallel does
        running.append(dist.all_reduce(weight.grad, async_op=True))

    for weight in weights:
        if weight.requires_grad:
            weight.register_post_accumulate_grad_hook(start)


def _normalise(x, weight, bias, eps):
    """x (rows, channels) normalised by the whole batch's means and variances; those, unbiased, (channels,)."""
    batch_size = processes.batch_size()
    mean = processes.add_up(x.sum(dim=0, dtype=weight.dtype)) / batch_size
    centred = x - mean
    variance = processes.add_up(centred.square().sum(dim=0)) / batch_size
    normed = centred * (weight * torch.rsqrt(variance + eps)) + bias
    return normed.to(x.dtype), mean, variance * batch_size / (batch_size - 1)


def _draw_own_rows(draw, x):
    """This process's own rows of the mask that a layer's `draw` makes for the whole batch, of which x is a part."""
    return processes.draw_rows(len(x), lambda n: draw(x[:1].expand(n, *x.shape[1:])))


class SharedDropout(nn.Dropout):
    """`nn.Dropout` whose mask is drawn for the batch of all processes: x (rows, features) float -> the same shape."""

    def forward(self, x):
        if not self.training:
            return x
        return x * processes.draw_rows(len(x), lambda n: F.dropout(x.new_ones(n, *x.shape[1:]), self.p))
