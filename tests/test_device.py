"""Where a script runs: the GPU it takes, its precision, and on the CPU the memory that a tensor leaves for the next.

What asks CUDA is given its answers here, so that it is tested without a GPU too.
"""

import platform
from types import SimpleNamespace

import pytest
import torch
from conftest import REPO, refused, run_here, run_script

from common.distributed import processes
from common.distributed.device import choose_device, choose_precision
from common.errors import InputError

RESIDENT_AFTER_FREEING = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from common.distributed.device import choose_device

def resident_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024

if sys.argv[2:] == ["ours"]:
    choose_device("cpu")
torch.ones(2)
before = resident_mb()
x = torch.ones(2**26)  # 256 MB
del x
print(resident_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have settings of their own")
def test_freed_memory_is_kept(tmp_path):
    (tmp_path / "script.py").write_text(RESIDENT_AFTER_FREEING)
    assert float(run_script(tmp_path / "script.py", REPO).stdout) < 50
    assert float(run_script(tmp_path / "script.py", REPO, "ours").stdout) > 200


# ----------------------------------------------------------------------------------------------- which GPU


@pytest.fixture
def gpu(monkeypatch):
    """Pretends that there are two GPUs, and that this process is the second of two on its node."""
    told = []
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "get_device_name": lambda device: "a GPU",
        "set_device": told.append,
        "is_bf16_supported": lambda including_emulation=True: including_emulation,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    monkeypatch.setattr(processes, "meet", told.append)
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    return told


def test_the_gpu_is_set(gpu, capsys):
    assert choose_device("auto") == torch.device("cuda", 1)
    assert gpu == ["cuda", torch.device("cuda", 1)]
    assert capsys.readouterr().err == "running 2 processes, each on CUDA: a GPU\n"


def test_more_processes_than_gpus(gpu, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    with pytest.raises(InputError, match=r"3 processes were started on a node with 2 GPUs.*--nproc_per_node=2"):
        choose_device("auto")


def test_a_gpu_without_code_is_refused_in_words(gpu, monkeypatch):
    def no_kernel(*arguments):
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors")

    monkeypatch.setattr(torch, "manual_seed", no_kernel)
    refused(run_here("1a/BOW_sentiment_analysis.py"), "no code for this GPU", "install", "--device cpu")


def test_the_cpu_beside_a_gpu(gpu):
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
