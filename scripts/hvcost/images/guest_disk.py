"""The guest's files as a disk: what an emulated machine finds there need not be copied or converted in it.

What such a machine would do slowly is done here, once for all environments: the guest's disk in the formats
of all hypervisors. A machine mounts it read-only, and gets it only if it is, byte for byte, what was made
here of this very guest.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from hvcost.errors import MachineError, ParseError
from hvcost.files import read_json, replaced, write_text
from hvcost.images.debian import scratch_folder
from hvcost.images.guest import GuestImage
from hvcost.machines.base import sha256_of
from hvcost.machines.local import LocalConnection

log = logging.getLogger(__name__)

NAME = "guest-files.img"
LABEL = "guest-files"
# A file system of ext4 needs some room for itself.
SPARE_BYTES = 64 << 20
MAKE_TIMEOUT_S = 1800.0


def ensure(computer: LocalConnection, guest: GuestImage, formats: Sequence[str], folder: Path) -> Path:
    """The disk in `folder`, made if there is none of this guest: a raw file with a file system of type ext4.

    In its root are the guest's files by their names, and its disk once more in each of `formats` (as qemu-img
    calls them) with the format as the ending. The caller sees to it that nobody else makes it meanwhile.
    """
    disk = folder / NAME
    wanted: dict[str, object] = {"guest": dict(guest.checksums), "formats": sorted(formats)}
    made = _made(disk)
    if made is None or {name: made.get(name) for name in wanted} != wanted:
        log.info("making a disk of the guest's files, in the formats of all hypervisors")
        _manifest(disk).unlink(missing_ok=True)
        _make(computer, guest, formats, disk)
        manifest = wanted | {"sha256": sha256_of(disk)}
        write_text(_manifest(disk), json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    elif sha256_of(disk) != made["sha256"]:
        raise MachineError(f"{computer.name}: {disk} is not what was made there; remove it and try again")
    return disk


def _make(computer: LocalConnection, guest: GuestImage, formats: Sequence[str], disk: Path) -> None:
    with scratch_folder(disk.parent) as scratch, replaced(disk) as partial:
        tree = scratch / "tree"
        tree.mkdir()
        for file in (guest.disk, guest.kernel, guest.initramfs):
            if sha256_of(file) != guest.checksums[file.name]:
                raise MachineError(f"{computer.name}: {file} is not what its manifest says; build it again")
            shutil.copy(file, tree / file.name)
        for kind in formats:
            converted = (tree / guest.disk.name).with_suffix(f".{kind}")
            computer.run(
                ["qemu-img", "convert", "-f", "qcow2", "-O", kind, str(guest.disk), str(converted)],
                timeout_s=MAKE_TIMEOUT_S,
            )
        used_bytes = sum(file.stat().st_blocks * 512 for file in tree.iterdir())
        with partial.open("wb") as empty:
            empty.truncate(used_bytes + SPARE_BYTES)
        computer.run(
            ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-m", "0", "-N", "64",
             "-L", LABEL, "-E", "nodiscard", "-d", str(tree), str(partial)],
            timeout_s=MAKE_TIMEOUT_S,
        )  # fmt: skip


def _manifest(disk: Path) -> Path:
    return disk.with_suffix(".json")


def _made(disk: Path) -> dict[str, object] | None:
    """What the disk was made of, None if there is none."""
    try:
        made = read_json(_manifest(disk), "the manifest of a disk", dict)
    except ParseError:
        return None
    return made if disk.is_file() and "sha256" in made else None
