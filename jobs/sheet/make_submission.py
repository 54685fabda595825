"""Packs what is handed in (handout, "What to Turn In"): one zip with all code and the results sheet's PDF."""

import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.distributed.ending import run_script
from common.errors import InputError
from common.files import REPOSITORY, new_file
from common.training.options import OptionParser, person_name

# what the collection consists of: anything else in its folder is not the submission's
TOP_LEVEL = [
    *("preprocess_data.py", "README.md", "requirements.txt", "pyproject.toml"),
    *("common", "jobs", "tests", "1a", "1b", "2a", "2b", "3a", "3b", "3c"),
]
CODE = {".py", ".pbs", ".sh", ".csv", ".md", ".txt", ".toml"}
# results of runs, not code: they are in the sheet
LEFT_OUT = {"__pycache__", "trials", "results", "real"}
RESULT_FILES = {"test.txt", "reviews.txt"}


def code_files():
    """The files of code, in order: paths relative to the collection's folder."""
    found = []
    for name in TOP_LEVEL:
        path = REPOSITORY / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [file.relative_to(REPOSITORY) for file in files if file.is_file()]
    return [
        file
        for file in found
        if (file.suffix in CODE or file.parent == Path("tests/stand_ins"))
        and not LEFT_OUT & set(file.parts)
        and file.name not in RESULT_FILES
    ]


def main():
    parser = OptionParser(__doc__)
    add = parser.add_argument
    add("name", type=person_name, metavar="NAME", help="yours: the zip is NAME.zip, all in it lies in the folder NAME")
    add(
        "--sheet",
        type=Path,
        default=REPOSITORY / "jobs" / "results" / "results.pdf",
        metavar="FILE",
        help="the PDF of the results",
    )
    add("--output", type=Path, default=Path(), metavar="DIR", help="where the zip goes")
    options = parser.parse_args()
    try:
        sheet = options.sheet.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {options.sheet}: {error.strerror}; run jobs/sheet/results_sheet.py first, or give --sheet "
            "FILE"
        ) from error
    if not sheet.startswith(b"%PDF"):
        raise InputError(f"{options.sheet} is no PDF")

    path = options.output / f"{options.name}.zip"
    with new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{options.name}/results.pdf", sheet)
        for name in code_files():
            archive.write(REPOSITORY / name, f"{options.name}/{name}")
        packed = archive.infolist()
    for entry in packed:
        print(f"{entry.file_size:9,} {entry.filename}")
    print(f"{path}: {len(packed)} files, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    run_script(main)
