"""Make a host ready for its hypervisors; write down what it is and what was changed (rule prepare_host)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvcost import files, program
from hvcost.environments import acceleration, preparation
from hvcost.images import guest as guest_image
from hvcost.images.debian import read_package_list
from hvcost.model.record import is_played

log = logging.getLogger(__name__)


def prepare(
    environment: Mapping[str, Any],
    guest: Path | None,
    host_image: Path | None,
    packages: Path,
    state: Path,
    output: Path,
) -> None:
    """Prepare the host and write its host.json."""
    image = guest_image.load(guest) if guest else None
    prepared = preparation.prepare(environment, image, host_image, read_package_list(packages), state)
    for change in prepared["changes"]:
        log.info("%s host: %s", prepared["environment"], change)
    files.write_text(output, json.dumps(prepared, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    if others := acceleration.measured_otherwise(output):
        log.warning("%s host: %s", prepared["environment"], acceleration.said_of(others))


if __name__ == "__main__":
    program.main(
        prepare,
        __doc__,
        program.json_argument("--environment", help="machines and link"),
        program.argument(
            "--guest",
            type=Path,
            default=None,
            help="manifest of the guest image, if there is one of ours",
        ),
        program.argument(
            "--host-image", type=Path, default=None, help="manifest of the image of emulated hosts"
        ),
        program.argument("--packages", type=Path, help="list of Debian packages"),
        program.argument("--state", type=Path, help="folder of emulated machines' disks"),
        output="JSON",
        apart=lambda environment, **_: is_played(environment["host"]),
    )
