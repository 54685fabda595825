"""All scripts on a pretended GPU: each tensor lies where it should, and no training waits for the GPU in an epoch."""

import pytest
import torch
from conftest import PARTS, TINY, run_here, same_weights, succeed, train
from pretend_cuda import PretendedCuda
from test_resume import without_times

from common.models.layers import LockedDropout, StatefulLSTM
from common.training.loop import Training
from common.training.metrics import Tally

RNN_PARTS = ["2a", "2b", "3a", "3c"]
REVIEW = "A wonderful film , with a dull end ."


@pytest.fixture
def cuda():
    return PretendedCuda()


@pytest.fixture
def waits_in_epochs(cuda, monkeypatch):
    """A list that trainings fill: where they wait for the GPU between the first batch of an epoch and its last."""
    waits = []
    batches_of_epoch = Training.batches

    def watched(self, **options):
        start = None
        for rows in batches_of_epoch(self, **options):
            start = len(cuda.waits) if start is None else start
            yield rows
        waits.extend(cuda.waits[start:])

    monkeypatch.setattr(Training, "batches", watched)
    return waits


def train_there(part, cuda, data, folder, *options):
    """Trains a part on the pretended GPU."""
    with cuda:
        return succeed(train(part, data, folder, "--device", "cuda", *options))


# ----------------------------------------------------------------------------------------------- the scripts


@pytest.mark.parametrize("part", PARTS)
def test_a_cut_and_resumed_training_equals_the_cpus(part, cuda, waits_in_epochs, sample_data, model_of, tmp_path):
    extra = ["--language-model", model_of("3a")] if part == "3c" else []
    done = train_there(part, cuda, sample_data, tmp_path, *extra, "--epochs", 1)
    assert done.stderr.startswith("running on CUDA: a pretended GPU\n")
    epochs = TINY[part].split("--epochs ")[1].split()[0]
    done = train_there(part, cuda, sample_data, tmp_path, *extra, "--epochs", epochs, "--resume")
    assert "going on after epoch 0\n" in done.stderr
    assert same_weights(tmp_path / PARTS[part][2], model_of(part))
    assert waits_in_epochs == []
    assert cuda.waits  # for the figures of an epoch


def test_other_options(cuda, waits_in_epochs, sample_data, tmp_path):
    options = ["--epochs", 1, "--precise-batch-norm", "--validation", 100, "--early-stopping", 1]
    train_there("1a", cuda, sample_data, tmp_path / "there", *options)
    succeed(train("1a", sample_data, tmp_path / "here", *options))
    assert same_weights(tmp_path / "there" / "BOW.model", tmp_path / "here" / "BOW.model")
    assert waits_in_epochs == []


def test_training_on_whole_reviews(cuda, waits_in_epochs, run, sample_data, model_of, tmp_path):
    lengths = ["--train-length", 100, "--test-length", 200]  # the defaults, which go with whole reviews
    options = ["--language-model", model_of("3a"), "--epochs", 1, "--whole", *lengths]
    train_there("3c", cuda, sample_data, tmp_path / "there", *options)
    succeed(run("3c", "here", *options))
    assert same_weights(tmp_path / "there" / "rnn.model", tmp_path / "here" / "rnn.model")
    assert waits_in_epochs == []


def asked_of(part, model_of):
    """What a user asks of a trained part: its test script's options, or 3b's."""
    language = ["--model", model_of("3a")]
    if part == "3b":
        primes = ["--prime", "the", "--prime", "this film is", "--length", 5]
        return [primes + language, [*primes, *language, "--score", model_of("3c")]]
    tests = [["--lengths", 30] if part in RNN_PARTS else [], ["--review", REVIEW]]
    tests += [["--whole"]] if part in ("2a", "2b", "3c") else []
    return [[*test, "--model", model_of(part)] for test in tests]


@pytest.mark.parametrize("part", [*PARTS, "3b"])
def test_tests_and_generation_print_what_they_do_on_the_cpu(part, cuda, sample_data, model_of):
    script = "3b/generate_review.py" if part == "3b" else f"{part}/{PARTS[part][1]}"
    for options in asked_of(part, model_of):
        here = succeed(run_here(script, "--data", sample_data, *options, "--device", "cpu"))
        with cuda:
            there = succeed(run_here(script, "--data", sample_data, *options, "--device", "cuda"))
        assert without_times(there.stdout) == without_times(here.stdout) != ""


def test_whole_reviews_do_not_wait_in_each_batch(cuda, sample_data, model_of):
    waits = []
    for batch_size in (50, 200):
        options = ["--data", sample_data, "--model", model_of("2a"), "--device", "cuda", "--batch-size", batch_size]
        before = len(cuda.waits)
        with cuda:
            succeed(run_here("2a/RNN_test.py", *options, "--whole"))
        waits.append(len(cuda.waits) - before)
    assert waits[0] == waits[1]


def test_lstms_stay_in_float32_under_bf16(cuda, sample_data, tmp_path, monkeypatch):
    types = []
    forward = StatefulLSTM.forward

    def watched(self, x):
        outputs = forward(self, x)
        types.extend([outputs.dtype, self.h.dtype])
        return outputs

    monkeypatch.setattr(StatefulLSTM, "forward", watched)
    train_there("2a", cuda, sample_data, tmp_path, "--epochs", 1, "--precision", "bf16")
    assert set(types) == {torch.float32}


def test_a_run_on_the_cpu_goes_on_on_a_gpu(cuda, sample_data, tmp_path):
    succeed(train("1a", sample_data, tmp_path, "--epochs", 1))
    done = train_there("1a", cuda, sample_data, tmp_path, "--epochs", 2, "--resume")
    assert "was saved on the CPU: from here on, the run draws other random numbers" in done.stderr


# ---------------------------------------------------------------------------------- mistakes that it must find


def test_a_tensor_in_the_wrong_place_is_found(cuda, sample_data, tmp_path, monkeypatch):
    monkeypatch.setattr(LockedDropout, "draw_mask", lambda self, x: torch.rand(len(x), 1, x.shape[2]).round())
    with pytest.raises(RuntimeError, match="same device"):
        train_there("2a", cuda, sample_data, tmp_path, "--epochs", 1)


def test_a_generator_in_the_wrong_place_is_found(cuda, sample_data, tmp_path, monkeypatch):
    def shuffle(no_of_rows, generator, device):
        return torch.rand(no_of_rows, generator=torch.Generator(), device=device).argsort()

    monkeypatch.setattr(torch, "randperm", shuffle)
    with pytest.raises(RuntimeError, match="device type for generator"):
        train_there("2a", cuda, sample_data, tmp_path, "--epochs", 1)


def test_a_wait_in_each_batch_is_found(cuda, waits_in_epochs, sample_data, tmp_path, monkeypatch):
    add = Tally.add
    monkeypatch.setattr(Tally, "add", lambda self, loss, hits, count: add(self, loss, hits, count) or loss.item())
    train_there("1a", cuda, sample_data, tmp_path, "--epochs", 1)
    assert len([wait for wait in waits_in_epochs if "_local_scalar_dense" in wait]) == 20
