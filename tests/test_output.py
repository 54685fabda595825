"""Standard output and standard error that go away: a training goes on, another script ends with one line."""

import json
import os
import pty
import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, REPO, succeed, train, training

ALL = {**os.environ, **ENVIRONMENT}


def in_bash(line, script):
    """Runs a line of the shell in which $@ is the Python script with its options."""
    command = ["bash", "-o", "pipefail", "-c", line, "bash", sys.executable, *map(str, script)]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=ALL, timeout=120)


def finished(folder):
    run = json.loads((folder / "run.json").read_text())
    return run["finished"] and len(run["epochs"]) == 3 and (folder / "BOW.model").exists()


# how standard output goes away, and what the training says of it
GONE = {
    '"$@" >/dev/full': "standard output cannot be written to (No space left on device): going on without it",
    '"$@" | head -n 1': "standard output cannot be written to (Broken pipe): going on without it",
    '"$@" >&- 2>&-': "",
}


@pytest.mark.parametrize("line", GONE)
def test_a_training_goes_on(line, sample_data, tmp_path):
    done = in_bash(line, training("1a", sample_data, tmp_path))
    assert done.returncode == 0, done.stderr
    assert GONE[line] in done.stderr
    assert "Traceback" not in done.stderr
    assert finished(tmp_path)


def test_a_training_outlives_its_terminal(sample_data, tmp_path):
    """As after `disown`, which keeps SIGHUP from it."""
    ours, its = pty.openpty()
    command = ["bash", "-c", 'trap "" HUP; exec "$@"', "bash", sys.executable]
    command += map(str, training("1a", sample_data, tmp_path, "--batch-size", 10))
    running = subprocess.Popen(command, cwd=REPO, stdin=its, stdout=its, stderr=its, env=ALL, start_new_session=True)
    os.close(its)
    printed = b""
    while b"\n0 " not in printed:  # with the bar before it
        printed += os.read(ours, 1000).replace(b"\r", b"\n")
    os.close(ours)
    assert running.wait(timeout=120) == 0
    assert finished(tmp_path)


def test_a_test_script_says_so(sample_data, tmp_path):
    succeed(train("1a", sample_data, tmp_path, "--epochs", 1))
    script = ["1a/BOW_test.py", "--data", sample_data, "--model", tmp_path / "BOW.model", "--device", "cpu"]
    done = in_bash('"$@" >/dev/full', script)
    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == ["error: cannot write to standard output: No space left on device"]
    assert in_bash('"$@" | true', script).returncode == 141
