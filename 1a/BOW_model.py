"""The bag-of-words model of part 1a: mean embedding of a review, hidden layers, one logit."""

import torch.nn as nn
import torch.nn.functional as F

# how the names of the hidden layers end: the handout has one, without a number
HIDDEN_LAYERS = ("", "2", "3")


class BOW_model(nn.Module):
    """Mean embedding -> one to three (linear, batch norm, ReLU, dropout) -> linear (handout, part 1a).

    `vocab_size` counts the unknown token, id 0.

    `forward`: `common.data.batches.Bags` x of a batch and labels t (batch,) float of 0 and 1
    -> (loss: scalar, the mean binary cross entropy; logits: (batch,), above 0 for a positive review).
    """

    def __init__(self, vocab_size, no_of_hidden_units, no_of_hidden_layers=1, dropout=0.5):
        super().__init__()
        self.no_of_hidden_layers = no_of_hidden_layers

        self.embedding = nn.EmbeddingBag(vocab_size, no_of_hidden_units, mode="sum", include_last_offset=True)

        for i in HIDDEN_LAYERS[:no_of_hidden_layers]:  # fc_hidden, bn_hidden, dropout, fc_hidden2, …
            fc_hidden = nn.Linear(no_of_hidden_units, no_of_hidden_units)
            # batch norm subtracts this bias again: its gradient is mere rounding, which Adam would make whole steps of
            fc_hidden.bias.requires_grad_(False)
            self.add_module(f"fc_hidden{i}", fc_hidden)
            self.add_module(f"bn_hidden{i}", nn.BatchNorm1d(no_of_hidden_units))
            self.add_module(f"dropout{i}", nn.Dropout(dropout))

        self.fc_output = nn.Linear(no_of_hidden_units, 1)

        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, x, t):
        # the weights of a bag make the sum of its embeddings the mean over the review's tokens
        h = self.embedding(x.ids, x.offsets, per_sample_weights=x.weights)  # (batch, features), as all layers' outputs

        for i in HIDDEN_LAYERS[: self.no_of_hidden_layers]:
            h = self.get_submodule(f"fc_hidden{i}")(h)
            h = F.relu(self.get_submodule(f"bn_hidden{i}")(h))
            h = self.get_submodule(f"dropout{i}")(h)

        h = self.fc_output(h)[:, 0]  # (batch,)

        return self.loss(h, t), h
