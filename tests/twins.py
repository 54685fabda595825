"""Our models beside the handout's: loads a part's file, gives the handout's model the weights and the luck of ours."""

import importlib.util
import sys
from unittest import mock

import numpy as np
import torch

from common.files import REPOSITORY


def load_file(name):
    """The module of one of our scripts; file names repeat between parts, so they are no package."""
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py").replace("/", "_"), REPOSITORY / name)
    module = importlib.util.module_from_spec(spec)
    # a script finds its neighbours from its own folder, which Python puts first
    with mock.patch.object(sys, "path", [str((REPOSITORY / name).parent), *sys.path]):
        spec.loader.exec_module(module)
    return module


def handout_name(name):
    """nn.LSTM names the weights of its one layer as nn.LSTMCell does, but for the ending."""
    return name.removesuffix("_l0")


def copy_weights(ours, theirs):
    """Gives the handout's model the weights and running figures of ours; they must have the same names."""
    theirs.load_state_dict({handout_name(name): value for name, value in ours.state_dict().items()})


def draw_with(generator):
    """A `draw` for `handout.generate` that turns the uniform numbers that ours draws from `generator` into words.

    The word is the first at which the probabilities added up, from word 0 on, exceed the number.
    """

    def draw(probs):
        chances = torch.rand(len(probs), 1, dtype=torch.float64, generator=generator, device=probs.device)
        pairs = zip(probs.detach().cpu().numpy(), chances.cpu().numpy(), strict=True)
        words = [np.searchsorted(np.cumsum(row), chance, side="right") for row, chance in pairs]
        return torch.from_numpy(np.stack(words)).to(probs.device)

    return draw
