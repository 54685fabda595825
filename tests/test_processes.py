"""Trainings and tests in several processes, on the CPU with gloo: the same result as in one, and how they end."""

import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from conftest import ENVIRONMENT, PARTS, REPO, read_model, succeed, train, training
from test_resume import same_run, without_times

from common.distributed.launcher import LAUNCHERS, Launch, find_launch
from common.distributed.processes import _all_together, _tell_places
from common.errors import InputError, LostProcessError
from common.files import sole_use
from common.training.checkpoints import load_checkpoint

# ---------------------------------------------------------------------------------------------- the launchers


@pytest.fixture
def environment(monkeypatch):
    """A function that sets the environment to what the text "NAME=VALUE NAME=VALUE" says of launchers."""

    def set_to(text):
        for name in [name for names in LAUNCHERS.values() for name in names if name] + ["MASTER_ADDR", "MASTER_PORT"]:
            monkeypatch.delenv(name, raising=False)
        for pair in text.split():
            monkeypatch.setenv(*pair.split("="))

    return set_to


ALONE = [
    "",
    "WORLD_SIZE=4",
    "RANK=0 WORLD_SIZE=1 LOCAL_WORLD_SIZE=1",
    "ALPS_APP_PE=0",
    "SLURM_PROCID=0 SLURM_NTASKS=4",  # a batch script of Slurm, which starts one process
]


@pytest.mark.parametrize("text", ALONE)
def test_a_process_alone(text, environment):
    environment(text)
    assert find_launch()[:2] == (0, 1)


LAUNCHES = [
    ("RANK=2 WORLD_SIZE=3 LOCAL_WORLD_SIZE=3 MASTER_ADDR=n1 MASTER_PORT=7", Launch(2, 3, "n1", 7, "")),
    ("ALPS_APP_PE=1 WORLD_SIZE=2 MASTER_ADDR=nid00007 MASTER_PORT=7", Launch(1, 2, "nid00007", 7, "")),
    ("OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_SIZE=2", Launch(1, 2, "127.0.0.1", None, "")),
    ("PMI_RANK=0 PMI_SIZE=4 MPI_LOCALNRANKS=4", Launch(0, 4, "127.0.0.1", None, "")),
    ("PMI_RANK=0 PMI_SIZE=4 MPI_LOCALNRANKS=2 MASTER_ADDR=n1", Launch(0, 4, "n1", None, "")),
    ("SLURM_PROCID=3 SLURM_STEP_NUM_TASKS=4 SLURM_STEP_NODELIST=nid[007-009,012],x1", Launch(3, 4, "nid007", None, "")),
    ("SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=gpu7,gpu9", Launch(1, 2, "gpu7", None, "")),
    # the innermost launcher counts: torchrun under srun, mpirun under srun
    (
        "RANK=1 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1",
        Launch(1, 2, "127.0.0.1", None, ""),
    ),
    (
        "SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 "
        "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_SIZE=2",
        Launch(1, 2, "127.0.0.1", None, ""),
    ),
]


@pytest.mark.parametrize(("text", "expected"), LAUNCHES)
def test_launchers(text, expected, environment):
    environment(text)
    launch = find_launch()
    assert launch[:3] == expected[:3]
    assert launch.master_port == expected.master_port or 20000 <= launch.master_port < 40000


def test_two_jobs_have_two_ports(environment, monkeypatch):
    environment("PMI_RANK=0 PMI_SIZE=2 MPI_LOCALNRANKS=2")
    ports = set()
    for job in ("1.bw", "2.bw"):
        monkeypatch.setenv("PBS_JOBID", job)
        assert find_launch() == find_launch()
        ports.add(find_launch().master_port)
    assert len(ports) == 2


def test_two_runs_of_a_launcher_that_tells_nothing_have_two_ports(tmp_path):
    """MPICH's mpiexec without a scheduler, with a wrapper around each process, in two runs at once."""
    (tmp_path / "mpiexec").write_text(
        '#!/bin/bash\nfor i in 0 1; do PMI_RANK=$i bash -c "$*; exit" & done\nsleep 0.2\nwait\n'
    )
    (tmp_path / "mpiexec").chmod(0o755)
    told = f"{sys.executable} -c 'from common.distributed.launcher import find_launch as f; print(f())'"
    environment = {**os.environ, "PMI_SIZE": "2", "MPI_LOCALNRANKS": "2"}
    runs = [
        subprocess.Popen([tmp_path / "mpiexec", told], cwd=REPO, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    launches = [re.findall(r"rank=(\d).*?master_port=(\d+)", run.communicate()[0]) for run in runs]
    for launch in launches:
        assert sorted(rank for rank, _ in launch) == ["0", "1"]
    assert [len({port for _, port in launch}) for launch in launches] == [1, 1]
    assert launches[0][0][1] != launches[1][0][1]


CONTRADICTIONS = [
    ("RANK=2 WORLD_SIZE=2 MASTER_ADDR=n1", ["RANK is 2", "WORLD_SIZE is 2"]),
    ("RANK=0 WORLD_SIZE=0", ["WORLD_SIZE is '0'"]),
    ("RANK=-1 WORLD_SIZE=2", ["RANK is '-1'"]),
    ("RANK=one WORLD_SIZE=2", ["RANK is 'one'"]),
    ("RANK=0", ["RANK is 0", "WORLD_SIZE is not set"]),
    ("RANK=0 WORLD_SIZE=2 MASTER_ADDR=n1 MASTER_PORT=none", ["MASTER_PORT is 'none'"]),
    ("RANK=0 WORLD_SIZE=2 LOCAL_WORLD_SIZE=3", ["LOCAL_WORLD_SIZE is 3", "WORLD_SIZE is only 2"]),
    ("ALPS_APP_PE=1", ["ALPS_APP_PE is 1", "WORLD_SIZE is not set"]),
    ("ALPS_APP_PE=0 WORLD_SIZE=2", ["2 processes", "MASTER_ADDR is not set"]),
    ("PMI_RANK=0 PMI_SIZE=4 MPI_LOCALNRANKS=2", ["4 processes", "MASTER_ADDR is not set"]),
    ("OMPI_COMM_WORLD_RANK=5", ["OMPI_COMM_WORLD_SIZE is not set"]),
]


@pytest.mark.parametrize(("text", "words"), CONTRADICTIONS)
def test_a_launcher_that_contradicts_itself(text, words, environment):
    environment(text)
    with pytest.raises(InputError) as error:
        find_launch()
    assert all(word in str(error.value) for word in words), error.value


# ----------------------------------------------------------------------------------------------- the meeting


def tell(*places):
    """What process 0 learns of all `places`, when the others have told theirs."""
    store = dist.HashStore()
    for rank, place in enumerate(places):
        store.set(f"place {rank}", json.dumps(place))
    return _tell_places(store, Launch(0, len(places), "n1", 7, ""), places[0])


def test_processes_tell_what_they_found():
    places = [["n1", "cuda", "GPU-a"], ["n1", "cuda", "GPU-b"], ["n2", "cuda", "GPU-c"]]
    assert tell(*places) == places


def test_devices_of_two_kinds_are_refused():
    with pytest.raises(InputError) as error:
        tell(["n1", "cuda", "GPU-a"], ["n1", "cuda", "GPU-b"], ["n2", "cpu", None])
    for words in ("process 0 on n1 found CUDA", "process 2 on n2 only the CPU", "nvidia-smi"):
        assert words in str(error.value)


GONE = "Connection closed by peer [127.0.0.1]:1"


@pytest.mark.parametrize(
    ("words", "raised"),
    [
        (f"{GONE}\nException raised from here", LostProcessError),
        ("NCCL error in: NCCLUtils.cpp:94, unhandled system error", LostProcessError),
        ("CUDA out of memory. Tried to allocate 20.00 GiB", RuntimeError),
        ("CUDA error: device-side assert triggered", RuntimeError),
    ],
)
def test_what_went_wrong_together_is_said(words, raised):
    with pytest.raises(raised) as error, _all_together():
        raise RuntimeError(words)
    assert words.splitlines()[0] in str(error.value)
    assert "Exception raised" not in str(error.value)


# ------------------------------------------------------------------------------------------ several processes

# how the processes of a test are told their number: as different launchers do
TOLD = {
    "torchrun": "RANK={rank} WORLD_SIZE={count}",
    "Open MPI": "OMPI_COMM_WORLD_RANK={rank} OMPI_COMM_WORLD_SIZE={count} OMPI_COMM_WORLD_LOCAL_SIZE={count}",
    "PMI": "PMI_RANK={rank} PMI_SIZE={count} MPI_LOCALNRANKS={count}",
    "ALPS": "ALPS_APP_PE={rank} WORLD_SIZE={count}",
    "Slurm": "SLURM_PROCID={rank} SLURM_STEP_NUM_TASKS={count} SLURM_STEP_NODELIST=n1",
    "stranger": "RANK=1 WORLD_SIZE=2 PBS_JOBID=7.other",
}


class Forked:
    """A script in a process forked from this one, so that PyTorch need not be imported again; as a subprocess.Popen."""

    def __init__(self, script, arguments, environment):
        self.returncode = None
        (self.stdout, out), (self.stderr, err) = (self._pipe() for _ in range(2))
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.dup2(out, 1)
                os.dup2(err, 2)
                sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
                sys.__stderr__ = sys.stderr
                os.chdir(REPO)
                os.environ |= environment
                status = run_inside(script, arguments)
                sys.stdout.flush()
            finally:
                os._exit(status)
        os.close(out)
        os.close(err)

    @staticmethod
    def _pipe():
        read, write = os.pipe()
        return os.fdopen(read), write

    def send_signal(self, number):
        os.kill(self.pid, number)

    def communicate(self):
        """All that it printed, on standard output and standard error, when it has ended."""
        limit = threading.Timer(120, self.send_signal, [signal.SIGKILL])
        limit.start()
        printed = self.stdout.read(), self.stderr.read()
        limit.cancel()
        self.stdout.close()
        self.stderr.close()
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return printed


def run_inside(script, arguments):
    """Runs a script, or lines of Python, in this process; returns its status."""
    warnings.simplefilter("error")
    sys.argv = [script, *arguments]
    try:
        if script == ONE_STEP:
            exec(script, {"__name__": "__main__"})
        else:
            sys.path.insert(0, str((REPO / script).parent))
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        return end.code
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def start_one(script, arguments, environment):
    if "cuda" not in arguments:
        return Forked(script, arguments, environment)
    # a forked process cannot use CUDA where this one has
    return subprocess.Popen(
        [sys.executable, script, *arguments],
        cwd=REPO,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(count, script, *arguments, told="torchrun", ranks=None, last=(), port=None):
    """The processes of a run, started by hand; the last one has the options `last` too."""
    port = port or free_port()
    return [
        start_one(
            script,
            [*map(str, arguments), *(last if number == count - 1 else [])],
            {
                **ENVIRONMENT,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                **dict(pair.split("=") for pair in TOLD[told].format(rank=rank, count=count).split()),
            },
        )
        for number, rank in enumerate(ranks or range(count))
    ]


def finish(processes):
    """What the first process printed, all of standard error, and the statuses of all, when they have ended."""
    outputs = [process.communicate() for process in processes]
    assert all(stdout == "" for stdout, _ in outputs[1:])
    # what PyTorch's own C++ writes when a connection breaks
    stderr = "".join(re.sub(r"(?s)\[rank\d\]:\[W.*?(?=\nerror|\Z)", "", stderr).lstrip() for _, stderr in outputs)
    return outputs[0][0], stderr, [process.returncode for process in processes]


def close_weights(one, other, tolerance=1e-4):
    """Whether two model files hold the same weights but for `tolerance`."""
    one, other = (read_model(path)["state_dict"] for path in (one, other))
    return one.keys() == other.keys() and all(
        torch.allclose(one[name].double(), other[name].double(), rtol=0, atol=tolerance) for name in one
    )


# batches that neither two nor three processes can share out evenly, and a last one that is shorter
SHARED = [
    ("1a", 2, "Open MPI", "--epochs 2 --batch-size 51"),
    ("1a", 3, "torchrun", "--epochs 1 --hidden-layers 2"),
    ("1b", 3, "PMI", "--epochs 1 --precise-batch-norm"),
    ("2a", 2, "ALPS", "--epochs 1 --batch-size 51 --layers 2"),
    ("2a", 3, "torchrun", "--epochs 1"),
    ("2b", 2, "torchrun", "--epochs 1 --pool mean"),
    ("3a", 2, "Slurm", "--epochs 1 --tied-weights"),
    ("3a", 3, "torchrun", "--epochs 1 --batch-size 250"),
    ("3c", 2, "torchrun", "--epochs 1"),
    ("3c", 3, "torchrun", "--epochs 1 --fine-tune all"),
    ("3c", 3, "torchrun", "--epochs 1 --fine-tune all --whole --train-length 100 --test-length 200 --pool mean"),
]


@pytest.mark.parametrize(("part", "count", "told", "options"), SHARED)
def test_the_result_does_not_depend_on_the_number_of_processes(
    part, count, told, options, sample_data, model_of, tmp_path
):
    options = options.split() + (["--language-model", model_of("3a")] if part == "3c" else [])
    alone = succeed(train(part, sample_data, tmp_path / "alone", *options))
    command = training(part, sample_data, tmp_path / "shared", *options)
    stdout, stderr, statuses = finish(start(count, *command, told=told))
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


def test_gradients_and_running_figures_in_float64(tmp_path):
    results = []
    for count in (1, 2, 3):
        _, stderr, statuses = finish(start(count, ONE_STEP, tmp_path / f"{count}"))
        assert statuses == [0] * count, stderr
        results.append(torch.load(tmp_path / f"{count}"))
    assert len(results[0]) == 12
    for one, two, three in zip(*results, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-12)
        torch.testing.assert_close(three, one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("part", ["1a", "3a"])
def test_test_passes_are_shared_out(part, sample_data, model_of):
    options = ["--data", sample_data, "--model", model_of(part), "--device", "cpu", "--batch-size", 150]
    options += [] if part == "1a" else ["--lengths", 30, 60]
    outputs = []
    for count in (1, 3):
        stdout, stderr, statuses = finish(start(count, f"{part}/{PARTS[part][1]}", *options))
        assert statuses == [0] * count, stderr
        outputs.append(without_times(stdout))
    assert outputs[0] == outputs[1] != ""


def test_a_process_of_another_run_is_turned_away(sample_data, tmp_path):
    """It comes to the port where a run's processes meet, before the one of the same number of that run."""
    port = free_port()
    store = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    store.set("run", "the first one's")
    options = ["--data", sample_data, "--model", tmp_path / "none", "--device", "cpu"]
    (stranger,) = start(1, "1a/BOW_test.py", *options, told="stranger", port=port)
    stranger.communicate()
    assert stranger.returncode == 2
    assert not store.check(["process 1"])
    assert not store.check(["place 1"])


def test_torchrun(sample_data, tmp_path):
    alone = succeed(train("1a", sample_data, tmp_path / "alone"))
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += training("1a", sample_data, tmp_path / "shared")
    environment = {**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=REPO, capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert without_times(done.stdout) == without_times(alone.stdout)
    assert close_weights(tmp_path / "alone" / "BOW.model", tmp_path / "shared" / "BOW.model")


# ------------------------------------------------------------------------------------------------- resuming


def wait_for_epochs(processes, lines):
    """What the first process has printed when it has printed that many lines."""
    return "".join(processes[0].stdout.readline() for _ in range(lines))


@pytest.mark.parametrize(("part", "who"), [("2a", "all"), ("1a", "one")])
def test_a_signal_costs_no_batch(part, who, sample_data, tmp_path):
    options = ["--epochs", 5, "--test-every", 1] if part == "2a" else ["--epochs", 5]
    straight, stderr, statuses = finish(start(2, *training(part, sample_data, tmp_path / "straight", *options)))
    assert statuses == [0, 0], stderr
    processes = start(2, *training(part, sample_data, tmp_path / "stopped", *options))
    printed = wait_for_epochs(processes, 3)  # in the test of epoch 1, or a little later
    for process in processes if who == "all" else processes[1:]:
        process.send_signal(signal.SIGTERM)
    stdout, stderr, statuses = finish(processes)
    assert statuses == [143, 143], stderr
    messages = [line for line in stderr.splitlines() if "interrupted by SIGTERM" in line]
    assert len(messages) == 1
    assert f"saved in {tmp_path / 'stopped'}" in messages[0]
    assert "error" not in stderr
    printed += stdout

    stdout, stderr, statuses = finish(
        start(2, *training(part, sample_data, tmp_path / "stopped", *options, "--resume"))
    )
    assert statuses == [0, 0], stderr
    assert same_run(tmp_path / "straight", tmp_path / "stopped")
    assert without_times(printed + stdout) == without_times(straight)


def test_another_number_of_processes_goes_on(sample_data, tmp_path):
    straight = succeed(train("1a", sample_data, tmp_path / "straight"))
    processes = start(3, *training("1a", sample_data, tmp_path / "stopped"))
    printed = wait_for_epochs(processes, 1)
    for process in processes:
        process.send_signal(signal.SIGTERM)
    stdout, _, statuses = finish(processes)
    assert statuses == [143] * 3
    resumed = succeed(train("1a", sample_data, tmp_path / "stopped", "--resume"))
    assert close_weights(tmp_path / "straight" / "BOW.model", tmp_path / "stopped" / "BOW.model")
    assert without_times(printed + stdout + resumed.stdout) == without_times(straight.stdout)


# ------------------------------------------------------------------------------------------------- ending


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_when_a_process_dies_the_others_end(victim, sample_data, tmp_path):
    folder = tmp_path / "run"
    processes = start(3, *training("1a", sample_data, folder, "--epochs", 100000))
    wait_for_epochs(processes, 3)
    processes[victim].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    _, stderr, statuses = finish(processes)
    assert time.monotonic() - killed < 60
    assert [status for rank, status in enumerate(statuses) if rank != victim] == [1, 1]
    messages = [line for line in stderr.splitlines() if line.startswith("error: ")]
    # without process 0 nobody knows whether another has told it
    assert len(messages) == (2 if victim == 0 else 1), stderr
    assert all("another process of this run has ended" in line and "--resume" in line for line in messages)
    done = len(load_checkpoint(folder / "BOW.state", "1a", (), "")["history"])
    assert done >= 1

    resumed = succeed(train("1a", sample_data, folder, "--epochs", done + 1, "--resume"))
    assert f"going on after epoch {done - 1}\n" in resumed.stderr


def told_once(processes, status, *words):
    """Checks that all processes ended with `status`, and one of them said why, in one line with all `words`."""
    _, stderr, statuses = finish(processes)
    assert statuses == [status] * len(processes), stderr
    messages = [line for line in stderr.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1, stderr
    assert all(str(word) in messages[0] for word in words), messages


def test_what_is_wrong_is_told_once(sample_data, tmp_path):
    told_once(start(3, *training("1a", sample_data, tmp_path, "--colour", "red")), 2, "--colour")
    told_once(start(3, *training("1a", tmp_path / "nowhere", tmp_path)), 2, tmp_path / "nowhere", "does not exist")
    too_small = ["3 processes", "--batch-size 2", "larger"]
    told_once(start(3, *training("1a", sample_data, tmp_path, "--batch-size", 2)), 2, *too_small)
    last_too_small = training("1a", sample_data, tmp_path, "--batch-size", 499)
    told_once(start(3, *last_too_small), 2, "--batch-size 499 gives a batch of 2 reviews to 3 processes")
    assert list(tmp_path.iterdir()) == []


def test_another_living_run_keeps_its_folder(sample_data, tmp_path):
    with sole_use(tmp_path):
        told_once(start(2, *training("1a", sample_data, tmp_path)), 2, "another run is using", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_state_that_cannot_be_written(sample_data, tmp_path):
    (tmp_path / "BOW.state.part").mkdir()  # process 0 cannot write its state
    told_once(start(2, *training("1a", sample_data, tmp_path)), 2, "cannot write", tmp_path / "BOW.state")


def test_processes_that_differ(sample_data, tmp_path):
    processes = start(2, *training("1a", sample_data, tmp_path), last=["--seed", "1"])
    told_once(processes, 2, "process 1 has other options", "start all with the same command")


def test_a_gpu_beside_a_cpu(sample_data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: os.environ["RANK"] == "0")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: SimpleNamespace(uuid="GPU-a"))
    processes = start(2, *training("1a", sample_data, tmp_path, "--device", "auto"))
    told_once(processes, 2, "process 0 on", "found CUDA", "process 1 on", "only the CPU")


def test_two_processes_with_one_number(sample_data, tmp_path):
    processes = start(3, *training("1a", sample_data, tmp_path), ranks=(0, 1, 1))
    told_once(processes, 2, "two processes have the number 1")


# --------------------------------------------------------------------------------------------------- on GPUs


def needs_gpus(number):
    return pytest.mark.skipif(torch.cuda.device_count() < number, reason=f"fewer than {number} GPUs here")


def on_cuda(count, part, data, folder, *options):
    """Trains a part in `count` processes with a GPU each; returns what it printed, and the path of the model."""
    command = training(part, data, folder, "--device", "cuda", "--precision", "fp32", *options)
    stdout, stderr, statuses = finish(start(count, *command))
    assert statuses == [0] * count, stderr
    return stdout, folder / PARTS[part][2]


# CUDA adds in no fixed order
ON_CUDA = 1e-2


@needs_gpus(1)
@pytest.mark.parametrize("part", ["1a", "2a", "3a"])
def test_resuming_on_cuda(part, sample_data, tmp_path):
    _, straight = on_cuda(1, part, sample_data, tmp_path / "straight", "--epochs", 2)
    on_cuda(1, part, sample_data, tmp_path / "cut", "--epochs", 1)
    stdout, cut = on_cuda(1, part, sample_data, tmp_path / "cut", "--epochs", 2, "--resume")
    assert stdout.startswith("1 ")
    assert close_weights(straight, cut, ON_CUDA)


@needs_gpus(2)
@pytest.mark.parametrize("part", ["1a", "2a", "3a"])
def test_two_gpus(part, sample_data, tmp_path):
    _, alone = on_cuda(1, part, sample_data, tmp_path / "alone", "--epochs", 1)
    _, shared = on_cuda(2, part, sample_data, tmp_path / "shared", "--epochs", 1)
    assert close_weights(alone, shared, ON_CUDA)


@needs_gpus(1)
def test_more_processes_than_gpus(sample_data, tmp_path):
    count = torch.cuda.device_count() + 1
    told_once(start(count, *training("1a", sample_data, tmp_path, "--device", "cuda")), 2, f"{count} processes", "GPUs")
