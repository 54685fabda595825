"""The language model's loss equals PyTorch's, and keeps less for its backward pass."""

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from conftest import succeed, train
from torch.multiprocessing.reductions import StorageWeakRef

from common.models.losses import LeanCrossEntropyLoss

NO_OF_CLASSES = 50


def loss_and_gradient(loss, logits, targets, weight=3.0):
    logits = logits.detach().requires_grad_()
    value = loss(logits, targets)
    (weight * value).backward()
    return value.detach(), logits.grad


@pytest.fixture
def batch():
    torch.manual_seed(0)
    # large logits too, whose exponentials overflow
    logits = torch.randn(40, NO_OF_CLASSES) * torch.logspace(-2, 3, 40)[:, None]
    return logits, torch.randint(NO_OF_CLASSES, (40,))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_loss_and_gradient_are_pytorchs(batch, dtype):
    logits, targets = batch[0].to(dtype), batch[1]
    ours = loss_and_gradient(LeanCrossEntropyLoss(), logits, targets)
    theirs = loss_and_gradient(nn.CrossEntropyLoss(), logits, targets)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_coarse_logits_get_the_gradient_of_the_fine_ones(batch):
    logits, targets = batch[0].bfloat16(), batch[1]
    with torch.autocast("cpu", torch.bfloat16):
        loss, gradient = loss_and_gradient(LeanCrossEntropyLoss(), logits, targets)
    exact_loss, exact = loss_and_gradient(nn.CrossEntropyLoss(), logits.double(), targets)
    assert (loss.dtype, gradient.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(loss.double(), exact_loss, rtol=1e-6, atol=0)
    # each of its numbers is rounded once: to 8 bits
    torch.testing.assert_close(gradient.double(), exact, rtol=2**-8, atol=1e-9)


def saved_bytes(loss, logits, targets):
    """What the backward pass keeps, but for the logits themselves and what is smaller than a tenth of them."""
    kept = {}

    def keep(tensor):
        if tensor.data_ptr() != logits.data_ptr() and 10 * tensor.nbytes > logits.nbytes:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss(logits, targets)
    return sum(kept.values())


def test_only_the_logits_are_kept(batch):
    logits, targets = batch[0].requires_grad_(), batch[1]
    assert saved_bytes(F.cross_entropy, logits, targets) == logits.nbytes
    assert saved_bytes(LeanCrossEntropyLoss(), logits, targets) == 0


def test_the_logits_of_a_step_are_gone_before_the_next(sample_data, tmp_path, monkeypatch):
    forward, before, alive = LeanCrossEntropyLoss.forward, [], []

    def watched(self, logits, targets):
        if self.training:
            alive.append(any(not storage.expired() for storage in before))
            before.append(StorageWeakRef(logits.untyped_storage()))
        return forward(self, logits, targets)

    monkeypatch.setattr(LeanCrossEntropyLoss, "forward", watched)
    succeed(train("3a", sample_data, tmp_path, "--epochs", 1))
    assert len(alive) > 50
    assert not any(alive)
