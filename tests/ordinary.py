"""A user without any privilege on a computer that was prepared for that, seen from a root who makes both.

What the user finds lives in a mount namespace of its own: an entry in passwd(5), subordinate users and
groups, a `/dev/net/tun` for everybody, and Python, wherever that is installed. This computer stays as it is.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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

    def owned(self, path: Path) -> Path:
        """The path with all that is in it, given to the user."""
        for each in (path, *path.rglob("*")):
            if not each.is_symlink():
                shutil.chown(each, UID, UID)
        return path


def made(folder: Path, needed: Sequence[Path], *, ids: bool = True, tun_mode: str = "0666") -> Ordinary:
    """A user whose home is in the new `folder`, in which everybody can get, and who can read `needed`.

    `ids`: whether there are subordinate users and groups.
    """
    home, etc = folder / "home", folder / "etc"
    for new in (folder, home, etc):
        new.mkdir(mode=0o755)
    for name in ("passwd", "group"):
        entry = {"passwd": f"{USER}:x:{UID}:{UID}::{home}:/bin/sh\n", "group": f"{USER}:x:{UID}:\n"}[name]
        (etc / name).write_text(Path("/etc", name).read_text() + entry)
    for name in ("subuid", "subgid"):
        (etc / name).write_text(f"{USER}:100000:65536\n" if ids else "")
    shutil.chown(home, UID, UID)
    paths = dict.fromkeys(str(path) for path in (*needed, sys.prefix, sys.base_prefix))
    return Ordinary(home, etc, tuple(paths), tun_mode)
