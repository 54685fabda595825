"""The floors of the house: which part of the collection may import which."""

import ast
import re

from conftest import PARTS, REPO

# from the top; a file imports from its own floor and those below
FLOORS = [("scripts",), ("training",), ("models", "data"), ("distributed",), ("files", "output"), ("errors",)]


def floor(name):
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


def imported(path):
    """What the file imports of the collection's own: names such as "common.data.reviews"."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [node.module] if node.module.count(".") else [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "common")


def test_no_import_runs_up():
    arrows = 0
    for path in (REPO / "common").rglob("*.py"):
        room = path.relative_to(REPO / "common").parts[0].removesuffix(".py")
        for name in imported(path) if room != "__init__" else ():
            assert floor(room) <= floor(name.split(".")[1]), f"{path} imports {name}"
            arrows += 1
    assert arrows > 30


def test_no_two_files_import_each_other():
    files = {
        ".".join(path.relative_to(REPO).with_suffix("").parts): {*imported(path)}
        for path in (REPO / "common").rglob("*.py")
    }

    def reached(name, seen):
        for other in files.get(name, ()):
            if other not in seen:
                reached(other, seen | {other})
                seen.add(other)
        return seen

    for name in files:
        assert name not in reached(name, set()), name


def test_no_part_imports_another_but_3b_the_models_it_runs():
    for part, scripts in {**PARTS, "3b": ("generate_review.py",)}.items():
        for script in scripts[:2]:
            text = (REPO / part / script).read_text(encoding="utf-8")
            folders = re.findall(r"^ *import_from\((.*)\)$", text, re.MULTILINE)
            own = ["Path(__file__).resolve().parent"]
            assert folders == (['REPOSITORY / "3a"', 'REPOSITORY / "3c"'] if part == "3b" else own), script
