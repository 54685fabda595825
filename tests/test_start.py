"""How the scripts start: from anywhere, under each of Python's options, several in one notebook."""

import subprocess
import sys

import pytest
from conftest import ENVIRONMENT, PARTS, REPO

SCRIPTS = [f"{part}/{script}" for part, scripts in PARTS.items() for script in scripts[:2]]
SCRIPTS += [
    "3b/generate_review.py",
    "preprocess_data.py",
    "jobs/sheet/results_sheet.py",
    "jobs/sheet/make_submission.py",
]

# as a notebook's %run does it, the one after the other, and what OpenMP's threads do
RUN_ALL = """
import os, runpy, sys
from pathlib import Path
assert "" not in sys.path and os.getcwd() not in sys.path
for script in sys.argv[1:]:
    run = runpy.run_path(script)
    models = [value for name, value in run.items() if name.endswith("_model") and isinstance(value, type)]
    for model in models:
        file = Path(sys.modules[model.__module__].__file__)
        assert file.parent.name == Path(script).parent.name or "generate" in script and file.parent.name == "3a", script
    print(script, len(models), run["__name__"], os.environ.get("OMP_WAIT_POLICY"))
"""


@pytest.mark.parametrize("policy", [None, "active"])
def test_scripts_in_one_process_each_have_their_own_model_file(policy, tmp_path):
    environment = {**ENVIRONMENT, "OMP_DISPLAY_ENV": "true"} | ({"OMP_WAIT_POLICY": policy} if policy else {})
    scripts = [REPO / script for script in [*SCRIPTS, *SCRIPTS[::-1]]]
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN_ALL, *scripts],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    of_parts = [line for line in lines if "/jobs/" not in line[0] and "preprocess" not in line[0]]
    assert all(line[1] == "1" for line in of_parts)
    assert len(of_parts) == 26
    # set before PyTorch's OpenMP reads it, but what the user has set stands
    assert f"OMP_WAIT_POLICY = '{(policy or 'passive').upper()}'" in done.stderr


@pytest.mark.parametrize("script", ["preprocess_data.py", "jobs/sheet/results_sheet.py", "2b/RNN_test.py"])
def test_python_may_be_isolated(script):
    done = subprocess.run([sys.executable, "-I", REPO / script, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
