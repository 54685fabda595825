#!/usr/bin/env python3
"""Prints the trials of a table, checked, for the shell: part, trial, options and test options, with \\x1f between.

`--seeds 3` among the options of a trial "wide" makes three of it: wide, wide-seed1 with --seed 1 and wide-seed2. Its
name chooses them all.

What is wrong in the table ends it with status 2 and one line that says where; nothing is printed then. Empty lines are
skipped, as are empty cells at the end of a line. Each part's own scripts check the options.
"""

import argparse
import csv
import importlib.util
import re
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
    """The rows of the table at `path`: a dict from the line's number to the list of its five columns' texts.

    ValueError says what is wrong, and where.
    """
    with open(path, newline="", encoding="utf-8-sig") as table:
        reader = csv.reader(table, strict=True)
        rows, lines = {}, {}
        try:
            if texts_of(next(reader, [])) != COLUMNS:
                raise ValueError(f"its first line is not {','.join(COLUMNS)}")
            for cells in reader:
                row = texts_of(cells)
                if row:
                    row += [""] * (len(COLUMNS) - len(row))
                    check(row)
                    first = lines.setdefault(tuple(row[:2]), reader.line_num)
                    if first != reader.line_num:
                        raise ValueError(f"part {row[0]} has a trial {row[1]} already, in line {first}")
                    rows[reader.line_num] = row
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    return rows


def texts_of(cells):
    """The texts of a line's cells, each in one line, up to the last one that has any."""
    row = [" ".join(cell.split()) for cell in cells]
    while row and not row[-1]:
        row.pop()
    return row


def check(row):
    """ValueError where a row cannot be a trial."""
    if len(row) > len(COLUMNS):
        raise ValueError(f'{len(row)} columns where {len(COLUMNS)} are expected; a text with commas needs "quotes"')
    part, trial, *_ = row
    if part not in SCRIPTS:
        raise ValueError(f"no part {part!r}: expected one of {' '.join(SCRIPTS)}")
    if not re.fullmatch(r"\w[\w.-]*", trial, re.ASCII):
        raise ValueError(f"{trial!r} is no name for a trial: letters, digits, '.', '_' and '-'")


def with_seeds(row):
    """The rows, one a seed, of a row whose options ask for `--seeds N`; the row alone where they do not."""
    part, trial, options, *others = row
    asked = SEEDS.search(options)
    if asked is None:
        return [row]
    options = (options[: asked.start()] + options[asked.end() :]).strip()
    rows = [[part, trial, options, *others]]
    for seed in range(1, int(asked[1])):
        rows.append([part, f"{trial}-seed{seed}", f"{options} --seed {seed}".strip(), *others])
    return rows


def parse(script, words):
    """Has the script of a part, a path, parse these `words` of its options. ValueError with what it says of them."""
    spec = importlib.util.spec_from_file_location("script", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from common.errors import InputError  # the script has found it

    try:
        module.parse_options(words)
    except InputError as error:
        raise ValueError(error) from None


def check_options(row):
    """Has the part's own scripts check a row's options. ValueError says what is wrong, and in which column."""
    folder = Path(__file__).resolve().parents[1] / row[0]
    for script, column, text in zip(SCRIPTS[row[0]], COLUMNS[2:4], row[2:4], strict=True):
        if text:  # else PyTorch, which the scripts import, need not be loaded
            try:
                if script is None:
                    raise ValueError(f"part {row[0]} has no test script")
                parse(folder / script, shlex.split(text))
            except ValueError as error:
                raise ValueError(f"column {column!r}: {error}") from None


def print_trials(table, names, parts):
    """What the module's text says; ValueError and OSError for what is wrong."""
    trials = []  # of each the line, the names that choose it, and the row
    for line, row in read_trials(table).items():
        if row[0] in (parts or SCRIPTS):
            trials += [(line, {row[1], one[1]}, one) for one in with_seeds(row)]
    of_parts = f" of part {' '.join(parts)}" if parts else ""
    if not trials:
        raise ValueError(f"{table} has no trials{of_parts}")
    known = set().union(*(names_of_one for _, names_of_one, _ in trials))
    chosen = known if names == "all" else set(names.split(","))
    if unknown := chosen - known:
        raise ValueError(f"{table} has no trial {min(unknown)}{of_parts}")
    trials = [(line, row) for line, names_of_one, row in trials if names_of_one & chosen]
    for line, row in trials:
        try:
            check_options(row)
        except ValueError as error:
            raise ValueError(f"{table}, line {line}: {error}") from None
    for _, row in trials:
        print(*row[:4], sep="\x1f")


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
