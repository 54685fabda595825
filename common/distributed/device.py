"""Where a script runs: the device, the precision of its matrix products, and the memory that is kept on the CPU."""

import ctypes
import functools
import os
import sys

import torch
import torch.nn as nn

from common.distributed import processes
from common.errors import InputError


def choose_device(name):
    """The torch device for `--device` ("auto", "cuda" or "cpu"); its name is printed on standard error.

    If torchrun has started several processes, they meet here, and each gets a GPU of its own. InputError for "cuda"
    without a GPU, and for more processes than GPUs.
    """
    device_type = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    processes.meet(device_type)
    if name == "cuda" and device_type == "cpu":
        raise InputError("--device cuda: PyTorch finds no CUDA GPU here that it can use; give --device cpu")
    several = f"{processes.count()} processes, each " if processes.count() > 1 else ""
    if device_type == "cpu":
        print(f"running {several}on the CPU, {threads()}", file=sys.stderr)
        keep_freed_memory()
        return torch.device("cpu")
    no_of_gpus, local_count = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if local_count > no_of_gpus:
        many = f"{local_count} processes were started on a node with {no_of_gpus} GPUs"
        raise InputError(f"{many}, and each needs its own: give torchrun --nproc_per_node={no_of_gpus}")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    torch.cuda.set_device(device)
    print(f"running {several}on CUDA: {torch.cuda.get_device_name(device)}", file=sys.stderr)
    return device


def threads():
    """How many threads PyTorch uses on the CPU, in words."""
    number = torch.get_num_threads()
    return f"{number} thread{'s' if number > 1 else ''}"


def keep_freed_memory():
    """Makes the C library keep freed memory for the next tensors.

    By default, glibc gives the memory of each large tensor back to the system. Then every step waits for new pages,
    a fifth of the time of a training step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # it is glibc
        trim_threshold, mmap_max = -1, -4  # from malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)


def choose_precision(name, device):
    """Sets the precision of float32 matrix products for `--precision`, and returns the context for forward passes.

    "fp32" keeps 24 bits; "tf32", on CUDA only, rounds the factors to 11; "bf16" rounds the inputs and outputs of layers
    to 8, except for LSTMs on CUDA, which run in "tf32" (`common.models.layers`). Weights and optimizer are always
    float32. None means "tf32" on CUDA and "fp32" elsewhere. InputError for "tf32" on the CPU, and for "bf16" on a CPU
    or GPU without it.
    """
    if name == "tf32" and device.type == "cpu":
        raise InputError("--precision tf32 is for CUDA; on the CPU use fp32 or bf16")
    if name == "bf16" and device.type == "cpu" and not cpu_has_bf16():
        raise InputError("--precision bf16: PyTorch runs no LSTM in it on this CPU (x86 needs AVX-512); use fp32")
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        gpu = torch.cuda.get_device_name(device)
        raise InputError(f"--precision bf16: {gpu} has none (GPUs have it from Ampere on); use fp32")
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name != "fp32"
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16")


@functools.cache
def cpu_has_bf16():
    """Whether PyTorch can run an LSTM in bf16 on this CPU."""
    # no public function of PyTorch tells, and some CPUs have matrix products in bf16 but no LSTM
    with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        try:
            nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
        except RuntimeError:
            return False
    return True


def cpu_is_fast_in_bf16():
    """Whether this CPU has x86's instructions for bf16, with which PyTorch trains LSTMs faster."""
    # CPUs with AMX have them, too; with AVX-512 alone, bf16 is emulated and takes longer than fp32
    return torch.cpu._is_avx512_bf16_supported()
