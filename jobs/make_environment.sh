#!/usr/bin/env bash
# Makes the Python environment .venv and installs the packages of a requirements file into it, once.
# usage: make_environment.sh REQUIREMENTS_FILE      (PYTHON=python3.12 chooses another Python, 3.11 or later)
set -euo pipefail
requirements=$(realpath -- "${1:?it wants a requirements file}")
CDPATH='' cd -- "$(dirname -- "$0")/.."

# has MODULE...: whether the environment's Python runs and finds these modules
has() {
    .venv/bin/python -c 'import sys, importlib.util as u; sys.exit(not all(map(u.find_spec, sys.argv[1:])))' "$@" 2>/dev/null
}

installed=.venv/installed-$(cksum <"$requirements" | cut -d ' ' -f 1)-$(cksum <requirements.txt | cut -d ' ' -f 1)
! { [ -e "$installed" ] && has torch numpy nltk; } || exit 0

echo "installing $requirements into .venv" >&2
if ! has pip; then
    python=${PYTHON:-python3}
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "error: $python is not Python 3.11 or later; name another one, as in PYTHON=python3.12" >&2
        exit 2
    }
    rm -rf .venv # what there is of it is broken
    "$python" -m venv .venv
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" >&2
touch "$installed"
