"""Where a script runs: the device."""

import sys

import torch

from common.errors import InputError


def choose_device(name):
    """The torch device for `--device` ("auto", "cuda" or "cpu"), which it names on standard error.

    InputError for "cuda" where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA GPU here; use --device cpu or a GPU node")
    if name == "cpu" or not torch.cuda.is_available():
        print(f"running on the CPU, {torch.get_num_threads()} threads", file=sys.stderr)
        return torch.device("cpu")
    print(f"running on CUDA: {torch.cuda.get_device_name()}", file=sys.stderr)
    return torch.device("cuda")
