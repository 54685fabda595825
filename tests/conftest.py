"""What the tests share: the sample, preprocessed once, models trained on it, and scripts run as a user runs them."""

import contextlib
import functools
import io
import json
import math
import multiprocessing
import os
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

# models as small as these only wait for a second thread; set before PyTorch is imported
os.environ["OMP_NUM_THREADS"] = "1"

# PyTorch asks DNS for the name of each address that it connects to, for ten seconds where no server answers
os.environ["RES_OPTIONS"] = "timeout:1 attempts:1"

import nltk
import pytest
import torch

# under nohup it is ignored, which trainings heed, and the tests send it
signal.signal(signal.SIGHUP, signal.SIG_DFL)

REPO = Path(__file__).resolve().parent.parent
STAND_INS = REPO / "tests" / "stand_ins"
sys.path[:0] = [str(REPO), str(REPO / "jobs")]

# Processes of the tests' own come from one that has imported what takes seconds, and has one thread: forked from this
# one they could inherit a lock that one of its threads holds, as in looking up a name, and wait for it for ever.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["nltk", "torch", "torch._dynamo"])  # the last is imported by the first optimizer

# a machine's own NLTK data must not decide what the tests see, nor may NLTK ask a server: the proxy refuses it
ENVIRONMENT = {"NLTK_DATA": "", "https_proxy": "http://127.0.0.1:9"}

# part: its train script, its test script, its model file
PARTS = {
    "1a": ("BOW_sentiment_analysis.py", "BOW_test.py", "BOW.model"),
    "1b": ("BOW_sentiment_analysis.py", "BOW_test.py", "BOW.model"),
    "2a": ("RNN_sentiment_analysis.py", "RNN_test.py", "rnn.model"),
    "2b": ("RNN_sentiment_analysis.py", "RNN_test.py", "rnn.model"),
    "3a": ("train_language_model.py", "RNN_language_test.py", "language.model"),
    "3c": ("RNN_sentiment_analysis.py", "RNN_test.py", "rnn.model"),
}

# settings so small that a part trains in a second or two
TINY = {
    "1a": "--vocab-size 1000 --hidden-units 32 --epochs 3 --batch-size 50 --lr 0.005",
    "1b": "--hidden-units 32 --epochs 3 --batch-size 50 --lr 0.005",
    "2a": "--vocab-size 500 --hidden-units 32 --epochs 4 --batch-size 50 --lr 0.01 --dropout 0.2"
    " --train-length 40 --test-length 60 --test-every 3",
    "2b": "--hidden-units 16 --epochs 4 --batch-size 50 --lr 0.01 --train-length 40 --test-length 60 --test-every 3",
    "3a": "--vocab-size 500 --hidden-units 16 --epochs 2 --batch-size 50 --lr 0.01 --train-length 20 --test-length 60",
    "3c": "--vocab-size 500 --hidden-units 16 --epochs 3 --batch-size 50 --lr 0.01"
    " --train-length 20 --test-length 60 --test-every 2",
}


def write_stand_in(name, path):
    """Makes `path` the stand-in `name`, run by this Python: what is `python3` elsewhere can be a slow launcher."""
    path.write_text(f"#!{sys.executable}\n{(STAND_INS / name).read_text()}")
    path.chmod(0o755)


# a Python that has imported what takes seconds, and forks itself for each script that a line of its input names
SERVER = """
import gc, json, os, runpy, signal, sys, warnings
import nltk, torch, torch._dynamo  # the last is imported by the first optimizer

gc.freeze()  # a child leaves alone what is there already
while line := sys.stdin.readline():
    sys.argv, folder, environment, files = json.loads(line)
    pid = os.fork()
    if pid == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
else:
    sys.exit()
for number, name in enumerate(files):
    os.dup2(os.open(name, os.O_RDONLY if number == 0 else os.O_WRONLY), number)
sys.stdin = open(0, closefd=False)
signal.alarm(300)  # the longest that a script may take
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
nltk.data.path[:] = filter(None, os.environ["NLTK_DATA"].split(os.pathsep))  # as when NLTK is imported
sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
warnings.simplefilter("error")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@functools.cache
def server():
    """The process that runs SERVER; it ends when this one does."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True, start_new_session=True)


def run_script(script, *arguments, cwd=REPO, stdin=""):
    """Runs `python SCRIPT` in the folder `cwd`, as a process forked from one that has imported PyTorch and nothing of
    ours; returns the finished process, its output as text."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("stdin", "stdout", "stderr")]
        for file, text in zip(files, (stdin, "", ""), strict=True):
            file.write_text(text, encoding="utf-8")
        command = [*map(str, (script, *arguments))]
        request = command, str(cwd), {**os.environ, **ENVIRONMENT}, [*map(str, files)]
        print(json.dumps(request), file=server().stdin, flush=True)
        status = int(server().stdout.readline())
        return subprocess.CompletedProcess(command, status, *(file.read_text(encoding="utf-8") for file in files[1:]))


def run_here(script, *arguments, stdin=""):
    """Runs a script in this process, so that PyTorch need not be imported again; returns what `run_script` does.

    What would end the script with a traceback is raised.
    """
    stdout, stderr, status = io.StringIO(), io.StringIO(), 0
    with (
        mock.patch.object(sys, "argv", [script, *map(str, arguments)]),
        mock.patch.object(sys, "path", [*sys.path]),
        mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))),
        mock.patch.object(nltk.data, "path", []),
        mock.patch.dict(os.environ, ENVIRONMENT),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        warnings.simplefilter("error")
        try:
            runpy.run_path(str(REPO / script), run_name="__main__")
        except SystemExit as end:
            status = end.code
    return subprocess.CompletedProcess([script, *arguments], status, stdout.getvalue(), stderr.getvalue())


def training(part, data, output, *arguments):
    """The script and the options of a part's training with its TINY settings, changed by `arguments`."""
    options = [*TINY[part].split(), "--data", data, "--output", output, "--device", "cpu", *arguments]
    return [f"{part}/{PARTS[part][0]}", *options]


def train(part, data, output, *arguments):
    """Trains a part with its TINY settings, changed by `arguments`, in this process; returns the finished run."""
    return run_here(*training(part, data, output, *arguments))


def succeed(done):
    """The finished run `done`, which must have gone well."""
    assert done.returncode == 0, done.stderr
    return done


def refused(done, *words):
    """Checks that a run ended with status 2 and, at the end of standard error, one line with all of `words`."""
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], done.stderr
    for word in words:
        assert str(word) in lines[-1]


def read_model(path):
    """The dict in a model or state file."""
    return torch.load(path, weights_only=True)


def same_weights(one, other):
    """Whether two state_dicts, or two model files, are equal bit for bit."""
    one, other = (x if isinstance(x, dict) else read_model(x)["state_dict"] for x in (one, other))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def data_with(folder, sample_data, files):
    """Makes `folder` a copy of the sample, by links, but for `files`: a dict of name and bytes; None leaves one out."""
    folder.mkdir()
    for path in sample_data.iterdir():
        if path.name not in files:
            (folder / path.name).symlink_to(path)
    for name, content in files.items():
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def send_signal_at(monkeypatch, number, batch, rank=0):
    """This process, or of several the one of that `rank`, gets the signal `number` when it has counted `batch` batches,
    of trainings and tests alike; for None its `--max-time` is up."""
    from common.training import resuming
    from common.training.metrics import Tally

    add, counted = Tally.add, 0

    def add_and_signal(self, *figures):
        nonlocal counted
        add(self, *figures)
        counted += 1
        if counted == batch and os.environ.get("RANK", "0") == str(rank):
            if number is None:
                monkeypatch.setattr(resuming, "START", -math.inf)
            else:
                with contextlib.suppress(Exception):  # as a library does that goes on whatever happens
                    signal.raise_signal(number)

    monkeypatch.setattr(Tally, "add", add_and_signal)


@pytest.fixture
def signal_at(monkeypatch):
    """`send_signal_at`, undone at the test's end."""
    return functools.partial(send_signal_at, monkeypatch)


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory):
    """The folder that `preprocess_data.py --sample` fills; tests only read it."""
    output = tmp_path_factory.mktemp("sample")
    succeed(run_script("preprocess_data.py", "--sample", "--output", output))
    return output


@pytest.fixture(scope="session")
def tree(tmp_path_factory, sample_data):
    """A copy of the collection with the sample in its place, so that scripts run without --data and --output."""
    tree = tmp_path_factory.mktemp("tree")
    unwanted = shutil.ignore_patterns(
        "__pycache__", "trials", "*.md", "*.model", "*.state", "*.npy", "run.json", "*.csv", "*.txt"
    )
    for name in ("common", "1a", "1b", "2a", "2b", "3a", "3b", "3c"):
        shutil.copytree(REPO / name, tree / name, ignore=unwanted)
    (tree / "preprocessed_data").symlink_to(sample_data)
    return tree


@pytest.fixture(scope="session")
def trained(tree):
    """A dict from part to its finished training with the TINY settings, run in the part's directory in `tree`."""
    return {
        part: succeed(run_script(script, *TINY[part].split(), "--device", "cpu", cwd=tree / part))
        for part, (script, _, _) in PARTS.items()
    }


@pytest.fixture(scope="session")
def model_of(tree, trained):
    """A function from a part to the path of its trained model; tests only read it."""
    return lambda part: tree / part / PARTS[part][2]


@pytest.fixture
def run(sample_data, model_of, tmp_path):
    """A function that trains a part with its TINY settings, changed by `options`, into the folder `name`."""

    def run(part, name, *options, data=sample_data):
        extra = ["--language-model", model_of("3a")] if part == "3c" else []
        return train(part, data, tmp_path / name, *extra, *options)

    return run
