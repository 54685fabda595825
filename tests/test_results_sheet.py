"""jobs/sheet/results_sheet.py and jobs/sheet/make_submission.py: what they gather, write, pack and say."""

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from argparse import Namespace
from pathlib import Path
from unittest import mock

import pytest
from conftest import PARTS, REPO, TINY, refused, run_here, succeed, train

sys.path.insert(0, str(REPO / "jobs" / "sheet"))

import results_pictures
import results_sheet

from common.training.options import plain_options, training_options

REVIEW = "a film that costs $ 5 | and more ."
PICTURES = [*(f"learning_curves_{part}.png" for part in PARTS), "accuracy_by_length.png", "perplexity.png"]


def epochs_of(*figures, split="test"):
    """Epochs of a run.json with these (train accuracy, loss, accuracy, loss) of `split`; the last two may miss."""
    names = ["train_accuracy", "train_loss", f"{split}_accuracy", f"{split}_loss"]
    return [{"train_seconds": 1.0} | dict(zip(names, epoch, strict=False)) for epoch in figures]


def write_run(top, part, trial="default", epochs=None, tested="80.00 0.5000 1.0000\n", settings="", **changes):
    """Writes the run.json and, unless `tested` is None, the test.txt of a run; returns its folder."""
    folder = top / part / ("" if trial == "default" else f"trials/{trial}")
    folder.mkdir(parents=True)
    epochs = epochs_of((0.64, 0.68)) if epochs is None else epochs
    options = {"settings": settings, "seed": 0, "epochs": 3, "test_length": 60} | changes.pop("options", {})
    run = {"part": part, "finished": True, "model_epoch": len(epochs) - 1, "vectors": None, "no_of_weights": 1000}
    run |= {"hardware": "CPU, 1 thread", "model": "model()", "note": "", "epochs": epochs, "options": options}
    (folder / "run.json").write_text(json.dumps(run | changes))
    if tested is not None:
        (folder / "test.txt").write_text(tested)
    return folder


def sheet(top, *arguments, pictures=False):
    """Makes the sheet of the runs in the folder `top`, in `top`/sheet; returns the finished process."""
    with mock.patch.dict(sys.modules, {} if pictures else {"matplotlib": None}):
        sys.modules.pop("results_pictures", None)
        output = ["--output", top / "sheet"]
        return succeed(run_here("jobs/sheet/results_sheet.py", "--runs", top, *output, *arguments))


def rows(top):
    with open(top / "sheet" / "results.csv", newline="") as file:
        return {(row["part"], row["trial"]): row for row in csv.DictReader(file)}


def text(top):
    return (top / "sheet" / "results.md").read_text()


def test_the_trainings_of_all_parts(tmp_path, tree, trained):
    for part in PARTS:
        (tmp_path / part).mkdir()
        shutil.copy(tree / part / "run.json", tmp_path / part)
        (tmp_path / part / "test.txt").write_text(
            "87.50 0.3100 0.1234\n" if part[0] == "1" else "50 70.00 0.6000 1.0000\n400 88.25 0.3000 4.0000\n"
        )
    by_length = ["50 25.00 4.0000 1.0000 54.60", "60 25.50 3.9500 1.0000 51.94", "500 65.00 1.9000 2.0000 6.69"]
    (tmp_path / "3a" / "test.txt").write_text("\n".join(by_length))
    done = sheet(tmp_path, pictures=True)
    names = ["results.csv", "results.md", *PICTURES, "results.pdf"]
    assert {path.name for path in (tmp_path / "sheet").iterdir()} == set(names)
    assert done.stderr == ""

    found = rows(tmp_path)
    assert list(found) == [(part, "default") for part in PARTS]
    epochs = json.loads((tmp_path / "2a" / "run.json").read_text())["epochs"]
    row = found["2a", "default"]
    assert row["train accuracy"] == f"{100 * epochs[-1]['train_accuracy']:.2f}"
    assert row["test loss"] == f"{epochs[-1]['test_loss']:.4f}"
    best = max(epoch["test_accuracy"] for epoch in epochs if "test_accuracy" in epoch)
    assert row["best test accuracy"] == f"{100 * best:.2f}"
    assert epochs[int(row["best test epoch"])]["test_accuracy"] == best
    assert row["epoch kept"] == str(len(epochs) - 1)
    assert (row["test script"], row["at length"]) == ("88.25", "400")
    assert (row["accuracy at 50"], row["accuracy at 60"], row["accuracy at 400"]) == ("70.00", "", "88.25")
    # not that of the longest crops, most of which is padding
    of_3a = [found["3a", "default"][column] for column in ("test script", "at length", "perplexity")]
    assert of_3a == ["25.50", "60", "51.94"]
    assert found["1a", "default"]["accuracy at 50"] == found["1a", "default"]["state"] == ""
    assert re.fullmatch(r"glove.sample.txt: [\d,]+ words, \d+ dimensions", found["2b", "default"]["vectors"])
    # the table that is printed
    header, *lines, last = done.stdout.splitlines()
    assert header.split("  ")[0] == "part"
    assert [line.split()[0] for line in lines] == list(PARTS)
    assert lines[4].split()[-3:] == of_3a
    assert last == f"{tmp_path / 'sheet'}: results.csv, results.md, results.pdf"
    # what can be copied into the course's sheet
    record = json.loads((tmp_path / "2b" / "run.json").read_text())
    (section,) = [section for section in text(tmp_path).split("### ") if section.startswith("2b default\n")]
    command, facts, *model = section.split("```")[1].strip().splitlines()
    assert command.startswith("python 2b/RNN_sentiment_analysis.py --")
    assert set(TINY["2b"].split()) - {"--test-every", "3"} <= set(command.split())  # 3 is the handout's
    assert facts == f"seed 0; {record['no_of_weights']:,} weights; CPU, 1 thread"
    assert model[0] == "RNN_model("
    assert "LSTM(" in "".join(model)


def test_trials_and_notes(tmp_path):
    """The table's trials come first; notes that are formulas to a spreadsheet, or that end a cell, do no harm."""
    write_run(tmp_path, "1a", settings="--hidden-units 7")
    notes = ["a | remark", '=HYPERLINK("x")', "+1 point", "@home", "-0.5", "- less"]
    for number, note in enumerate(notes):
        write_run(tmp_path, "1a", f"n{number}", note=note, settings="--lr 1")
    write_run(tmp_path, "1a", "overfits", settings="--dropout 0.0")
    assert "warning" not in sheet(tmp_path).stderr
    found = rows(tmp_path)
    assert [trial for _, trial in found][:3] == ["default", "overfits", "n0"]
    cells = [found["1a", f"n{number}"]["note"] for number in range(len(notes))]
    assert cells == ["a | remark", '\'=HYPERLINK("x")', "'+1 point", "'@home", "-0.5", "'- less"]
    assert found["1a", "overfits"]["settings"] == "'--dropout 0.0"
    assert "many units" in found["1a", "overfits"]["what it shows"]
    assert found["1a", "default"]["what it shows"] == ""  # it has other settings than the table's
    (line,) = [line for line in text(tmp_path).splitlines() if line.startswith("| n0 ")]
    assert line.endswith("| a \\| remark |")


def test_paths_are_told_from_the_top_directory_on(monkeypatch):
    monkeypatch.chdir(REPO / "3c")
    paths = {"../3a/language.model": "3a/language.model", "../../imdb": "../imdb", f"{REPO}/1a": "1a", "/data": "/data"}
    found = plain_options(Namespace(output=Path("trials"), teachers=[*map(Path, paths)]))
    assert found == {"output": "3c/trials", "teachers": [*paths.values()]}


def test_a_note_is_one_line():
    assert training_options("", epochs=1).parse_args(["--note", "two\nlines \udcff"]).note == "two lines ?"


def test_a_run_is_compared_by_the_weights_that_it_kept(tmp_path):
    """The best epoch on the reviews held out counts only where its weights are the model's."""
    figures = [(0.5, 0.6, share, 0.5) for share in (0.8, 0.95, 0.7)]
    write_run(tmp_path, "2b", "last", epochs_of(*figures, split="validation"))
    kept = epochs_of(*figures, split="validation")
    kept[1] |= {"test_accuracy": 0.85, "test_loss": 0.4, "validation_accuracy": 0.9}
    write_run(tmp_path, "2b", "kept", kept, model_epoch=1, settings="--early-stopping 2")
    sheet(tmp_path)
    found = rows(tmp_path)
    columns = ("epoch kept", "validation accuracy", "test accuracy", "best test accuracy")
    assert [found["2b", "last"][column] for column in columns] == ["2", "70.00", "", ""]
    assert [found["2b", "kept"][column] for column in columns] == ["1", "90.00", "85.00", ""]
    assert "kept, with a validation accuracy of 90.00, is 20.00 ahead of last. " in text(tmp_path)


def test_a_training_records_which_epoch_it_kept(sample_data, tmp_path):
    succeed(train("1a", sample_data, tmp_path, "--epochs", 5, "--lr", 0.03, "--early-stopping", 2))
    record = json.loads((tmp_path / "run.json").read_text())
    accuracies = [epoch["test_accuracy"] for epoch in record["epochs"]]
    assert record["model_epoch"] == accuracies.index(max(accuracies)) < len(accuracies) - 1
    assert record["vectors"] is None


@pytest.mark.parametrize(
    ("plain", "tied", "sentence", "best"),
    [
        (
            [86, 87, 88],
            89.5,
            "tied, with a test accuracy of 89.50, is 2.50 ahead of plain0, plain1, plain2. It is the best",
            True,
        ),
        ([86, 87, 88], 87.5, "is 0.50 ahead of plain0, plain1, plain2. None is best: that is within", False),
        ([86], 89.5, "is 3.50 ahead of plain0. Whether that is more than the spread of the seeds is", False),
    ],
)
def test_best_is_what_is_better_by_more_than_the_spread_of_the_seeds(plain, tied, sentence, best, tmp_path):
    for seed, accuracy in enumerate(plain):
        tested, settings = f"{accuracy:.2f} 0.3000 1.0000\n", f"--seed {seed}" if seed else ""
        write_run(tmp_path, "1a", f"plain{seed}", tested=tested, settings=settings, options={"seed": seed})
    write_run(tmp_path, "1a", "tied", tested=f"{tied:.2f} 0.3000 1.0000\n", settings="--tied")
    write_run(tmp_path, "1a", "cut-off", tested="99.00 0.3000 1.0000\n", settings="--lr 1", finished=False)
    sheet(tmp_path)
    assert sentence in text(tmp_path)
    found = rows(tmp_path)
    assert [trial for (_, trial), row in found.items() if row["best"]] == ["tied"] * best
    of_seeds = [found["1a", "plain0"][column] for column in ("mean of the seeds", "standard deviation")]
    assert of_seeds == (["87.00", "1.00"] if len(plain) > 1 else ["", ""])
    several = "the same settings with n = 3 seeds; test accuracy: mean 87.00, standard deviation 1.00."
    assert (several in text(tmp_path)) == (len(plain) > 1)


def test_other_language_models_and_repeated_seeds_are_no_other_seeds(tmp_path):
    several = ("a", 0, "x"), ("b", 1, "y"), ("c", 1, "y"), ("d", 0, "z"), ("d-seed1", 1, "z-seed1")
    for trial, seed, language_model in several:
        options = {"seed": seed, "language_model": f"3a/trials/{language_model}/language.model"}
        write_run(tmp_path, "3c", trial, settings=f"--seed {seed}", options=options)
    sheet(tmp_path)
    found = rows(tmp_path)
    # a language model of another seed belongs to another seed
    assert {trial for (_, trial), row in found.items() if row["mean of the seeds"]} == {"d", "d-seed1"}
    assert found["3c", "b"]["language model"] == "3a/trials/y/language.model"
    assert "--trial b --language-model 3a/trials/y/language.model --seed 1" in found["3c", "b"]["command"]


def test_language_models_are_compared_by_perplexity_and_with_their_seeds_alone(tmp_path):
    several = ("a", "--seed 0", 0, 50), ("a-seed1", "--seed 1", 1, 52), ("b", "--backwards", 0, 45)
    for trial, settings, seed, perplexity in several:
        tested = f"60 30.00 4.0000 1.0000 {perplexity}.00\n"
        write_run(tmp_path, "3a", trial, tested=tested, settings=settings, options={"seed": seed})
    sheet(tmp_path)
    assert "a, a-seed1: the same settings with n = 2 seeds; test perplexity: mean 51.00" in text(tmp_path)
    assert " ahead of " not in text(tmp_path)
    assert not any(row["best"] for row in rows(tmp_path).values())


def test_the_handouts_figure_goes_with_the_handouts_settings(tmp_path):
    write_run(tmp_path, "2a")
    again = "--precision bf16 --seed 3 --test-every 20"
    for trial, settings in (("mine", ""), ("again", again), ("other", "--hidden-units 300")):
        write_run(tmp_path, "2a", trial, settings=settings)
    sheet(tmp_path)
    figures = {trial: row["handout"] for (_, trial), row in rows(tmp_path).items()}
    assert figures == {"default": "87.25", "mine": "87.25", "again": "87.25", "other": ""}
    assert rows(tmp_path)["2a", "default"]["what it shows"] == "the handout's settings"


def test_what_is_not_whole_is_named(tmp_path):
    write_run(tmp_path, "1a", "running", tested=None, finished=False)
    write_run(tmp_path, "1a", "untested", tested=None)
    (write_run(tmp_path, "1a", "torn") / "run.json").write_text('{"part": "1a"')
    (write_run(tmp_path, "1a", "gone") / "run.json").unlink()
    write_run(tmp_path, "1a", "half", [{"train_accuracy": 0.5}])
    write_run(tmp_path, "1a", "strange", tested="no figures\n")
    write_run(tmp_path, "2a", "cut-off", tested="50 70.00 0.6000 1.0000\n100 75.00 0.5")
    write_run(tmp_path, "2a", "failed", tested="50 70.00 0.6000 1.0000\nerror: out of memory\n")
    done = sheet(tmp_path)
    damaged = [f"1a/trials/{trial}" for trial in ("torn", "gone", "half", "strange")]
    for where in [*damaged, "2a/trials/cut-off", "2a/trials/failed"]:
        (warning,) = [line for line in done.stderr.splitlines() if line.startswith(f"warning: {where}: ")]
        assert f"{warning.removeprefix('warning: ')}\n" in text(tmp_path)
    found = rows(tmp_path)
    assert list(found) == [("1a", "running"), ("1a", "untested")]
    assert found["1a", "running"]["state"] == "not finished: 1 of 3 epochs"
    assert found["1a", "untested"]["state"] == "its test script was not run"
    assert "not finished: 1 of 3 epochs" in done.stdout


def test_messages_among_the_lines_are_passed_over(tmp_path, model_of, sample_data):
    """`2>&1 | tee test.txt` keeps what the scripts say, too."""
    options = ["--model", model_of("3a"), "--data", sample_data, "--device", "cpu", "--lengths", 60]
    done = succeed(run_here("3a/RNN_language_test.py", *options))
    assert done.stderr.startswith("running on the CPU, ")
    write_run(tmp_path, "3a", tested=f"W1126 torch/distributed/run.py:1\n{done.stderr}{done.stdout}")
    assert "warning" not in sheet(tmp_path).stderr
    assert rows(tmp_path)["3a", "default"]["accuracy at 60"]


def test_a_run_in_its_first_epoch(tmp_path):
    run = {"epochs": [], "model_epoch": -1, "finished": False}
    for part in ("1a", "3a"):
        write_run(tmp_path, part, tested=None, **run)
        write_run(tmp_path, part, "done")
    assert "warning" not in sheet(tmp_path, pictures=True).stderr
    found = rows(tmp_path)
    for part in ("1a", "3a"):
        assert found[part, "default"]["state"] == "not finished: 0 of 3 epochs"
        assert found[part, "default"]["epoch kept"] == found[part, "default"]["seconds an epoch"] == ""


def test_what_lies_beside_the_trials(tmp_path):
    """Neither what a training moved out of the way nor an editor's folder is a trial."""
    write_run(tmp_path, "1a", "mine")
    for folder in ("1a/previous", "1a/trials/mine/previous", "1a/trials/.ipynb_checkpoints"):
        (tmp_path / folder).mkdir()
        shutil.copy(tmp_path / "1a/trials/mine/test.txt", tmp_path / folder)
    assert "warning" not in sheet(tmp_path).stderr
    assert list(rows(tmp_path)) == [("1a", "mine")]


def test_the_sample_has_a_sheet_of_its_own(tmp_path):
    write_run(tmp_path, "2a")
    write_run(tmp_path, "2a", "sample")
    for folder, review in (("3b", REVIEW), ("3b/trials/sample", "of the sample")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "reviews.txt").write_text(f"{review}\n")
    sheet(tmp_path)
    assert list(rows(tmp_path)) == [("2a", "default")]
    assert f"{REVIEW}\n" in text(tmp_path)
    sheet(tmp_path, "--sample")
    assert list(rows(tmp_path)) == [("2a", "sample")]
    assert text(tmp_path).startswith("# Results of the made-up sample\n")
    assert "of the sample\n" in text(tmp_path)
    assert REVIEW not in text(tmp_path)
    # the handout's figures are of other reviews
    assert rows(tmp_path)["2a", "sample"]["handout"] == ""
    assert "handout" not in text(tmp_path)


def test_without_matplotlib_and_without_results(tmp_path):
    refused(run_here("jobs/sheet/results_sheet.py", "--runs", tmp_path, "--output", tmp_path / "sheet"), "no results")
    assert not (tmp_path / "sheet").exists()
    write_run(tmp_path, "1a")
    assert "pip install matplotlib" in sheet(tmp_path).stderr
    assert sorted(path.name for path in (tmp_path / "sheet").iterdir()) == ["results.csv", "results.md"]


def test_the_pages_of_the_pdf():
    """A table is on one page, text of any length on several, and nothing of them is lost."""
    table = [["trial", "note"], *([f"trial-{number}", f"costs $ {number} " * 30] for number in range(40))]
    details = [(f"1a trial-{number}", "python 1a\nmodel(\n  (fc): Linear()\n)") for number in range(40)]
    section = results_sheet.Section("1a: bag of words", [table], ["A sentence. " * 40], details)
    page, *pages = results_pictures._pages(section)
    page.draw_without_rendering()
    cells = next(iter(page.axes[0].tables)).get_celld()
    for (row, column), cell in cells.items():
        assert cell.get_text().get_text().split() == table[row][column].split()
        assert cell.get_text().get_window_extent().height < cell.get_window_extent().height  # none on another
    assert len(cells) == 2 * len(table)
    words = " ".join(text.get_text() for page in pages for text in page.texts).split()
    assert (words.count("(fc):"), words.count("sentence.")) == (40, 40)
    assert len(pages) > 1
    for page in pages:
        box = page.texts[0].get_window_extent()
        assert box.y0 >= 0
        assert box.x1 <= page.bbox.x1


# ------------------------------------------------------------------------------------------------ pictures


@pytest.fixture
def pictures(tmp_path):
    """A function that writes runs, each a dict of `write_run`'s arguments, and returns a dict from a picture's name to
    its figure."""

    def pictures(*runs):
        runs = [{"part": "2a", "trial": "new"} | run for run in runs]
        read = [results_sheet.Run(run["part"], run["trial"], write_run(tmp_path, **run), "") for run in runs]
        figures = dict(results_pictures._pictures(read))
        for figure in figures.values():
            figure.draw_without_rendering()
        return figures

    return pictures


def drawn(axes):
    """What is drawn: a dict from a line's label to its points, without those without a label."""
    lines = {line.get_label(): [tuple(map(float, point)) for point in line.get_xydata()] for line in axes.lines}
    return {label: points for label, points in lines.items() if not label.startswith("_")}


def labels_of(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_the_learning_curves(pictures):
    epochs = epochs_of((0.5, 0.75), (0.625, 0.5, 0.5625, 0.625), (0.75, 0.25), (0.875, 0.125, 0.6875, 0.375))
    found = pictures({"epochs": epochs}, {"part": "2b"})
    assert not [name for name in found if name.startswith("all_trials")]  # a part has but one
    accuracy, loss = found["learning_curves_2a"].axes
    # epochs are counted from 0, as they are printed
    training = [(0, 50), (1, 62.5), (2, 75), (3, 87.5)]
    assert drawn(accuracy) == {"training": training, "test": [(1, 56.25), (3, 68.75)]}
    training = [(0, 0.75), (1, 0.5), (2, 0.25), (3, 0.125)]
    assert drawn(loss) == {"training": training, "test": [(1, 0.625), (3, 0.375)]}
    assert (accuracy.get_ylabel(), loss.get_ylabel(), accuracy.get_title("left")) == ("accuracy, %", "loss", "new")
    # one epoch without a test
    accuracy, _ = found["learning_curves_2b"].axes
    assert labels_of(accuracy.get_legend()) == ["training", "test"]
    low, high = accuracy.get_xlim()
    assert [tick for tick in accuracy.get_xticks() if low <= tick <= high] == [0]


def test_the_one_test_of_a_run_with_validation_is_seen(pictures):
    epochs = epochs_of((0.5, 0.75, 0.5, 0.5), (0.75, 0.5, 0.75, 0.25), split="validation")
    epochs[-1] |= {"test_accuracy": 0.75, "test_loss": 0.25}  # right on the validation's last point
    axes, _ = pictures({"epochs": epochs})["learning_curves_2a"].axes
    assert labels_of(axes.get_legend()) == ["training", "validation", "test"]
    assert drawn(axes)["validation"] == [(0, 50), (1, 75)]
    assert drawn(axes)["test"] == [(1, 75)]
    _, validation, test = axes.lines
    assert test.get_zorder() > validation.get_zorder()
    assert test.get_markersize() > 2 * validation.get_markersize()
    assert test.get_color() != validation.get_color()


def test_all_trials_of_a_part_in_one_picture(pictures):
    figures = [[(0.5, 0.75, number / 16, 0.5), (0.75, 0.5, 0.25, number)] for number in range(12)]
    runs = [{"part": "1a", "trial": f"t{i}", "epochs": epochs_of(*of_one)} for i, of_one in enumerate(figures)]
    found = pictures(*runs)
    assert [*found][:4] == ["learning_curves_1a", "learning_curves_1a_2", "learning_curves_1a_3", "all_trials_1a"]
    accuracy, loss = found["all_trials_1a"].axes
    assert drawn(accuracy) == {f"t{number}, test": [(0, 6.25 * number), (1, 25)] for number in range(12)}
    assert drawn(loss) == {f"t{number}, test": [(0, 0.5), (1, number)] for number in range(12)}
    assert [line.get_xydata().tolist() for line in accuracy.lines].count([[0, 50], [1, 75]]) == 12  # in training
    labelled = [line for line in accuracy.lines if line.get_label() in drawn(accuracy)]
    assert len({(line.get_color(), line.get_marker()) for line in labelled}) == 12
    assert labels_of(*found["all_trials_1a"].legends) == [f"t{number}, test" for number in range(12)]


def test_accuracy_by_length_and_on_whole_reviews(pictures):
    evening = {"part": "3c", "trial": "evening", "tested": "whole 93.50 0.5000 1.0000\n"}
    both = "50 80.00 0.5000 1.0000\n400 92.00 0.5000 1.0000\nwhole 93.00 0.5000 1.0000\n"
    (axes,) = pictures(
        {"trial": "mine", "tested": "400 88.00 0.5000 1.0000\n50 70.00 0.5000 1.0000\n"},
        evening,
        {"part": "3c", "trial": "both", "tested": both},
        {"part": "1a"},
        {"part": "3a", "tested": "50 25.00 0.5000 1.0000 54.60\n"},
    )["accuracy_by_length"].axes
    lines = drawn(axes)
    (whole,) = {lines[f"3c {trial}, whole reviews"][0][0] for trial in ("evening", "both")}
    assert whole > 400
    assert lines == {
        "2a mine": [(50, 70), (400, 88)],
        "3c evening, whole reviews": [(whole, 93.5)],
        "3c both": [(50, 80), (400, 92)],
        "3c both, whole reviews": [(whole, 93)],
    }
    labels = dict(zip(axes.get_xticks(), [label.get_text() for label in axes.get_xticklabels()], strict=True))
    assert labels[whole] == "whole\nreviews"
    assert labels[400] == "400"
    (axes,) = pictures(evening | {"trial": "alone"})["accuracy_by_length"].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["whole\nreviews"]


def test_the_axis_of_perplexity_can_be_read(pictures):
    epochs = epochs_of((0.2, math.log(160), 0.2, math.log(100)), (0.3, math.log(45), 0.3, math.log(48)))
    untested = [{name: value for name, value in epochs[0].items() if name.startswith("train_")}]
    several = {"one": epochs, "other": epochs[:1], "untested": untested}
    runs = [{"trial": trial, "epochs": epochs} for trial, epochs in several.items()]
    picture = pictures(*({"part": "3a", "tested": None} | run for run in runs))["perplexity"]
    (axes,) = picture.axes
    lines = drawn(axes)
    last = ["one, test: 48.00 at the end", "other, test: 100.00 at the end", "untested, training: 160.00 at the end"]
    assert labels_of(*picture.legends) == last
    assert lines["one, test: 48.00 at the end"] == [(0, pytest.approx(100)), (1, pytest.approx(48))]
    assert [*map(len, lines.values())] == [2, 1, 1]
    assert lines["untested, training: 160.00 at the end"] == [(0, pytest.approx(160))]
    dashed = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "--"]
    assert [*map(list, dashed)] == [pytest.approx([160, 45]), pytest.approx([160]), pytest.approx([160])]  # in training
    assert len({line.get_color() for line in axes.lines}) == 3
    low, high = axes.get_ylim()
    labels = {label.get_text() for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    assert {"50", "60", "100", "150"} <= labels
    ticks = [*axes.get_yticks(), *axes.get_yticks(minor=True)]
    assert min(abs(tick - 48) for tick in ticks if low <= tick <= high) < 1


# ------------------------------------------------------------------------------------------------ our own runs


def test_the_record_is_what_the_script_makes_of_its_runs(tmp_path):
    real = REPO / "jobs" / "sheet" / "real"
    with mock.patch.dict(sys.modules, {"matplotlib": None}):
        sys.modules.pop("results_pictures", None)
        succeed(run_here("jobs/sheet/results_sheet.py", "--runs", real, "--output", tmp_path))
    for name in ("results.csv", "results.md"):
        assert (tmp_path / name).read_bytes() == (real / name).read_bytes()


# ------------------------------------------------------------------------------------------------ handing in


def test_the_submission(tmp_path):
    collection = tmp_path / "collection"
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout
    # what git would pack, but for hidden files and our own results
    code = [name for name in tracked.splitlines() if not name.startswith((".", "jobs/sheet/real/"))]
    own = ["1a/my_idea.py", "4a/model.py", "jobs/more_trials.csv"]
    unwanted = ["aclImdb/x.txt", "common/__pycache__/x.py", "1a/.ipynb_checkpoints/x.py", "1a/log.csv", "1a/.x.py"]
    unwanted += ["1a/previous/x.md", "1a/trials/mine/x.py", "env/pyvenv.cfg", "env/lib/x.py", "jobs/results/results.md"]
    for name in [*code, *own, *unwanted]:
        (collection / name).parent.mkdir(parents=True, exist_ok=True)
        if name in code:
            shutil.copy(REPO / name, collection / name)
        else:
            (collection / name).write_text("print('an idea')\n")
    os.utime(collection / "1a" / "my_idea.py", (0, 0))  # zip files know no time before 1980

    def pack(name):
        command = [sys.executable, collection / "jobs/sheet/make_submission.py", name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    refused(pack("a/b"), "'a/b' cannot be the name of a file")
    refused(pack("doe"), "there is no ", "results.pdf; install matplotlib, and run jobs/sheet/results_sheet.py first")
    assert not list(tmp_path.glob("*.zip"))
    (collection / "jobs/results/results.pdf").write_bytes(b"%PDF of the sheet")
    done = succeed(pack("van der Berg, Jan"))
    path = tmp_path / "van der Berg, Jan.zip"
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        assert archive.read("van der Berg, Jan/results.pdf") == b"%PDF of the sheet"
        assert archive.read("van der Berg, Jan/1a/my_idea.py") == b"print('an idea')\n"
    assert names == {f"van der Berg, Jan/{name}" for name in [*code, *own, "results.pdf"]}
    lines = done.stdout.splitlines()
    assert len(lines) == len(names) + 1
    assert lines[-1] == f"{path.name}: {len(names)} files, {path.stat().st_size:,} bytes"
