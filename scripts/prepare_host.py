"""Make a host ready for its hypervisors; write down what it is and what was changed (rule prepare_host)."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from hvcost import files, program
from hvcost.environments.acceleration import measured_otherwise, said_of
from hvcost.environments.preparation import prepare
from hvcost.images import guest as guest_image
from hvcost.images.debian import read_package_list

log = logging.getLogger(__name__)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", type=json.loads, required=True, help="machines and link, JSON")
    parser.add_argument("--guest", type=Path, help="manifest of the guest image, if there is a guest of ours")
    parser.add_argument("--host-image", type=Path, help="manifest of the image of emulated hosts")
    parser.add_argument("--packages", type=Path, required=True, help="list of Debian packages")
    parser.add_argument("--state", type=Path, required=True, help="folder of emulated machines' disks")
    parser.add_argument("--output", type=Path, required=True, help="host.json")
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()

    def work() -> None:
        prepared = prepare(
            arguments.environment,
            guest_image.load(arguments.guest) if arguments.guest else None,
            arguments.host_image,
            read_package_list(arguments.packages),
            arguments.state,
        )
        for change in prepared["changes"]:
            log.info("%s host: %s", prepared["environment"], change)
        text = json.dumps(prepared, indent=1, sort_keys=True, ensure_ascii=False)
        files.write_text(arguments.output, text + "\n")
        if others := measured_otherwise(arguments.output):
            log.warning("%s host: %s", prepared["environment"], said_of(others))

    return program.run(work, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
