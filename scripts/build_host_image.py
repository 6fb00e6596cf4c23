"""Build the disk that emulated machines boot from, with its keys and manifest (rule build_host_image)."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hvcost import program
from hvcost.images import cache, host
from hvcost.images.debian import read_package_list
from hvcost.planning.sources import sources_of


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="list of Debian packages")
    parser.add_argument(
        "--needed", type=json.loads, required=True, help="packages of hypervisors and tools, JSON"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the image")
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()

    def work() -> None:
        needed = arguments.needed
        packages = (*read_package_list(arguments.packages), *needed["packages"])
        inputs = {"packages": packages, "sid_packages": needed["sid_packages"]}
        files = [*map(Path, sources_of(Path(__file__))), *host.OWN_FILES.iterdir()]
        cache.fill(
            arguments.output,
            "host",
            cache.fingerprint(inputs, files),
            host.BUILT,
            lambda: host.build(packages, needed["sid_packages"], arguments.output),
            cache.folder_of_user(),
        )

    return program.run(work, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
