"""jobs/trials.py and the parts' own scripts: options that a script does not know are found before anything runs."""

import csv
import sys
from unittest import mock

import pytest
import trials
from conftest import REPO

HEADER = "part,trial,options,test options,what it shows\n"


@pytest.fixture
def read(tmp_path, capsys):
    """A function that writes a table of these lines and reads it; returns the status, the lines printed, the error."""

    def read(*lines, names="all"):
        (tmp_path / "table.csv").write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
        status = 0
        with mock.patch.object(sys, "argv", ["trials.py", str(tmp_path / "table.csv"), names]):
            try:
                trials.main()
            except SystemExit as end:
                status = end.code
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err

    return read


WRONG = [
    ("1a,x,--hiden-units 10,,", "column 'options': unrecognized arguments: --hiden-units 10"),
    ("2b,x,–-epochs 3,,", "column 'options': unrecognized arguments: –-epochs 3"),
    ("3c,x,--whole --train-length 50,,", "column 'options': --train-length goes with crops"),
    ("1a,x,--epochs 2 --seeds 0,,", "column 'options': unrecognized arguments: --seeds 0"),
    ("3a,x,--epochs 2 --seeds 3,,", "part 3a has no --seeds: write a row for each --seed"),
    ("1a,x,--note 'a,,", "column 'options': No closing quotation"),
    ("3b,x,,--whole,", "column 'test options': part 3b has no test script"),
    ("2a,x,,--whole --lengths 50,", "column 'test options': argument --lengths: not allowed with argument --whole"),
    ("4a,x,,,", "no part '4a': expected one of 1a 1b"),
    ("1a,../x,,,", "'../x' is no name for a trial"),
    ("1a,fine,,,", "part 1a has a trial fine already"),
    ("1a,x,,,one, two", '6 columns where 5 are expected; a text with commas needs "quotes"'),
]


@pytest.mark.parametrize(("line", "words"), WRONG)
def test_what_is_wrong_is_told_with_its_line(line, words, read):
    status, printed, error = read("1a,fine,--epochs 2,,", line)
    assert (status, printed) == (2, [])
    assert f"table.csv, line 3: {words}" in error
    assert error.count("\n") == 1


SEEDS = ["1a\x1fwide\x1f--hidden-units 2000\x1f--batch-size 50"]
SEEDS += [f"1a\x1fwide-seed{n}\x1f--hidden-units 2000 --seed {n}\x1f--batch-size 50" for n in (1, 2)]


@pytest.mark.parametrize(
    ("names", "printed"), [("all", SEEDS), ("wide", SEEDS), ("wide-seed2", SEEDS[2:]), ("wide-seed1,wide", SEEDS)]
)
def test_several_seeds_of_a_trial(names, printed, read):
    line = "1a,wide,--seeds 3 --hidden-units 2000,--batch-size 50,"
    assert read(line, names=names) == (0, printed, "")


def test_seeds_of_the_handouts_settings(read):
    assert read("2a,default,--seeds=2,,")[1] == ["2a\x1fdefault\x1f\x1f", "2a\x1fdefault-seed1\x1f--seed 1\x1f"]


def test_what_a_spreadsheet_adds_and_quotes(read, tmp_path):
    lines = ["", ",,,,", '1a,mine,"--note \'a, ""b"" 50%\'",,"one, two",,,\r', "  "]
    assert read(*lines) == (0, ["1a\x1fmine\x1f--note 'a, \"b\" 50%'\x1f"], "")
    table = tmp_path / "table.csv"
    table.write_text(f"\ufeff{HEADER.strip()},,\r\n1a,default,,,\r\n")
    assert [*trials.read_trials(table)] == [2]
    table.write_text("part;trial\n")
    with pytest.raises(ValueError, match=r"table\.csv, line 1: it is not part,trial,"):
        trials.read_trials(table)


def test_what_is_not_chosen_need_not_be_right(read):
    assert read("1a,fine,,,", "1a,wrong,--wide,,", names="fine")[:2] == (0, ["1a\x1ffine\x1f\x1f"])


@pytest.mark.parametrize("name", ["trials.csv", "sample.csv"])
def test_the_tables_of_the_collection_are_right(name, capsys):
    with open(REPO / "jobs" / name, newline="") as table:
        rows = [row for line in list(csv.reader(table))[1:] for row in trials.with_seeds(line)]
    with mock.patch.object(sys, "argv", ["trials.py", str(REPO / "jobs" / name), "all"]):
        trials.main()
    assert capsys.readouterr().out.splitlines() == ["\x1f".join(row[:4]) for row in rows]
