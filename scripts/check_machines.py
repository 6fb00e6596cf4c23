"""Look at the machines of an experiment and change nothing: what works, what is missing, what cannot work.

    python scripts/check_machines.py --environments '[{"environment": "lab", …}]' \\
        --packages envs/host-packages.txt
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hvcost import program
from hvcost.environments import operation
from hvcost.environments.check import Finding, examine_client, examine_end, examine_host, examine_way
from hvcost.environments.client_limits import examine_limits
from hvcost.environments.congestion import check_congestion_control
from hvcost.environments.place import link_from
from hvcost.errors import MachineError
from hvcost.images.debian import read_package_list
from hvcost.machines.base import Connection
from hvcost.machines.journal import Journal
from hvcost.tools import load_tool, packages_of


def check_all(environments: Iterable[Mapping[str, Any]], packages: Path) -> None:
    """Print the findings on all machines; MachineError if somebody has to see to something."""
    base = read_package_list(packages)
    findings = [finding for spec in environments for finding in check(spec, base)]
    for finding in findings:
        print(f"{finding.machine}: {finding.kind}: {finding.text}", flush=True)
    bad = sum(finding.is_bad for finding in findings)
    if bad:
        raise MachineError(
            f"something is wrong in {bad} of {len(findings)} findings; mend it before you measure"
        )


def check(spec: Mapping[str, Any], packages: tuple[str, ...]) -> Iterator[Finding]:
    """Findings on all machines of an environment."""
    name, rate_mbit, mtu = spec["environment"], spec["link"]["rate_mbit"], spec["link"]["mtu"]
    connection, interface = spec["host"]["connection"], spec["client"]["interface"]
    if connection not in ("ssh", "provided"):
        yield Finding(f"{name} host", "works", "this computer plays it: nothing to check")
        return
    servers = _provided(spec) if connection == "provided" else {}
    tools = spec["tools"]

    def on_host(host: Connection) -> Iterator[Finding]:
        needed = [*packages, *packages_of(tools)]
        return examine_host(host, spec["host"]["interface"], rate_mbit, spec["hypervisors"], needed)

    def on_client(client: Connection) -> Iterator[Finding]:
        yield from examine_client(client, interface, rate_mbit, tools)
        if connection == "provided":
            check_congestion_control(client, link_from(spec["link"]))
        for server in servers.values():
            yield from examine_way(client, interface, server["address"])
        if not any("iperf" in load_tool(tool).packages for tool in tools):
            return
        peers = [server["address"] for server in servers.values()]
        try:
            with operation.client_alone(client, spec):
                yield from examine_limits(client, interface, rate_mbit, mtu, peers)
        except MachineError as error:
            text = f"what limits it: {str(error).removeprefix(f'{client.name}: ')}"
            yield Finding(client.name, "not known", text)

    def on_server(server: Connection) -> Iterator[Finding]:
        return examine_end(server, tools)

    if connection == "ssh":
        yield from _examined(f"{name} host", spec["host"], on_host)
    yield from _examined(f"{name} client", spec["client"], on_client, as_root=connection == "ssh")
    for machine, server in servers.items():
        if server.get("start"):
            yield Finding(machine, "works", "each session starts it, so it is not looked at now")
        else:
            address = server.get("ssh") or server["address"]
            reached = {"connection": "ssh", "address": address}
            yield from _examined(machine, reached, on_server, as_root=False)


def _provided(spec: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Servers on a host that is left alone, by name."""
    name, bare_metal = spec["environment"], spec["host"]["bare_metal"]
    guests = {f"{name} guest {system}": options for system, options in spec["guests"].items()}
    return guests | ({f"{name} host": bare_metal} if bare_metal else {})


def _examined(
    name: str,
    spec: Mapping[str, Any],
    examine: Callable[[Connection], Iterator[Finding]],
    *,
    as_root: bool = True,
) -> Iterator[Finding]:
    try:
        machine = operation.connected(name, spec, Journal(), as_root=as_root)
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
    program.main(
        check_all,
        __doc__,
        program.json_argument("--environments", help="machines and links"),
        program.argument("--packages", type=Path, help="list of Debian packages"),
    )
