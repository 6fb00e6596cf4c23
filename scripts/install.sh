#!/bin/sh
# Install what the experiment needs: Python packages in .venv/ and, for root on a Debian, the system's packages too.
# Any other user is told what is missing. Can be repeated: what is there is left alone.
# Arguments: files with lists of further system packages.
set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

say() { echo "install: $*"; }
fail() { say "$*" >&2; exit 1; }

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    scripts/install-packages.sh "$@"
fi
missing=""
for program in $(sed 's/#.*//; s/^[^ ]*//' envs/system-packages.txt "$@"); do
    command -v "$program" >/dev/null || [ -f "$program" ] || missing="$missing $program"
done
[ -z "$missing" ] || fail "missing:$missing; on Debian, \`sudo scripts/install-packages.sh $*\` installs them; elsewhere, \
the packages that envs/system-packages.txt lists are to be installed by hand"
qemu=$(qemu-system-x86_64 --version | sed -n 's/^QEMU emulator version \([0-9]*\).*/\1/p')
[ "${qemu:-0}" -ge 10 ] || fail "qemu-system-x86_64 is of version $qemu, but 10 or newer is needed"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed"
stamp=.venv/requirements.lock
if ! cmp -s requirements.lock "$stamp"; then
    say "installing the Python packages of requirements.lock in .venv/"
    python3 -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    cp requirements.lock "$stamp"
fi
say "everything is there; to use snakemake by hand: . .venv/bin/activate"
