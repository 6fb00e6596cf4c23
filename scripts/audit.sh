#!/bin/sh
# Ask whether a weakness is known of any of the pinned Python packages: those that run an experiment, those that test
# it, those of a cluster, and those that ask. The answer is that of the Python Packaging Authority's vulnerability
# service, by pip-audit, which is installed in a folder of its own and removed afterwards. Exit code 1: a weakness is
# known, or a package could not be asked about (--strict). Arguments go to pip-audit, for example
#   scripts/audit.sh --vulnerability-service osv
set -eu
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-audit.lock
found=0
for lock in requirements*.lock; do
    echo "audit: $lock"
    "$folder/bin/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off --requirement "$lock" "$@" ||
        found=1
done
exit "$found"
