"""The probe of 3a's step, on the CPU in tiny sizes: its lines, and what guards its prototypes."""

import re

import pytest
import torch
import torch.nn as nn
from conftest import run_here, succeed
from twins import load_file

from common.distributed.device import cpu_has_bf16

TIMES = r"[0-9.]+ +[0-9.]+ +[0-9.]+"
STEPS = ["3a step", "plain nn.LSTM", "the handout's loop", "wavefront"]
LAYERS = ["embedding", "batch norm", "dropout", "decoder and loss", "LSTM"]
# what stands behind a name and its settings
LINES = {
    **dict.fromkeys([*STEPS, "clip", "Adam"], TIMES),
    **{f"{name}, kernels": r"\d+ a step, [0-9.]+ ms busy, \d+% of the step's median" for name in STEPS},
    **{f"{name} {way}": TIMES for name in LAYERS for way in ("forward", "backward")},
    "wavefront, compared": r"the same to \de-\d+",
    # what fails leaves the others alone
    **{f"{name}, compared": "failed: .*CUDA.*" for name in ("CUDA graph", "wavefront in a CUDA graph")},
}


@pytest.fixture
def module():
    return load_file("tests/benchmarks/probe.py")


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


def test_a_prototype_that_computes_something_else_is_not_timed(module, capsys):
    class Halved(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            loss, logits = self.model(x)
            # only the gradients of the shorter batch differ
            return (loss + loss.detach()) / 2 if len(x) < 6 else loss, logits

    probe = module.Probe(torch.device("cpu"), module.SMALL)
    probe.prototype("halved", "fp32", lambda model, autocast: module.Counted(Halved(model), autocast))
    assert re.fullmatch(r"halved, compared +fp32 +failed: ValueError: differs from .* by .*\n", capsys.readouterr().out)


def test_a_cuda_graph_runs_only_the_batches_that_it_was_made_for(module, monkeypatch):
    graphed = []

    def make_graphed_callables(model, arguments):
        """As PyTorch's: warms up, and puts the graph in the place of `forward`, in training alone."""
        plain = model.forward
        plain(*arguments)

        def forward(x):
            if not model.training:
                return plain(x)
            graphed.append(len(x))
            return plain(arguments[0].copy_(x))

        model.forward = forward
        return model

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make_graphed_callables)
    x = torch.randn(4, 3)
    kept = x.clone()
    model, same = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    module.with_cuda_graph(model, x)
    for batch in (x, 2 * x, x[:3], -x):
        assert torch.equal(model(batch), same(batch))
    assert graphed == [4, 4, 4]
    assert torch.equal(model.eval()(x), same.eval()(x))  # the running figures are those of the four batches
    assert len(graphed) == 3
    assert torch.equal(x, kept)
