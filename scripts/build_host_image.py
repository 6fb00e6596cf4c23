"""Build the disk that emulated machines boot from, with its keys and manifest (rule build_host_image)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from hvcost import program
from hvcost.images import host as host_image
from hvcost.images.debian import read_package_list


def build(packages: Path, needed: Mapping[str, Sequence[str]], output: Path) -> None:
    """Build the image into a folder."""
    every = (*read_package_list(packages), *needed["packages"])
    host_image.build(every, needed["sid_packages"], output)


if __name__ == "__main__":
    program.main(
        build,
        __doc__,
        program.argument("--packages", type=Path, help="list of Debian packages"),
        program.json_argument("--needed", help="packages of hypervisors and tools"),
        output="FOLDER",
    )
