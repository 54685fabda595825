"""The oracle of the tests: the handout's models and loops as it means them, one timestep or review at a time.

Written for clearness alone, sharing nothing with the code under test. Slips of the handout's pen are mended:
the stored dropout mask is applied at every step, each generation step feeds one embedding, the last batch may
be shorter. Where the handout passes `train=`, the models here follow `model.train()` and `model.eval()`.
"""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

# -------------------------------------------------------------------------------------------- parts 1a and 1b


class BOW_model_1b(nn.Module):
    """x: (batch, in_size) mean GloVe vectors -> loss, logits (batch,)."""

    layer_names = ("1", "2", "3")

    def __init__(self, in_size, no_of_hidden_units, no_of_hidden_layers=1, dropout=0.5):
        super().__init__()
        self.layer_names = self.layer_names[:no_of_hidden_layers]
        for n in self.layer_names:
            setattr(self, f"fc_hidden{n}", nn.Linear(in_size, no_of_hidden_units))
            setattr(self, f"bn_hidden{n}", nn.BatchNorm1d(no_of_hidden_units))
            setattr(self, f"dropout{n}", nn.Dropout(dropout))
            in_size = no_of_hidden_units
        self.fc_output = nn.Linear(no_of_hidden_units, 1)
        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, x, t):
        h = x
        for n in self.layer_names:
            h = getattr(self, f"fc_hidden{n}")(h)
            h = getattr(self, f"bn_hidden{n}")(h)
            h = getattr(self, f"dropout{n}")(F.relu(h))
        h = self.fc_output(h)
        return self.loss(h[:, 0], t), h[:, 0]


def mean_vectors(reviews, glove_embeddings):
    """1b's inputs of a list of arrays of token ids: (reviews, in_size), the means over the known words."""
    x = []
    for line in reviews:
        line = line[line != 0]
        x.append(np.mean(glove_embeddings[line], axis=0))
    return np.asarray(x)


class BOW_model_1a(BOW_model_1b):
    """x: list of arrays of token ids, one a review -> loss, logits (batch,)."""

    layer_names = ("", "2", "3")

    def __init__(self, vocab_size, no_of_hidden_units, no_of_hidden_layers=1, dropout=0.5):
        super().__init__(no_of_hidden_units, no_of_hidden_units, no_of_hidden_layers, dropout)
        self.embedding = nn.Embedding(vocab_size, no_of_hidden_units)

    def forward(self, x, t):
        bow_embedding = []
        for review in x:
            lookup_tensor = torch.as_tensor(review, device=t.device)
            embed = self.embedding(lookup_tensor)
            bow_embedding.append(embed.mean(dim=0))
        return super().forward(torch.stack(bow_embedding), t)


# ------------------------------------------------------------------------------------ parts 2a, 2b, 3a and 3c


class StatefulLSTM(nn.Module):
    """One timestep a call: (batch, in_size) -> (batch, out_size)."""

    def __init__(self, in_size, out_size):
        super().__init__()
        self.lstm = nn.LSTMCell(in_size, out_size)
        self.out_size = out_size
        self.reset_state()

    def reset_state(self):
        self.h = None
        self.c = None

    def forward(self, x):
        if self.h is None:
            self.h = x.new_zeros(len(x), self.out_size)
            self.c = x.new_zeros(len(x), self.out_size)
        self.h, self.c = self.lstm(x, (self.h, self.c))
        return self.h


class LockedDropout(nn.Module):
    """One timestep a call: (batch, features) -> the same shape."""

    def __init__(self, dropout):
        super().__init__()
        self.dropout = dropout
        self.reset_state()

    def reset_state(self):
        self.mask = None

    def forward(self, x):
        if not self.training:
            return x
        if self.mask is None:
            self.mask = torch.empty_like(x).bernoulli_(1 - self.dropout) / (1 - self.dropout)
        return self.mask * x


class Recurrent_layers(nn.Module):
    """What the recurrent models share: `no_of_layers` times LSTM, batch norm, locked dropout."""

    def __init__(self, in_size, no_of_hidden_units, no_of_layers, dropout):
        super().__init__()
        self.layer_names = range(1, no_of_layers + 1)
        for n in self.layer_names:
            setattr(self, f"lstm{n}", StatefulLSTM(in_size, no_of_hidden_units))
            setattr(self, f"bn_lstm{n}", nn.BatchNorm1d(no_of_hidden_units))
            setattr(self, f"dropout{n}", LockedDropout(dropout))
            in_size = no_of_hidden_units

    def reset_state(self):
        for n in self.layer_names:
            getattr(self, f"lstm{n}").reset_state()
            getattr(self, f"dropout{n}").reset_state()

    def step(self, h):
        """One timestep through all layers: (batch, in_size) -> (batch, features)."""
        for n in self.layer_names:
            h = getattr(self, f"lstm{n}")(h)
            h = getattr(self, f"bn_lstm{n}")(h)
            h = getattr(self, f"dropout{n}")(h)
        return h


class RNN_model_2b(Recurrent_layers):
    """x: (batch, time, in_size) GloVe vectors -> loss, logits (batch,)."""

    def __init__(self, in_size, no_of_hidden_units, no_of_layers=1, dropout=0.5, pool="max"):
        super().__init__(in_size, no_of_hidden_units, no_of_layers, dropout)
        self.pool = pool
        self.fc_output = nn.Linear(no_of_hidden_units * (3 if pool == "concat" else 1), 1)
        self.loss = nn.BCEWithLogitsLoss()

    def forward(self, x, t):
        no_of_timesteps = x.shape[1]
        self.reset_state()
        outputs = []
        for i in range(no_of_timesteps):
            outputs.append(self.step(x[:, i, :]))
        outputs = torch.stack(outputs)  # (time, batch, features)
        outputs = outputs.permute(1, 2, 0)  # (batch, features, time)
        maximum, mean = nn.MaxPool1d(no_of_timesteps)(outputs), nn.AvgPool1d(no_of_timesteps)(outputs)
        if self.pool == "concat":  # not the handout's
            h = torch.cat([outputs[:, :, -1:], maximum, mean], dim=1)
        else:
            h = maximum if self.pool == "max" else mean
        h = h.view(h.size(0), -1)
        h = self.fc_output(h)
        return self.loss(h[:, 0], t), h[:, 0]


class RNN_model_2a(RNN_model_2b):
    """x: (batch, time) token ids -> loss, logits (batch,). 3c's model is this one with three layers."""

    def __init__(self, vocab_size, no_of_hidden_units, no_of_layers=1, dropout=0.5, pool="max"):
        super().__init__(no_of_hidden_units, no_of_hidden_units, no_of_layers, dropout, pool)
        self.embedding = nn.Embedding(vocab_size, no_of_hidden_units)

    def forward(self, x, t):
        return super().forward(self.embedding(x), t)


class RNN_language_model(Recurrent_layers):
    """x: (batch, time) token ids -> loss, logits (batch, time - 1, vocab)."""

    def __init__(self, vocab_size, no_of_hidden_units, no_of_layers=3, dropout=0.3, tied_weights=False):
        super().__init__(no_of_hidden_units, no_of_hidden_units, no_of_layers, dropout)
        self.embedding = nn.Embedding(vocab_size, no_of_hidden_units)
        self.decoder = nn.Linear(no_of_hidden_units, vocab_size)
        if tied_weights:  # not the handout's
            self.embedding.weight = self.decoder.weight
        self.loss = nn.CrossEntropyLoss()
        self.vocab_size = vocab_size

    def forward(self, x):
        embed = self.embedding(x)  # (batch, time, features)
        no_of_timesteps = embed.shape[1] - 1
        self.reset_state()
        outputs = []
        for i in range(no_of_timesteps):
            outputs.append(self.decoder(self.step(embed[:, i, :])))
        target_prediction = torch.stack(outputs).permute(1, 0, 2)  # (batch, time - 1, vocab)
        target = x[:, 1:].reshape(-1)
        return self.loss(target_prediction.reshape(-1, self.vocab_size), target), target_prediction


# ---------------------------------------------------------------------------------------------------- part 3b


def probabilities(output, temperature):
    """Of the next word: logits (batch, vocab) -> (batch, vocab), 0 for the unknown token."""
    probs = torch.exp(output / temperature)
    probs[:, 0] = 0.0
    return probs / torch.sum(probs, dim=1).unsqueeze(1)


def draw(probs):
    """A word for each row of probs (batch, vocab): (batch, 1)."""
    return torch.multinomial(probs, 1)


def generate(model, token_ids, length_of_review, temperature, draw=draw):
    """Primes the language model with token_ids (batch, time) and samples: (batch, time + length_of_review)."""
    model.reset_state()
    embed = model.embedding(token_ids)
    for i in range(embed.shape[1]):
        output = model.decoder(model.step(embed[:, i, :]))

    review = [token_ids]
    for _ in range(length_of_review):
        x = draw(probabilities(output, temperature))
        review.append(x)
        embed = model.embedding(x[:, 0])
        output = model.decoder(model.step(embed))
    return torch.cat(review, dim=1)


# -------------------------------------------------------------------------------- reading, the batches of part 2a


def read_reviews(path, vocab_size):
    """The reviews of a file of token ids: a list of arrays, ids above vocab_size set to 0."""
    reviews = []
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    for line in lines:
        ids = np.asarray(line.strip().split(" "), dtype=int)
        ids[ids > vocab_size] = 0
        reviews.append(ids)
    return reviews


def read_glove(path):
    """The words of a GloVe file of 100,000 lines at most, and their vectors behind a row of zeros."""
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    glove_dictionary = []
    glove_embeddings = []
    for line in lines:
        line = line.strip().split(" ")
        glove_dictionary.append(line[0])
        glove_embeddings.append(np.asarray(line[1:], dtype=float))
    glove_embeddings = np.asarray(glove_embeddings)
    return glove_dictionary, np.concatenate((np.zeros((1, glove_embeddings.shape[1])), glove_embeddings))


def make_batch(reviews, rows, sequence_length, rng):
    """Reviews `rows` as (len(rows), sequence_length): random crops, with zeros behind a short review."""
    x_input = np.zeros((len(rows), sequence_length), dtype=np.int64)
    for j, row in enumerate(rows):
        x = np.asarray(reviews[row])
        sl = x.shape[0]
        if sl < sequence_length:
            x_input[j, 0:sl] = x
        else:
            start_index = rng.integers(sl - sequence_length + 1)
            x_input[j, :] = x[start_index : (start_index + sequence_length)]
    return x_input
