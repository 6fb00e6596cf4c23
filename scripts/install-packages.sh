#!/bin/sh
# Install the Debian packages that this computer needs to run the experiment: all that takes an administrator.
# Can be repeated: what is there is left alone, and a second run takes a second.
# Arguments: files with lists of further packages.
set -eu
cd "$(dirname "$0")/.."

say() { echo "install-packages: $*"; }
fail() { say "$*" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || fail "Debian's packages are installed by root: run it with sudo"
command -v apt-get >/dev/null || fail "this is no Debian: install what envs/system-packages.txt lists by hand"

wanted=$(sed 's/#.*//; s/ .*//' envs/system-packages.txt "$@")
is_missing() { ! dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }
missing=""
for package in $wanted; do
    ! is_missing "$package" || missing="$missing $package"
done

# Guests on this computer run under the QEMU that the guests of emulated machines have (Debian 13's), or one near it.
qemu_is_new() { dpkg --compare-versions "${1:-0}" ge 1:10; }
qemu_version() { dpkg-query --show --showformat='${Version}' qemu-system-x86 2>/dev/null || true; }
candidate() { apt-cache policy "$1" | sed -n 's/^  Candidate: //p' | grep -vxF '(none)'; }
codename() { (. /etc/os-release && echo "$VERSION_CODENAME"); }

# Add a suite from the mirror of this computer's own release. Arguments: the file's name, suite, component, for what.
add_suite() {
    file=/etc/apt/sources.list.d/hvcost-$1.sources
    uri=$(apt-get indextargets --format '$(SUITE) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk -v name="$(codename)" '$1 == name || $2 == name { print $3; exit }')
    [ -n "$uri" ] || fail "apt has no source for $(codename); add $2 with its component $3 by hand, for $4"
    say "adding $2 with its component $3 (for $4) in $file"
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n' \
        "$uri" "$2" "$3" /usr/share/keyrings/debian-archive-keyring.gpg >"$file"
    apt-get update -qq
}

# Without that by which this computer would start a server at once and at each boot (`autostart` of a tool).
get() {
    apt-get install -y -qq --no-install-recommends \
        -o DPkg::Options::=--path-exclude=/etc/init.d/netperf \
        -o DPkg::Options::=--path-exclude=/lib/systemd/system/irtt.service \
        -o DPkg::Options::=--path-exclude=/usr/lib/systemd/system/irtt.service "$@" >/dev/null
}

if [ -n "$missing" ] || ! qemu_is_new "$(qemu_version)"; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    if ! qemu_is_new "$(qemu_version)" && ! qemu_is_new "$(candidate qemu-system-x86)"; then
        suite="$(codename)-backports"
        add_suite backports "$suite" main "QEMU 10"
        say "installing qemu-system-x86 and qemu-utils from $suite"
        get -t "$suite" qemu-system-x86 qemu-utils
    fi
    # Debian 12 has netperf in non-free. As from backports, nothing else comes from there unless it is asked for.
    if is_missing netperf && ! candidate netperf >/dev/null; then
        printf 'Package: *\nPin: release n=%s, c=non-free\nPin-Priority: 100\n' "$(codename)" \
            >/etc/apt/preferences.d/hvcost-non-free.pref
        add_suite non-free "$(codename)" non-free netperf
    fi
    say "installing$missing"
    # shellcheck disable=SC2086
    get $missing
fi
qemu_is_new "$(qemu_version)" || fail "QEMU is $(qemu_version), but 10.0 or newer is needed"
