"""The recurrent sentiment model of part 3c: embedding, LSTM layers, pooling over time, one logit."""

import torch.nn as nn

from common.models.layers import LockedDropout, StatefulLSTM, TimestepBatchNorm, pool_over_time


class RNN_model(nn.Module):
    """Embedding -> one to three (LSTM, batch norm, locked dropout) -> pool over time -> linear (handout, part 3c).

    The embedding, the LSTM layers and their batch norms are those of part 3a's language model, by the same names.
    `vocab_size` counts the unknown token, id 0. `pool` is "max" or "mean".

    `forward`: token ids x (batch, time) int64 and labels t (batch,) float of 0 and 1; with
    `lengths` (batch,) int64 the padding behind them does not count, by default it does, as in the handout
    -> (loss: scalar, the mean binary cross entropy; logits: (batch,), above 0 for a positive review).
    """

    def __init__(self, vocab_size, no_of_hidden_units, no_of_layers=3, dropout=0.5, pool="max"):
        super().__init__()
        self.no_of_layers = no_of_layers
        self.pool = pool

        self.embedding = nn.Embedding(vocab_size, no_of_hidden_units)

        self.lstm1 = StatefulLSTM(no_of_hidden_units, no_of_hidden_units)
        self.bn_lstm1 = TimestepBatchNorm(no_of_hidden_units)
        self.dropout1 = LockedDropout(dropout)

        if no_of_layers >= 2:
            self.lstm2 = StatefulLSTM(no_of_hidden_units, no_of_hidden_units)
            self.bn_lstm2 = TimestepBatchNorm(no_of_hidden_units)
            self.dropout2 = LockedDropout(dropout)

        if no_of_layers >= 3:
            self.lstm3 = StatefulLSTM(no_of_hidden_units, no_of_hidden_units)
            self.bn_lstm3 = TimestepBatchNorm(no_of_hidden_units)
            self.dropout3 = LockedDropout(dropout)

        self.fc_output = nn.Linear(no_of_hidden_units, 1)

        self.loss = nn.BCEWithLogitsLoss()

    def reset_state(self):
        """Forgets the LSTM states and the dropout masks of the sequences before."""
        self.lstm1.reset_state()
        self.dropout1.reset_state()
        if self.no_of_layers >= 2:
            self.lstm2.reset_state()
            self.dropout2.reset_state()
        if self.no_of_layers >= 3:
            self.lstm3.reset_state()
            self.dropout3.reset_state()

    def forward(self, x, t, lengths=None):
        self.reset_state()

        h = self.embedding(x)  # (batch, time, features), as are all the layers' outputs

        h = self.dropout1(self.bn_lstm1(self.lstm1(h)))
        if self.no_of_layers >= 2:
            h = self.dropout2(self.bn_lstm2(self.lstm2(h)))
        if self.no_of_layers >= 3:
            h = self.dropout3(self.bn_lstm3(self.lstm3(h)))

        h = pool_over_time(h, self.pool, lengths)  # (batch, features)

        h = self.fc_output(h)[:, 0]  # (batch,)

        return self.loss(h, t), h
