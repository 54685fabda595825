"""Trainings and tests in several processes, on the CPU with gloo: the same result as in one, and how they end."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
import warnings

import pytest
import torch
import torch.nn as nn
from conftest import (
    ENVIRONMENT,
    PARTS,
    PROCESSES,
    REPO,
    read_model,
    run_here,
    run_script,
    send_signal_at,
    succeed,
    train,
    training,
)
from test_resume import same_run, without_times
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from common.distributed import processes
from common.distributed.device import choose_device
from common.models.layers import LockedDropout, TimestepBatchNorm
from common.models.sharing import share_batches
from common.training.checkpoints import load_checkpoint

# ------------------------------------------------------------------------------------ a process of the tests' own


SCRIPT = """
import os, signal, sys
assert not {"common", "left behind"} & {*sys.modules}
sys.modules["left behind"] = os
print(sys.argv, sys.path[0], os.getcwd(), input())
exec(sys.argv[1])
"""
ENDS = {"pass": 0, "sys.exit(3)": 3, "1 / 0": 1, "warnings.warn('')": 1, "signal.raise_signal(signal.SIGTERM)": -15}


def test_a_forked_script_ends_as_a_started_one(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    for line, status in ENDS.items():
        line = f"import warnings; sys.stdout.flush(); {line}"
        done = run_script("script.py", line, cwd=tmp_path, stdin="ü\n")
        assert done.returncode == status
        assert done.stdout == f"{['script.py', line]} {tmp_path} {tmp_path} ü\n"
        assert ("Traceback" in done.stderr) == (status == 1)


# ------------------------------------------------------------------------------------------ several processes


def worker(folder, script, arguments, last, signal_at):
    """A process of `together`: runs the script, or calls the function, and leaves what it printed, and its status."""
    rank = os.environ["RANK"]
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        with open(folder / f"{name}{rank}", "w") as file:
            os.dup2(file.fileno(), stream.fileno())
        stream.reconfigure(line_buffering=True)  # what a killed process printed counts, too
    end = os._exit

    def leave(status):
        (folder / f"status{rank}").write_text(str(status))
        end(status)

    os._exit = leave
    os.chdir(REPO)
    os.environ |= ENVIRONMENT
    warnings.simplefilter("error")
    sys.argv = [str(script), *arguments, *(last if int(rank) == int(os.environ["WORLD_SIZE"]) - 1 else [])]
    if signal_at:
        send_signal_at(pytest.MonkeyPatch(), *signal_at)
    status = 0
    try:
        if callable(script):
            script(*arguments)
        else:
            runpy.run_path(script, run_name="__main__")
    except SystemExit as stopped:
        status = stopped.code
    except BaseException:
        traceback.print_exc()
        status = 1
    (folder / f"status{rank}").write_text(str(status))
    sys.exit(status)


@pytest.fixture(scope="session")
def together(tmp_path_factory):
    """A function: runs a script, or a function, in `count` processes, the last one also with the options `last`, and
    with `send_signal_at` where `signal_at` has its arguments.

    Returns what the first printed, all of our standard error, and the status of each, None for one that was killed.
    torchrun's engine starts them.
    """

    def together(count, script, *arguments, last=(), signal_at=()):
        folder = tmp_path_factory.mktemp("together")
        config = LaunchConfig(
            *(1, 1, count),
            run_id="test",
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            # it ends all when one has ended; what the others make of that by themselves needs some time
            monitor_interval=3 if signal_at else 0.1,
            start_method=PROCESSES.get_start_method(),
        )
        handlers = {
            number: signal.getsignal(number)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
        }
        failed = False
        try:
            elastic_launch(config, worker)(folder, script, [*map(str, arguments)], last, signal_at)
        except ChildFailedError:
            failed = True
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        # a process that torchrun ended may have left none of them
        stdout, stderr, statuses = (
            [path.read_text() if path.exists() else "" for path in (folder / f"{name}{rank}" for rank in range(count))]
            for name in ("stdout", "stderr", "status")
        )
        assert not any(stdout[1:])
        statuses = [int(status) if status else None for status in statuses]
        assert failed == (statuses != [0] * count)
        # PyTorch's own lines, as where DNS does not answer, are not ours
        lines = [line for line in "".join(stderr).splitlines(keepends=True) if not line.startswith("[W")]
        return stdout[0], "".join(lines), statuses

    return together


def close_weights(one, other, tolerance=1e-3):
    """Whether two model files hold the same weights but for `tolerance`: Adam makes steps of a gradient that is mere
    rounding."""
    one, other = (read_model(path)["state_dict"] for path in (one, other))
    return one.keys() == other.keys() and all(
        torch.allclose(one[name].double(), other[name].double(), rtol=0, atol=tolerance) for name in one
    )


# batches that neither two nor three processes can share out evenly, and a last one that is shorter
SHARED = [
    ("1a", 2, "--batch-size 51 --hidden-layers 2"),
    ("1b", 3, "--precise-batch-norm"),
    ("2a", 2, "--batch-size 51 --layers 2"),
    ("3a", 2, "--tied-weights --backwards"),
    ("3c", 3, "--fine-tune all --whole --train-length 100 --test-length 200 --pool mean --teachers {3c}"),
]


@pytest.mark.parametrize(("part", "count", "options"), SHARED)
def test_the_result_does_not_depend_on_the_number_of_processes(
    part, count, options, together, sample_data, model_of, tmp_path
):
    options = options.replace("{3c}", str(model_of("3c"))).split()
    options += ["--epochs", 1, *(["--language-model", model_of("3a")] if part == "3c" else [])]
    alone = succeed(train(part, sample_data, tmp_path / "alone", *options))
    stdout, stderr, statuses = together(count, *training(part, sample_data, tmp_path / "shared", *options))
    assert statuses == [0] * count, stderr
    assert stderr.splitlines()[0] == f"running {count} processes, each on the CPU, 1 thread"
    assert without_times(stdout) == without_times(alone.stdout)
    model = PARTS[part][2]
    assert close_weights(tmp_path / "alone" / model, tmp_path / "shared" / model)
    assert json.loads((tmp_path / "shared" / "run.json").read_text())["processes"] == count


class Model(nn.Sequential):
    def forward(self, x):
        h = self[1](self[0](x.tanh())).amax(dim=1)
        return self[4](self[3](self[2](h))).square().mean(), h


def one_step(path):
    """Saves the gradients and running figures of a training step."""
    choose_device("cpu")
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    x = torch.randn(7, 3, 5)
    model = Model(TimestepBatchNorm(5), LockedDropout(0.4), nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.4))
    if processes.count() > 1:
        share_batches(model)
    for weight in model.parameters():
        nn.init.normal_(weight)
    with processes.shared_batch(torch.arange(7)) as rows:
        loss, _ = model(x[rows])
        loss.backward()
    if processes.rank() == 0:
        torch.save([weight.grad for weight in model.parameters()] + [*model.buffers()], path)


def test_gradients_and_running_figures_in_float64(together, tmp_path):
    results = []
    for count in (1, 2, 3):
        _, stderr, statuses = together(count, one_step, tmp_path / f"{count}")
        assert statuses == [0] * count, stderr
        results.append(torch.load(tmp_path / f"{count}"))
    assert len(results[0]) == 12
    for one, two, three in zip(*results, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-12)
        torch.testing.assert_close(three, one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("part", ["1a", "3a"])
def test_test_passes_are_shared_out(part, together, sample_data, model_of):
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu", "--batch-size", 150]
    options += [] if part == "1a" else ["--lengths", 30, 60]
    alone = succeed(run_here(f"{part}/{PARTS[part][1]}", *options))
    stdout, stderr, statuses = together(3, f"{part}/{PARTS[part][1]}", *options)
    assert statuses == [0] * 3, stderr
    assert without_times(stdout) == without_times(alone.stdout) != ""


# ------------------------------------------------------------------------------------------ the command torchrun


def test_a_signal_to_torchrun_ends_all_in_one_line(sample_data, tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, *map(str, training("1a", sample_data, tmp_path, "--epochs", 100000))]
    options = {"cwd": REPO, "env": {**os.environ, **ENVIRONMENT}, "text": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as run:
        run.stdout.readline()
        run.send_signal(signal.SIGTERM)
        _, stderr = run.communicate(timeout=300)
    assert run.returncode != 0
    # PyTorch's own lines are between ours
    (line,) = [line for line in stderr.splitlines() if line.startswith(("interrupted ", "error: "))]
    assert line.startswith("interrupted by SIGTERM in epoch ")
    assert line.endswith("the same command with --resume goes on from there")


# ------------------------------------------------------------------------------------------------- resuming


@pytest.fixture(scope="module")
def straight(together, sample_data, tmp_path_factory):
    """The folder of a training of 1a in two processes that nothing stopped, and what it printed."""
    folder = tmp_path_factory.mktemp("straight")
    stdout, stderr, statuses = together(2, *training("1a", sample_data, folder))
    assert statuses == [0, 0], stderr
    return folder, without_times(stdout)


# an epoch has 20 batches, its test 10 for each of two processes
STOPPED = [
    (signal.SIGTERM, 1, 37, [143, 143]),
    (signal.SIGINT, 1, 52, [130, 130]),  # in the test
    (signal.SIGTERM, 0, 52, [143, 1]),  # there the first leaves at once, and the other finds it gone
    (None, 1, 37, [0, 0]),
]


@pytest.mark.parametrize(("number", "rank", "batch", "expected"), STOPPED)
def test_what_stops_one_costs_no_batch(number, rank, batch, expected, straight, together, sample_data, tmp_path):
    command = training("1a", sample_data, tmp_path, "--max-time", 1000)
    printed, stderr, statuses = together(2, *command, signal_at=(number, batch, rank))
    assert statuses == expected, stderr
    (line,) = [line for line in stderr.splitlines() if not line.startswith("running ")]
    assert line.startswith(f"interrupted by {number.name if number else '--max-time'} in epoch ")
    assert f"saved in {tmp_path}" in line

    stdout, stderr, statuses = together(2, *command, "--resume")
    assert statuses == [0, 0], stderr
    assert same_run(straight[0], tmp_path)
    assert without_times(printed + stdout) == straight[1]


def test_another_number_of_processes_goes_on(together, sample_data, tmp_path):
    straight = succeed(train("1a", sample_data, tmp_path / "straight"))
    command = training("1a", sample_data, tmp_path / "stopped")
    printed, _, statuses = together(3, *command, signal_at=(signal.SIGTERM, 30, 2))
    assert statuses == [143] * 3
    resumed = succeed(train("1a", sample_data, tmp_path / "stopped", "--resume"))
    assert close_weights(tmp_path / "straight" / "BOW.model", tmp_path / "stopped" / "BOW.model")
    assert without_times(printed + resumed.stdout) == without_times(straight.stdout)


# ------------------------------------------------------------------------------------------------- ending


def test_when_a_process_dies_the_others_end(together, sample_data, tmp_path):
    begin = time.monotonic()
    command = training("1a", sample_data, tmp_path, "--epochs", 100000)
    _, stderr, statuses = together(3, *command, signal_at=(signal.SIGKILL, 75, 2))
    assert time.monotonic() - begin < processes.WAITING.total_seconds()
    assert statuses == [1, 1, None]
    (message,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert "another process of this run has ended" in message
    assert "--resume" in message
    done = len(load_checkpoint(tmp_path / "BOW.state", "1a", (), "")["history"])

    resumed = succeed(train("1a", sample_data, tmp_path, "--epochs", done + 1, "--resume"))
    assert f"going on after epoch {done - 1}\n" in resumed.stderr


@pytest.fixture
def told_once(together):
    """A function: runs processes, of which the first must end with status 2 and alone say why, with all `words`."""

    def told_once(count, command, *words, last=()):
        _, stderr, statuses = together(count, *command, last=last)
        assert statuses[0] == 2, stderr
        assert 0 not in statuses  # a slow one is ended by torchrun
        (message,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
        assert all(str(word) in message for word in words), message

    return told_once


def test_what_is_wrong_is_told_once(told_once, sample_data, tmp_path):
    told_once(3, training("1a", sample_data, tmp_path, "--colour", "red"), "--colour")
    last_too_small = "--batch-size 499 leaves a last batch of 2 of the 1000 training reviews"
    told_once(3, training("1a", sample_data, tmp_path, "--batch-size", 499), last_too_small)
    told_once(2, training("1a", sample_data, tmp_path), "process 1 has other options", last=["--seed", "1"])
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_written(together, sample_data, tmp_path):
    (tmp_path / "BOW.state.part").mkdir()  # process 0 cannot write its state
    _, stderr, statuses = together(2, *training("1a", sample_data, tmp_path))
    assert 0 not in statuses
    assert f"error: cannot write {tmp_path / 'BOW.state'}" in stderr


# --------------------------------------------------------------------------------------------------- on GPUs


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs here")
@pytest.mark.parametrize("part", ["1a", "2a", "3a"])
def test_two_gpus(part, together, sample_data, tmp_path):
    models = []
    for count in (1, 2):
        options = ["--device", "cuda", "--precision", "fp32", "--epochs", 1]
        _, stderr, statuses = together(count, *training(part, sample_data, tmp_path / f"{count}", *options))
        assert statuses == [0] * count, stderr
        models.append(tmp_path / f"{count}" / PARTS[part][2])
    assert close_weights(*models, tolerance=1e-2)  # CUDA adds in no fixed order
