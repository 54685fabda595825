"""The probe of 3a's step, on the CPU in tiny sizes."""

import re

import pytest
import torch
from conftest import run_here, succeed

from common.distributed.device import cpu_has_bf16


@pytest.mark.skipif(torch.cuda.is_available() or not cpu_has_bf16(), reason="it is for a CPU with bf16 alone")
def test_each_line_has_its_numbers():
    done = succeed(run_here("tests/benchmarks/probe.py", "--device", "cpu", "--small"))
    lines = [re.split(" {2,}", line.strip()) for line in done.stdout.splitlines()]
    assert len({(name, settings) for name, settings, *_ in lines}) == len(lines) == 50
    for name, _, *figures in lines:
        if "kernels" in name:
            assert re.fullmatch(r"\d+ a step, [0-9.]+ ms busy", *figures)
        else:
            median, least, most = map(float, figures)
            assert least <= median <= most
