"""Packs what is handed in (handout, "What to Turn In"): one zip with all code and the results sheet's PDF."""

import os
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from common.distributed.ending import run_script
from common.errors import InputError
from common.files import REPOSITORY, new_file
from common.training.options import OptionParser, person_name

# code and pages; any other text or table is data, or a result
CODE = ("*.py", "*.ipynb", "*.pbs", "*.sh", "*.md", "*.toml", "requirements.txt", "jobs/*.csv", "tests/stand_ins/*")
# folders of results and of what is made from code
LEFT_OUT = {"__pycache__", "preprocessed_data", "trials", "previous", "results", "real"}


def code_files():
    """The files of code, in order: paths relative to the collection's folder."""
    found = []
    for folder, folders, names in os.walk(REPOSITORY):
        if "pyvenv.cfg" in names or "conda-meta" in folders:  # an environment
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name not in LEFT_OUT]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(file.relative_to(REPOSITORY) for file in found if any(map(file.match, CODE)))


def main():
    parser = OptionParser(__doc__)
    told = "yours: NAME.zip, in the current folder, holds everything in a folder NAME"
    parser.add_argument("name", type=person_name, metavar="NAME", help=told)
    name = parser.parse_args().name
    sheet = REPOSITORY / "jobs" / "results" / "results.pdf"
    if not sheet.is_file():
        raise InputError(f"there is no {sheet}; install matplotlib, and run jobs/sheet/results_sheet.py first")
    path = Path(f"{name}.zip")
    with new_file(path) as whole, zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        archive.write(sheet, f"{name}/results.pdf")
        for file in code_files():
            archive.write(REPOSITORY / file, f"{name}/{file}")
        packed = archive.infolist()
    for entry in packed:
        print(f"{entry.file_size:9,} {entry.filename}")
    print(f"{path}: {len(packed)} files, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    run_script(main)
