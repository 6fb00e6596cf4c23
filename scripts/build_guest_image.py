"""Build the guest's disk, kernel and initramfs with their manifest (rule build_guest_image)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hvcost import program
from hvcost.images import cache
from hvcost.images import guest as guest_image
from hvcost.images.debian import read_package_list
from hvcost.machines import shell
from hvcost.planning.sources import sources_of


def build(disk_gib: int, packages: Path, tools: Sequence[str], output: Path) -> None:
    """Build the image, or take it from those that were built before of the same."""
    every = (*read_package_list(packages), *tools)
    files = [*map(Path, sources_of(Path(__file__))), *guest_image.FILES.iterdir(), shell.SCRIPT]
    key = cache.fingerprint({"disk_gib": disk_gib, "packages": every}, files)
    cache.fill(
        output,
        "guest",
        key,
        lambda folder: guest_image.build(disk_gib, every, folder),
        cache.folder_of_user(),
    )


if __name__ == "__main__":
    program.main(
        build,
        __doc__,
        program.argument("--disk-gib", type=int, help="size of its disk"),
        program.argument("--packages", type=Path, help="list of Debian packages"),
        program.json_argument("--tools", help="packages of the tools"),
        output="FOLDER",
        apart=program.always,
    )
