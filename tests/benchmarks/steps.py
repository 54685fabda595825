"""A training step, which is the handout's for every model, and the plain language model that stands beside 3a's."""

import torch.nn as nn


def step(model, optimizer, inputs, clip, autocast):
    """A training step: what `model(*inputs)` gives, the loss first."""
    optimizer.zero_grad()
    with autocast:
        loss, *others = model(*inputs)
    loss.backward()
    if clip:
        nn.utils.clip_grad_norm_([parameter for group in optimizer.param_groups for parameter in group["params"]], clip)
    optimizer.step()
    return loss, *others


class Plain_language_model(nn.Module):
    """A language model of 3a's size as PyTorch's word_language_model example builds one: an nn.LSTM of three layers
    with dropout between and after them, no batch norm, all timesteps at once."""

    def __init__(self, vocab_size, no_of_hidden_units):
        super().__init__()
        self.drop = nn.Dropout(0.3)
        self.encoder = nn.Embedding(vocab_size, no_of_hidden_units)
        self.rnn = nn.LSTM(no_of_hidden_units, no_of_hidden_units, 3, dropout=0.3, batch_first=True)
        self.decoder = nn.Linear(no_of_hidden_units, vocab_size)
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x):
        outputs, _ = self.rnn(self.drop(self.encoder(x[:, :-1])))
        logits = self.decoder(self.drop(outputs))
        return self.loss(logits.flatten(0, 1), x[:, 1:].flatten()), logits
