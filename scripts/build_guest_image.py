"""Build the guest's disk, kernel and initramfs with their manifest (rule build_guest_image)."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hvcost import program
from hvcost.images import cache, guest
from hvcost.images.debian import read_package_list
from hvcost.machines import shell
from hvcost.planning.sources import sources_of


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guest", type=json.loads, required=True, help="`guest` of the configuration, JSON")
    parser.add_argument("--packages", type=Path, required=True, help="list of Debian packages")
    parser.add_argument("--tools", type=json.loads, required=True, help="packages of the tools, JSON")
    parser.add_argument("--output", type=Path, required=True, help="folder of the image")
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()

    def work() -> None:
        packages = (*read_package_list(arguments.packages), *arguments.tools)
        inputs = {"guest": arguments.guest, "packages": packages}
        files = [*map(Path, sources_of(Path(__file__))), *guest.FILES.iterdir(), shell.SCRIPT]
        cache.fill(
            arguments.output,
            "guest",
            cache.fingerprint(inputs, files),
            guest.BUILT,
            lambda: guest.build(guest.GuestShape(**arguments.guest), packages, arguments.output),
            cache.folder_of_user(),
        )

    return program.run(work, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
