"""The bag-of-words model of part 1b: mean GloVe vector of a review, hidden layers, one logit."""

import torch.nn as nn
import torch.nn.functional as F


class BOW_model(nn.Module):
    """One to three (linear, batch norm, ReLU, dropout) -> linear (handout, part 1b).

    `in_size` is the dimension of the GloVe vectors.

    `forward`: mean vectors x (batch, in_size) float and labels t (batch,) float of 0 and 1
    -> (loss: scalar, the mean binary cross entropy; logits: (batch,), above 0 for a positive review).
    """

    def __init__(self, in_size, no_of_hidden_units, no_of_hidden_layers=1, dropout=0.5):
        super().__init__()
        self.no_of_hidden_layers = no_of_hidden_layers

        for i in range(1, no_of_hidden_layers + 1):  # fc_hidden1, bn_hidden1, dropout1, fc_hidden2, …
            fc_hidden = nn.Linear(in_size if i == 1 else no_of_hidden_units, no_of_hidden_units)
            # batch norm subtracts this bias again: its gradient is mere rounding, which Adam would make whole steps of
            fc_hidden.bias.requires_grad_(False)
            self.add_module(f"fc_hidden{i}", fc_hidden)
            self.add_module(f"bn_hidden{i}", nn.BatchNorm1d(no_of_hidden_units))
            self.add_module(f"dropout{i}", nn.Dropout(dropout))

        self.fc_output = nn.Linear(no_of_hidden_units, 1)

        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, x, t):
        h = x  # (batch, in_size), then (batch, features)
        for i in range(1, self.no_of_hidden_layers + 1):
            h = self.get_submodule(f"fc_hidden{i}")(h)
            h = F.relu(self.get_submodule(f"bn_hidden{i}")(h))
            h = self.get_submodule(f"dropout{i}")(h)

        h = self.fc_output(h)[:, 0]  # (batch,)

        return self.loss(h, t), h
