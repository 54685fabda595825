"""The recurrent layers of parts 2a to 3c.

They run over whole sequences (batch, time, features). The handout takes a sequence one timestep at a time through all
layers. No layer's output feeds back into an earlier one, so a layer can run over the whole sequence before the next one
starts: the same numbers with far less Python. Each layer also takes a single timestep (batch, features), as in the
handout's `lstm1(embed[:,i,:])`.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F


class StatefulLSTM(nn.Module):
    """An LSTM layer that keeps its hidden and cell state between calls (handout, part 2a).

    A sequence may come in one call or in pieces, down to single timesteps: each call goes on from the state that the
    last one left, until `reset_state()`.

    Under autocast on CUDA it still computes in float32: cuDNN would run it in float16, whose range is too small for the
    gradients.

    `forward`: x (batch, time, in_size) float -> (batch, time, out_size). `h` and `c` are (1, batch, out_size).
    """

    def __init__(self, in_size, out_size):
        super().__init__()
        self.lstm = nn.LSTM(in_size, out_size, batch_first=True)
        self.h = None
        self.c = None

    def reset_state(self):
        """Forgets the state: the next call starts from zeros."""
        self.h = None
        self.c = None

    def forward(self, x):
        if x.ndim == 2:
            return self(x[:, None])[:, 0]
        state = None if self.h is None else (self.h, self.c)
        if x.is_cuda:
            x = x.to(self.lstm.weight_ih_l0.dtype)  # from autocast's type
        with torch.autocast("cuda", enabled=False):
            outputs, (self.h, self.c) = self.lstm(x, state)
        return outputs


class TimestepBatchNorm(nn.BatchNorm1d):
    """Batch norm of a sequence, each timestep by itself (handout, part 2a: `bn_lstm1` called at every step).

    In training, each timestep is normalised by the mean and variance of its own column of the batch, and the running
    figures move once per timestep, in order; in evaluation, all timesteps are normalised by the running figures.
    Weights and buffers are those of `nn.BatchNorm1d`.

    `forward`: x (batch, time, features) float -> the same shape.
    """

    def forward(self, x):
        if x.ndim == 2:
            return self(x[:, None])[:, 0]
        batch, time, features = x.shape
        if not self.training:
            return super().forward(x.reshape(batch * time, features)).view(batch, time, features)
        # every pair (timestep, feature) is a channel of its own
        x = x.reshape(batch, time * features)
        normed, mean, variance = self.normalise(x, self.weight.repeat(time), self.bias.repeat(time))
        self.update_running_figures(mean.view(time, features), variance.view(time, features))
        return normed.view(batch, time, features)

    def normalise(self, x, weight, bias):
        """x (batch, channels) normalised; the means and the unbiased variances of its channels, (channels,)."""
        mean, variance = weight.new_zeros(x.shape[1]), weight.new_ones(x.shape[1])
        # momentum 1 leaves each channel's own figures in mean and variance
        normed = F.batch_norm(x, mean, variance, weight, bias, training=True, momentum=1.0, eps=self.eps)
        return normed, mean, variance

    @torch.no_grad()
    def update_running_figures(self, mean, variance):
        """`running = (1 - m) * running + m * figure` for each row of (time, features) in turn, computed at once."""
        time = len(mean)
        ages = torch.arange(time - 1, -1, -1, device=mean.device, dtype=mean.dtype)
        shares = (self.momentum * (1 - self.momentum) ** ages)[:, None]
        kept = (1 - self.momentum) ** time
        # not matrix products, whose factors autocast and TF32 would round
        self.running_mean.mul_(kept).add_((shares * mean).sum(dim=0))
        self.running_var.mul_(kept).add_((shares * variance).sum(dim=0))
        self.num_batches_tracked += time


class LockedDropout(nn.Module):
    """Dropout with one mask for a whole sequence (handout, part 2a; Gal and Ghahramani 2016).

    The mask, (batch, 1, features), is drawn in the first call after `reset_state()` and kept until the next reset.
    In evaluation the input passes unchanged.

    `forward`: x (batch, time, features) float -> the same shape.
    """

    def __init__(self, p=0.5):
        super().__init__()
        self.p = p
        self.mask = None

    def reset_state(self):
        """Forgets the mask: the next call in training draws another."""
        self.mask = None

    def forward(self, x):
        if not self.training:
            return x
        if x.ndim == 2:
            return self(x[:, None])[:, 0]
        if self.mask is None:
            self.mask = self.draw_mask(x)
        return x * self.mask

    def draw_mask(self, x):
        """A mask for x (batch, time, features): 0 where it drops, 1 / (1 - p) where it keeps."""
        batch, _, features = x.shape
        return x.new_empty(batch, 1, features).bernoulli_(1 - self.p) / (1 - self.p)


def pool_over_time(h, pool, lengths=None):
    """(batch, time, features) -> (batch, pooled): for a `pool` of "max" or "mean" the maximum or mean over time, for
    "concat" the last timestep, maximum and mean side by side (Howard and Ruder 2018, "concat pooling").

    `lengths` (batch,) int64 tells how many timesteps of each review count; the rest is padding.
    """
    if pool == "concat":
        last = h[:, -1] if lengths is None else h[torch.arange(len(h), device=h.device), lengths - 1]
        return torch.cat([last, pool_over_time(h, "max", lengths), pool_over_time(h, "mean", lengths)], dim=1)
    if lengths is None:
        return h.max(dim=1).values if pool == "max" else h.mean(dim=1)
    is_padding = (torch.arange(h.shape[1], device=h.device) >= lengths[:, None])[..., None]
    if pool == "max":
        return h.masked_fill(is_padding, -torch.inf).max(dim=1).values
    return h.masked_fill(is_padding, 0).sum(dim=1) / lengths[:, None]


def pooled_features(no_of_features, pool):
    """How many features `pool_over_time` returns for so many."""
    return 3 * no_of_features if pool == "concat" else no_of_features
