"""Look at the machines of an experiment and change nothing: what works, what is missing, what cannot work.

    python scripts/check_machines.py --environments '[{"environment": "lab", …}]' \\
        --packages envs/host-packages.txt
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hvcost import environment, program
from hvcost.connections.base import Connection, Journal
from hvcost.debian import read_package_list
from hvcost.errors import MachineError
from hvcost.hosts.check import Finding, examine_client, examine_host


def main() -> int:
    """Run the program; its exit code, 1 if somebody has to see to something."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environments", type=json.loads, required=True, help="machines and links, JSON")
    parser.add_argument("--packages", type=Path, required=True, help="list of Debian packages")
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()

    def work() -> None:
        packages = read_package_list(arguments.packages)
        findings = [finding for spec in arguments.environments for finding in check(spec, packages)]
        for finding in findings:
            print(f"{finding.machine}: {finding.kind}: {finding.text}", flush=True)
        bad = sum(finding.is_bad for finding in findings)
        if bad:
            raise MachineError(f"{bad} of {len(findings)} findings have to be seen to first")

    return program.run(work, arguments.log)


def check(spec: Mapping[str, Any], packages: tuple[str, ...]) -> Iterator[Finding]:
    """Findings on both ends of an environment."""
    name, rate_mbit = spec["environment"], spec["link"]["rate_mbit"]
    if spec["host"]["connection"] != "ssh":
        yield Finding(f"{name} host", "works", "this computer plays it: nothing to check")
        return

    def on_host(host: Connection) -> Iterator[Finding]:
        return examine_host(host, spec["host"]["interface"], rate_mbit, spec["hypervisors"], packages)

    def on_client(client: Connection) -> Iterator[Finding]:
        return examine_client(client, spec["client"]["interface"], rate_mbit)

    yield from _examined(f"{name} host", spec["host"], on_host)
    yield from _examined(f"{name} client", spec["client"], on_client)


def _examined(
    name: str, spec: Mapping[str, Any], examine: Callable[[Connection], Iterator[Finding]]
) -> Iterator[Finding]:
    try:
        machine = environment.connected(name, spec, Journal())
    except MachineError as error:
        yield Finding(name, "missing", str(error).removeprefix(f"{name}: "))
        return
    try:
        yield from examine(machine)
    except MachineError as error:
        yield Finding(name, "missing", str(error).removeprefix(f"{name}: "))
    finally:
        machine.close()


if __name__ == "__main__":
    sys.exit(main())
