#!/usr/bin/env python3
"""Prints the lines of a table of trials, checked, for the shell: its first four columns, with \\x1f between.

usage: python jobs/trials.py TABLE NAMES [PART...]      NAMES: "all", or some with commas between; no PART: all parts

`--seeds 3` among the options of a trial "wide" makes three of it: wide, wide-seed1 with --seed 1 and wide-seed2. Its
name chooses them all.

What is wrong in the table ends it with status 2 and one line that says where; nothing is printed then. Empty lines are
skipped, as are empty cells at the end of a line. Each part's own scripts read the options.
"""

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
# what word processors and spreadsheets make of - and "
DASHES, QUOTES = "\u2010-\u2015\u2212", "\u2018\u201a\u201c-\u201f\u00ab\u00bb"
SEEDS = re.compile(r"(?:^|\s)--seeds(?:\s+|=|$)(\S*)")


def read_trials(path):
    """The rows of the table at `path`: a dict from the line's number to the list of its five columns' texts.

    ValueError says what is wrong, and where.
    """
    with open(path, newline="", encoding="utf-8-sig") as table:
        reader = csv.reader(table, strict=True)
        try:
            if without_empty_end(next(reader, [])) != COLUMNS:
                raise ValueError(f"its first line is not {','.join(COLUMNS)}")
            lines, rows = {}, {}
            for cells in reader:
                row = without_empty_end(cells)
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


def without_empty_end(cells):
    """The texts of the cells of a line, up to the last one that has any."""
    row = [cell.strip() for cell in cells]
    while row and not row[-1]:
        row.pop()
    return row


def check(row):
    """ValueError where a row cannot be a trial."""
    part, trial, *texts = row
    if len(row) > len(COLUMNS):
        raise ValueError(f'{len(row)} columns where {len(COLUMNS)} are expected; a text with commas needs "quotes"')
    if part not in SCRIPTS:
        raise ValueError(f"no part {part!r}: expected one of {' '.join(SCRIPTS)}")
    if not re.fullmatch(r"\w[\w.-]*", trial, re.ASCII) or trial == "all":
        raise ValueError(f"{trial!r} is no name for a trial: letters, digits, '.', '_' and '-', and not \"all\"")
    for column, text in zip(COLUMNS[2:4], texts, strict=False):
        try:
            check_options(text)
            if (asked := SEEDS.search(text)) and not re.fullmatch(r"[1-9]\d?", asked[1]):
                raise ValueError(f"--seeds {asked[1]}: expected a number from 1 to 99")
        except ValueError as error:
            raise ValueError(f"column {column!r}: {error}") from None


def check_options(text):
    """ValueError where a text is not the options of a command line, as far as that can be seen without the scripts."""
    if not text.isprintable():
        raise ValueError(f"{text!r}: options stand in one line")
    if quote := re.search(f"[{QUOTES}]", text):
        raise ValueError(f"""{quote[0]} is a typographic quote; write " or '""")
    for word in shlex.split(text):  # "No closing quotation"
        if re.match(f"-?[{DASHES}]", word):
            raise ValueError(f"{word} begins with a typographic dash; write --")
    if text and not text.startswith("--"):
        raise ValueError(f"{text!r} are no options: they begin with --")


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


def parse(script, text):
    """Has the script of a part, a path, parse the options in `text`. ValueError with what it says of wrong ones."""
    spec = importlib.util.spec_from_file_location("script", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    from common.errors import InputError  # the script has found it

    words = shlex.split(text)
    if {"-h", "--help"} & {*words}:
        raise ValueError("--help is no option of a trial")
    try:
        module.parse_options(words)
    except InputError as error:
        raise ValueError(error) from None


def print_trials():
    """What the module's text says; ValueError and OSError for what is wrong."""
    if len(sys.argv) < 3:
        raise ValueError(next(line for line in __doc__.splitlines() if line.startswith("usage: ")))
    table, names, *parts = sys.argv[1:]
    rows = []  # the line of each, the trial's name there, and the row
    for line, row in read_trials(table).items():
        if row[0] in (parts or SCRIPTS):
            rows += [(line, row[1], one) for one in with_seeds(row)]
    known = {name for _, trial, row in rows for name in (trial, row[1])}
    chosen = known if names == "all" else names.split(",")
    for name in chosen:
        if name not in known:
            raise ValueError(f"{table} has no trial {name}" + (f" of part {' '.join(parts)}" if parts else ""))
    if not rows:
        raise ValueError(f"{table} has no trials" + (f" of part {' '.join(parts)}" if parts else ""))
    rows = [(line, row) for line, trial, row in rows if trial in chosen or row[1] in chosen]
    top = Path(__file__).resolve().parents[1]
    for line, (part, _, *texts, _) in rows:
        for script, column, text in zip(SCRIPTS[part], COLUMNS[2:4], texts, strict=True):
            if not text:
                continue  # and PyTorch, which the scripts import, need not be loaded
            place = f"{table}, line {line}: column {column!r}: "
            if script is None:
                raise ValueError(f"{place}part {part} has no test script")
            try:
                parse(top / part / script, text)
            except ValueError as error:
                raise ValueError(f"{place}{error}") from None
    for _, row in rows:
        print(*row[:4], sep="\x1f")


def main():
    try:
        print_trials()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
