#!/bin/sh
# Install what is needed, check the source and run all tests. Arguments go to pytest, for example
#   scripts/test.sh -m "not slow"
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
# Tests make networks and mounts. As a user, in namespaces of the user's own, where the user is root of them.
apart=""
[ "$(id -u)" -eq 0 ] || apart="python scripts/apart.py"
# One process for the tests that share an emulated machine, and two for all others, most of which wait.
# shellcheck disable=SC2086
exec $apart pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder "$@"
