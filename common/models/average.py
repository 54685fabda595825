"""Several sentiment models as one, whose probability is the mean of theirs."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class AverageOfModels(nn.Module):
    """Recurrent sentiment models of one kind, forward and backward ones or of several seeds, whose probabilities are
    averaged (Howard and Ruder 2018, "bidirectional language model"). For tests only.

    `forward`: token ids x (batch, time, models) int64, for each model in its own direction, labels t (batch,) float
    and lengths (batch,) int64 -> (loss: scalar, the mean binary cross entropy of the mean probability; logits:
    (batch,) float64, those of that probability, above 0 for a positive review).
    """

    def __init__(self, models):
        super().__init__()
        self.models = nn.ModuleList(models)

    def reset_state(self):
        """Forgets the LSTM states of earlier sequences."""
        for model in self.models:
            model.reset_state()

    def features(self, x):
        """The models' features of x, side by side: (batch, time, features of all models)."""
        return torch.cat([model.features(ids) for model, ids in zip(self.models, x.unbind(dim=2), strict=True)], dim=2)

    def classify(self, h, t, lengths=None):
        """What `forward` returns, from the `features` of x."""
        sizes = [model.embedding.embedding_dim for model in self.models]
        logits = [
            model.classify(own_h, t, lengths)[1]
            for model, own_h in zip(self.models, h.split(sizes, dim=2), strict=True)
        ]
        logits = torch.stack(logits).double()  # (models, batch)
        # the logarithms stay exact where a model is sure
        log_positive = F.logsigmoid(logits).logsumexp(dim=0) - math.log(len(logits))
        log_negative = F.logsigmoid(-logits).logsumexp(dim=0) - math.log(len(logits))
        loss = -(t * log_positive + (1 - t) * log_negative).mean()
        return loss, log_positive - log_negative

    def forward(self, x, t, lengths=None):
        self.reset_state()
        return self.classify(self.features(x), t, lengths)
