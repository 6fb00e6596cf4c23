#!/bin/sh
# Install what is needed and run the experiment to its end. Arguments go to snakemake, for example
#   scripts/run.sh all --configfile config/quick.yaml
set -eu
cd "$(dirname "$0")/.."
scripts/install.sh
PATH="$PWD/.venv/bin:$PATH"
export PATH
[ $# -gt 0 ] || set -- --cores 1 all
exec snakemake "$@"
