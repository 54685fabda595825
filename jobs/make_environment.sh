#!/usr/bin/env bash
# Makes the Python environment .venv and installs the packages of a requirements file into it, once.
# usage: make_environment.sh REQUIREMENTS_FILE      (PYTHON=python3.12 chooses another Python, 3.10 or later)
set -euo pipefail
requirements=$(realpath "${1:?usage: make_environment.sh REQUIREMENTS_FILE}")
cd "$(dirname "$0")/.."

installed=.venv/installed-$(cksum <"$requirements" | cut -d ' ' -f 1)-$(cksum <requirements.txt | cut -d ' ' -f 1)
[ -e "$installed" ] && exit 0

echo "installing $requirements into .venv" >&2
[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2
touch "$installed"
