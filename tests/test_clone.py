"""What git makes of the files on another system."""

import shutil
import subprocess

import pytest
from conftest import REPO


@pytest.mark.skipif(not shutil.which("git") or not (REPO / ".git").exists(), reason="there is no git here")
def test_a_clone_made_on_windows_has_the_line_ends_of_linux():
    names = ["jobs/run_all.sh", "jobs/1a.pbs", "1a/BOW_model.py", "jobs/sheet/real/perplexity.png"]
    asked = ["git", "check-attr", "eol", "binary", "--", *names]
    found = subprocess.run(asked, cwd=REPO, capture_output=True, check=True, text=True).stdout.splitlines()
    assert found[::2] == [f"{name}: eol: lf" for name in names]
    assert found[1::2] == [f"{name}: binary: {'set' if '.png' in name else 'unspecified'}" for name in names]
