"""What git makes of the files on another system."""

import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(
    not shutil.which("git") or not (REPO / ".git").exists(), reason="a copy without git has no attributes"
)
def test_a_clone_made_on_windows_has_the_line_ends_of_linux():
    def attributes(*names):
        asked = ["git", "check-attr", "-z", "eol", "binary", "--", *names]
        fields = subprocess.run(asked, cwd=REPO, capture_output=True, check=True, text=True).stdout.split("\0")[:-1]
        return dict(zip(zip(fields[::3], fields[1::3], strict=True), fields[2::3], strict=True))

    names = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, check=True, text=True).stdout
    names = names.split("\0")[:-1]
    assert "jobs/run_all.sh" in names
    found = attributes(*names)
    for name in names:
        assert found[name, "eol"] == "lf", name
        assert found[name, "binary"] == ("set" if name.endswith(".png") else "unspecified"), name
