"""jobs/sheet/results_sheet.py and jobs/sheet/make_submission.py: what they gather, write, pack and say."""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import PARTS, REPO, TINY, refused, run_here, succeed, train
from twins import load_file

REVIEW = "a film that costs $ 5 | and more ."
ONE_EPOCH = {"train_accuracy": 0.64, "train_loss": 0.68, "train_seconds": 1}


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
    by_length = ["50 25.00 4.0000 1.0000 54.60", "60 25.50 3.9500 1.0000 51.94", "500 65.00 1.9000 2.0000 6.69"]
    (copy / "3a" / "test.txt").write_text("\n".join(by_length))
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
        env={**os.environ, "MPLBACKEND": "module://of.a.notebook"},  # which hands it down to what it starts
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
    assert {path.name for path in (results / "jobs" / "results").iterdir()} == set(names)

    found = rows(results)
    assert list(found) == [(part, "default") for part in PARTS]
    epochs = json.loads((results / "2a" / "run.json").read_text())["epochs"]
    row = found["2a", "default"]
    assert row["train accuracy"] == f"{100 * epochs[-1]['train_accuracy']:.2f}"
    assert row["test loss"] == f"{epochs[-1]['test_loss']:.4f}"
    best = max(epoch["test_accuracy"] for epoch in epochs if "test_accuracy" in epoch)
    assert row["best test accuracy"] == f"{100 * best:.2f}"
    assert epochs[int(row["best test epoch"])]["test_accuracy"] == best
    assert row["epoch of the model"] == str(len(epochs) - 1)
    assert (row["test script"], row["at length"]) == ("88.25", "400")
    assert (row["accuracy at 50"], row["accuracy at 60"], row["accuracy at 400"]) == ("70.00", "", "88.25")
    # not that of the longest crops, most of which is padding
    of_3a = [found["3a", "default"][column] for column in ("at length", "test script", "perplexity")]
    assert of_3a == ["60", "25.50", "51.94"]
    assert found["1a", "default"]["accuracy at 50"] == found["1a", "default"]["state"] == ""
    text = (results / "jobs" / "results" / "results.md").read_text()
    assert next(line for line in text.splitlines() if line.startswith("## ")) == "## 1a: bag of words"
    assert f"> {REVIEW}\n" in text


def test_trials_are_compared(results):
    worse = add_trial(
        results, "1a", "mine", note="a | remark", options={"settings": "--hidden-units 7 --remove-stop-words"}
    )
    (worse / "test.txt").write_text("80.00 0.5000 1.0000\n")
    better = add_trial(results, "1a", "overfits")
    (better / "test.txt").write_text("89.00 0.5000 1.0000\n")
    done = sheet(results, without="matplotlib")
    assert "warning" not in done.stderr
    found = rows(results)
    # those of the table come first
    assert [trial for part, trial in found if part == "1a"] == ["default", "overfits", "mine"]
    assert found["1a", "mine"]["settings"] == "'--hidden-units 7 --remove-stop-words"
    assert found["1a", "mine"]["note"] == "a | remark"
    assert "many units" in found["1a", "overfits"]["what it shows"]
    # it was trained with other settings than the handout's
    assert found["1a", "default"]["what it shows"] == ""
    text = (results / "jobs" / "results" / "results.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| mine ")]
    assert line.endswith("| a \\| remark |")


def validated(shares, **of_last):
    """Epochs with these accuracies on the reviews held out."""
    epochs = [{**ONE_EPOCH, "validation_accuracy": share, "validation_loss": 0.5} for share in shares]
    return [*epochs[:-1], epochs[-1] | of_last]


def test_a_run_is_compared_by_the_weights_that_it_kept(results):
    """The best epoch on the reviews held out counts only where its weights are the model's."""
    add_trial(results, "2b", "last", epochs=validated([0.8, 0.95, 0.7], test_accuracy=0.75), model_epoch=2)
    kept = validated([0.8, 0.9, 0.7])
    kept[1] |= {"test_accuracy": 0.85, "test_loss": 0.4}
    add_trial(results, "2b", "kept", epochs=kept, model_epoch=1)
    (results / "2b" / "run.json").unlink()
    sheet(results, without="matplotlib")
    found = rows(results)
    columns = ("epoch of the model", "validation accuracy", "test accuracy", "best test accuracy")
    assert [found["2b", "last"][column] for column in columns] == ["2", "70.00", "75.00", ""]
    assert [found["2b", "kept"][column] for column in columns] == ["1", "90.00", "85.00", ""]
    text = (results / "jobs" / "results" / "results.md").read_text()
    assert "kept, with a validation accuracy of 90.00, is 20.00 ahead of last. " in text


def test_a_training_records_which_epoch_it_kept(sample_data, tmp_path):
    for name, options in (("last", []), ("best", ["--early-stopping", 2])):
        succeed(train("1a", sample_data, tmp_path / name, "--epochs", 5, "--lr", 0.03, *options))
        record = json.loads((tmp_path / name / "run.json").read_text())
        accuracies = [epoch["test_accuracy"] for epoch in record["epochs"]]
        best = accuracies.index(max(accuracies))
        assert best < len(accuracies) - 1
        assert record["model_epoch"] == (best if options else len(accuracies) - 1)
        assert record["vectors"] is None


@pytest.mark.parametrize(
    ("options", "epochs", "number"),
    [
        ({}, [{"test_accuracy": 0.9}, {"test_accuracy": 0.8}, {"test_accuracy": 0.7}], "2"),
        ({"early_stopping": 2}, [{"test_accuracy": 0.8}, {"test_accuracy": 0.9}, {}, {"test_accuracy": 0.7}], "1"),
        ({"early_stopping": 2, "validation": 9}, validated([0.8, 0.9, 0.7]), "1"),
        ({"validation": 9}, validated([0.8, 0.9, 0.7], test_accuracy=0.6), "2"),
    ],
)
def test_records_that_do_not_tell_which_epoch_was_kept(options, epochs, number, results):
    folder = add_trial(results, "2b", "old", epochs=[ONE_EPOCH | epoch for epoch in epochs], options=options)
    record = json.loads((folder / "run.json").read_text())
    del record["model_epoch"], record["model"], record["vectors"]
    (folder / "run.json").write_text(json.dumps(record))
    sheet(results, without="matplotlib")
    assert rows(results)["2b", "old"]["epoch of the model"] == number


def seeds(results, part, accuracies, settings="", **options):
    """Trials of the same settings but the seed, tested with these accuracies."""
    for seed, accuracy in enumerate(accuracies):
        words = " ".join(filter(None, [settings, f"--seed {seed}" if seed else ""]))
        folder = add_trial(
            results, part, f"{settings[2:] or 'plain'}-seed{seed}", options={"settings": words} | options
        )
        record = json.loads((folder / "run.json").read_text())
        record["options"]["seed"] = seed
        (folder / "run.json").write_text(json.dumps(record))
        (folder / "test.txt").write_text(f"{accuracy:.2f} 0.3000 1.0000\n")


@pytest.mark.parametrize(
    ("plain", "tied", "sentence", "best"),
    [
        ([86, 87, 88], [89.5], "Best: tied-seed0, with a test accuracy of 89.50, is 2.50 ahead of plain-seed0, ", True),
        ([86, 87, 88], [87.5], "is 0.50 ahead of plain-seed0, plain-seed1, plain-seed2, within the spread of", False),
        ([86], [89.5], "is 3.50 ahead of plain-seed0. Whether that is more than the spread of the seeds is", False),
    ],
)
def test_best_is_what_is_better_by_more_than_the_spread_of_the_seeds(plain, tied, sentence, best, results):
    seeds(results, "1a", plain)
    seeds(results, "1a", tied, "--tied")
    (results / "1a" / "run.json").unlink()
    sheet(results, without="matplotlib")
    text = (results / "jobs" / "results" / "results.md").read_text()
    assert sentence in text
    found = rows(results)
    assert [trial for (_, trial), row in found.items() if row["best of the part"]] == ["tied-seed0"] * best
    row = found["1a", "plain-seed0"]
    if len(plain) > 1:
        assert "the same settings with n = 3 seeds; test accuracy: mean 87.00, standard deviation 1.00." in text
        assert (row["seeds"], row["mean of the seeds"], row["standard deviation"]) == ("3", "87.00", "1.00")
    else:
        assert (row["seeds"], row["mean of the seeds"], row["standard deviation"]) == ("", "", "")


def test_other_language_models_and_repeated_seeds_are_no_other_seeds(results):
    for trial, seed, language_model in (("a", 0, "x"), ("b", 1, "y"), ("c", 1, "y")):
        settings = f"--seed {seed}" if seed else ""
        options = {"settings": settings, "seed": seed, "language_model": f"3a/trials/{language_model}/language.model"}
        add_trial(results, "3c", trial, options=options)
    sheet(results, without="matplotlib")
    found = rows(results)
    assert not any(row["seeds"] for row in found.values())
    assert found["3c", "b"]["language model"] == "3a/trials/y/language.model"
    assert "--trial b --language-model 3a/trials/y/language.model --seed 1" in found["3c", "b"]["command"]


def test_the_handouts_figure_goes_with_the_handouts_settings(results):
    for trial, options in (
        ("mine", {"settings": ""}),
        ("again", {"settings": "--seed 3", "seed": 3}),
        ("other", {"settings": "--hidden-units 300"}),
    ):
        add_trial(results, "2a", trial, options=options)
    sheet(results, without="matplotlib")
    found = rows(results)
    figures = {trial: found["2a", trial]["handout"] for trial in ("mine", "again", "other", "default")}
    assert figures == {"mine": "87.25", "again": "87.25", "other": "", "default": ""}
    assert found["2a", "default"]["what it shows"] == ""

    shutil.copy(results / "2a" / "trials" / "again" / "run.json", results / "2a")
    sheet(results, without="matplotlib")
    row = rows(results)["2a", "default"]
    assert (row["handout"], row["what it shows"]) == ("87.25", "the handout's settings")


def test_a_run_can_be_copied_into_the_courses_sheet(results, sample_data):
    sheet(results, without="matplotlib")
    text = (results / "jobs" / "results" / "results.md").read_text()
    record = json.loads((results / "2b" / "run.json").read_text())
    (section,) = [section for section in text.split("### ") if section.startswith("2b default\n")]
    command, facts, *model = section.split("```")[1].strip().splitlines()
    assert command.startswith("python 2b/RNN_sentiment_analysis.py --")
    assert set(TINY["2b"].split()) - {"--test-every", "3"} <= set(command.split())  # 3 is the handout's
    assert facts == f"seed 0; {record['no_of_weights']:,} weights; CPU, 1 thread"
    assert model[0] == "RNN_model("
    assert "LSTM(" in "".join(model)
    # which vectors
    embeddings = np.load(sample_data / "glove_embeddings.npy", mmap_mode="r")
    expected = f"glove.sample.txt: {len(embeddings) - 1:,} words, {embeddings.shape[1]} dimensions"
    assert rows(results)["2b", "default"]["vectors"] == rows(results)["1b", "default"]["vectors"] == expected
    assert f"| {expected} |" in text

    del record["vectors"]["file"]  # as of a folder that the handout's own script made
    (results / "2b" / "run.json").write_text(json.dumps(record))
    sheet(results, without="matplotlib")
    assert rows(results)["2b", "default"]["vectors"] == expected.removeprefix("glove.sample.txt: ")


def test_what_is_not_whole_is_named(results):
    (add_trial(results, "1a", "running", finished=False) / "test.txt").unlink()
    (add_trial(results, "1a", "untested") / "test.txt").unlink()
    (add_trial(results, "1a", "torn") / "run.json").write_text('{"part": "1a"')
    (add_trial(results, "1a", "strange") / "test.txt").write_text("no figures\n")
    (add_trial(results, "2a", "cut-off") / "test.txt").write_text("50 70.00 0.6000 1.0000\n100 75.00 0.5")
    (add_trial(results, "2a", "failed") / "test.txt").write_text("50 70.00 0.6000 1.0000\nerror: out of memory\n")
    add_trial(results, "1a", "half", epochs=[{"train_accuracy": 0.5}])
    add_trial(results, "1a", "beyond", model_epoch=9)
    (results / "3b" / "reviews.txt").write_bytes(b"\xff")
    (add_trial(results, "1a", "gone") / "run.json").unlink()
    shutil.copy(results / "1b" / "run.json", add_trial(results, "1a", "other"))
    (add_trial(results, "1a", "list") / "run.json").write_text("[]")
    done = sheet(results, without="matplotlib")
    text = (results / "jobs" / "results" / "results.md").read_text()
    damaged = ["1a/trials/torn", "1a/trials/strange", "1a/trials/gone", "1a/trials/other", "1a/trials/list"]
    damaged += ["1a/trials/half", "1a/trials/beyond", "2a/trials/cut-off", "2a/trials/failed", "3b"]
    for where in damaged:
        (warning,) = [line for line in done.stderr.splitlines() if f"warning: {where}: " in line]
        assert warning.startswith("warning: ")
        assert f"- {warning.removeprefix('warning: ')}\n" in text
    found = rows(results)
    assert found["1a", "running"]["state"] == "not finished: 3 of 3 epochs"
    assert found["1a", "untested"]["state"] == "its test script was not run"
    assert "1a running: not finished" in done.stderr
    assert "Traceback" not in done.stderr


def test_messages_among_the_lines_are_passed_over(results, model_of, sample_data):
    """`2>&1 | tee test.txt` keeps what the scripts say, too."""

    def all_it_says(part, script, *options):
        options = ["--model", model_of(part), "--data", sample_data, "--device", "cpu", *options]
        done = succeed(run_here(script, *options))
        assert done.stderr.startswith("running on the CPU, ")
        return done.stderr + done.stdout

    for part in PARTS:
        lengths = ["--lengths", 30, 40] if part[0] != "1" else []
        says = all_it_says(part, f"{part}/{PARTS[part][1]}", *lengths)
        # and others speak, too
        (results / part / "test.txt").write_text(f"W1126 torch/distributed/run.py:1\n{says}")
    says = all_it_says("3a", "3b/generate_review.py", "--length", 5)
    unfinished = "3a/language.model is not trained to its end: it is that of epoch 3\n"
    (results / "3b" / "reviews.txt").write_text(unfinished + says)
    done = sheet(results, without="matplotlib")
    assert "warning" not in done.stderr
    found = rows(results)
    assert all(found[part, "default"]["test script"] for part in ("1a", "1b"))
    assert all(found[part, "default"]["accuracy at 40"] for part in ("2a", "2b", "3a", "3c"))
    text = (results / "jobs" / "results" / "results.md").read_text()
    assert "running on" not in text
    assert unfinished not in text
    reviews = says.splitlines()[-2:]
    assert all(f"> {review}\n" in text for review in reviews)


def test_notes_of_any_kind(results):
    """A note is cleaned where it is given; older records hold what was given."""
    notes = ["two\nlines | and\r\na byte \udcff", '=HYPERLINK("x")', "+1 point", "@home", "-0.5", "- less"]
    for number, note in enumerate(notes):
        add_trial(results, "1a", f"n{number}", note=note)
    sheet(results, without="matplotlib")
    found = rows(results)
    cells = [found["1a", f"n{number}"]["note"] for number in range(len(notes))]
    assert cells == ["two lines | and a byte ?", '\'=HYPERLINK("x")', "'+1 point", "'@home", "-0.5", "'- less"]
    text = (results / "jobs" / "results" / "results.md").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| n0 ")]
    assert line.endswith("| two lines \\| and a byte ? |")
    options = load_file("common/training/options.py").training_options("", epochs=1)
    assert options.parse_args(["--note", notes[0]]).note == "two lines | and a byte ?"


def test_what_lies_beside_the_trials(results):
    """Neither what a training moved out of the way nor an editor's folder is a trial."""
    add_trial(results, "1a", "mine")
    for folder in ("1a/previous", "1a/trials/previous", "1a/trials/mine/previous", "1a/trials/.ipynb_checkpoints"):
        (results / folder).mkdir()
        shutil.copy(results / "1a" / "test.txt", results / folder)
    done = sheet(results, without="matplotlib")
    assert "warning" not in done.stderr
    assert [trial for part, trial in rows(results) if part == "1a"] == ["default", "mine"]


def test_the_sample_has_a_sheet_of_its_own(results):
    add_trial(results, "2a", "sample", options={"settings": ""})
    (results / "3b" / "trials" / "sample").mkdir(parents=True)
    (results / "3b" / "trials" / "sample" / "reviews.txt").write_text("of the sample\n")
    sheet(results, "--output", "jobs/results", without="matplotlib")
    assert ("2a", "sample") not in rows(results)
    sheet(results, "--sample", "--output", "jobs/results")
    assert list(rows(results)) == [("2a", "sample")]
    text = (results / "jobs" / "results" / "results.md").read_text()
    assert text.startswith("# Results of the made-up sample\n")
    assert "of the sample\n" in text
    assert REVIEW not in text
    # the handout's figures are of other reviews
    assert rows(results)["2a", "sample"]["handout"] == ""
    assert "handout" not in text


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
    sheet(results, without="matplotlib")
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
    for number in range(10):
        add_trial(results, "1a", f"trial-{number:02}", note="a long remark on what one has learnt from it " * 9)
    add_trial(results, "3a", "W" * 60)
    sheet(results)
    folder = results / "jobs" / "results"
    assert len(list(folder.glob("learning_curves_1a*.png"))) == 3  # 11 trials
    # and a page for each other picture and the reviews, and some for the tables
    no_of_pictures = len(list(folder.glob("*.png")))
    assert (folder / "results.pdf").read_bytes().count(b"/Type /Page ") > no_of_pictures + 1 + 3


# ------------------------------------------------------------------------------------------------ pictures


def make_run(part="2a", trial="new", epochs=(ONE_EPOCH,), tested=(), model_epoch=0):
    """A `Run` of the sheet for a picture; `tested` are (length, accuracy)."""
    module = load_file("jobs/sheet/results_sheet.py")
    values = dict.fromkeys(module.Run._fields, "")
    values |= {"part": part, "trial": trial, "epochs": list(epochs), "model_epoch": model_epoch}
    values["tested"] = [module.Tested(length, accuracy, 0.5, None) for length, accuracy in tested]
    return module.Run(**values)


def pictures(*runs):
    """The pictures of the runs: a dict from name to figure."""
    figures = dict(load_file("jobs/sheet/results_pictures.py")._pictures(list(runs)))
    for figure in figures.values():
        figure.draw_without_rendering()
    return figures


def drawn(axes):
    """What is drawn: a dict from a line's label to its points, without those without a label."""
    lines = {line.get_label(): [tuple(map(float, point)) for point in line.get_xydata()] for line in axes.lines}
    return {label: points for label, points in lines.items() if not label.startswith("_")}


def epochs_of(*figures, split="test"):
    """Epochs with these (train accuracy, loss, accuracy, loss) of `split`; the last two may be missing."""
    names = ["train_accuracy", "train_loss", f"{split}_accuracy", f"{split}_loss"]
    return [dict(zip(names, epoch, strict=False)) for epoch in figures]


def test_the_learning_curves():
    epochs = epochs_of((0.5, 0.75), (0.625, 0.5, 0.5625, 0.625), (0.75, 0.25), (0.875, 0.125, 0.6875, 0.375))
    figure = pictures(make_run(epochs=epochs))["learning_curves_2a"]
    assert figure.get_suptitle() == "2a: learning curves"
    accuracy, loss = figure.axes
    # epochs are counted from 0, as they are printed
    assert drawn(accuracy) == {
        "training": [(0, 50), (1, 62.5), (2, 75), (3, 87.5)],
        "test": [(1, 56.25), (3, 68.75)],
    }
    assert drawn(loss) == {
        "training": [(0, 0.75), (1, 0.5), (2, 0.25), (3, 0.125)],
        "test": [(1, 0.625), (3, 0.375)],
    }
    assert (accuracy.get_ylabel(), loss.get_ylabel()) == ("accuracy, %", "loss")
    assert accuracy.get_title("left") == "new"


def test_the_one_test_of_a_run_with_validation_is_seen():
    epochs = epochs_of((0.5, 0.75, 0.5, 0.5), (0.75, 0.5, 0.75, 0.25), split="validation")
    epochs[-1] |= {"test_accuracy": 0.75, "test_loss": 0.25}  # right on the validation's last point
    accuracy, loss = pictures(make_run(epochs=epochs))["learning_curves_2a"].axes
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training", "validation", "test"]
    for axes, points in ((accuracy, [(0, 50), (1, 75)]), (loss, [(0, 0.5), (1, 0.25)])):
        assert drawn(axes)["validation"] == points
        assert drawn(axes)["test"] == points[1:]
        _, validation, test = axes.lines
        assert test.get_zorder() > validation.get_zorder()
        assert test.get_markersize() > 2 * validation.get_markersize()
        assert test.get_color() != validation.get_color()


def test_the_curves_of_one_epoch_without_a_test():
    accuracy, loss = pictures(make_run())["learning_curves_2a"].axes
    assert [text.get_text() for text in accuracy.get_legend().get_texts()] == ["training", "test"]
    for panel in (accuracy, loss):
        low, high = panel.get_xlim()
        assert [tick for tick in panel.get_xticks() if low <= tick <= high] == [0]


def test_all_trials_of_a_part_in_one_picture():
    runs = [
        make_run("1a", f"trial{number}", epochs_of((0.5, 0.75, number / 16, 0.5), (0.75, 0.5, 0.25, number)))
        for number in range(12)
    ]
    figures = pictures(*runs, make_run("1b"))
    assert "all_trials_1b" not in figures  # there is but one
    accuracy, loss = figures["all_trials_1a"].axes
    assert drawn(accuracy) == {f"trial{number}, test": [(0, 6.25 * number), (1, 25)] for number in range(12)}
    assert drawn(loss) == {f"trial{number}, test": [(0, 0.5), (1, number)] for number in range(12)}
    for axes, points in ((accuracy, [[0, 50], [1, 75]]), (loss, [[0, 0.75], [1, 0.5]])):
        assert [line.get_xydata().tolist() for line in axes.lines].count(points) == 12  # in training
        labelled = [line for line in axes.lines if line.get_label() in drawn(axes)]
        assert len({(line.get_color(), line.get_marker()) for line in labelled}) == 12
    (legend,) = figures["all_trials_1a"].legends
    assert [text.get_text() for text in legend.get_texts()] == [f"trial{number}, test" for number in range(12)]


def test_accuracy_by_length_and_on_whole_reviews():
    runs = [
        make_run("2a", "default", tested=[(400, 88), (50, 70)]),
        make_run("3c", "evening", tested=[("whole", 93.5)]),
        make_run("3c", "both", tested=[(50, 80), (400, 92), ("whole", 93)]),
        make_run("1a", "default", tested=[(None, 87)]),
        make_run("3a", "default", tested=[(50, 25), (100, 26)]),
    ]
    (axes,) = pictures(*runs)["accuracy_by_length"].axes
    lines = drawn(axes)
    (whole,) = {lines[f"3c {trial}, whole reviews"][0][0] for trial in ("evening", "both")}
    assert whole > 400
    assert lines == {
        "2a default": [(50, 70), (400, 88)],
        "3c evening, whole reviews": [(whole, 93.5)],
        "3c both": [(50, 80), (400, 92)],
        "3c both, whole reviews": [(whole, 93)],
    }
    labels = dict(zip(axes.get_xticks(), [label.get_text() for label in axes.get_xticklabels()], strict=True))
    assert labels[whole] == "whole\nreviews"
    assert labels[400] == "400"
    # of whole reviews alone
    (axes,) = pictures(runs[1])["accuracy_by_length"].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["whole\nreviews"]


def test_the_axis_of_perplexity_can_be_read():
    epochs = epochs_of((0.2, math.log(160), 0.2, math.log(100)), (0.3, math.log(45), 0.3, math.log(48)))
    runs = [make_run("3a", "one", epochs), make_run("3a", "other", epochs[:1])]
    (axes,) = pictures(*runs)["perplexity"].axes
    lines = drawn(axes)
    assert list(lines) == [
        *("one, training: 45.00 at the end", "one, test: 48.00 at the end"),
        *("other, training: 160.00 at the end", "other, test: 100.00 at the end"),
    ]
    assert lines["one, test: 48.00 at the end"] == [(0, pytest.approx(100)), (1, pytest.approx(48))]
    one, _, other, _ = axes.lines
    assert one.get_color() != other.get_color()
    low, high = axes.get_ylim()
    labels = {label.get_text() for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    assert {"50", "60", "100", "150"} <= labels
    ticks = [*axes.get_yticks(), *axes.get_yticks(minor=True)]
    assert min(abs(tick - 48) for tick in ticks if low <= tick <= high) < 1


# ------------------------------------------------------------------------------------------------ our own runs


def test_the_record_is_what_the_script_makes_of_its_runs(tmp_path):
    real = REPO / "jobs" / "sheet" / "real"
    done = run(REPO, "results_sheet.py", "--runs", real, "--output", tmp_path, without="matplotlib")
    assert done.returncode == 0, done.stderr
    for name in ("results.csv", "results.md"):
        assert (tmp_path / name).read_bytes() == (real / name).read_bytes()


# ------------------------------------------------------------------------------------------------ handing in


def test_the_submission(results, tmp_path):
    add_trial(results, "1a", "mine")
    (results / "jobs" / "results").mkdir()
    (results / "jobs" / "results" / "results.pdf").write_bytes(b"%PDF of the sheet")
    own = ["1a/my_idea.py", "my_script.py", "4a/model.py", "jobs/more_trials.csv"]
    unwanted = [".venv/x.py", "aclImdb/x.txt", "common/__pycache__/x.py", "1a/.ipynb_checkpoints/x.py"]
    unwanted += ["1a/log.csv", "1a/my_reviews.txt", "1a/previous/x.md", "env/pyvenv.cfg", "env/lib/x.py", "1a/.x.py"]
    for name in [*own, *unwanted]:
        (results / name).parent.mkdir(parents=True, exist_ok=True)
        (results / name).write_text("print('an idea')\n")
    os.utime(results / "1a" / "my_idea.py", (0, 0))  # zip files know no time before 1980
    done = run(results, "make_submission.py", "doe", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "doe.zip") as archive:
        names = set(archive.namelist())
        assert archive.read("doe/results.pdf") == b"%PDF of the sheet"
        assert archive.read("doe/1a/my_idea.py") == b"print('an idea')\n"
    # what git would pack, but for hidden files and our own results
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    code = {name for name in tracked.splitlines() if not name.startswith((".", "jobs/sheet/real/"))}
    assert names == {f"doe/{name}" for name in [*code, *own, "results.pdf"]}
    lines = done.stdout.splitlines()
    assert len(lines) == len(names) + 1
    size = (tmp_path / "doe.zip").stat().st_size
    assert lines[-1] == f"{tmp_path / 'doe.zip'}: {len(names)} files, {size:,} bytes"


def test_a_name_as_people_have_it(results, tmp_path):
    (tmp_path / "mine.pdf").write_bytes(b"%PDF")
    arguments = ["--sheet", tmp_path / "mine.pdf", "--output", tmp_path]
    done = run(results, "make_submission.py", "van der Berg, Jan", *arguments)
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
