"""Build the disk that emulated machines boot from, with its keys and manifest (rule build_host_image)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from hvcost import program
from hvcost.images import cache
from hvcost.images import host as host_image
from hvcost.images.debian import read_package_list
from hvcost.planning.sources import sources_of


def build(packages: Path, needed: Mapping[str, Sequence[str]], output: Path) -> None:
    """Build the image, or take it from those that were built before of the same."""
    every = (*read_package_list(packages), *needed["packages"])
    sid, left_out = needed["sid_packages"], needed["left_out"]
    files = [*map(Path, sources_of(Path(__file__))), *host_image.OWN_FILES.iterdir()]
    key = cache.fingerprint({"packages": every, "sid_packages": sid, "left_out": left_out}, files)
    make = partial(host_image.build, every, sid, left_out)
    cache.fill(output, "host", key, make, cache.folder_of_user())


if __name__ == "__main__":
    program.main(
        build,
        __doc__,
        program.argument("--packages", type=Path, help="list of Debian packages"),
        program.json_argument(
            "--needed", help="packages of hypervisors and tools, and which of their files are left out"
        ),
        output="FOLDER",
        apart=program.always,
    )
