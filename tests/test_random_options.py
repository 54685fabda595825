"""Random command lines: each ends well or is refused in one line, with no traceback and no long wait."""

import os
import random
import re
import time

import pytest
from conftest import PARTS, TINY, run_here

# python -m pytest tests/test_random_options.py with RANDOM_COMMAND_LINES=200 tries so many
NUMBER = int(os.environ.get("RANDOM_COMMAND_LINES", "24"))

SCRIPTS = [
    *(f"{part}/{script}" for part, scripts in PARTS.items() for script in scripts[:2]),
    "3b/generate_review.py",
    "preprocess_data.py",
    "jobs/sheet/results_sheet.py",
]

# what people type, and what they never would
VALUES = [
    *["", " ", "0", "1", "2", "3", "-1", "-0", "007", "1.5", "1e3", "1e309", "-inf", "nan", "0x10", "1_0", "٣", "²"],
    *["2147483647", "2147483648", "9" * 30, "adam", "max", "Max", "all", "auto", "cpu", "fp32", "one-cycle", "true"],
    *["a great film", "tres bién", "Excellent ’film’ …", "这部电影", "\u202e", "\ufeff", "a\tb", "a\nb"],
    *["'", '"', "$HOME"],
    *["/", ".", "..", "/dev/null", "/nowhere/at all", "x" * 300, "-", "=", "a=b", "*", "%s", "{}"],
]

# would be right and take for ever, or fetch gigabytes
LEFT_OUT = {"--epochs", "--length", "--count", "--download", "--workers", "--help", "--sample", "--device"}


def options_of(script):
    """The options that the script's help lists."""
    found = re.findall(r"^ +(--[\w-]+)", run_here(script, "--help").stdout, re.MULTILINE)
    return sorted({*found} - LEFT_OUT)


def command_line(number, usual):
    """The script and the options of the command line of that number; `usual` gives a script's own to start from."""
    rng = random.Random(number)
    script = rng.choice(SCRIPTS)
    chosen = []
    for option in rng.choices(options_of(script), k=rng.randint(1, 3)):
        if rng.random() < 0.1:
            option = option[:-1] if rng.random() < 0.5 else option.upper()
        form = rng.random()
        value = rng.choice(VALUES)
        chosen += [f"{option}={value}"] if form < 0.6 else [option, value] if form < 0.9 else [option]
    return [script, *usual(script), *chosen]


@pytest.fixture
def usual(sample_data, model_of, tmp_path):
    """A function from a script to options with which it ends well, in no time."""

    def usual(script):
        part = script.split("/")[0]
        if script == "preprocess_data.py":
            return ["--imdb", sample_data / "nothing", "--output", tmp_path / "output"]
        if part == "jobs":
            return ["--output", tmp_path]
        options = ["--data", sample_data, "--device", "cpu"]
        if script in [f"{part}/{scripts[0]}" for part, scripts in PARTS.items()]:
            options += [*TINY[part].split(), "--epochs", 1, "--output", tmp_path / "output"]
            return [*options, "--language-model", model_of("3a")] if part == "3c" else options
        options += ["--model", model_of("3a" if part == "3b" else part)]
        return [*options, "--length", 3] if part == "3b" else options

    return usual


@pytest.mark.parametrize("number", range(NUMBER))
def test_a_random_command_line(number, usual, tmp_path, monkeypatch):
    script, *options = command_line(number, usual)
    monkeypatch.chdir(tmp_path)  # a path such as "auto" is made there
    start = time.monotonic()
    done = run_here(script, *options)  # which raises what would be a traceback
    told = (script, options, done.stderr)
    assert done.returncode in (0, 2), told
    assert time.monotonic() - start < 60, told
    if done.returncode == 2:
        assert done.stderr.splitlines()[-1].startswith("error: "), told
