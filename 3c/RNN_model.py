"""The recurrent sentiment model of part 3c: embedding, LSTM layers, pooling over time, one logit."""

import torch.nn as nn

from common.models.layers import LockedDropout, StatefulLSTM, TimestepBatchNorm, pool_over_time, pooled_features


class RNN_model(nn.Module):
    """Embedding -> one to three (LSTM, batch norm, locked dropout) -> pool over time -> linear (handout, part 3c).

    The embedding, the LSTM layers and their batch norms are those of part 3a's language model, by the same names.
    `vocab_size` counts the unknown token, id 0. `pool` is "max", "mean" or "concat".

    `forward`: token ids x (batch, time) int64 and labels t (batch,) float of 0 and 1; with
    `lengths` (batch,) int64 the padding after them does not count, by default it does, as in the handout
    -> (loss: scalar, the mean binary cross entropy; logits: (batch,), above 0 for a positive review).
    """

    def __init__(self, vocab_size, no_of_hidden_units, no_of_layers=3, dropout=0.5, pool="max"):
        super().__init__()
        self.no_of_layers = no_of_layers
        self.pool = pool

        self.embedding = nn.Embedding(vocab_size, no_of_hidden_units)

        for i in range(1, no_of_layers + 1):  # lstm1, bn_lstm1, dropout1, lstm2, …
            self.add_module(f"lstm{i}", StatefulLSTM(no_of_hidden_units, no_of_hidden_units))
            self.add_module(f"bn_lstm{i}", TimestepBatchNorm(no_of_hidden_units))
            self.add_module(f"dropout{i}", LockedDropout(dropout))

        self.fc_output = nn.Linear(pooled_features(no_of_hidden_units, pool), 1)

        self.loss = nn.BCEWithLogitsLoss()

    def reset_state(self):
        """Forgets the LSTM states and the dropout masks of the sequences before."""
        for i in range(1, self.no_of_layers + 1):
            self.get_submodule(f"lstm{i}").reset_state()
            self.get_submodule(f"dropout{i}").reset_state()

    def freeze_batch_norm(self):
        """Makes batch norm use its running figures in training too, as in evaluation, and leave them as they are."""
        for i in range(1, self.no_of_layers + 1):
            self.get_submodule(f"bn_lstm{i}").eval()

    def features(self, x):
        """What the layers make of x, (batch, time, features), going on from the state of the call before."""
        h = self.embedding(x)  # (batch, time, features), as are all the layers' outputs
        for i in range(1, self.no_of_layers + 1):
            h = self.get_submodule(f"lstm{i}")(h)
            h = self.get_submodule(f"bn_lstm{i}")(h)
            h = self.get_submodule(f"dropout{i}")(h)
        return h

    def classify(self, h, t, lengths=None):
        """What `forward` returns, of what `features` made of x."""
        h = pool_over_time(h, self.pool, lengths)  # (batch, pooled)
        h = self.fc_output(h)[:, 0]  # (batch,)
        return self.loss(h, t), h

    def forward(self, x, t, lengths=None):
        self.reset_state()
        h = self.features(x)
        return self.classify(h, t, lengths)
