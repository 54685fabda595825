"""Makes the results sheet of all runs: results.csv, results.md and, where matplotlib is installed, results.pdf."""

import csv
import io
import json
import math
import re
import shlex
import statistics
import sys
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = map(str, Path(__file__).resolve().parents[:3])  # this folder, jobs/, and the folder of common/

from trials import read_trials as read_table

from common.distributed.ending import run_script
from common.errors import InputError
from common.files import REPOSITORY, make_directory, new_file, no_formula
from common.training.options import OptionParser, remark

# part: its title, its train script, and the test accuracy in percent that the handout reports
PARTS = {
    "1a": ("bag of words", "BOW_sentiment_analysis.py", "86 to 88"),
    "1b": ("bag of words, GloVe vectors", "BOW_sentiment_analysis.py", "81 to 87 (840B, 300 d)"),
    "2a": ("LSTM", "RNN_sentiment_analysis.py", "87.25"),
    "2b": ("LSTM, GloVe vectors", "RNN_sentiment_analysis.py", "91.19 at 500 (840B, 300 d)"),
    "3a": ("language model (accuracy: of the next words)", "train_language_model.py", ""),
    "3c": (
        "LSTM, started from the language model",
        "RNN_sentiment_analysis.py",
        "93.01 at 500 (after 75 epochs of 3a)",
    ),
}

WHOLE = "whole"

# a line of a test script, [length] accuracy loss seconds [perplexity], and how a line begins that should be one, or
# that says that the script failed; all others are messages, which `2>&1` puts there
FIGURES = re.compile(r"(?:(whole|\d+) )?(\d+\.\d\d) (\d+\.\d{4}|nan|inf) \d+\.\d{4}(?: (\d+\.\d\d|nan|inf))?")
BROKEN = re.compile(r"\d|whole|\0|error: |interrupted|Traceback")
# 3b's own messages: else any line can be a review
MESSAGE = re.compile(
    r"running (\d+ processes, each )?on (the CPU, \d+ threads?|CUDA: .*)"
    r"|.* is not trained to its end: it is that of epoch \d+|warning: .*"
)


def without_seed(settings):
    return re.sub(r"--seed \d+ ?", "", settings).strip()


class Tested(NamedTuple):
    """A line of a test script: the length of the crops, "whole" or, of bags of words, None; the perplexity of 3a."""

    length: int | str | None
    accuracy: float
    loss: float
    perplexity: float | None


class Run(NamedTuple):
    """A training run: what stands in its folder's run.json and test.txt, and what jobs/trials.csv says of it.

    `epochs` holds a dict of figures for each epoch, and `model_epoch` is the number, from 0, of the one whose weights
    the model has.
    """

    part: str
    trial: str
    shows: str
    settings: str
    command: str
    seed: int
    vectors: str
    language_model: str
    epochs: list
    model_epoch: int
    test_length: int | None
    model: str
    no_of_weights: int
    note: str
    hardware: str
    written: str
    tested: list
    is_finished: bool
    state: str

    def of_model(self, name):
        """The figure of that name of the epoch whose weights the model has, or None."""
        return self.epochs[self.model_epoch].get(name)

    def holds_out(self):
        """Whether training reviews were held out for validation."""
        return any("validation_accuracy" in epoch for epoch in self.epochs)

    def best_test(self):
        """The number of the epoch with the best test, chosen on the test reviews themselves; None where some were held
        out."""
        tested = [number for number, epoch in enumerate(self.epochs) if "test_accuracy" in epoch]
        if self.holds_out() or not tested:
            return None
        return max(tested, key=lambda number: self.epochs[number]["test_accuracy"])

    def by_length(self):
        """The accuracies of the test script as text: a dict from length."""
        return {tested.length: f"{tested.accuracy:.2f}" for tested in self.tested if tested.length}

    def headline(self):
        """The `Tested` that stands for the run, or None: the best one; of a language model, which predicts padding too,
        the one at the train script's own test length."""
        if self.part == "3a":
            return next((tested for tested in self.tested if tested.length == self.test_length), None)
        return max(self.tested, key=lambda tested: tested.accuracy, default=None)

    def perplexity(self):
        """That of a language model on the test reviews, or None."""
        if self.part != "3a":
            return None
        if self.headline() is not None:
            return self.headline().perplexity
        loss = self.of_model("test_loss")
        return None if loss is None else math.exp(min(loss, 700))  # exp overflows where a training blows up

    def accuracy(self, on):
        """The accuracy in percent by which runs are compared, or None: the model's on the reviews held out, `on`
        "validation", or on the "test" reviews by the test script, else by the train script."""
        if on == "test" and self.headline() is not None:
            return self.headline().accuracy
        share = self.of_model(f"{on}_accuracy")
        return None if share is None else 100 * share

    def settings_but_seed(self):
        """What runs have in common that differ in their seed alone."""
        return without_seed(self.settings), self.vectors, self.language_model


class Seeds(NamedTuple):
    """Runs of a part that differ in their seed alone: the mean of their accuracies, and the standard deviation, None of
    a single run."""

    runs: list
    mean: float
    deviation: float | None

    @classmethod
    def of(cls, runs, on):
        accuracies = [run.accuracy(on) for run in runs]
        deviation = statistics.stdev(accuracies) if len(runs) > 1 else None
        return cls(runs, statistics.mean(accuracies), deviation)

    def names(self):
        return ", ".join(run.trial for run in self.runs)


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
    # "previous": what a training moved out of the way
    folders |= {
        remark(path.name): path
        for path in sorted((top / part / "trials").glob("*/"))
        if path.name != "previous" and not path.name.startswith(".")
    }
    ranks = {trial: rank for rank, (of_part, trial) in enumerate(order) if of_part == part}
    return sorted(folders.items(), key=lambda item: ranks.get(item[0], len(order)))


def read_tested(path):
    """The lines of a test script, a list of `Tested`. ValueError where there are none, or one is damaged."""
    tested = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if figures := FIGURES.fullmatch(line):
            length, accuracy, loss, perplexity = figures.groups()
            length = int(length) if length and length != WHOLE else length
            tested.append(Tested(length, float(accuracy), float(loss), perplexity and float(perplexity)))
        elif BROKEN.match(line):
            raise ValueError(f"{line!r} is no line of a test script")
    if not tested:
        raise ValueError("test.txt has no line of a test script")
    return tested


def model_epoch_of(run):
    """The number, from 0, of the epoch whose weights the model has."""
    if "model_epoch" in run:
        return run["model_epoch"]
    # run.json did not always tell: with --early-stopping it is the best one, else the last
    epochs, options = run["epochs"], run["options"]
    if options["early_stopping"] is None:
        return len(epochs) - 1
    name = "test_accuracy" if options["validation"] is None else "validation_accuracy"
    return max(range(len(epochs)), key=lambda number: epochs[number].get(name, 0))


def command_of(part, trial, options):
    """The command line of a training, for the top directory."""
    words = ["python", f"{part}/{PARTS[part][1]}"]
    if trial != "default":
        words += ["--trial", shlex.quote(trial)]
    usual = {"data": "preprocessed_data", "language_model": "3a/language.model"}
    for name, value in usual.items():
        if options.get(name, value) != value:
            words += [f"--{name.replace('_', '-')}", shlex.quote(remark(options[name]))]
    return " ".join([*words, remark(options["settings"])]).strip()


def vectors_text(vectors):
    """What run.json says of the GloVe vectors, if there are any: the file's name only if it is known."""
    if not vectors:
        return ""
    name = f"{vectors['file']}: " if "file" in vectors else ""
    return remark(f"{name}{vectors['words']:,} words, {vectors['dimensions']} dimensions")


def read_run(part, trial, folder, shows):
    """The `Run` in a folder. ValueError, LookupError, TypeError or AttributeError where run.json is damaged."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if run["part"] != part:
        raise ValueError(f"it is of part {run['part']}")
    options = run["options"]
    epochs = [{name: float(value) for name, value in epoch.items()} for epoch in run["epochs"]]
    if not epochs or any(not {"train_accuracy", "train_loss", "train_seconds"} <= epoch.keys() for epoch in epochs):
        raise ValueError("an epoch has no figures")
    model_epoch = model_epoch_of(run)
    if model_epoch not in range(len(epochs)):
        raise ValueError(f"there is no epoch {model_epoch}")
    state = "" if run["finished"] else f"not finished: {len(epochs)} of {options['epochs']} epochs"
    tested = []
    if (folder / "test.txt").exists():
        tested = read_tested(folder / "test.txt")
    elif run["finished"]:
        state = "its test script was not run"
    settings = remark(options["settings"])
    if trial == "default" and without_seed(settings):
        shows = ""  # a default run with other options does not show what the table says
    return Run(
        part=part,
        trial=trial,
        shows=shows,
        settings=settings,
        command=command_of(part, trial, options),
        seed=int(options["seed"]),
        vectors=vectors_text(run.get("vectors")),
        language_model="" if options.get("from_scratch") else remark(options.get("language_model", "")),
        epochs=epochs,
        model_epoch=model_epoch,
        test_length=options.get("test_length"),
        model="\n".join(map(str.rstrip, run.get("model", "").splitlines())),
        no_of_weights=int(run["no_of_weights"]),
        note=remark(run["note"]),
        hardware=remark(run["hardware"]),
        written=remark(run["written"]),
        tested=tested,
        is_finished=bool(run["finished"]),
        state=state,
    )


def gather(top, trials, sample):
    """All runs below `top`, of the made-up sample or all others: a list of `Run`, and a line of text on each that is
    damaged."""
    runs, damaged = [], []
    for part in PARTS:
        for trial, folder in folders_of(top, part, trials):
            not_trained = trial == "default" and not (folder / "run.json").exists()
            if (trial == "sample") != sample or not_trained:
                continue
            where = remark(str(folder.relative_to(top)))
            try:
                runs.append(read_run(part, trial, folder, trials.get((part, trial), "")))
            except OSError as error:
                damaged.append(f"{where}: {Path(error.filename).name} cannot be read ({error.strerror})")
            except (ValueError, LookupError, TypeError, AttributeError) as error:
                damaged.append(f"{where}: run.json or test.txt is damaged ({error!r})")
    return runs, damaged


def read_reviews(top, trials, sample):
    """What 3b generated: a dict from trial to lines, and a line of text on each file that is damaged."""
    reviews, damaged = {}, []
    for trial, folder in folders_of(top, "3b", trials):
        path = folder / "reviews.txt"
        if (trial == "sample") != sample or not path.exists():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            damaged.append(f"{remark(str(folder.relative_to(top)))}: reviews.txt cannot be read ({error})")
            continue
        lines = [line for line in text.splitlines() if line and not MESSAGE.fullmatch(line)]
        if lines:
            reviews[trial] = lines
    return reviews, damaged


# ---- comparing


def compare(runs):
    """Of the runs of a part: which `Seeds` each belongs to, by trial; those whose settings are best, if any can be said
    to be; and what is to be said of both in sentences."""
    finished = [run for run in runs if run.is_finished]
    on = "validation" if all(run.holds_out() for run in finished) else "test"
    alike = {}
    for run in finished:
        if run.accuracy(on) is not None:
            alike.setdefault(run.settings_but_seed(), []).append(run)
    groups = []
    for group in alike.values():
        have_seeds_of_their_own = len({run.seed for run in group}) == len(group)
        groups += [group] if have_seeds_of_their_own else [[run] for run in group]
    ranked = sorted((Seeds.of(group, on) for group in groups), key=lambda seeds: seeds.mean, reverse=True)
    sentences = [
        f"{seeds.names()}: the same settings with n = {len(seeds.runs)} seeds; {on} accuracy: mean {seeds.mean:.2f}, "
        f"standard deviation {seeds.deviation:.2f}."
        for seeds in ranked
        if seeds.deviation is not None
    ]
    best = []
    if len(ranked) > 1:
        first, second = ranked[:2]
        lead = first.mean - second.mean
        ahead = f"{first.names()}, with a {on} accuracy of {first.mean:.2f}, is {lead:.2f} ahead of {second.names()}"
        spread = max((seeds.deviation for seeds in ranked if seeds.deviation is not None), default=None)
        if spread is None:
            sentences.append(
                f"{ahead}. Whether that is more than the spread of the seeds is unknown: no settings were trained with "
                "several."
            )
        elif lead > spread:
            best = first.runs
            sentences.append(f"Best: {ahead}, more than the spread of the seeds (standard deviation {spread:.2f}).")
        else:
            sentences.append(
                f"{ahead}, within the spread of the seeds (standard deviation {spread:.2f}): none is best."
            )
    return {run.trial: seeds for seeds in ranked for run in seeds.runs}, best, sentences


# ---- writing


def percent(share):
    return "" if share is None else f"{100 * share:.2f}"


def decimals(number, places):
    return "" if number is None else f"{number:.{places}f}"


def rows_of(runs, sample):
    """The sheet's rows for the runs of a part, a list of dicts from column to text."""
    seeds_of, best, _ = compare(runs)
    rows = []
    for run in runs:
        best_test, headline = run.best_test(), run.headline()
        seeds = seeds_of.get(run.trial)
        several = seeds is not None and seeds.deviation is not None
        has_handouts_settings = without_seed(run.settings) == "" and not sample
        seconds = sum(epoch["train_seconds"] for epoch in run.epochs)
        rows.append(
            {
                "part": run.part,
                "trial": run.trial,
                "best of the part": "best" if run in best else "",
                "settings": run.settings,
                "seed": str(run.seed),
                "vectors": run.vectors,
                "language model": run.language_model,
                "epochs": str(len(run.epochs)),
                "epoch of the model": str(run.model_epoch),
                "train accuracy": percent(run.of_model("train_accuracy")),
                "train loss": decimals(run.of_model("train_loss"), 4),
                "validation accuracy": percent(run.of_model("validation_accuracy")),
                "test accuracy": percent(run.of_model("test_accuracy")),
                "test loss": decimals(run.of_model("test_loss"), 4),
                "best test accuracy": "" if best_test is None else percent(run.epochs[best_test]["test_accuracy"]),
                "best test epoch": "" if best_test is None else str(best_test),
                "test script": "" if headline is None else f"{headline.accuracy:.2f}",
                "at length": str(headline.length) if headline and headline.length else "",
                "perplexity": decimals(run.perplexity(), 2),
                "handout": PARTS[run.part][2] if has_handouts_settings else "",
                "seeds": str(len(seeds.runs)) if several else "",
                "mean of the seeds": decimals(seeds.mean, 2) if several else "",
                "standard deviation": decimals(seeds.deviation, 2) if several else "",
                "weights": str(run.no_of_weights),
                "seconds an epoch": f"{seconds / len(run.epochs):.1f}",
                "hardware": run.hardware,
                "command": run.command,
                "written": run.written,
                "state": run.state,
                "what it shows": run.shows,
                "note": run.note,
            }
        )
    return rows


def lengths_of(runs):
    """The lengths that the test scripts of `runs` were run at, in order."""
    lengths = {length for run in runs for length in run.by_length()}
    return sorted(lengths, key=lambda length: math.inf if length == WHOLE else length)


def csv_text(rows, runs):
    """The sheet for a spreadsheet: the rows, and a column for each length that a test script was run at."""
    text = io.StringIO()
    columns = [*rows[0], *(f"accuracy at {length}" for length in lengths_of(runs))]
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for row, run in zip(rows, runs, strict=True):
        by_length = {f"accuracy at {length}": accuracy for length, accuracy in run.by_length().items()}
        writer.writerow({column: no_formula(cell) for column, cell in (row | by_length).items()})
    return text.getvalue()


# of the tables to read: column of the sheet and heading
COLUMNS = {
    "trial": "trial",
    "settings": "settings",
    "vectors": "vectors",
    "language model": "language model",
    "epochs": "epochs",
    "epoch of the model": "epoch kept",
    "train accuracy": "train",
    "validation accuracy": "validation",
    "test accuracy": "test",
    "best test accuracy": "best test",
    "best test epoch": "in epoch",
}


INTRODUCTION = """\
Accuracies in percent; epochs are numbered from 0, as the train scripts print them. Of the epoch whose
weights were kept as the model (epoch kept), which is the last one, or with --early-stopping the best one: the accuracy
in training (train), on the reviews held out (validation) and on the test reviews (test). The best of all tests (best
test, in epoch) is chosen on the test reviews themselves, and so a little too good. The best that the part's test script
printed, and at which length of crops (test script); of a language model, which predicts padding too, that at the length
of the train script's own test. Trials are compared on the reviews held out where all trials of the part have some, else
by the test script, or else the test."""


def markdown_table(header, rows):
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def part_blocks(rows, runs):
    """What the sheet says of the runs of a part: (heading, header, rows) of text; a header of None stands for text
    alone, or for pairs of a heading and lines that are to stay as they are."""
    title = f"{runs[0].part}: {PARTS[runs[0].part][0]}"
    header = [*COLUMNS.values(), "test script", "perplexity", "handout", "remarks"]
    table = []
    for row in rows:
        place = {"": "", WHOLE: " on whole reviews"}.get(row["at length"], f" at {row['at length']}")
        remarks = "; ".join(filter(None, (row["best of the part"], row["state"], row["what it shows"], row["note"])))
        of_columns = [row[column] for column in COLUMNS]
        table.append([*of_columns, row["test script"] + place, row["perplexity"], row["handout"], remarks])
    # columns that are empty but for their heading are left out
    columns = [column for column in zip(header, *table, strict=True) if any(column[1:])]
    header, *table = map(list, zip(*columns, strict=True))
    yield title, header, table
    *_, sentences = compare(runs)
    if sentences:
        yield f"{runs[0].part}: comparison", None, [[sentence] for sentence in sentences]
    lengths = lengths_of(runs)
    if lengths:
        table = [
            [run.trial, *(run.by_length().get(length, "") for length in lengths)] for run in runs if run.by_length()
        ]
        yield f"{runs[0].part}: test accuracy by length", ["trial", *map(str, lengths)], table
    yield f"{runs[0].part}: the runs", None, [[f"{run.part} {run.trial}", details(run)] for run in runs]


def details(run):
    """How a run was made, in lines: the command, the seed, the number of weights, the hardware and the model."""
    facts = f"seed {run.seed}; {run.no_of_weights:,} weights; {run.hardware}"
    return "\n".join(filter(None, (run.command, facts, run.model)))


def markdown_text(blocks, damaged, reviews):
    """The sheet to read: the blocks, what is wrong, and the generated reviews."""
    parts = []
    for heading, header, rows in blocks:
        parts.append(f"{'##' if parts else '#'} {heading}\n")
        if header is not None:
            parts.append(markdown_table(header, rows))
            continue
        for *title, text in rows:
            parts += [f"### {title[0]}\n", f"```\n{text}\n```\n"] if title else [f"{text}\n"]
    if damaged:
        parts += ["## Not read\n", "".join(f"- {line}\n" for line in damaged)]
    for trial, lines in reviews.items():
        parts += [f"## 3b: generated reviews, {trial}\n", "\n>\n".join(f"> {line}" for line in lines) + "\n"]
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
    reviews, damaged_reviews = read_reviews(options.runs, trials, options.sample)
    damaged += damaged_reviews
    for line in damaged:
        print(f"warning: {line}", file=sys.stderr)
    if not runs:
        raise InputError(
            f"there are no results yet in {options.runs}; run a train script, or bash jobs/run_all.sh, first"
        )
    for run in runs:
        if run.state:
            print(f"{run.part} {run.trial}: {run.state}", file=sys.stderr)
    title = "Results of the made-up sample" if options.sample else "Results"
    rows, blocks = [], [(title, None, [[" ".join(INTRODUCTION.split())]])]
    for part in PARTS:
        of_part = [run for run in runs if run.part == part]
        if of_part:
            rows += rows_of(of_part, options.sample)
            blocks += part_blocks(rows[-len(of_part) :], of_part)

    make_directory(options.output)
    write(options.output / "results.csv", csv_text(rows, runs).encode())
    write(options.output / "results.md", markdown_text(blocks, damaged, reviews).encode())
    try:
        import results_pictures
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print("no pictures and no results.pdf: matplotlib is not installed (pip install matplotlib)", file=sys.stderr)
        return
    for name, content in results_pictures.draw(runs, blocks, damaged, reviews):
        write(options.output / name, content)


if __name__ == "__main__":
    run_script(main)
