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

from trials import SCRIPTS, read_trials

from common.distributed.ending import run_script
from common.errors import InputError
from common.files import REPOSITORY, make_directory, new_file, no_formula
from common.training.options import OptionParser

# part: its title, and the test accuracy in percent that the handout reports
PARTS = {
    "1a": ("bag of words", "86 to 88"),
    "1b": ("bag of words, GloVe vectors", "81 to 87 (840B, 300 d)"),
    "2a": ("LSTM", "87.25"),
    "2b": ("LSTM, GloVe vectors", "91.19 at 500 (840B, 300 d)"),
    "3a": ("language model (accuracy: of the next words)", ""),
    "3c": ("LSTM, started from the language model", "93.01 at 500 (after 75 epochs of 3a)"),
}

# a line of a test script: [length] accuracy loss seconds [perplexity]; and how a damaged line begins, or one that tells
# of a failure. Any other line is a message, kept by `2>&1`
FIGURES = re.compile(r"(?:(whole|\d+) )?(\d+\.\d\d) (?:\d+\.\d{4}|nan|inf) \d+\.\d{4}(?: (\d+\.\d\d|nan|inf))?")
BROKEN = re.compile(r"\d|whole|error: |interrupted|Traceback")

INTRODUCTION = (
    "Accuracies in percent; epochs are numbered from 0, as the train scripts print them. Train, validation and test "
    "accuracy are those of the epoch whose weights were kept as the model: the last one, or with --early-stopping the "
    "best one. The best test accuracy is chosen on the test reviews themselves, and so a little too good. Test script: "
    "the best accuracy that it printed, and at which length of crops; of a language model, which predicts padding too, "
    "that at the length of the train script's own test. Trials are compared on the reviews held out where all trials "
    "of the part have some, else by the test script, or else by the train script's test."
)
# results.csv has these columns, the tables to read do not
ONLY_IN_CSV = {"part", "seed", "train loss", "test loss", "weights", "seconds an epoch", "hardware", "command"}
PRINTED = ["part", "trial", "best", "test accuracy", "test script", "at length", "perplexity", "state"]


class Tested(NamedTuple):
    """A line of a test script: the length of the crops, "whole" or, of bags of words, None; the accuracy in percent;
    the perplexity of 3a."""

    length: int | str | None
    accuracy: float
    perplexity: float | None


class Run:
    """A training run, as the run.json and test.txt in its folder tell of it.

    `epochs` holds a dict of figures for each epoch, accuracies in percent; `model_epoch` is the number, from 0, of the
    one whose weights the model has; `tested` holds a `Tested` for each line of the test script. `row` is the run's line
    of the sheet, a dict from column to text; `alike` is equal for runs of the same vectors whose settings and language
    models have the same `hyperparameters`.
    """

    def __init__(self, part, trial, folder, shows):
        """Reads the folder; `shows` is what the table of trials says of the trial. A damaged file raises ValueError,
        LookupError, TypeError or AttributeError."""
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        options = record["options"]
        self.part, self.trial, self.seed, self.finished = part, trial, options["seed"], record["finished"]
        self.epochs = [figures_of(epoch) for epoch in record["epochs"]]
        self.model_epoch = record["model_epoch"]
        self.test_length = options.get("test_length")
        self.tested = read_tested(folder / "test.txt") if (folder / "test.txt").exists() else []
        self.state = ""
        if not self.finished:
            self.state = f"not finished: {len(self.epochs)} of {options['epochs']} epochs"
        elif not self.tested:
            self.state = "its test script was not run"
        self.row = self._row(record, options, shows)
        self.alike = self.row["vectors"], *(hyperparameters(self.row[name]) for name in ("settings", "language model"))
        facts = f"seed {self.seed}; {record['no_of_weights']:,} weights; {record['hardware']}"
        self.details = "\n".join([self.row["command"], facts, record["model"]])

    def _row(self, record, options, shows):
        def text(number, places=2):
            return "" if number is None else f"{number:.{places}f}"

        kept, headline = self._kept(), self.headline()
        seconds = [epoch["train_seconds"] for epoch in self.epochs]
        perplexity = headline.perplexity if headline else kept.get("test_perplexity")
        # test accuracies by epoch; with reviews held out there is but one, and nothing to choose
        tests = {str(i): epoch["test_accuracy"] for i, epoch in enumerate(self.epochs) if "test_accuracy" in epoch}
        tests = {} if self.holds_out() else tests
        best_test = max(tests, key=tests.get, default="")
        has_handouts_settings = hyperparameters(options["settings"]) == ""
        if self.trial == "default" and not has_handouts_settings:
            shows = ""  # it does not show what the table says
        row = {
            "part": self.part,
            "trial": self.trial,
            "best": "",
            "settings": options["settings"],
            "seed": str(self.seed),
            "vectors": vectors_text(record["vectors"]),
            "language model": "" if options.get("from_scratch") else options.get("language_model", ""),
            "epochs": str(len(self.epochs)),
            "epoch kept": str(self.model_epoch) if kept else "",
            "train accuracy": text(kept.get("train_accuracy")),
            "train loss": text(kept.get("train_loss"), 4),
            "validation accuracy": text(kept.get("validation_accuracy")),
            "test accuracy": text(kept.get("test_accuracy")),
            "test loss": text(kept.get("test_loss"), 4),
            "best test accuracy": text(tests.get(best_test)),
            "best test epoch": best_test,
            "test script": text(headline and headline.accuracy),
            "at length": str(headline.length or "") if headline else "",
            "perplexity": text(perplexity) if self.part == "3a" else "",
            "handout": PARTS[self.part][1] if has_handouts_settings and self.trial != "sample" else "",
            "mean of the seeds": "",
            "standard deviation": "",
            "weights": str(record["no_of_weights"]),
            "seconds an epoch": text(statistics.mean(seconds) if seconds else None, 1),
            "hardware": record["hardware"],
            "command": command_of(self.part, self.trial, options),
            "state": self.state,
            "what it shows": shows,
            "note": record["note"],
        }
        return row | {f"accuracy at {tested.length}": text(tested.accuracy) for tested in self.tested if tested.length}

    def holds_out(self):
        """Whether training reviews were held out for validation."""
        return any("validation_accuracy" in epoch for epoch in self.epochs)

    def headline(self):
        """The `Tested` that stands for the run, or None: the best one; of a language model, which predicts padding too,
        the one at the train script's own test length."""
        if self.part == "3a":
            return next((tested for tested in self.tested if tested.length == self.test_length), None)
        return max(self.tested, key=lambda tested: tested.accuracy, default=None)

    def measure(self):
        """The name of the figure by which runs are compared."""
        return "perplexity" if self.part == "3a" else "accuracy"

    def figure(self, on):
        """The accuracy in percent, or the perplexity, by which runs are compared, or None: the model's on the reviews
        held out, `on` "validation", or on the "test" reviews by the test script, else by the train script."""
        if on == "test" and self.headline() is not None:
            return getattr(self.headline(), self.measure())
        return self._kept().get(f"{on}_{self.measure()}")

    def _kept(self):
        """The figures of the epoch whose weights the model has; none while the first is not done."""
        return self.epochs[self.model_epoch] if self.epochs else {}


class Section(NamedTuple):
    """A section of the sheet: tables, each a list of rows of text, the header first; paragraphs; and pairs of a heading
    and lines that are to stay as they are."""

    heading: str
    tables: list | tuple = ()
    paragraphs: list | tuple = ()
    details: list | tuple = ()


# ---- gathering


def folders_of(top, part, shows, sample):
    """Pairs of trial and folder of a part's runs below `top`: that of the made-up sample, or all others. First come the
    trials of the table, whose parts and trials are the keys of `shows`, then the others by name."""
    folders = {"default": top / part} | {path.name: path for path in sorted((top / part / "trials").glob("[!.]*/"))}
    known = [trial for of_part, trial in shows if of_part == part and trial in folders]
    return [(trial, folders[trial]) for trial in dict.fromkeys([*known, *folders]) if (trial == "sample") == sample]


def figures_of(epoch):
    """An epoch's figures of run.json, with accuracies in percent and the perplexities, exp of the losses."""
    figures = {name: 100 * value if name.endswith("accuracy") else value for name, value in epoch.items()}
    for split in ("train", "validation", "test"):
        if f"{split}_loss" in epoch:  # exp overflows where a training blows up
            figures[f"{split}_perplexity"] = math.exp(min(epoch[f"{split}_loss"], 700))
    return figures


def read_tested(path):
    """The lines of a test script, a list of `Tested`. ValueError where there are none, or one is damaged."""
    tested = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if figures := FIGURES.fullmatch(line):
            length, accuracy, perplexity = figures.groups()
            length = int(length) if length and length.isdigit() else length
            tested.append(Tested(length, float(accuracy), perplexity and float(perplexity)))
        elif BROKEN.match(line):
            raise ValueError(f"{line!r} is no line of a test script")
    if not tested:
        raise ValueError("test.txt has no line of a test script")
    return tested


def hyperparameters(words):
    """The `words` of a command without what belongs to no model: its seed, the precision, how often it is tested."""
    return re.sub(r"--(seed|precision|test-every) \S+ ?|-seed\d+", "", words).strip()


def command_of(part, trial, options):
    """The command line of a training, for the top directory."""
    words = ["python", f"{part}/{SCRIPTS[part][0]}"]
    if trial != "default":
        words += ["--trial", trial]
    usual = {"data": "preprocessed_data", "language_model": "3a/language.model"}
    for name, value in usual.items():
        if options.get(name, value) != value:
            words += [f"--{name.replace('_', '-')}", options[name]]
    return f"{shlex.join(words)} {options['settings']}".strip()


def vectors_text(vectors):
    """The GloVe vectors of a run.json in words; nothing if there are none."""
    if not vectors:
        return ""
    name = f"{vectors['file']}: " if "file" in vectors else ""  # the handout's own script does not keep it
    return f"{name}{vectors['words']:,} words, {vectors['dimensions']} dimensions"


def gather(top, shows, sample):
    """A list of `Run` of all runs below `top`, as `folders_of` finds them, and a line of text on each damaged one."""
    runs, damaged = [], []
    for part in PARTS:
        for trial, folder in folders_of(top, part, shows, sample):
            if trial == "default" and not (folder / "run.json").exists():
                continue  # it was not trained
            try:
                runs.append(Run(part, trial, folder, shows.get((part, trial), "")))
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                damaged.append(f"{folder.relative_to(top)}: run.json or test.txt is missing or damaged ({error!r})")
    return runs, damaged


def review_sections(top, shows, sample):
    """What 3b generated, a `Section` a trial."""
    for trial, folder in folders_of(top, "3b", shows, sample):
        if (folder / "reviews.txt").exists():
            text = (folder / "reviews.txt").read_text(encoding="utf-8", errors="replace")
            yield Section(f"3b: generated reviews, {trial}", paragraphs=list(filter(None, text.splitlines())))


# ---- comparing


def compare(runs):
    """Sentences that compare the finished runs of a part. Their rows get the mean and the standard deviation of the
    seeds; if one group of settings is clearly the best, its rows get "best"."""
    finished, measure = [run for run in runs if run.finished], runs[0].measure()
    on = "validation" if all(run.holds_out() for run in finished) else "test"
    alike = {}
    for run in finished:
        if run.figure(on) is not None:
            alike.setdefault(run.alike, []).append(run)
    ranked, deviations, sentences = [], [], []
    for group in alike.values():
        of_seeds = {run.seed: run.figure(on) for run in group}.values()
        names, mean = ", ".join(run.trial for run in group), statistics.mean(of_seeds)
        ranked.append((mean, names, group))
        if len(of_seeds) > 1:
            deviations.append(statistics.stdev(of_seeds))
            for run in group:
                run.row |= {"mean of the seeds": f"{mean:.2f}", "standard deviation": f"{deviations[-1]:.2f}"}
            sentences.append(
                f"{names}: the same settings with n = {len(of_seeds)} seeds; {on} {measure}: mean {mean:.2f}, "
                f"standard deviation {deviations[-1]:.2f}."
            )
    # perplexities do not compare where the words to predict are others, or the direction
    if len(ranked) > 1 and measure == "accuracy":
        ranked.sort(key=lambda one: one[0], reverse=True)
        (mean, names, best), (second, others, _) = ranked[:2]
        lead, spread = mean - second, max(deviations, default=None)
        if spread is None:
            verdict = (
                "Whether that is more than the spread of the seeds is unknown: no settings were trained with several."
            )
        elif lead > spread:
            for run in best:
                run.row["best"] = "best"
            verdict = f"It is the best: that is more than the spread of the seeds (standard deviation {spread:.2f})."
        else:
            verdict = f"None is best: that is within the spread of the seeds (standard deviation {spread:.2f})."
        sentences.append(f"{names}, with a {on} accuracy of {mean:.2f}, is {lead:.2f} ahead of {others}. {verdict}")
    return sentences


# ---- writing


def columns_of(runs):
    return list(dict.fromkeys(column for run in runs for column in run.row))


def table_of(runs, columns):
    """The table of the runs' rows, the header first, without the columns that are empty."""
    columns = [column for column in columns if any(run.row.get(column) for run in runs)]
    return [columns, *([run.row.get(column, "") for column in columns] for run in runs)]


def section_of(runs):
    """The `Section` of the runs of a part."""
    sentences = compare(runs)
    columns = columns_of(runs)
    lengths = [column for column in columns if column.startswith("accuracy at ")]
    lengths.sort(key=lambda column: (len(column), column))  # "accuracy at whole" comes last
    tables = [table_of(runs, [column for column in columns if column not in {*ONLY_IN_CSV, *lengths}])]
    tested = [run for run in runs if any(column in run.row for column in lengths)]
    if tested:
        tables.append(table_of(tested, ["trial", *lengths]))
    details = [(f"{run.part} {run.trial}", run.details) for run in runs]
    return Section(f"{runs[0].part}: {PARTS[runs[0].part][0]}", tables, sentences, details)


def csv_text(runs):
    """The sheet for a spreadsheet."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns_of(runs), restval="", lineterminator="\n")
    writer.writeheader()
    for run in runs:
        writer.writerow({column: no_formula(cell) for column, cell in run.row.items()})
    return text.getvalue()


def markdown_text(sections):
    """The sheet to read."""
    parts = []
    for section in sections:
        parts.append(f"{'##' if parts else '#'} {section.heading}\n")
        for header, *rows in section.tables:
            cells = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
            parts.append("".join(f"| {' | '.join(line)} |\n" for line in cells))
        parts += [f"{paragraph}\n" for paragraph in section.paragraphs]
        parts += [f"### {heading}\n\n```\n{text}\n```\n" for heading, text in section.details]
    return "\n".join(parts)


def main():
    parser = OptionParser(__doc__)
    add = parser.add_argument
    add("--runs", type=Path, default=REPOSITORY, metavar="DIR", help="where the folders 1a, 1b, … of the runs lie")
    add("--output", type=Path, metavar="DIR", help="where the sheet goes (default: jobs/results, or its folder sample)")
    add("--sample", action="store_true", help="of the runs on the made-up sample, which are left out otherwise")
    options = parser.parse_args()
    usual = REPOSITORY / "jobs" / "results"
    output = options.output or (usual / "sample" if options.sample else usual)

    try:
        rows = read_trials(REPOSITORY / "jobs" / "trials.csv").values()
    except ValueError as error:
        raise InputError(str(error)) from error
    shows = {(part, trial): text for part, trial, _, _, text in rows}
    runs, damaged = gather(options.runs, shows, options.sample)
    for line in damaged:
        print(f"warning: {line}", file=sys.stderr)
    if not runs:
        raise InputError(
            f"there are no results yet in {options.runs}; run a train script, or bash jobs/run_all.sh, first"
        )
    title = "Results of the made-up sample" if options.sample else "Results"
    of_parts = [[run for run in runs if run.part == part] for part in PARTS]
    sections = [Section(title, paragraphs=[INTRODUCTION]), *map(section_of, filter(None, of_parts))]
    if damaged:
        sections.append(Section("Not read", paragraphs=damaged))
    sections += review_sections(options.runs, shows, options.sample)

    make_directory(output)
    files = {"results.csv": csv_text(runs).encode(), "results.md": markdown_text(sections).encode()}
    try:
        import results_pictures

        files |= results_pictures.draw(runs, sections)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        print("no pictures and no results.pdf: matplotlib is not installed (pip install matplotlib)", file=sys.stderr)
    for name, content in files.items():
        with new_file(output / name) as file:
            file.write(content)

    table = table_of(runs, PRINTED)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"{output}: {', '.join(name for name in files if not name.endswith('.png'))}")


if __name__ == "__main__":
    run_script(main)
