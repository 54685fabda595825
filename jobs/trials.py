#!/usr/bin/env python3
"""Prints the trials of a table, checked, for the shell: part, trial, options and test options, with \\x1f between.

`--seeds 3` among the options of a trial "wide" makes three of it: wide, wide-seed1 with --seed 1 and wide-seed2. Its
name chooses them all.

What is wrong in the table ends it with status 2 and one line that says where; nothing is printed then. Empty lines are
skipped, as are empty cells at the end of a line. Each part's own scripts check the options.
"""

import argparse
import csv
import re
import runpy
import shlex
import sys
from pathlib import Path

COLUMNS = ["part", "trial", "options", "test options", "what it shows"]
# the scripts that get a part's options and test options
SCRIPTS = {
    "1a": ("BOW_sentiment_analysis.py", "BOW_test.py"),
    "1b": ("BOW_sentiment_analysis.py", "BOW_test.py"),
    "2a": ("RNN_sentiment_analysis.py", "RNN_test.py"),
    "2b": ("RNN_sentiment_analysis.py", "RNN_test.py"),
    "3a": ("train_language_model.py", "RNN_language_test.py"),
    "3b": ("generate_review.py", None),
    "3c": ("RNN_sentiment_analysis.py", "RNN_test.py"),
}
SEEDS = re.compile(r"--seeds[ =]([1-9]\d?)(?: |$)")


def read_trials(path):
    """The trials of the table at `path`: a dict from the line's number to the list of its five columns' texts.

    ValueError says what is wrong, and where.
    """
    with open(path, newline="", encoding="utf-8-sig") as table:
        reader = csv.reader(table, strict=True)
        rows = {}
        try:
            for cells in reader:
                row = [" ".join(cell.split()) for cell in cells]
                while row and not row[-1]:
                    row.pop()
                if reader.line_num == 1:
                    if row != COLUMNS:
                        raise ValueError(f"it is not {','.join(COLUMNS)}")
                elif row:
                    row += [""] * (len(COLUMNS) - len(row))
                    check(row)
                    if row[:2] in [other[:2] for other in rows.values()]:
                        raise ValueError(f"part {row[0]} has a trial {row[1]} already")
                    rows[reader.line_num] = row
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    return rows


def check(row):
    """ValueError where a row cannot be a trial."""
    if len(row) > len(COLUMNS):
        raise ValueError(f'{len(row)} columns where {len(COLUMNS)} are expected; a text with commas needs "quotes"')
    part, trial, options, *_ = row
    if part not in SCRIPTS:
        raise ValueError(f"no part {part!r}: expected one of {' '.join(SCRIPTS)}")
    if not re.fullmatch(r"\w[\w.-]*", trial, re.ASCII):
        raise ValueError(f"{trial!r} is no name for a trial: letters, digits, '.', '_' and '-'")
    # trial_of_3a in functions.sh finds a trial of 3a by its row
    if part == "3a" and SEEDS.search(options):
        raise ValueError("part 3a has no --seeds: write a row for each --seed, which 3b and 3c can start from")


def with_seeds(row):
    """The rows, one for each seed, of a row whose options ask for `--seeds N`; else the row alone."""
    part, trial, options, *others = row
    asked = SEEDS.search(options)
    if asked is None:
        return [row]
    options = SEEDS.sub("", options).strip()
    rows = [[part, trial, options, *others]]
    for seed in range(1, int(asked[1])):
        rows.append([part, f"{trial}-seed{seed}", f"{options} --seed {seed}".strip(), *others])
    return rows


def check_options(row):
    """Has the part's own scripts parse a row's options. ValueError says what is wrong, and in which column."""
    folder = Path(__file__).resolve().parents[1] / row[0]
    for script, column, text in zip(SCRIPTS[row[0]], COLUMNS[2:4], row[2:4], strict=True):
        if text and script is None:
            raise ValueError(f"column {column!r}: part {row[0]} has no test script")
        if text:  # else PyTorch, which the scripts import, need not be loaded
            parse_options = runpy.run_path(str(folder / script))["parse_options"]
            from common.errors import InputError  # the script has found it

            try:
                parse_options(shlex.split(text))
            except (ValueError, InputError) as error:
                raise ValueError(f"column {column!r}: {error}") from None


def print_trials(table, names, parts):
    """What the module's text says; ValueError and OSError for what is wrong."""
    rows = {line: row for line, row in read_trials(table).items() if row[0] in (parts or SCRIPTS)}
    of_parts = f" of part {' '.join(parts)}" if parts else ""
    if not rows:
        raise ValueError(f"{table} has no trials{of_parts}")
    # of each its line, the names that choose it, and its row
    trials = [(line, {row[1], one[1]}, one) for line, row in rows.items() for one in with_seeds(row)]
    known = set().union(*(own_names for _, own_names, _ in trials))
    chosen = known if names == "all" else set(names.split(","))
    if unknown := chosen - known:
        raise ValueError(f"{table} has no trial {min(unknown)}{of_parts}")
    printed = []
    for line, own_names, row in trials:
        if own_names & chosen:
            try:
                check_options(row)
            except ValueError as error:
                raise ValueError(f"{table}, line {line}: {error}") from None
            printed.append("\x1f".join(row[:4]))
    print(*printed, sep="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("names", help='"all", or some with commas between')
    parser.add_argument("parts", nargs="*", metavar="PART", help="all if none is given")
    options = parser.parse_args()
    try:
        print_trials(options.table, options.names, options.parts)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
