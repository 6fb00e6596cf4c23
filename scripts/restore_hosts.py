"""Take back what preparing and measuring has changed on real hosts: packages, boot menu, files.

    python scripts/restore_hosts.py --environments '[{"environment": "lab", …}]'

Each host lists its own changes; what was there before stays. A host that is under Xen is rebooted first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from hvcost import program
from hvcost.environments import ledger, operation
from hvcost.machines.journal import Journal

log = logging.getLogger(__name__)


def restore(environments: Iterable[Mapping[str, Any]]) -> None:
    """Take back the changes on all hosts that are reached by SSH."""
    for spec in environments:
        if spec["host"]["connection"] == "ssh":
            with operation.host_alone(spec, Journal(), "native") as host:
                for done in ledger.take_back(host):
                    log.info("%s: %s", host.name, done)


if __name__ == "__main__":
    program.main(restore, __doc__, program.json_argument("--environments", help="machines and links"))
