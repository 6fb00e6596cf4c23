"""Take back what preparing and measuring has changed on real hosts: packages, boot menu, files.

    python scripts/restore_hosts.py --environments '[{"environment": "lab", …}]'

Each host lists its own changes; what was there before stays. A host that is under Xen is rebooted first.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from hvcost import program
from hvcost.environments import ledger, operation
from hvcost.machines.base import Journal

log = logging.getLogger(__name__)


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environments", type=json.loads, required=True, help="machines and links, JSON")
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()

    def work() -> None:
        for spec in arguments.environments:
            if spec["host"]["connection"] == "ssh":
                with operation.host_alone(spec, Journal(), "native") as host:
                    for done in ledger.take_back(host):
                        log.info("%s: %s", host.name, done)

    return program.run(work, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
