"""The language model's loss: PyTorch's cross entropy with less memory for its backward pass."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd.function import once_differentiable


class LeanCrossEntropyLoss(nn.Module):
    """`nn.CrossEntropyLoss()` whose backward pass needs one tensor of the logits' size, not two (handout, part 3a).

    PyTorch's own keeps the logarithms of the probabilities beside the logits, and makes its gradient in two tensors.
    Here only the logits are kept, and the gradient, softmax minus one at the target, is made in one.

    `forward`: logits (n, classes) float and targets (n,) int64 -> scalar, the mean, float32 under autocast.
    """

    def forward(self, logits, targets):
        return _LeanCrossEntropy.apply(logits, targets)


class _LeanCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, targets):
        ctx.save_for_backward(logits, targets)
        return F.cross_entropy(logits, targets)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss):
        logits, targets = ctx.saved_tensors
        # in the type of the loss: under autocast the logits are coarser
        gradient = torch.softmax(logits, dim=1, dtype=grad_loss.dtype)
        gradient.scatter_add_(1, targets[:, None], gradient.new_full((len(targets), 1), -1))
        return gradient.mul_(grad_loss / len(targets)), None
