#!/usr/bin/env python3
"""Prints the lines of a table of trials, checked, for the shell: its first four columns, with \\x1f between.

usage: python jobs/trials.py TABLE NAMES [PART...]      NAMES: "all", or some with commas between; no PART: all parts

What is wrong in the table ends it with status 2 and one line that says where; nothing is printed then. Empty lines are
skipped.
"""

import csv
import re
import shlex
import sys

COLUMNS = ["part", "trial", "options", "test options", "what it shows"]
PARTS = ["1a", "1b", "2a", "2b", "3a", "3b", "3c"]


def read_trials(path):
    """The rows of the table at `path` as lists of the five columns' texts. ValueError says what is wrong, and where."""
    with open(path, newline="", encoding="utf-8-sig") as table:
        reader = csv.reader(table, strict=True)
        try:
            if next(reader, None) != COLUMNS:
                raise ValueError(f"its first line is not {','.join(COLUMNS)}")
            lines = {}
            for cells in reader:
                row = [cell.strip() for cell in cells]
                if any(row):
                    row += [""] * (len(COLUMNS) - len(row))
                    check(row)
                    key = tuple(row[:2])
                    if key in lines:
                        raise ValueError(f"part {row[0]} has a trial {row[1]} already, in line {lines[key][0]}")
                    lines[key] = reader.line_num, row
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path}, line {reader.line_num}: {error}") from None
    return [row for _, row in lines.values()]


def check(row):
    """ValueError where a row cannot be a trial."""
    part, trial, *texts = row
    if len(row) > len(COLUMNS):
        raise ValueError(f'{len(row)} columns where {len(COLUMNS)} are expected; a text with commas needs "quotes"')
    if part not in PARTS:
        raise ValueError(f"no part {part!r}: expected one of {' '.join(PARTS)}")
    if not re.fullmatch(r"\w[\w.-]*", trial, re.ASCII) or trial == "all":
        raise ValueError(f"{trial!r} is no name for a trial: letters, digits, '.', '_' and '-', and not \"all\"")
    for text in texts[:2]:
        if not text.isprintable():
            raise ValueError(f"{text!r}: options stand in one line")
        shlex.split(text)  # "No closing quotation"
        if text and not text.startswith("--"):
            raise ValueError(f"{text!r} are no options: they begin with --")


def main():
    table, names, *parts = sys.argv[1:]
    rows = [row for row in read_trials(table) if row[0] in (parts or PARTS)]
    known = [row[1] for row in rows]
    chosen = known if names == "all" else names.split(",")
    for name in chosen:
        if name not in known:
            raise ValueError(f"{table} has no trial {name}" + (f" of part {' '.join(parts)}" if parts else ""))
    if not rows:
        raise ValueError(f"{table} has no trials" + (f" of part {' '.join(parts)}" if parts else ""))
    for row in rows:
        if row[1] in chosen:
            print(*row[:4], sep="\x1f")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
