"""The language model of part 3a: embedding, LSTM layers, and at each timestep a logit for each word to come."""

import torch.nn as nn

from common.models.layers import LockedDropout, StatefulLSTM, TimestepBatchNorm
from common.models.losses import LeanCrossEntropyLoss


class RNN_language_model(nn.Module):
    """Embedding -> one to three (LSTM, batch norm, locked dropout) -> linear decoder (handout, part 3a).

    `vocab_size` counts the unknown token, id 0.

    `forward`: token ids x (batch, time) int64
    -> (loss: scalar, the mean cross entropy of x[:, 1:]; logits: (batch, time - 1, vocab_size) for x[:, 1:]).
    """

    def __init__(self, vocab_size, no_of_hidden_units, no_of_layers=3, dropout=0.3):
        super().__init__()
        self.no_of_layers = no_of_layers

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

        self.decoder = nn.Linear(no_of_hidden_units, vocab_size)

        self.loss = LeanCrossEntropyLoss()

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

    def predict(self, x):
        """The logits (batch, time, vocab_size) of the word after each of x (batch, time), going on from the
        state of the call before."""
        h = self.embedding(x)  # (batch, time, features), as are all the layers' outputs

        h = self.dropout1(self.bn_lstm1(self.lstm1(h)))
        if self.no_of_layers >= 2:
            h = self.dropout2(self.bn_lstm2(self.lstm2(h)))
        if self.no_of_layers >= 3:
            h = self.dropout3(self.bn_lstm3(self.lstm3(h)))

        return self.decoder(h)

    def forward(self, x):
        self.reset_state()

        logits = self.predict(x[:, :-1])

        return self.loss(logits.flatten(0, 1), x[:, 1:].flatten()), logits
