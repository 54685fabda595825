"""Makes the results sheet of all runs: results.csv, results.md and, where matplotlib is installed, results.pdf."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = map(str, Path(__file__).resolve().parents[:3])  # this folder, jobs/, and the folder of common/

from trials import read_trials as read_table

from common.distributed.ending import run_script
from common.errors import InputError
from common.files import REPOSITORY, make_directory, new_file
from common.training.options import OptionParser

# part: its title, and the test accuracy in percent that the handout reports
PARTS = {
    "1a": ("bag of words", "86 to 88"),
    "1b": ("bag of words, GloVe vectors (the handout: 840B, 300 dimensions)", "81 to 87"),
    "2a": ("LSTM", "87.25"),
    "2b": ("LSTM, GloVe vectors (the handout: 840B, 300 dimensions)", "91.19 at 500"),
    "3a": ("language model (accuracy: of the next words)", ""),
    "3c": ("LSTM, started from the language model", "93.01 at 500"),
}


class Tested(NamedTuple):
    """A line of a test script: the length of the crops, None for bags of words; the perplexity, for 3a only."""

    length: int | None
    accuracy: float
    loss: float
    perplexity: float | None


class Run(NamedTuple):
    """A training run: what stands in its folder's run.json and test.txt, and what jobs/trials.csv says of it."""

    part: str
    trial: str
    shows: str
    settings: str
    epochs: list
    note: str
    hardware: str
    written: str
    tested: list
    state: str

    def last(self, name):
        """The last epoch's figure of that name that there is, or None."""
        return next((epoch[name] for epoch in reversed(self.epochs) if name in epoch), None)

    def chosen_on(self):
        """On which reviews the best epoch was chosen: those held out, "validation", or else "test"."""
        return "validation" if self.last("validation_accuracy") is not None else "test"

    def best_epoch(self):
        """The number of the epoch, from 1, with the best accuracy where epochs are chosen, and its figures; or None."""
        name = f"{self.chosen_on()}_accuracy"
        tested = {number: epoch for number, epoch in enumerate(self.epochs, 1) if name in epoch}
        if not tested:
            return None
        number = max(tested, key=lambda number: tested[number][name])
        return number, tested[number]

    def by_length(self):
        """The accuracies of the test script as text: a dict from length."""
        return {tested.length: f"{tested.accuracy:.2f}" for tested in self.tested if tested.length}

    def best_length(self):
        """The `Tested` with the best accuracy, or None."""
        return max(self.tested, key=lambda tested: tested.accuracy, default=None)

    def accuracy(self, on):
        """The accuracy in percent by which trials are compared, `on` "validation" or "test", or None.

        The best one on the reviews held out; in tests the best of the test script, else the last one's.
        """
        if on == "validation":
            return 100 * self.best_epoch()[1]["validation_accuracy"]
        best = self.best_length()
        if best is not None:
            return best.accuracy
        last = self.last("test_accuracy")
        return None if last is None else 100 * last


# ---- gathering


def read_trials():
    """What jobs/trials.csv says that a trial shows: a dict from (part, trial) to text, in the table's order."""
    try:
        rows = read_table(REPOSITORY / "jobs" / "trials.csv")
    except ValueError as error:
        raise InputError(str(error)) from error
    return {(part, trial): shows for part, trial, _, _, shows in rows.values()}


def folders_of(top, part, order):
    """The folders of the part's runs below `top`: pairs of trial and folder, in the table's order, then by name."""
    folders = {"default": top / part}
    folders |= {path.name: path for path in sorted((top / part / "trials").glob("*/"))}
    ranks = {trial: rank for rank, (of_part, trial) in enumerate(order) if of_part == part}
    return sorted(folders.items(), key=lambda item: ranks.get(item[0], len(order)))


def read_tested(path):
    """The lines of a test script, a list of `Tested`. ValueError where they are anything else."""
    tested = []
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = [float(field) for field in line.removeprefix("whole ").split()]
        if len(fields) == 3:  # accuracy loss seconds
            tested.append(Tested(None, fields[0], fields[1], None))
        elif len(fields) in (4, 5):  # length accuracy loss seconds [perplexity]
            tested.append(Tested(int(fields[0]), fields[1], fields[2], fields[4] if len(fields) == 5 else None))
        else:
            raise ValueError(f"{line!r} is no line of a test script")
    return tested


def read_run(part, trial, folder, shows):
    """The `Run` in a folder. ValueError, KeyError or TypeError where run.json is damaged."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if run["part"] != part:
        raise ValueError(f"it is of part {run['part']}")
    no_of_epochs, asked = len(run["epochs"]), run["options"]["epochs"]
    state = "" if run["finished"] else f"not finished: {no_of_epochs} of {asked} epochs"
    tested = []
    if (folder / "test.txt").exists():
        tested = read_tested(folder / "test.txt")
    elif run["finished"]:
        state = "its test script was not run"
    epochs = [{name: float(value) for name, value in epoch.items()} for epoch in run["epochs"]]
    if any("train_accuracy" not in epoch for epoch in epochs):
        raise ValueError("an epoch has no figures")
    texts = (str(run[name]) for name in ("note", "hardware", "written"))
    settings = str(run["options"]["settings"])
    if trial == "default" and settings:
        shows = ""  # a default run with other options does not show what the table says
    return Run(part, trial, shows, settings, epochs, *texts, tested, state)


def gather(top, trials, sample):
    """All runs below `top`, of the made-up sample or all others: a list of `Run`, and a line of text on each that is
    damaged."""
    runs, damaged = [], []
    for part in PARTS:
        for trial, folder in folders_of(top, part, trials):
            not_trained = trial == "default" and not (folder / "run.json").exists()
            if (trial == "sample") != sample or not_trained:
                continue
            where = folder.relative_to(top)
            try:
                runs.append(read_run(part, trial, folder, trials.get((part, trial), "")))
            except OSError as error:
                damaged.append(f"{where}: {Path(error.filename).name} cannot be read ({error.strerror})")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                damaged.append(f"{where}: run.json or test.txt is damaged ({error!r})")
    return runs, damaged


def read_reviews(top, trials, sample):
    """What 3b generated: a dict from trial to lines."""
    folders = folders_of(top, "3b", trials)
    chosen = [(trial, folder / "reviews.txt") for trial, folder in folders if (trial == "sample") == sample]
    reviews = {trial: path.read_text(encoding="utf-8").splitlines() for trial, path in chosen if path.exists()}
    return {trial: lines for trial, lines in reviews.items() if any(lines)}


# ---- writing


def percent(share):
    return "" if share is None else f"{100 * share:.2f}"


def rows_of(runs):
    """The sheet's rows, a list of dicts from column to text, one a run."""
    best = {}
    for part in dict.fromkeys(run.part for run in runs):
        of_part = [run for run in runs if run.part == part]
        on = "validation" if all(run.chosen_on() == "validation" for run in of_part) else "test"
        compared = [run for run in of_part if run.accuracy(on) is not None]
        best[part] = max(compared, key=lambda run: run.accuracy(on), default=None)
    rows = []
    for run in runs:
        best_epoch, best_length = run.best_epoch(), run.best_length()
        seconds = sum(epoch["train_seconds"] for epoch in run.epochs)
        loss = run.last("test_loss")
        rows.append(
            {
                "part": run.part,
                "trial": run.trial,
                "best of the part": "best" if best[run.part] is run else "",
                "settings": run.settings,
                "epochs": str(len(run.epochs)),
                "train accuracy": percent(run.last("train_accuracy")),
                "train loss": "" if not run.epochs else f"{run.last('train_loss'):.4f}",
                "validation accuracy": percent(run.last("validation_accuracy")),
                "test accuracy": percent(run.last("test_accuracy")),
                "test loss": "" if loss is None else f"{loss:.4f}",
                "best test accuracy": "" if best_epoch is None else percent(best_epoch[1].get("test_accuracy")),
                "after epoch": "" if best_epoch is None else str(best_epoch[0]),
                "chosen on": "" if best_epoch is None else run.chosen_on(),
                "test script": "" if best_length is None else f"{best_length.accuracy:.2f}",
                "at length": str(best_length.length) if best_length and best_length.length else "",
                "perplexity": f"{best_length.perplexity:.2f}" if best_length and best_length.perplexity else "",
                "handout": PARTS[run.part][1] if run.trial in ("default", "sample") else "",
                "seconds an epoch": f"{seconds / max(1, len(run.epochs)):.1f}",
                "hardware": run.hardware,
                "written": run.written,
                "state": run.state,
                "what it shows": run.shows,
                "note": run.note,
            }
        )
    return rows


def lengths_of(runs):
    """The lengths that the test scripts of `runs` were run at, in order."""
    return sorted({length for run in runs for length in run.by_length()})


def csv_text(rows, runs):
    """The sheet for a spreadsheet: the rows, and a column for each length that a test script was run at."""
    text = io.StringIO()
    columns = [*rows[0], *(f"accuracy at {length}" for length in lengths_of(runs))]
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    for row, run in zip(rows, runs, strict=True):
        writer.writerow(row | {f"accuracy at {length}": accuracy for length, accuracy in run.by_length().items()})
    return text.getvalue()


# of the tables to read: column of the sheet and heading
COLUMNS = {
    "trial": "trial",
    "settings": "settings",
    "epochs": "epochs",
    "train accuracy": "train",
    "validation accuracy": "validation",
    "test accuracy": "test",
    "best test accuracy": "best test",
    "after epoch": "after epoch",
    "chosen on": "chosen on",
}


INTRODUCTION = """Accuracies in percent. After the last epoch: in training (train), on the reviews held out (validation)
and in the train script's test (test). The test of the best epoch (best test), after how many epochs it was, and whether
it was chosen on the reviews held out or on the test reviews themselves (chosen on). The best that the part's test
script printed, and at which length of crops (test script). The best trial of each part is marked: the best on the
reviews held out where all its trials have some, else the best of the test script.
"""


def markdown_table(header, rows):
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def part_tables(rows, runs):
    """For each part that has runs: its title, and tables (header, rows) of text."""
    for part, (title, _) in PARTS.items():
        of_part = [(row, run) for row, run in zip(rows, runs, strict=True) if run.part == part]
        if not of_part:
            continue
        header = [*COLUMNS.values(), "test script", "handout", "remarks"]
        table = []
        for row, _ in of_part:
            script = row["test script"] + (f" at {row['at length']}" if row["at length"] else "")
            script += f", perplexity {row['perplexity']}" if row["perplexity"] else ""
            remarks = "; ".join(
                filter(None, (row["best of the part"], row["state"], row["what it shows"], row["note"]))
            )
            table.append([*(row[column] for column in COLUMNS), script, row["handout"], remarks])
        if not any(row["validation accuracy"] for row, _ in of_part):
            unused = header.index("validation")
            for line in (header, *table):
                del line[unused]
        yield f"{part}: {title}", header, table
        lengths = lengths_of(run for _, run in of_part)
        if lengths:
            table = [
                [run.trial, *(run.by_length().get(length, "") for length in lengths)]
                for _, run in of_part
                if run.by_length()
            ]
            yield f"{part}: test accuracy by length", ["trial", *map(str, lengths)], table


def markdown_text(tables, damaged, reviews):
    """The sheet to read: the `part_tables`, what is wrong, and the generated reviews."""
    parts = ["# Results\n", INTRODUCTION]
    for heading, header, table in tables:
        parts += [f"## {heading}\n", markdown_table(header, table)]
    if damaged:
        parts += ["## Not read\n", "".join(f"- {line}\n" for line in damaged)]
    for trial, lines in reviews.items():
        parts += [f"## 3b: generated reviews, {trial}\n", "\n>\n".join(f"> {line}" for line in lines if line) + "\n"]
    return "\n".join(parts)


def write(path, content):
    with new_file(path) as file:
        file.write(content)
    print(path)


def main():
    parser = OptionParser(__doc__)
    add = parser.add_argument
    add("--runs", type=Path, default=REPOSITORY, metavar="DIR", help="where the folders 1a, 1b, … of the runs lie")
    add("--output", type=Path, default=REPOSITORY / "jobs" / "results", metavar="DIR", help="where the sheet goes")
    add("--sample", action="store_true", help="of the runs on the made-up sample, which are left out otherwise")
    options = parser.parse_args()

    trials = read_trials()
    runs, damaged = gather(options.runs, trials, options.sample)
    for line in damaged:
        print(f"warning: {line}", file=sys.stderr)
    if not runs:
        raise InputError(
            f"there are no results yet in {options.runs}; run a train script, or bash jobs/run_all.sh, first"
        )
    for run in runs:
        if run.state:
            print(f"{run.part} {run.trial}: {run.state}", file=sys.stderr)
    rows, reviews = rows_of(runs), read_reviews(options.runs, trials, options.sample)
    tables = list(part_tables(rows, runs))

    make_directory(options.output)
    write(options.output / "results.csv", csv_text(rows, runs).encode())
    write(options.output / "results.md", markdown_text(tables, damaged, reviews).encode())
    try:
        import results_pictures
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print("no pictures and no results.pdf: matplotlib is not installed (pip install matplotlib)", file=sys.stderr)
        return
    for name, content in results_pictures.draw(runs, tables, damaged, reviews):
        write(options.output / name, content)


if __name__ == "__main__":
    run_script(main)
