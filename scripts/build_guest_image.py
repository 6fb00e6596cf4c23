"""Build the guest's disk, kernel and initramfs with their manifest (rule build_guest_image)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hvcost import files, program
from hvcost.images import guest as guest_image
from hvcost.images.debian import read_package_list


def build(guest: Mapping[str, Any], packages: Path, tools: Sequence[str], output: Path) -> None:
    """Build the image, and put it into its folder when all of it is there."""
    every = (*read_package_list(packages), *tools)
    with files.filled(output, "manifest.json") as folder:
        guest_image.build(guest_image.GuestShape(**guest), every, folder)


if __name__ == "__main__":
    program.main(
        build,
        __doc__,
        program.json_argument("--guest", help="`guest` of the configuration"),
        program.argument("--packages", type=Path, help="list of Debian packages"),
        program.json_argument("--tools", help="packages of the tools"),
        output="FOLDER",
    )
