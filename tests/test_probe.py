"""The probe of 3a's step, on the CPU in tiny sizes: its lines."""

import re

import pytest
import torch
from conftest import run_here, succeed
from twins import load_file

from common.distributed.device import cpu_has_bf16

TIMES = r"[0-9.]+ +[0-9.]+ +[0-9.]+"
STEPS = ["3a step", "plain nn.LSTM", "the handout's loop"]
LAYERS = ["embedding", "batch norm", "dropout", "decoder and loss", "LSTM"]
# what stands behind a name and its settings
LINES = {
    **dict.fromkeys([*STEPS, "clip", "Adam"], TIMES),
    **{f"{name}, kernels": r"\d+ a step, [0-9.]+ ms busy, \d+% of the step's median" for name in STEPS},
    **{f"{name} {way}": TIMES for name in LAYERS for way in ("forward", "backward")},
}


@pytest.mark.skipif(torch.cuda.is_available() or not cpu_has_bf16(), reason="it is for a CPU with bf16 alone")
def test_each_line_has_its_numbers():
    done = succeed(run_here("tests/benchmarks/probe.py", "--device", "cpu", "--small"))
    results = [re.fullmatch(r"(.+?) {2,}(.+?) {2,}(.+)", line).groups() for line in done.stdout.splitlines()]
    assert {name for name, _, _ in results} == set(LINES)
    for name, _, figures in results:
        assert re.fullmatch(LINES[name], figures), (name, figures)
    for setting in (f"{name}, {units} units" for name in ("fp32", "bf16", "float16") for units in (8, 16)):
        for batch in (6, 4):
            names = [name for name, settings, _ in results if settings == f"{setting}, batch {batch}"]
            assert names == ["LSTM forward", "LSTM backward"]


def test_what_fails_says_why_and_leaves_the_others_alone(capsys):
    def fails():
        raise RuntimeError("no such kernel\nand more")

    module = load_file("tests/benchmarks/probe.py")
    probe = module.Probe(torch.device("cpu"), module.SMALL)
    probe.training_step("a model", "fp32", fails)
    probe.time("a call", "fp32", fails)
    probe.time("another", "fp32", lambda: None)
    model, call, another = capsys.readouterr().out.splitlines()
    assert re.fullmatch("a model +fp32 +failed: RuntimeError: no such kernel", model)
    assert re.fullmatch("a call +fp32 +failed: RuntimeError: no such kernel", call)
    assert re.fullmatch(f"another +fp32 +{TIMES}", another)
