"""The floors of the house: which part of the collection may import which."""

import re

from conftest import PARTS, REPO

# from the top; a file imports from its own floor and those below
FLOORS = [("training",), ("models", "data"), ("distributed",), ("files",), ("errors",)]


def floor(name):
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


def test_no_import_runs_up():
    arrows = 0
    for path in (REPO / "common").rglob("*.py"):
        room = path.relative_to(REPO / "common").parts[0].removesuffix(".py")
        for name in re.findall(r"^\s*(?:from|import) common\.(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert floor(room) <= floor(name), f"{path} imports {name}"
            arrows += 1
    assert arrows > 30


def test_no_part_imports_another_but_3b_the_models_it_runs():
    for part, scripts in {**PARTS, "3b": ("generate_review.py",)}.items():
        for script in scripts[:2]:
            text = (REPO / part / script).read_text(encoding="utf-8")
            folders = re.findall(r"^ *import_from\((.*)\)$", text, re.MULTILINE)
            own = ["Path(__file__).resolve().parent"]
            assert folders == (['REPOSITORY / "3a"', 'REPOSITORY / "3c"'] if part == "3b" else own), script
