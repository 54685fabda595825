"""On the CPU, memory that a tensor leaves behind stays with the process, for the next one."""

import platform

import pytest
from conftest import run_script

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
