"""On a GPU, without which nothing here runs: models of several widths, precisions, waits, and states of both devices.

cuDNN has other kernels for narrow LSTMs than for wide ones, so the tests take 16, 150 and 500 units.
"""

import warnings

import pytest
import torch
from conftest import PARTS, succeed, train
from twins import load_file

from common.distributed.device import choose_precision
from common.training.loop import Training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

CUDA = torch.device("cuda")
UNITS = [16, 150, 500]
VOCAB_SIZE = 500
BATCH, TIME = 50, 30

MODELS = {
    "2a": lambda units: load_file("2a/RNN_model.py").RNN_model(VOCAB_SIZE, units, 2, dropout=0, pool="mean"),
    "3a": lambda units: load_file("3a/RNN_language_model.py").RNN_language_model(VOCAB_SIZE, units, dropout=0),
}


@pytest.fixture(autouse=True)
def settings_put_back():
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    yield
    for backend, allow in zip(backends, before, strict=True):
        backend.allow_tf32 = allow


def a_step(part, model, precision):
    """Loss, logits, gradients and running figures of a training step on the device of `model`, as a dict on the CPU."""
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(VOCAB_SIZE, (BATCH, TIME), generator=generator).to(device)
    t = torch.randint(2, (BATCH,), generator=generator).to(x.device, model.lstm1.lstm.weight_hh_l0.dtype)
    model.train()
    with choose_precision(precision, device):
        loss, logits = model(x, t) if part == "2a" else model(x)
    loss.backward()
    figures = {"loss": loss, "logits": logits, **{name: weight.grad for name, weight in model.named_parameters()}}
    figures |= {name: value for name, value in model.named_buffers() if "running" in name}
    return {name: value.detach().cpu() for name, value in figures.items() if value is not None}


def both_steps(part, units, dtype, precision):
    """A step of the same model in fp32 on the CPU, and in `precision` on the GPU; and the GPU's model."""
    torch.manual_seed(0)
    here, there = (MODELS[part](units).to(dtype) for _ in range(2))
    there.load_state_dict(here.state_dict())
    there.to(CUDA)
    return a_step(part, here, "fp32"), a_step(part, there, precision), there


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("part", MODELS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_a_step_equals_the_cpus(part, units, dtype, tolerance):
    here, there, _ = both_steps(part, units, dtype, "fp32")
    assert here.keys() == there.keys()
    for name, value in here.items():
        scale = max(float(value.abs().max()), 1e-3)  # a bias before batch norm has a gradient of mere rounding
        assert float((there[name] - value).abs().max()) <= tolerance * scale, name


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("part", MODELS)
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_coarse_precisions_stay_close(part, units, precision):
    here, there, model = both_steps(part, units, torch.float32, precision)
    assert model.lstm1.h.dtype == torch.float32
    assert float(there["loss"]) == pytest.approx(float(here["loss"]), rel=0.01)
    for name in (name for name in here if "weight_hh" in name):
        assert torch.cosine_similarity(there[name].flatten(), here[name].flatten(), dim=0) > 0.98, name


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
@pytest.mark.parametrize("part", PARTS)
def test_no_training_waits_within_an_epoch(part, precision, model_of, sample_data, tmp_path, monkeypatch):
    batches_of_epoch = Training.batches

    def watched(self, **options):
        for rows in batches_of_epoch(self, **options):
            torch.cuda.set_sync_debug_mode("error")
            yield rows
        torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Training, "batches", watched)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's first word on its debug mode, that it is new
        torch.cuda.set_sync_debug_mode("default")
    extra = ["--language-model", model_of("3a")] if part == "3c" else []
    try:
        succeed(train(part, sample_data, tmp_path, "--device", "cuda", "--precision", precision, "--epochs", 1, *extra))
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_state_goes_from_device_to_device(sample_data, tmp_path):
    succeed(train("2a", sample_data, tmp_path, "--device", "cuda", "--epochs", 1))
    for epochs, device, word in ((2, "cpu", "CUDA"), (3, "cuda", "the CPU")):
        done = succeed(train("2a", sample_data, tmp_path, "--device", device, "--epochs", epochs, "--resume"))
        assert f"was saved on {word}: from here on" in done.stderr
