"""What there is to know about real machines before anything is changed or measured on them.

Nothing here changes a machine. What is found is of one of six kinds: it works, it will be changed, it will
limit what is measured, it is not known, it is missing and somebody has to see to it, or a system cannot work
on this machine.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hvcost.environments import boot
from hvcost.errors import MachineError
from hvcost.hypervisors import Hypervisor, load_driver
from hvcost.machines import facts
from hvcost.machines.base import Connection
from hvcost.machines.interfaces import interfaces
from hvcost.machines.packages import missing_packages
from hvcost.tools import Tool, load_tool, versions_of

Kind = Literal["works", "will be changed", "will limit", "not known", "missing", "cannot work"]


@dataclass(frozen=True)
class Finding:
    """One thing found on one machine."""

    machine: str
    kind: Kind
    text: str

    @property
    def is_bad(self) -> bool:
        """Whether somebody has to do something about it."""
        return self.kind in ("missing", "cannot work")


def examine_host(
    host: Connection,
    interface: str,
    rate_mbit: int,
    hypervisors: Sequence[str],
    packages: Sequence[str],
) -> Iterator[Finding]:
    """What a host offers for these hypervisors. `packages`: those that every host needs."""

    def found(kind: Kind, text: str) -> Finding:
        return Finding(host.name, kind, text)

    system = _output(host, "sed -n 's/^PRETTY_NAME=//p' /etc/os-release").strip('"')
    mode = boot.boot_mode(host)
    yield found(
        "works", f"reached by SSH as root: {system}, booted {'under Xen' if mode == 'xen' else 'natively'}"
    )
    yield from _examine_interface(host, interface, rate_mbit)
    addresses = interfaces(host).get(interface, {}).get("addr_info", [])
    if any(address["scope"] == "global" for address in addresses):
        yield found("will be changed", f"{interface}: its addresses are on a bridge during each session")
    drivers = {name: load_driver(name) for name in hypervisors}
    yield from _examine_packages(host, "every session", packages)
    for name, driver in drivers.items():
        yield from _examine_packages(host, name, [each for each in driver.packages if each not in packages])
        yield from _examine_hypervisor(host, name, driver)


def examine_client(
    client: Connection, interface: str, rate_mbit: int, tools: Sequence[str]
) -> Iterator[Finding]:
    """What a client offers: it needs its card, bash, the tools and ping, and nothing is installed there."""
    yield from examine_end(client, tools)
    yield from _examine_interface(client, interface, rate_mbit)
    if not client.succeeds(["sh", "-c", "command -v ping"]):
        yield Finding(client.name, "missing", "ping: install it, for example apt-get install iputils-ping")


def examine_end(machine: Connection, tools: Sequence[str]) -> Iterator[Finding]:
    """What a machine offers that is used as it is: it needs the tools, and bash, which reads its clocks."""
    yield Finding(machine.name, "works", f"reached: {_output(machine, 'uname -sr')}")
    for name in tools:
        yield _tool(machine, load_tool(name))
    if not machine.succeeds(["sh", "-c", "command -v bash"]):
        yield Finding(machine.name, "missing", "bash: install it, for example apt-get install bash")


def _tool(machine: Connection, tool: Tool) -> Finding:
    found = dict(facts.versions(machine, versions_of([tool.name])))
    version = str(next(iter(found.values()), ""))
    if version and version.startswith(tool.version_begins):
        return Finding(machine.name, "works", version)
    wanted = f"{tool.name} ({tool.version_begins})" if tool.version_begins else tool.name
    packages = " ".join(tool.packages)
    return Finding(machine.name, "missing", f"{wanted}: install it, for example apt-get install {packages}")


def examine_way(client: Connection, interface: str, address: str) -> Iterator[Finding]:
    """Whether the client's packets to an address leave by its measured interface."""
    found = client.run(["ip", "-json", "route", "get", address], check=False).stdout
    used = json.loads(found)[0].get("dev") if found.strip() else None
    if used == interface:
        yield Finding(client.name, "works", f"the way to {address} is {interface}")
    else:
        text = f"the way to {address} is {used}, not {interface}" if used else f"there is no way to {address}"
        yield Finding(client.name, "missing", text)


def _examine_interface(machine: Connection, interface: str, rate_mbit: int) -> Iterator[Finding]:
    links = interfaces(machine)
    if interface not in links:
        names = ", ".join(sorted(links))
        yield Finding(
            machine.name, "missing", f"there is no interface {interface}; it has {names} (key interface)"
        )
        return
    link = links[interface]
    if "master" in link:
        text = (
            f"{interface} is a port of {link['master']}; take it out, or measure another card (key interface)"
        )
        yield Finding(machine.name, "cannot work", text)
    if "LOWER_UP" not in link["flags"] and "UP" in link["flags"]:
        yield Finding(machine.name, "missing", f"{interface} has no carrier; plug the cable in")
    speed = _output(machine, f"cat /sys/class/net/{shlex.quote(interface)}/speed 2>/dev/null")
    if speed.isdecimal() and int(speed) != rate_mbit:
        text = f"{interface} runs at {speed} Mbit/s, but link.rate_mbit is {rate_mbit}; correct one of them"
        yield Finding(machine.name, "missing", text)
    else:
        rate = f"{speed} Mbit/s" if speed.isdecimal() else "it does not say its speed"
        yield Finding(machine.name, "works", f"{interface}: {rate}")


def _examine_packages(host: Connection, what_for: str, packages: Sequence[str]) -> Iterator[Finding]:
    if not packages:
        return
    missing = missing_packages(host, packages)
    # In the language of the machine, the words would be others.
    ask = ["env", "LC_ALL=C", "apt-cache", "policy", *missing]
    policy = host.run(ask, check=False).stdout if missing else ""
    unknown = [
        package for package in missing if f"{package}:\n" not in policy or _no_candidate(policy, package)
    ]
    offered = [package for package in missing if package not in unknown]
    if unknown:
        text = (
            f"no repository of this host has these packages for {what_for}: {', '.join(unknown)}; "
            "run apt-get update, or add a repository that has them"
        )
        yield Finding(host.name, "missing", text)
    if offered:
        yield Finding(
            host.name, "will be changed", f"packages for {what_for} are installed: {', '.join(offered)}"
        )
    if not missing:
        yield Finding(host.name, "works", f"packages for {what_for} are there")


def _no_candidate(policy: str, package: str) -> bool:
    section = policy.split(f"{package}:\n", 1)[1].split("\n  Version table", 1)[0]
    return "Candidate: (none)" in section


def _examine_hypervisor(host: Connection, name: str, driver: type[Hypervisor]) -> Iterator[Finding]:
    try:
        if said := driver.examine(host):
            yield Finding(host.name, "works", f"{name}: {said}")
    except MachineError as error:
        yield Finding(host.name, "cannot work", str(error).removeprefix(f"{host.name}: "))
    if driver.boot_mode == "xen":
        if host.succeeds(["test", "-r", boot.GRUB_CONFIGURATION]):
            yield Finding(
                host.name, "will be changed", f"{name}: the host is rebooted into Xen and back by GRUB"
            )
        else:
            text = f"{name}: the host does not boot by GRUB ({boot.GRUB_CONFIGURATION} is missing)"
            yield Finding(host.name, "cannot work", text)


def _output(machine: Connection, command: str) -> str:
    """What a shell command prints, nothing if it fails."""
    return machine.run(["sh", "-c", f"{command} || true"]).stdout.strip()
