"""The language model of part 3a: embedding, LSTM layers, and at each timestep a logit for each word to come."""

import torch.nn as nn

from common.models.layers import LockedDropout, StatefulLSTM, TimestepBatchNorm
from common.models.losses import LeanCrossEntropyLoss


class RNN_language_model(nn.Module):
    """Embedding -> one to three (LSTM, batch norm, locked dropout) -> linear decoder (handout, part 3a).

    `vocab_size` counts the unknown token, id 0. With `tied_weights` the decoder's weights are the embedding's too
    (Press and Wolf 2017).

    `forward`: token ids x (batch, time) int64
    -> (loss: scalar, the mean cross entropy of x[:, 1:]; logits: (batch, time - 1, vocab_size) for x[:, 1:]).
    """

    def __init__(self, vocab_size, no_of_hidden_units, no_of_layers=3, dropout=0.3, tied_weights=False):
        super().__init__()
        self.no_of_layers = no_of_layers

        self.embedding = nn.Embedding(vocab_size, no_of_hidden_units)

        for i in range(1, no_of_layers + 1):  # lstm1, bn_lstm1, dropout1, lstm2, …
            self.add_module(f"lstm{i}", StatefulLSTM(no_of_hidden_units, no_of_hidden_units))
            self.add_module(f"bn_lstm{i}", TimestepBatchNorm(no_of_hidden_units))
            self.add_module(f"dropout{i}", LockedDropout(dropout))

        self.decoder = nn.Linear(no_of_hidden_units, vocab_size)
        if tied_weights:
            self.embedding.weight = self.decoder.weight  # this way round: an embedding's first weights are too large

        self.loss = LeanCrossEntropyLoss()

    def reset_state(self):
        """Forgets the LSTM states and the dropout masks of the sequences before."""
        for i in range(1, self.no_of_layers + 1):
            self.get_submodule(f"lstm{i}").reset_state()
            self.get_submodule(f"dropout{i}").reset_state()

    def predict(self, x):
        """The logits (batch, time, vocab_size) of the word after each of x (batch, time), going on from the
        state of the call before."""
        h = self.embedding(x)  # (batch, time, features), as are all the layers' outputs
        for i in range(1, self.no_of_layers + 1):
            h = self.get_submodule(f"lstm{i}")(h)
            h = self.get_submodule(f"bn_lstm{i}")(h)
            h = self.get_submodule(f"dropout{i}")(h)

        return self.decoder(h)

    def forward(self, x):
        self.reset_state()

        logits = self.predict(x[:, :-1])

        return self.loss(logits.flatten(0, 1), x[:, 1:].flatten()), logits
