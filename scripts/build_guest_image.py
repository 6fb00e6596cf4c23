"""Build the guest's disk, kernel and initramfs with their manifest (rule build_guest_image)."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from hvcost import program
from hvcost.images.debian import read_package_list
from hvcost.images.guest import GuestShape, build


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
        build(GuestShape(**arguments.guest), packages, arguments.output)

    return program.run(work, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
