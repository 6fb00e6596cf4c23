"""What was changed on a real host for good, written down on the host itself, so that it can be taken back.

The list is on the host and not beside the results: several experiments may have prepared it, from several
computers. What is not in it was there before and stays.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass

from hvcost.connections.base import Connection
from hvcost.environment import REMOTE_FILES
from hvcost.errors import ParseError
from hvcost.hosts import boot

log = logging.getLogger(__name__)

FILE = f"{REMOTE_FILES}/changes.json"
REMOVE_TIMEOUT_S = 1800


@dataclass(frozen=True)
class Ledger:
    """Packages that were installed, and files that were written, beside those below REMOTE_FILES."""

    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def __add__(self, other: Ledger) -> Ledger:
        packages = dict.fromkeys((*self.packages, *other.packages))
        return Ledger(tuple(packages), tuple(dict.fromkeys((*self.files, *other.files))))


def read(host: Connection) -> Ledger:
    """The host's list; an empty one if nothing was ever changed."""
    text = host.run(["sh", "-c", 'cat "$1" 2>/dev/null || true', "ledger", FILE]).stdout
    if not text:
        return Ledger()
    try:
        content = json.loads(text)
        return Ledger(tuple(content["packages"]), tuple(content["files"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ParseError(f"{host.name}: {FILE} is not a list of changes: {error!r}") from error


def note(host: Connection, changes: Ledger) -> None:
    """Add changes to the host's list."""
    known = read(host)
    if known + changes == known:
        return
    text = json.dumps(asdict(known + changes), indent=1)
    script = 'mkdir -p "$(dirname "$1")" && cat >"$1.partial" && mv "$1.partial" "$1"'
    host.run(["sh", "-c", script, "ledger", FILE], stdin=text.encode())


def take_back(host: Connection) -> list[str]:
    """Undo what the list says, remove all files of ours, and the list; says what was done."""
    changes = read(host)
    done = []
    if changes.files:
        host.run(["rm", "-f", "--", *changes.files])
        done += [f"removed {file}" for file in changes.files]
    if changes.packages:
        host.run(
            ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "purge", "-y", "-qq", *changes.packages],
            timeout_s=REMOVE_TIMEOUT_S,
        )
        done += [f"removed package {package}" for package in changes.packages]
    if boot.SETTINGS in changes.files:
        boot.forget(host)
    host.run(["rm", "-rf", "--", REMOTE_FILES])
    return [*done, f"removed {REMOTE_FILES}"]
