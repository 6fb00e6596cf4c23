"""Build a guest again from its record: the same packages in the same versions, and the same bytes.

The record is the manifest.json beside an image. A mirror of Debian has a version only for as long as it is
the current one. For older ones, this computer's apt needs a source that has the repository as it was then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hvcost import files, program
from hvcost.errors import MachineError
from hvcost.images import guest as guest_image
from hvcost.images import manifest
from hvcost.wording import listed


def rebuild(record: Path, output: Path) -> None:
    """Build the image; MachineError if a version is not there any more, or if its files are others."""
    disk_gib, packages, checksums = files.read_json(record, "the manifest of a guest image", _recorded)
    with files.filled(output, manifest.NAME) as partial:
        guest_image.build(disk_gib, packages, partial)
    built = guest_image.load(output / manifest.NAME).checksums
    if differing := [name for name, checksum in checksums.items() if built.get(name) != checksum]:
        raise MachineError(
            f"this computer: {output} has the packages of {record}, but other bytes in {listed(differing)}: "
            "it was built by another version of this software"
        )


def _recorded(content: dict[str, Any]) -> tuple[int, list[str], dict[str, str]]:
    """Size of the disk in GiB, packages with their versions, and checksums of the files."""
    packages = [f"{name}={version}" for name, version in content["packages"].items()]
    checksums = {name: about["sha256"] for name, about in content["files"].items()}
    return int(content["build"]["disk_gib"]), packages, checksums


if __name__ == "__main__":
    program.main(
        rebuild,
        __doc__,
        program.argument("--record", type=Path, help="manifest.json of the image as it was"),
        output="FOLDER",
        apart=program.always,
    )
