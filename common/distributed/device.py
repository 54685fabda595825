"""Where a script runs, and how: the device, its precision, the threads, and the memory that is kept."""

import ctypes
import functools
import os
import sys

import torch
import torch.nn as nn

from common.distributed import processes
from common.errors import InputError


def choose_device(name):
    """The torch device for `--device` ("auto", "cuda" or "cpu"), which it names on standard error.

    Where torchrun started several processes, they meet here, and each gets a GPU of its own. InputError for "cuda"
    where there is none, and for more processes than GPUs.
    """
    device_type = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    processes.meet(device_type)
    if name == "cuda" and device_type == "cpu":
        raise InputError(
            "--device cuda: PyTorch finds no CUDA GPU here, or only one whose driver is too old; use --device cpu or a "
            "GPU node"
        )
    several = f"{processes.count()} processes, each " if processes.count() > 1 else ""
    if device_type == "cpu":
        print(f"running {several}on the CPU, {threads()}", file=sys.stderr)
        keep_freed_memory()
        return torch.device("cpu")
    local_rank, local_count, no_of_gpus = 0, 1, torch.cuda.device_count()
    if processes.count() > 1:
        local_rank, local_count = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    if local_count > no_of_gpus:
        raise InputError(
            f"{local_count} processes were started on a node with {no_of_gpus} GPUs, and each needs its own: give "
            f"torchrun --nproc_per_node={no_of_gpus}"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    print(f"running {several}on CUDA: {torch.cuda.get_device_name(device)}", file=sys.stderr)
    return device


def threads():
    """How many threads PyTorch has on the CPU, in words."""
    number = torch.get_num_threads()
    return f"{number} thread{'s' if number > 1 else ''}"


def keep_freed_memory():
    """Makes the C library keep freed memory for the next tensors.

    glibc's default is to give each large tensor back to the system when it is freed: then every step waits for the
    system to make the same pages again, a fifth of the time of a training step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # not glibc
        return
    trim_threshold, mmap_max = -1, -4  # from malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, -1)


def choose_precision(name, device):
    """Sets the precision of float32 matrix products for `--precision`, and returns the context for forward passes.

    "fp32" keeps 24 bits; "tf32", on CUDA only, rounds the factors to 11; "bf16" rounds what layers take and give to 8,
    but for LSTMs on CUDA, which are in "tf32" (`common.models.layers`). Weights and optimizer are float32 in each case.
    None stands for "tf32" on CUDA and "fp32" elsewhere. InputError for "tf32" on the CPU, and for "bf16" on a CPU or a
    GPU without it.
    """
    if name == "tf32" and device.type == "cpu":
        raise InputError("--precision tf32 is for CUDA; on the CPU use fp32 or bf16")
    if name == "bf16" and device.type == "cpu" and not cpu_has_bf16():
        raise InputError("--precision bf16: PyTorch runs no LSTM in it on this CPU (x86 needs AVX-512); use fp32")
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(
            f"--precision bf16: {torch.cuda.get_device_name(device)} has none (GPUs have it from Ampere on); use fp32"
        )
    if device.type == "cuda":
        allow = name != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = allow
        torch.backends.cudnn.allow_tf32 = allow
    return torch.autocast(device.type, torch.bfloat16, enabled=name == "bf16")


@functools.cache
def cpu_has_bf16():
    """Whether PyTorch can run an LSTM in bf16 on this CPU."""
    # no public function of PyTorch tells for LSTMs, and some CPUs multiply matrices in bf16 but have no LSTM in it
    with torch.random.fork_rng(devices=[]), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        try:
            nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
        except RuntimeError:
            return False
    return True
