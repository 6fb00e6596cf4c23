#!/bin/sh
# Install what is needed, check the source and run all tests. Arguments go to pytest, for example
#   sudo scripts/test.sh -m "not slow"
set -eu
cd "$(dirname "$0")/.."
scripts/install.sh envs/test-packages.txt
PATH="$PWD/.venv/bin:$PATH"
export PATH
ruff check
ruff format --check
mypy
snakefmt --check Snakefile rules
snakemake --lint
# One process for the tests that boot machines, which take their turns, and one for all others.
exec pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder "$@"
