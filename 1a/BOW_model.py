"""The bag-of-words model of part 1a: mean embedding of a review, hidden layers, one logit."""

import torch.nn as nn
import torch.nn.functional as F

from common.models.layers import BatchNorm, Dropout


class BOW_model(nn.Module):
    """Mean embedding -> one to three (linear, batch norm, ReLU, dropout) -> linear (handout, part 1a).

    `vocab_size` counts the unknown token, id 0.

    `forward`: `common.reviews.Bags` x of a batch and labels t (batch,) float of 0 and 1
    -> (loss: scalar, the mean binary cross entropy; logits: (batch,), above 0 for a positive review).
    """

    def __init__(self, vocab_size, no_of_hidden_units, no_of_hidden_layers=1, dropout=0.5):
        super().__init__()
        self.no_of_hidden_layers = no_of_hidden_layers

        self.embedding = nn.EmbeddingBag(vocab_size, no_of_hidden_units, mode="sum", include_last_offset=True)

        self.fc_hidden = nn.Linear(no_of_hidden_units, no_of_hidden_units)
        # batch norm takes this bias away again: its gradient is mere rounding, of which Adam would make whole steps
        self.fc_hidden.bias.requires_grad_(False)
        self.bn_hidden = BatchNorm(no_of_hidden_units)
        self.dropout = Dropout(dropout)

        if no_of_hidden_layers >= 2:
            self.fc_hidden2 = nn.Linear(no_of_hidden_units, no_of_hidden_units)
            self.fc_hidden2.bias.requires_grad_(False)
            self.bn_hidden2 = BatchNorm(no_of_hidden_units)
            self.dropout2 = Dropout(dropout)

        if no_of_hidden_layers >= 3:
            self.fc_hidden3 = nn.Linear(no_of_hidden_units, no_of_hidden_units)
            self.fc_hidden3.bias.requires_grad_(False)
            self.bn_hidden3 = BatchNorm(no_of_hidden_units)
            self.dropout3 = Dropout(dropout)

        self.fc_output = nn.Linear(no_of_hidden_units, 1)

        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, x, t):
        # the weights of a bag make the sum of its embeddings the mean over the review's tokens
        bow_embedding = self.embedding(x.ids, x.offsets, per_sample_weights=x.weights)  # (batch, features)

        h = self.dropout(F.relu(self.bn_hidden(self.fc_hidden(bow_embedding))))
        if self.no_of_hidden_layers >= 2:
            h = self.dropout2(F.relu(self.bn_hidden2(self.fc_hidden2(h))))
        if self.no_of_hidden_layers >= 3:
            h = self.dropout3(F.relu(self.bn_hidden3(self.fc_hidden3(h))))

        h = self.fc_output(h)[:, 0]  # (batch,)

        return self.loss(h, t), h
