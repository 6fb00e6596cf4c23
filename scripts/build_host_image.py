"""Build the disk that emulated machines boot from, with its keys and manifest (rule build_host_image)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hvcost import files, program
from hvcost.images import host as host_image
from hvcost.images.debian import read_package_list


def build(packages: Path, needed: Mapping[str, Sequence[str]], output: Path) -> None:
    """Build the image, and put it into its folder when all of it is there."""
    every = (*read_package_list(packages), *needed["packages"])
    with files.filled(output, "manifest.json") as folder:
        host_image.build(every, needed["sid_packages"], folder)


if __name__ == "__main__":
    program.main(
        build,
        __doc__,
        program.argument("--packages", type=Path, help="list of Debian packages"),
        program.json_argument("--needed", help="packages of hypervisors and tools"),
        output="FOLDER",
    )
