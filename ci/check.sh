#!/usr/bin/env bash
# Everything that a change must pass, on a machine with no GPU, with the Python that is active.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

heading() { printf '\n== %s ==\n' "$*"; }

heading "ruff check"
python -m ruff check .

heading "ruff format"
python -m ruff format --check .

heading "mypy --strict"
python -m mypy --strict

heading "pytest"
python -m pytest
