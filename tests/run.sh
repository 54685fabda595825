#!/usr/bin/env bash
# Makes the environment, then checks format and lint and runs the tests.
# usage: bash tests/run.sh [ARGUMENTS OF PYTEST]
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")/.."

bash jobs/make_environment.sh tests/requirements.txt
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/shellcheck -x jobs/*.sh jobs/*.pbs tests/*.sh tests/stand_ins/module_init .ci/run
.venv/bin/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal "$@"
