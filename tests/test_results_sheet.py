"""jobs/sheet/results_sheet.py and jobs/sheet/make_submission.py: what they gather, write, pack and say."""

import csv
import json
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import PARTS, REPO, refused
from twins import load_file

REVIEW = "a film that costs $ 5 | and more ."
ONE_EPOCH = {"train_accuracy": 0.64, "train_loss": 0.68}


@pytest.fixture
def results(tmp_path, tree, trained):
    """A copy of the collection with what the trainings of all parts left behind, and their test scripts' lines."""
    copy = tmp_path / "collection"
    leave_out = shutil.ignore_patterns(
        "__pycache__", "results", "*.out", "*.err", "*.model", "*.state", "trials", "*.npy"
    )
    for name in ("common", "jobs", "tests", *PARTS, "3b"):
        shutil.copytree(REPO / name, copy / name, ignore=leave_out)
    for name in ("README.md", "requirements.txt", "pyproject.toml", "preprocess_data.py"):
        shutil.copy(REPO / name, copy)
    for part in PARTS:
        shutil.copy(tree / part / "run.json", copy / part)
        shutil.copy(tree / part / PARTS[part][2], copy / part)
    for part in ("1a", "1b"):
        (copy / part / "test.txt").write_text("87.50 0.3100 0.1234\n")
    for part in ("2a", "2b", "3c"):
        (copy / part / "test.txt").write_text("50 70.00 0.6000 1.0000\n400 88.25 0.3000 4.0000\n")
    (copy / "3a" / "test.txt").write_text("50 25.00 4.0000 1.0000 54.60\n100 26.50 3.9000 2.0000 49.40\n")
    (copy / "3b" / "reviews.txt").write_text(f"{REVIEW}\n")
    return copy


def add_trial(results, part, trial, **changes):
    """A trial like the part's default run, with other entries in its run.json."""
    folder = results / part / "trials" / trial
    folder.mkdir(parents=True)
    run = json.loads((results / part / "run.json").read_text())
    options = run["options"] | changes.pop("options", {})
    (folder / "run.json").write_text(json.dumps(run | changes | {"trial": trial, "options": options}))
    shutil.copy(results / part / "test.txt", folder)
    return folder


def run(results, script, *arguments, without=""):
    """Runs a script of jobs/sheet/; the module `without` cannot be imported."""
    start = f"import sys, runpy; sys.argv = sys.argv[1:]; sys.path[0] = 'jobs/sheet'; sys.modules[{without!r}] = None; "
    command = ["-c", f"{start}runpy.run_path(sys.argv[0], run_name='__main__')"] if without else []
    return subprocess.run(
        [sys.executable, *command, results / "jobs" / "sheet" / script, *arguments],
        cwd=results,
        capture_output=True,
        text=True,
        timeout=120,
    )


def sheet(results, *arguments, **options):
    done = run(results, "results_sheet.py", *arguments, **options)
    assert done.returncode == 0, done.stderr
    return done


def rows(results):
    with open(results / "jobs" / "results" / "results.csv", newline="") as file:
        return {(row["part"], row["trial"]): row for row in csv.DictReader(file)}


def test_all_parts(results):
    done = sheet(results)
    names = [f"learning_curves_{part}.png" for part in PARTS] + ["accuracy_by_length.png", "perplexity.png"]
    names = ["results.csv", "results.md", *names, "results.pdf"]
    assert done.stdout.splitlines() == [str(results / "jobs" / "results" / name) for name in names]
    for name in names:
        start = {"png": b"\x89PNG", "pdf": b"%PDF"}.get(name[-3:], b"")
        assert (results / "jobs" / "results" / name).read_bytes().startswith(start)

    found = rows(results)
    assert list(found) == [(part, "default") for part in PARTS]
    epochs = json.loads((results / "2a" / "run.json").read_text())["epochs"]
    row = found["2a", "default"]
    assert row["train accuracy"] == f"{100 * epochs[-1]['train_accuracy']:.2f}"
    assert row["test loss"] == f"{epochs[-1]['test_loss']:.4f}"
    best = max(epoch["test_accuracy"] for epoch in epochs if "test_accuracy" in epoch)
    assert row["best test accuracy"] == f"{100 * best:.2f}"
    assert epochs[int(row["after epoch"]) - 1]["test_accuracy"] == best
    assert (row["test script"], row["at length"]) == ("88.25", "400")
    assert (row["accuracy at 50"], row["accuracy at 100"], row["accuracy at 400"]) == ("70.00", "", "88.25")
    assert found["3a", "default"]["perplexity"] == "49.40"
    assert found["1a", "default"]["accuracy at 50"] == found["1a", "default"]["state"] == ""
    text = (results / "jobs" / "results" / "results.md").read_text()
    assert next(line for line in text.splitlines() if line.startswith("## ")) == "## 1a: bag of words"
    assert f"> {REVIEW}\n" in text
    assert "86 to 88" in text


def test_trials_are_compared(results):
    worse = add_trial(
        results, "1a", "mine", note="a | remark", options={"settings": "--hidden-units 7 --remove-stop-words"}
    )
    (worse / "test.txt").write_text("80.00 0.5 1.0\n")
    better = add_trial(results, "1a", "overfits")
    (better / "test.txt").write_text("89.00 0.5 1.0\n")
    done = sheet(results)
    assert done.stderr == ""
    found = rows(results)
    # those of the table come first
    assert [trial for part, trial in found if part == "1a"] == ["default", "overfits", "mine"]
    assert [found["1a", trial]["best of the part"] for trial in ("default", "overfits", "mine")] == ["", "best", ""]
    assert found["1a", "mine"]["settings"] == "--hidden-units 7 --remove-stop-words"
    assert found["1a", "mine"]["note"] == "a | remark"
    assert "many units" in found["1a", "overfits"]["what it shows"]
    # it was trained with other settings than the handout's
    assert found["1a", "default"]["what it shows"] == ""
    text = (results / "jobs" / "results" / "results.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| mine ")]
    assert line.endswith("| a \\| remark |")


def test_what_is_chosen_on_the_reviews_held_out(results):
    """Trials of a part whose best epochs and best trial are not those of the test."""
    for trial, validation, test in (("one", [0.8, 0.9, 0.7], 0.85), ("other", [0.7, 0.8, 0.8], 0.95)):
        epochs = [
            {**ONE_EPOCH, "train_seconds": 1, "validation_accuracy": share, "validation_loss": 0.5}
            for share in validation
        ]
        epochs[1] |= {"test_accuracy": test, "test_loss": 0.4}
        folder = add_trial(results, "2b", trial, epochs=epochs)
        (folder / "test.txt").write_text(f"400 {100 * test} 0.3000 4.0000\n")
    sheet(results)
    found = rows(results)
    assert [found["2b", trial]["chosen on"] for trial in ("default", "one", "other")] == ["test", *["validation"] * 2]
    one = found["2b", "one"]
    assert (one["validation accuracy"], one["best test accuracy"], one["after epoch"]) == ("70.00", "85.00", "2")
    # the default run held nothing out, so all are compared by the test
    assert found["2b", "other"]["best of the part"] == "best"
    text = (results / "jobs" / "results" / "results.md").read_text()
    assert len([line for line in text.splitlines() if line.startswith("| trial ") and "| validation |" in line]) == 1

    shutil.rmtree(results / "2b" / "trials" / "other")
    epoch = {**ONE_EPOCH, "train_seconds": 1, "validation_accuracy": 0.8, "test_accuracy": 0.95}
    add_trial(results, "2b", "other", epochs=[epoch])
    (results / "2b" / "run.json").unlink()
    sheet(results)
    assert rows(results)["2b", "one"]["best of the part"] == "best"


def test_what_is_not_whole_is_named(results):
    (add_trial(results, "1a", "running", finished=False) / "test.txt").unlink()
    (add_trial(results, "1a", "untested") / "test.txt").unlink()
    (add_trial(results, "1a", "torn") / "run.json").write_text('{"part": "1a"')
    (add_trial(results, "1a", "strange") / "test.txt").write_text("no figures\n")
    (add_trial(results, "1a", "gone") / "run.json").unlink()
    shutil.copy(results / "1b" / "run.json", add_trial(results, "1a", "other"))
    (add_trial(results, "1a", "list") / "run.json").write_text("[]")
    done = sheet(results)
    text = (results / "jobs" / "results" / "results.md").read_text()
    for trial in ("torn", "strange", "gone", "other", "list"):
        (warning,) = [line for line in done.stderr.splitlines() if f"1a/trials/{trial}: " in line]
        assert warning.startswith("warning: ")
        assert f"- {warning.removeprefix('warning: ')}\n" in text
    found = rows(results)
    assert found["1a", "running"]["state"] == "not finished: 3 of 3 epochs"
    assert found["1a", "untested"]["state"] == "its test script was not run"
    assert "1a running: not finished" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_sample_has_a_sheet_of_its_own(results):
    add_trial(results, "2a", "sample")
    (results / "3b" / "trials" / "sample").mkdir(parents=True)
    (results / "3b" / "trials" / "sample" / "reviews.txt").write_text("of the sample\n")
    sheet(results, "--output", "jobs/results")
    assert ("2a", "sample") not in rows(results)
    sheet(results, "--sample", "--output", "jobs/results")
    assert list(rows(results)) == [("2a", "sample")]
    text = (results / "jobs" / "results" / "results.md").read_text()
    assert "of the sample" in text
    assert REVIEW not in text


def test_runs_that_lie_elsewhere(results, tmp_path):
    elsewhere = tmp_path / "kept"
    (elsewhere / "2a").mkdir(parents=True)
    for name in ("run.json", "test.txt"):
        shutil.copy(results / "2a" / name, elsewhere / "2a")
    sheet(results, "--runs", elsewhere)
    assert list(rows(results)) == [("2a", "default")]
    refused(run(results, "results_sheet.py", "--runs", tmp_path / "none"), "no results yet in", "none")


def test_no_reviews(results):
    (results / "3b" / "reviews.txt").write_text("\n")
    sheet(results)
    assert "3b" not in (results / "jobs" / "results" / "results.md").read_text()


def test_without_matplotlib(results):
    done = sheet(results, without="matplotlib")
    assert sorted(path.name for path in (results / "jobs" / "results").iterdir()) == ["results.csv", "results.md"]
    assert "pip install matplotlib" in done.stderr


def test_no_results(results):
    for part in PARTS:
        (results / part / "run.json").unlink()
    refused(run(results, "results_sheet.py"), "no results yet")
    assert not (results / "jobs" / "results").exists()


def test_a_long_sheet_has_several_pages(results):
    for number in range(25):
        add_trial(results, "1a", f"trial-{number:02}", note="a long remark on what one has learnt from it " * 3)
    add_trial(results, "3a", "W" * 60)
    sheet(results)
    folder = results / "jobs" / "results"
    assert len(list(folder.glob("learning_curves_1a*.png"))) == 7  # 26 trials
    # and a page each for the other parts, accuracy by length, perplexity and reviews, and some for the tables
    assert (folder / "results.pdf").read_bytes().count(b"/Type /Page ") > 7 + 5 + 3 + 2


def test_the_curves_of_one_epoch_without_a_test():
    run = load_file("jobs/sheet/results_sheet.py").Run("2a", "new", "", "", [ONE_EPOCH], "", "", "", [], "")
    figure = load_file("jobs/sheet/results_pictures.py")._learning_curves([run])
    figure.draw_without_rendering()
    accuracy, loss = figure.axes
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training", "test"]
    for panel in (accuracy, loss):
        low, high = panel.get_xlim()
        assert [tick for tick in panel.get_xticks() if low <= tick <= high] == [1]


def test_the_record_is_what_the_script_makes_of_its_runs(tmp_path):
    real = REPO / "jobs" / "sheet" / "real"
    done = run(REPO, "results_sheet.py", "--runs", real, "--output", tmp_path, without="matplotlib")
    assert done.returncode == 0, done.stderr
    for name in ("results.csv", "results.md"):
        assert (tmp_path / name).read_bytes() == (real / name).read_bytes()


# ------------------------------------------------------------------------------------------------ handing in


def test_the_submission(results, tmp_path):
    add_trial(results, "1a", "mine")
    sheet(results)
    (results / "1a" / "my_idea.py").write_text("print('an idea')\n")
    (results / "common" / "__pycache__").mkdir()
    (results / "common" / "__pycache__" / "x.py").write_text("")
    for folder in (".venv", "preprocessed_data", "aclImdb"):
        (results / folder).mkdir()
        (results / folder / "x.py").write_text("")
    done = run(results, "make_submission.py", "doe", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "doe.zip") as archive:
        names = set(archive.namelist())
        assert archive.read("doe/results.pdf") == (results / "jobs" / "results" / "results.pdf").read_bytes()
        assert archive.read("doe/1a/my_idea.py") == b"print('an idea')\n"
    ours = {
        "README.md",
        "requirements.txt",
        "preprocess_data.py",
        "common/training/loop.py",
        "common/data/sample.toml",
        "jobs/1a.pbs",
        "jobs/trials.csv",
    }
    ours |= {
        "jobs/submit_all.sh",
        "tests/run.sh",
        "tests/stand_ins/launcher",
        "tests/requirements.txt",
        "3b/generate_review.py",
    }
    ours |= {f"{part}/{script}" for part in PARTS for script in PARTS[part][:2]}
    assert {f"doe/{name}" for name in ours} <= names
    unwanted = (".model", ".state", ".json", ".npy", ".pyc", "test.txt", "reviews.txt", ".png", "/x.py")
    assert not [
        name
        for name in names
        if name.endswith(unwanted) or "trials/" in name or "/real/" in name or name.startswith("doe/.")
    ]
    lines = done.stdout.splitlines()
    assert len(lines) == len(names) + 1
    size = (tmp_path / "doe.zip").stat().st_size
    assert lines[-1] == f"{tmp_path / 'doe.zip'}: {len(names)} files, {size:,} bytes"


def test_a_name_as_people_have_it(results, tmp_path):
    sheet(results)
    done = run(results, "make_submission.py", "van der Berg, Jan", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "van der Berg, Jan.zip").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["NAME"]),
        (["a/b"], ["'a/b' cannot be the name of a file"]),
        (["doe"], ["results.pdf", "results_sheet.py", "--sheet"]),
        (["doe", "--sheet", "README.md"], ["README.md is no PDF"]),
    ],
)
def test_bad_usage(arguments, words, results):
    refused(run(results, "make_submission.py", *arguments), *words)
    assert not list(results.glob("*.zip"))
