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
from conftest import ENVIRONMENT, PARTS, REPO, read_model, refused, run_here, succeed, train, training
from test_resume import same_run, without_times
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from common.files import sole_use
from common.training.checkpoints import load_checkpoint

# ---------------------------------------------------------------------------------------------- other launchers


@pytest.fixture
def environment(monkeypatch):
    """A function that puts what the text "NAME=VALUE NAME=VALUE" says of launchers into the environment."""

    def put(text):
        for pair in text.split():
            monkeypatch.setenv(*pair.split("="))

    return put


REFUSED = [
    ("mpirun", "OMPI_COMM_WORLD_RANK={} OMPI_COMM_WORLD_SIZE=4", 0),
    ("mpiexec", "PMI_RANK={} PMI_SIZE=4", 0),
    ("srun", "SLURM_PROCID={} SLURM_STEP_NUM_TASKS=4 SLURM_NTASKS=4", 0),
    ("aprun", "ALPS_APP_PE={}", 1),  # process 0 cannot know
    ("mpirun", "SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 OMPI_COMM_WORLD_RANK={} OMPI_COMM_WORLD_SIZE=2", 0),
]


@pytest.mark.parametrize(("launcher", "text", "first"), REFUSED)
def test_other_launchers_are_refused_in_one_line(launcher, text, first, environment):
    environment(text.format(first))
    refused(
        run_here("1a/BOW_sentiment_analysis.py"), f"{launcher} started several", "torchrun --nproc_per_node=N 1a/BOW_"
    )
    environment(text.format(first + 1))
    done = run_here("1a/BOW_sentiment_analysis.py")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


ALONE = [
    "WORLD_SIZE=4",
    "RANK=0 LOCAL_RANK=0 WORLD_SIZE=1",
    "ALPS_APP_PE=0",
    "PMI_RANK=0 PMI_SIZE=1",
    "SLURM_PROCID=0 SLURM_NTASKS=4",  # a batch script of Slurm, which starts one process
    "SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1",
]


@pytest.mark.parametrize("text", ALONE)
def test_a_process_alone(text, environment):
    environment(text)
    succeed(run_here("1a/BOW_sentiment_analysis.py", "--help"))


# ------------------------------------------------------------------------------------------ several processes


def worker(folder, script, arguments, last):
    """A process of `together`: runs the script, or lines of Python, and leaves what it printed, and its status."""
    rank = os.environ["RANK"]
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = open(folder / f"{name}{rank}", "w", buffering=1)  # noqa: SIM115 - open till the end
        os.dup2(file.fileno(), number)
        setattr(sys, name, file)
    end = os._exit

    def leave(status):
        (folder / f"status{rank}").write_text(str(status))
        end(status)

    os._exit = leave
    os.chdir(REPO)
    os.environ |= ENVIRONMENT
    warnings.simplefilter("error")
    sys.argv = [script, *arguments, *(last if int(rank) == int(os.environ["WORLD_SIZE"]) - 1 else [])]
    status = 0
    try:
        if script == ONE_STEP:
            exec(script, {"__name__": "__main__"})
        else:
            sys.path.insert(0, str((REPO / script).parent))
            runpy.run_path(script, run_name="__main__")
    except SystemExit as stopped:
        status = stopped.code
    except BaseException:
        traceback.print_exc()
        status = 1
    (folder / f"status{rank}").write_text(str(status))
    sys.exit(status)


@pytest.fixture
def together(tmp_path_factory):
    """A function: runs a script in `count` processes, the last of which has the options `last` too; returns what the
    first printed, all of standard error, and the statuses of all, None for one that was killed.

    torchrun's engine starts them, forked from this process, so that PyTorch need not be imported again.
    """

    def together(count, script, *arguments, last=()):
        folder = tmp_path_factory.mktemp("together")
        # a forked process cannot use CUDA where this one has
        config = LaunchConfig(
            *(1, 1, count),
            run_id="test",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=0,
            start_method="spawn" if "cuda" in arguments else "fork",
        )
        handlers = {
            number: signal.getsignal(number)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
        }
        failed = False
        try:
            elastic_launch(config, worker)(folder, script, [*map(str, arguments)], last)
        except ChildFailedError:
            failed = True
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        stdout, stderr, statuses = (
            [
                path.read_text() if path.exists() else None
                for path in (folder / f"{name}{rank}" for rank in range(count))
            ]
            for name in ("stdout", "stderr", "status")
        )
        assert not any(stdout[1:])
        statuses = [status and int(status) for status in statuses]
        assert failed == (statuses != [0] * count)
        return stdout[0], "".join(stderr), statuses

    return together


def close_weights(one, other, tolerance=1e-4):
    """Whether two model files hold the same weights but for `tolerance`."""
    one, other = (read_model(path)["state_dict"] for path in (one, other))
    return one.keys() == other.keys() and all(
        torch.allclose(one[name].double(), other[name].double(), rtol=0, atol=tolerance) for name in one
    )


# batches that neither two nor three processes can share out evenly, and a last one that is shorter
SHARED = [
    ("1a", 2, "--epochs 2 --batch-size 51"),
    ("1a", 3, "--epochs 1 --hidden-layers 2"),
    ("1b", 3, "--epochs 1 --precise-batch-norm"),
    ("2a", 2, "--epochs 1 --batch-size 51 --layers 2"),
    ("2a", 3, "--epochs 1"),
    ("2b", 2, "--epochs 1 --pool mean"),
    ("3a", 2, "--epochs 1 --tied-weights --weight-drop 0.3 --backwards"),
    ("3a", 3, "--epochs 1 --batch-size 250"),
    ("3c", 2, "--epochs 1"),
    ("3c", 3, "--epochs 1 --fine-tune all"),
    ("3c", 3, "--epochs 1 --fine-tune all --whole --train-length 100 --test-length 200 --pool mean"),
]


@pytest.mark.parametrize(("part", "count", "options"), SHARED)
def test_the_result_does_not_depend_on_the_number_of_processes(
    part, count, options, together, sample_data, model_of, tmp_path
):
    options = options.split() + (["--language-model", model_of("3a")] if part == "3c" else [])
    alone = succeed(train(part, sample_data, tmp_path / "alone", *options))
    stdout, stderr, statuses = together(count, *training(part, sample_data, tmp_path / "shared", *options))
    assert statuses == [0] * count, stderr
    assert stderr.splitlines()[0] == f"running {count} processes, each on the CPU, 1 thread"
    assert without_times(stdout) == without_times(alone.stdout)
    model = PARTS[part][2]
    assert close_weights(tmp_path / "alone" / model, tmp_path / "shared" / model)
    assert json.loads((tmp_path / "shared" / "run.json").read_text())["processes"] == count


ONE_STEP = """
import sys
import torch
from common.distributed import processes
from common.distributed.device import choose_device
from common.distributed.sharing import share_batches
from common.models.layers import LockedDropout, TimestepBatchNorm
from common.distributed.ending import run_script

class Model(torch.nn.Sequential):
    def forward(self, x):
        h = self[1](self[0](x.tanh())).amax(dim=1)
        return self[4](self[3](self[2](h))).square().mean(), h

def main():
    choose_device("cpu")
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    x = torch.randn(7, 3, 5)
    nn = torch.nn
    model = Model(TimestepBatchNorm(5), LockedDropout(0.4), nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.4))
    if processes.count() > 1:
        share_batches(model)
    weights = [*model.parameters()]
    for weight in weights:
        torch.nn.init.normal_(weight)
    with processes.shared_batch(torch.arange(7)) as rows:
        loss, _ = model(x[rows])
        loss.backward()
    if processes.rank() == 0:
        torch.save([weight.grad for weight in weights] + [*model.buffers()], sys.argv[1])

run_script(main)
"""


def test_gradients_and_running_figures_in_float64(together, tmp_path):
    results = []
    for count in (1, 2, 3):
        _, stderr, statuses = together(count, ONE_STEP, tmp_path / f"{count}")
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
    outputs = []
    for count in (1, 3):
        stdout, stderr, statuses = together(count, f"{part}/{PARTS[part][1]}", *options)
        assert statuses == [0] * count, stderr
        outputs.append(without_times(stdout))
    assert outputs[0] == outputs[1] != ""


# ------------------------------------------------------------------------------------------ the command torchrun


def torchrun(count, script, *arguments):
    """The command `torchrun` with a script, started."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}", script]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=REPO,
        env={**os.environ, **ENVIRONMENT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def own_lines(stderr):
    """The lines that are not torchrun's."""
    ours = stderr.partition("Traceback")[0].splitlines()
    return [line for line in ours if "torch/distributed/" not in line and not line.startswith("running ")]


def test_a_signal_to_torchrun_costs_no_batch(together, sample_data, tmp_path):
    straight, stderr, statuses = together(2, *training("1a", sample_data, tmp_path / "straight", "--epochs", 20))
    assert statuses == [0, 0], stderr
    stopped = torchrun(2, *training("1a", sample_data, tmp_path / "stopped", "--epochs", 20))
    printed = "".join(stopped.stdout.readline() for _ in range(3))
    stopped.send_signal(signal.SIGTERM)
    stdout, stderr = stopped.communicate(timeout=60)
    assert stopped.returncode != 0
    (line,) = own_lines(stderr)
    assert line.startswith("interrupted by SIGTERM in epoch ")
    assert line.endswith("the same command with --resume goes on from there")
    resumed = training("1a", sample_data, tmp_path / "stopped", "--epochs", 20, "--resume")
    rest, stderr, statuses = together(2, *resumed)
    assert statuses == [0, 0], stderr
    assert same_run(tmp_path / "straight", tmp_path / "stopped")
    assert without_times(printed + stdout + rest) == without_times(straight)


def test_a_closed_pipe(sample_data, model_of):
    """`torchrun … | head` of a test script: no word of how a training goes on, and no stack of C++."""
    options = ["--data", sample_data, "--model", model_of("2a"), "--device", "cpu", "--lengths", *range(10, 60)]
    run = torchrun(2, "2a/RNN_test.py", *options)
    run.stdout.readline()
    run.stdout.close()
    stderr = run.stderr.read()
    assert run.wait(60) != 0
    assert own_lines(stderr) == []
    assert "standard output was closed" in stderr


# ------------------------------------------------------------------------------------------------- resuming


# a training of 1a on the sample has 20 batches an epoch, its test 10 for each of two processes
STOPPED = [
    ("1a", signal.SIGTERM, 1, 37, [143, 143]),
    ("1a", signal.SIGTERM, 1, 52, [143, 143]),  # in the test
    ("1a", signal.SIGTERM, 0, 52, [143, 1]),  # there the first leaves at once, and the other finds it gone
    ("2a", signal.SIGINT, 1, 37, [130, 130]),
    ("1a", None, 1, 37, [0, 0]),
]


@pytest.mark.parametrize(("part", "number", "rank", "batch", "expected"), STOPPED)
def test_what_stops_one_costs_no_batch(
    part, number, rank, batch, expected, together, sample_data, tmp_path, signal_at, monkeypatch
):
    options = ["--epochs", 3, "--max-time", 1000, *(["--test-every", 1] if part == "2a" else [])]
    straight, stderr, statuses = together(2, *training(part, sample_data, tmp_path / "straight", *options))
    assert statuses == [0, 0], stderr
    signal_at(number, batch, rank)
    printed, stderr, statuses = together(2, *training(part, sample_data, tmp_path / "stopped", *options))
    assert statuses == expected, stderr
    (line,) = [line for line in stderr.splitlines() if not line.startswith(("running ", "with --precision bf16 "))]
    assert line.startswith(f"interrupted by {number.name if number else '--max-time'} in epoch ")
    assert f"saved in {tmp_path / 'stopped'}" in line

    monkeypatch.undo()
    stdout, stderr, statuses = together(2, *training(part, sample_data, tmp_path / "stopped", *options, "--resume"))
    assert statuses == [0, 0], stderr
    assert same_run(tmp_path / "straight", tmp_path / "stopped")
    assert without_times(printed + stdout) == without_times(straight)


def test_another_number_of_processes_goes_on(together, sample_data, tmp_path, signal_at, monkeypatch):
    straight = succeed(train("1a", sample_data, tmp_path / "straight"))
    signal_at(signal.SIGTERM, 30, rank=2)
    printed, _, statuses = together(3, *training("1a", sample_data, tmp_path / "stopped"))
    assert statuses == [143] * 3
    monkeypatch.undo()
    resumed = succeed(train("1a", sample_data, tmp_path / "stopped", "--resume"))
    assert close_weights(tmp_path / "straight" / "BOW.model", tmp_path / "stopped" / "BOW.model")
    assert without_times(printed + resumed.stdout) == without_times(straight.stdout)


# ------------------------------------------------------------------------------------------------- ending


@pytest.mark.parametrize("victim", [0, 2])
def test_when_a_process_dies_the_others_end(victim, together, sample_data, tmp_path, signal_at, monkeypatch):
    folder = tmp_path / "run"
    signal_at(signal.SIGKILL, 75, rank=victim)
    begin = time.monotonic()
    _, stderr, statuses = together(3, *training("1a", sample_data, folder, "--epochs", 100000))
    assert time.monotonic() - begin < 60
    assert statuses == [None if rank == victim else 1 for rank in range(3)]
    messages = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(messages) == (victim != 0), stderr
    assert all("another process of this run has ended" in line and "--resume" in line for line in messages)
    done = len(load_checkpoint(folder / "BOW.state", "1a", (), "")["history"])
    assert done >= 1

    monkeypatch.undo()
    resumed = succeed(train("1a", sample_data, folder, "--epochs", done + 1, "--resume"))
    assert f"going on after epoch {done - 1}\n" in resumed.stderr


@pytest.fixture
def told_once(together):
    """A function: runs processes that must end with status 2, of which the first says why, with all `words`."""

    def told_once(count, command, *words, last=()):
        _, stderr, statuses = together(count, *command, last=last)
        assert statuses == [2] * count, stderr
        (message,) = [line for line in stderr.splitlines() if line.startswith("error: ")]
        assert all(str(word) in message for word in words), message

    return told_once


def test_what_is_wrong_is_told_once(told_once, sample_data, tmp_path):
    told_once(3, training("1a", sample_data, tmp_path, "--colour", "red"), "--colour")
    told_once(3, training("1a", tmp_path / "nowhere", tmp_path), tmp_path / "nowhere", "does not exist")
    told_once(3, training("1a", sample_data, tmp_path, "--batch-size", 2), "3 processes", "--batch-size 2", "larger")
    last_too_small = "--batch-size 499 gives a batch of 2 reviews to 3 processes"
    told_once(3, training("1a", sample_data, tmp_path, "--batch-size", 499), last_too_small)
    told_once(2, training("1a", sample_data, tmp_path), "process 1 has other options", last=["--seed", "1"])
    assert list(tmp_path.iterdir()) == []


def test_another_living_run_keeps_its_folder(together, sample_data, tmp_path):
    with sole_use(tmp_path):
        _, stderr, statuses = together(2, *training("1a", sample_data, tmp_path))
    assert 0 not in statuses
    assert f"error: another run is using {tmp_path}" in stderr
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_written(together, sample_data, tmp_path):
    (tmp_path / "BOW.state.part").mkdir()  # process 0 cannot write its state
    _, stderr, statuses = together(2, *training("1a", sample_data, tmp_path))
    assert 0 not in statuses
    assert f"error: cannot write {tmp_path / 'BOW.state'}" in stderr


# --------------------------------------------------------------------------------------------------- on GPUs


def needs_gpus(number):
    return pytest.mark.skipif(torch.cuda.device_count() < number, reason=f"fewer than {number} GPUs here")


@pytest.fixture
def on_cuda(together):
    """A function: trains a part in `count` processes with a GPU each; returns what it printed, and the model's path."""

    def on_cuda(count, part, data, folder, *options):
        command = training(part, data, folder, "--device", "cuda", "--precision", "fp32", *options)
        stdout, stderr, statuses = together(count, *command)
        assert statuses == [0] * count, stderr
        return stdout, folder / PARTS[part][2]

    return on_cuda


# CUDA adds in no fixed order
ON_CUDA = 1e-2


@needs_gpus(1)
@pytest.mark.parametrize("part", ["1a", "2a", "3a"])
def test_resuming_on_cuda(part, on_cuda, sample_data, tmp_path):
    _, straight = on_cuda(1, part, sample_data, tmp_path / "straight", "--epochs", 2)
    on_cuda(1, part, sample_data, tmp_path / "cut", "--epochs", 1)
    stdout, cut = on_cuda(1, part, sample_data, tmp_path / "cut", "--epochs", 2, "--resume")
    assert stdout.startswith("1 ")
    assert close_weights(straight, cut, ON_CUDA)


@needs_gpus(2)
@pytest.mark.parametrize("part", ["1a", "2a", "3a"])
def test_two_gpus(part, on_cuda, sample_data, tmp_path):
    _, alone = on_cuda(1, part, sample_data, tmp_path / "alone", "--epochs", 1)
    _, shared = on_cuda(2, part, sample_data, tmp_path / "shared", "--epochs", 1)
    assert close_weights(alone, shared, ON_CUDA)


@needs_gpus(1)
def test_more_processes_than_gpus(told_once, sample_data, tmp_path):
    count = torch.cuda.device_count() + 1
    told_once(count, training("1a", sample_data, tmp_path, "--device", "cuda"), f"{count} processes", "GPUs")
