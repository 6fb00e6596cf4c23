"""A user without any privilege on a computer that was prepared for that, seen from a root who makes both.

What the user finds lives in a mount namespace of its own: an entry in passwd(5), subordinate users and
groups, a `/dev/net/tun` for everybody, and Python, wherever that is installed. This computer stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from workspace import Workspace

ALL_IDS = 2**32 - 1
# Whether whoever runs the tests can make users, and is not root of some user namespace only.
IS_ADMINISTRATOR = (
    os.geteuid() == 0 and str(ALL_IDS) in Path("/proc/self/uid_map").read_text(encoding="ascii").split()
)
USER = "ada"
UID = 31337
SET_UP = """
set -e
etc=$1
shift
for file in passwd group subuid subgid; do
    [ -e /etc/$file ] || touch /etc/$file
    mount --bind "$etc/$file" /etc/$file
done
mount -t tmpfs -o mode=755 devices /dev/net
mknod -m "$TUN_MODE" /dev/net/tun c 10 200
# Folders of root alone hide nothing but what is needed.
covered=""
for path in $NEEDED; do
    part=""
    for name in $(echo "$path" | tr / ' '); do
        part=$part/$name
        if [ -z "$(find "$part" -maxdepth 0 -perm -o=x)" ]; then
            mkdir -p "$etc/held$path"
            mount --bind "$path" "$etc/held$path"
            covered="$covered $part:$path"
            break
        fi
    done
done
for pair in $covered; do
    mountpoint -q "${pair%%:*}" && [ "$(stat -f -c %T "${pair%%:*}")" = tmpfs ] ||
        mount -t tmpfs -o mode=755 covered "${pair%%:*}"
done
for pair in $covered; do
    path=${pair#*:}
    mkdir -p "$path"
    mount --bind "$etc/held$path" "$path"
done
cd "$HOME"
exec setpriv --reuid "$UID_OF_USER" --regid "$UID_OF_USER" --clear-groups --inh-caps=-all "$@"
"""


@dataclass(frozen=True)
class Ordinary:
    """The user's home, and the computer as it is prepared for the user."""

    home: Path
    etc: Path
    needed: tuple[str, ...]
    tun_mode: str = "0666"

    @property
    def within(self) -> tuple[str, ...]:
        """Beginning of a command line that is then run by the user, in the user's home."""
        variables = {
            "HOME": str(self.home),
            "USER": USER,
            "LOGNAME": USER,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "UID_OF_USER": str(UID),
            "NEEDED": " ".join(self.needed),
            "TUN_MODE": self.tun_mode,
        }
        return (
            *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
            *("unshare", "--mount", "sh", "-c", SET_UP, "sh", str(self.etc)),
        )

    def workspace(self, name: str) -> Workspace:
        """A new folder in the user's home, in which the user runs Snakemake."""
        folder = self.home / name
        folder.mkdir()
        self.owned(folder)
        return Workspace(folder, self.within)

    def owned(self, path: Path) -> Path:
        """The path with all that is in it, given to the user."""
        for each in (path, *path.rglob("*")):
            if not each.is_symlink():
                shutil.chown(each, UID, UID)
        return path


@contextlib.contextmanager
def made(needed: Sequence[Path], *, ids: bool = True, tun_mode: str = "0666") -> Iterator[Ordinary]:
    """A user who can read `needed`, with a home, until the block ends.

    `ids`: whether there are subordinate users and groups.
    """
    with tempfile.TemporaryDirectory(prefix="ordinary-") as name:
        folder = Path(name)
        home, etc = folder / "home", folder / "etc"
        for new in (home, etc):
            new.mkdir()
        for every in (folder, home, etc):
            every.chmod(0o755)
        for file, entry in {
            "passwd": f"{USER}:x:{UID}:{UID}::{home}:/bin/sh\n",
            "group": f"{USER}:x:{UID}:\n",
        }.items():
            (etc / file).write_text(Path("/etc", file).read_text() + entry)
        for file in ("subuid", "subgid"):
            (etc / file).write_text(f"{USER}:100000:65536\n" if ids else "")
        shutil.chown(home, UID, UID)
        paths = dict.fromkeys(str(path) for path in (*needed, sys.prefix, sys.base_prefix))
        yield Ordinary(home, etc, tuple(paths), tun_mode)
