"""Where a script runs, and how: the device, its precision, the threads, and the memory that is kept."""

import ctypes
import functools
import os
import re
import sys

import torch
import torch.nn as nn

from common.distributed import processes
from common.errors import InputError


def choose_device(name):
    """The torch device for `--device` ("auto", "cuda" or "cpu"), which it names on standard error.

    Where a launcher started several processes, they meet here, and each gets a GPU of its own or its share of the
    node's cores. InputError for "cuda" where there is none, for a GPU that this PyTorch has no code for, and where the
    processes do not meet, or do not find devices of the same kind.
    """
    kind = "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
    first_gpu = str(torch.cuda.get_device_properties(0).uuid) if kind == "cuda" else None
    local_rank, first_gpus = processes.meet(kind, first_gpu)
    if name == "cuda" and kind == "cpu":
        raise InputError(
            "--device cuda: PyTorch finds no CUDA GPU here, or only one whose driver is too old; use --device cpu or a "
            "GPU node"
        )
    several = f"{processes.count()} processes, each " if processes.count() > 1 else ""
    if kind == "cpu":
        local_count = len(first_gpus)
        if local_count > 1 and "OMP_NUM_THREADS" not in os.environ and not _is_bound_to_cores():
            torch.set_num_threads(max(1, torch.get_num_threads() // local_count))
        print(f"running {several}on the CPU, {torch.get_num_threads()} threads", file=sys.stderr)
        keep_freed_memory()
        return torch.device("cpu")
    device = torch.device("cuda", choose_gpu(local_rank, first_gpus, torch.cuda.device_count()))
    check_has_code(torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device))
    torch.cuda.set_device(device)
    print(f"running {several}on CUDA: {torch.cuda.get_device_name(device)}", file=sys.stderr)
    return device


def choose_gpu(local_rank, first_gpus, no_of_gpus):
    """The number, from 0, of the GPU that a process takes of the `no_of_gpus` that it sees.

    `first_gpus` are the UUIDs of the GPU that each process of its node sees as number 0, its own at `local_rank`: a
    launcher may show each process a GPU of its own, or all to all. InputError for more processes than GPUs.
    """
    its_own = first_gpus[local_rank]
    if first_gpus.count(its_own) > no_of_gpus:
        raise InputError(
            f"{first_gpus.count(its_own)} processes were started on a node with {no_of_gpus} GPUs: each needs its own"
        )
    return first_gpus[:local_rank].count(its_own)


def check_has_code(name, capability):
    """InputError where this PyTorch has no code for the GPU `name` of CUDA's `capability`, (major, minor)."""
    architectures = torch.cuda.get_arch_list()
    is_cuda = torch.version.hip is None  # in AMD's builds, too, PyTorch calls the device "cuda"
    if is_cuda and not has_code(capability, architectures):
        raise InputError(
            f"{name} has CUDA capability {capability[0]}.{capability[1]}, but this PyTorch, {torch.__version__}, has "
            f"code for {', '.join(architectures)} only: install one that was built for it, such as an older one or one "
            "for an older CUDA, or use --device cpu"
        )


def has_code(capability, architectures):
    """Whether a GPU of CUDA's `capability`, (major, minor), runs code made for one of `architectures`: "sm_80", …

    sm_XY runs where the major number is the same and the minor one not smaller, compute_XY, which the driver compiles,
    on all later GPUs too; with a letter behind the numbers, either on that very capability alone (CUDA C++ Programming
    Guide, "Compute Capabilities" and "Application Compatibility").
    """
    for architecture in architectures:
        kind, number, letter = re.fullmatch(r"(sm|compute)_(\d+)([a-z]?)", architecture).groups()
        made_for = divmod(int(number), 10)
        if letter:
            runs = capability == made_for
        elif kind == "sm":
            runs = capability[0] == made_for[0] and capability >= made_for
        else:
            runs = capability >= made_for
        if runs:
            return True
    return False


def _is_bound_to_cores():
    """Whether the launcher gave this process cores of its own."""
    # only Linux tells
    return hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < os.cpu_count()


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


def cpu_is_fast_in_bf16():
    """Whether this CPU has x86's instructions for bf16, with which PyTorch trains LSTMs faster."""
    # with AVX-512 alone bf16 is imitated and takes longer than fp32; CPUs with AMX have these instructions too
    return torch.cpu._is_avx512_bf16_supported()
