"""What was changed on a real host for good, written down on the host itself, so that it can be taken back.

The list is on the host and not beside the results: several experiments may have prepared it, from several
computers. What is not in it was there before and stays.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from hvcost.environments import boot
from hvcost.environments.place import REMOTE_FILES
from hvcost.errors import CommandError
from hvcost.files import parse_json
from hvcost.machines.base import Connection
from hvcost.machines.packages import packages_by_status

log = logging.getLogger(__name__)

FILE = f"{REMOTE_FILES}/changes.json"
REMOVE_TIMEOUT_S = 1800
# How `dpkg --no-act --purge` ends if something needs one of the packages, and what it says of the others.
REFUSED = 1
REMOVAL = re.compile(r"^Would remove or purge ([^ :]+)", re.MULTILINE)


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
    return parse_json(
        text,
        f"{host.name}: {FILE}",
        "a list of changes",
        lambda content: Ledger(tuple(content["packages"]), tuple(content["files"])),
    )


def note(host: Connection, changes: Ledger) -> None:
    """Add changes to the host's list."""
    known = read(host)
    if known + changes == known:
        return
    # It is on the disk before what it lists is changed.
    host.write_text(FILE, json.dumps(asdict(known + changes), indent=1) + "\n")


def take_back(host: Connection) -> list[str]:
    """Undo what the list says, remove all files of ours, and the list; says what was done.

    Packages that something else has come to need are left where they are.
    """
    changes = read(host)
    done = []
    if changes.files:
        host.run(["rm", "-f", "--", *changes.files])
        done += [f"removed {file}" for file in changes.files]
    if changes.packages:
        done += _purge(host, changes.packages)
    if boot.SETTINGS in changes.files:
        boot.forget(host)
    host.run(["rm", "-rf", "--", REMOTE_FILES])
    return [*done, f"removed {REMOTE_FILES}"]


def _purge(host: Connection, packages: Sequence[str]) -> list[str]:
    """Remove packages and nothing else; says what became of each."""
    # apt would remove what depends on them as well, dpkg refuses. What was unpacked by half can go.
    dpkg = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "dpkg", "--force-remove-reinstreq"]
    ask = (*dpkg, "--no-act", "--abort-after=1000000", "--purge", *packages)
    planned = host.run(ask, check=False)
    if planned.exit_code not in (0, REFUSED):
        raise CommandError(host.name, ask, planned.exit_code, planned.stderr)
    removable = sorted(set(REMOVAL.findall(planned.stdout)) & set(packages))
    kept = sorted(packages_by_status(host).keys() & set(packages) - set(removable))
    if removable:
        host.run([*dpkg, "--purge", *removable], timeout_s=REMOVE_TIMEOUT_S)
    return [
        *(f"removed package {package}" for package in removable),
        *(f"kept package {package}, which something else there needs by now" for package in kept),
    ]
