#!/bin/sh
# Install what the experiment needs on this Debian computer: system packages, and a Python environment in .venv/.
# Needs root. Can be repeated: what is there is left alone, and a second run takes a second.
# Arguments: files with lists of further Debian packages.
set -eu
cd "$(dirname "$0")/.."

say() { echo "install: $*"; }
fail() { say "$*" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || fail "needs root (packages, network namespaces): run it with sudo"
command -v apt-get >/dev/null || fail "this is no Debian; install the packages of envs/system-packages.txt by hand"

wanted=$(sed 's/#.*//' envs/system-packages.txt "$@")
missing=""
for package in $wanted; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
        missing="$missing $package"
done

# Guests on this computer run under the QEMU that the guests of emulated machines have (Debian 13's), or one near it.
qemu_is_new() { dpkg --compare-versions "${1:-0}" ge 1:10; }
qemu_version() { dpkg-query --show --showformat='${Version}' qemu-system-x86 2>/dev/null || true; }
qemu_candidate() { apt-cache policy qemu-system-x86 | sed -n 's/^  Candidate: //p'; }

if [ -n "$missing" ] || ! qemu_is_new "$(qemu_version)"; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    suite=""
    if ! qemu_is_new "$(qemu_version)" && ! qemu_is_new "$(qemu_candidate)"; then
        codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
        suite="$codename-backports"
        file=/etc/apt/sources.list.d/hvcost-backports.sources
        uri=$(apt-get indextargets --format '$(SUITE) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
            awk -v name="$codename" '$1 == name || $2 == name { print $3; exit }')
        [ -n "$uri" ] || fail "apt has no source for $codename; add the suite $suite, which has QEMU 10, by hand"
        say "adding the suite $suite (for QEMU 10) in $file"
        printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
            "$uri" "$suite" /usr/share/keyrings/debian-archive-keyring.gpg >"$file"
        apt-get update -qq
    fi
    if [ -n "$suite" ]; then
        say "installing qemu-system-x86 and qemu-utils from $suite"
        apt-get install -y -qq --no-install-recommends -t "$suite" qemu-system-x86 qemu-utils >/dev/null
    fi
    say "installing$missing"
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi
qemu_is_new "$(qemu_version)" || fail "QEMU is $(qemu_version), but 10.0 or newer is needed"

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed"
stamp=.venv/requirements.lock
if ! cmp -s requirements.lock "$stamp"; then
    say "installing the Python packages of requirements.lock in .venv/"
    python3 -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    cp requirements.lock "$stamp"
fi
say "everything is there; to use snakemake by hand: . .venv/bin/activate"
