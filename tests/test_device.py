"""Where a script runs: the GPU it takes, its precision, and on the CPU the memory that a tensor leaves for the next.

What asks CUDA is given its answers here, so that it is tested without a GPU too.
"""

import platform
from types import SimpleNamespace

import pytest
import torch
from conftest import run_script

from common.distributed import processes
from common.distributed.device import check_has_code, choose_device, choose_gpu, choose_precision, has_code
from common.errors import InputError

RESIDENT_AFTER_FREEING = """
import sys
import torch
from common.distributed.device import choose_device

def resident_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

if sys.argv[1:] == ["ours"]:
    choose_device("cpu")
torch.ones(2)
before = resident_mb()
x = torch.ones(2**26)  # 256 MB
del x
print(resident_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have settings of their own")
def test_freed_memory_is_kept():
    def kept(*arguments):
        return float(run_script("-c", RESIDENT_AFTER_FREEING, *arguments).stdout)

    assert kept() < 50
    assert kept("ours") > 200


# ----------------------------------------------------------------------------------------------- which GPU

GPUS = {"K20X": (3, 5), "P100": (6, 0), "V100": (7, 0), "T4": (7, 5), "A100": (8, 0), "L40": (8, 9), "H100": (9, 0)}

# what torch.cuda.get_arch_list() gives in PyTorch's own builds, and who cannot run them
BUILDS = [
    ("sm_37 sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90", {"K20X"}),  # 2.0 for CUDA 11.8
    ("sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90", {"K20X"}),  # 2.11 for CUDA 12.6
    ("sm_70 sm_75 sm_80 sm_86 sm_90 sm_100 sm_120", {"K20X", "P100"}),  # 2.10 for CUDA 12.8
    ("sm_75 sm_80 sm_86 sm_90 sm_100 sm_120", {"K20X", "P100", "V100"}),  # 2.11 for CUDA 12.8
    # made by hand
    ("sm_35", set(GPUS) - {"K20X"}),
    ("compute_35", set()),
    ("sm_60 compute_70", {"K20X"}),
    ("sm_86", set(GPUS) - {"L40"}),
    ("sm_80 sm_90a", {"K20X", "P100", "V100", "T4"}),
    ("compute_80a", set(GPUS) - {"A100"}),
]


@pytest.mark.parametrize(("architectures", "too_old"), BUILDS)
def test_which_gpus_this_pytorch_has_code_for(architectures, too_old):
    refused = {name for name, capability in GPUS.items() if not has_code(capability, architectures.split())}
    assert refused == too_old


def test_newer_gpus():
    assert has_code((12, 1), ["sm_90", "sm_120"])
    assert not has_code((12, 1), ["sm_90", "sm_100"])
    assert has_code((12, 1), ["sm_90", "compute_90"])
    assert not has_code((12, 1), ["sm_90a", "compute_90a", "sm_100f"])


def test_a_gpu_without_code_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80"])
    check_has_code("Tesla T4", (7, 5))
    with pytest.raises(InputError) as error:
        check_has_code("Tesla K20X", (3, 5))
    for words in ("Tesla K20X", "capability 3.5", torch.__version__, "sm_75, sm_80", "install", "--device cpu"):
        assert words in str(error.value)


# for each process, what it sees as number 0; how many GPUs each sees; which each takes
NODES = [
    ("A", 1, [0]),
    ("A A A A", 4, [0, 1, 2, 3]),  # torchrun, aprun: all are shown to all
    ("A B C D", 1, [0, 0, 0, 0]),  # srun --gpus-per-task=1
    ("A A C C", 2, [0, 1, 0, 1]),  # srun --gpus-per-task=2 torchrun --nproc_per_node=2
]


@pytest.mark.parametrize(("first_gpus", "no_of_gpus", "taken"), NODES)
def test_each_process_takes_a_gpu_of_its_own(first_gpus, no_of_gpus, taken):
    first_gpus = first_gpus.split()
    assert [choose_gpu(rank, first_gpus, no_of_gpus) for rank in range(len(first_gpus))] == taken


def test_more_processes_than_gpus():
    with pytest.raises(InputError, match="3 processes were started on a node with 2 GPUs"):
        choose_gpu(0, ["A", "A", "A"], 2)


@pytest.fixture
def gpu(monkeypatch):
    """Pretends that there are two GPUs, shown to this process, the second on its node, and to another."""
    told = []
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_properties": lambda number: SimpleNamespace(uuid=f"GPU-{number}"),
        "get_device_name": lambda device: "a GPU",
        "get_device_capability": lambda device: (7, 5),
        "get_arch_list": lambda: ["sm_75"],
        "set_device": told.append,
        "is_bf16_supported": lambda including_emulation=True: including_emulation,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(processes, "meet", lambda kind, first_gpu: told.append(kind) or (1, [first_gpu] * 2))
    return told


def test_the_gpu_is_set(gpu, capsys):
    assert choose_device("auto") == torch.device("cuda", 1)
    assert gpu == ["cuda", torch.device("cuda", 1)]
    assert capsys.readouterr().err == "running on CUDA: a GPU\n"


def test_the_cpu_beside_a_gpu(gpu, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose_device("cpu") == torch.device("cpu")
    assert gpu == ["cpu"]


def test_bf16_that_is_only_emulated_is_refused(gpu):
    with pytest.raises(InputError, match="--precision bf16: a GPU"):
        choose_precision("bf16", torch.device("cuda", 0))


@pytest.mark.parametrize(("name", "coarse"), [(None, True), ("tf32", True), ("bf16", True), ("fp32", False)])
def test_tf32(name, coarse, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch, "autocast", lambda *choices, enabled: enabled)
    settings = SimpleNamespace(cuda=SimpleNamespace(matmul=SimpleNamespace()), cudnn=SimpleNamespace())
    monkeypatch.setattr(torch, "backends", settings)
    assert choose_precision(name, torch.device("cuda", 0)) == (name == "bf16")
    assert settings.cuda.matmul.allow_tf32 == settings.cudnn.allow_tf32 == coarse
