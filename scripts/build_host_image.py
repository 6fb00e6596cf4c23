"""Build the disk that emulated machines boot from, with its keys and manifest (rule build_host_image)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hvcost import program
from hvcost.debian import read_package_list
from hvcost.emulated.image import build


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="list of Debian packages")
    parser.add_argument("--hypervisors", nargs="+", required=True, help="packages of the hypervisors")
    parser.add_argument("--output", type=Path, required=True, help="folder of the image")
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()

    def work() -> None:
        build((*read_package_list(arguments.packages), *arguments.hypervisors), arguments.output)

    return program.run(work, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
