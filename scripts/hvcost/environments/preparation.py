"""A host made ready: checked first, changed only where needed, every change reported. Repeatable.

What does not survive a reboot of the host (bridge, modules) is set again at the start of each session.
"""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from hvcost.environments import acceleration, boot, ledger
from hvcost.environments.congestion import check_congestion_control, set_congestion_control
from hvcost.environments.ledger import Ledger
from hvcost.environments.operation import in_operation
from hvcost.environments.place import BRIDGE, Operation, Place, link_from
from hvcost.environments.reachability import check_way
from hvcost.errors import MachineError
from hvcost.files import read_json
from hvcost.hypervisors import GuestFiles, load_driver, versions
from hvcost.images.guest import GuestImage
from hvcost.machines import facts
from hvcost.machines.base import Connection, sha256_at
from hvcost.machines.interfaces import interfaces
from hvcost.machines.journal import Journal
from hvcost.machines.offloads import set_offloads
from hvcost.machines.packages import missing_packages, packages_by_status
from hvcost.model.link import Link
from hvcost.model.record import Facts
from hvcost.tools import autostart_files, packages_of, versions_of

log = logging.getLogger(__name__)

INSTALL_TIMEOUT_S = 1800
# What `apt-get --simulate` says of a package that is unpacked; one of another architecture is named so.
INSTALLATION = re.compile(r"^Inst ([^ :]+)", re.MULTILINE)


def ensure_packages(host: Connection, packages: Sequence[str]) -> list[str]:
    """Install the Debian packages that are missing; all that were installed, with what they need.

    They are in the host's list of changes before apt begins, which may be interrupted at any time. No server
    that a tool brings along starts by itself: a session starts its own.
    """
    missing = missing_packages(host, packages)
    if not missing:
        return []
    before = packages_by_status(host).keys()
    log.info("%s: installing %s", host.name, ", ".join(missing))
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get"]
    host.run([*apt, "update", "-qq"], timeout_s=INSTALL_TIMEOUT_S)
    # What the host has is not removed for it: nobody could take that back.
    excluded = (f"--option=DPkg::Options::=--path-exclude={file}" for file in autostart_files())
    install = ["install", "-y", "-qq", "--no-install-recommends", "--no-remove", *excluded, *missing]
    planned = INSTALLATION.findall(host.run([*apt, "--simulate", *install]).stdout)
    ledger.note(host, Ledger(packages=tuple(sorted(set(planned) - before))))
    host.run([*apt, *install], timeout_s=INSTALL_TIMEOUT_S)
    return sorted(packages_by_status(host).keys() - before)


def ensure_bridge(host: Connection, interface: str, link: Link) -> list[str]:
    """Join the measured interface and the guests by a bridge with the host's address; says what changed."""
    links = interfaces(host)
    if interface not in links:
        raise MachineError(
            f"{host.name}: there is no interface {interface!r}; it has {', '.join(sorted(links))}"
        )
    changes = []

    def change(*arguments: str) -> None:
        host.run(["ip", *arguments])
        changes.append("ip " + " ".join(arguments))

    if BRIDGE not in links:
        change("link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0")
    for name in (interface, BRIDGE):
        if links.get(name, {}).get("mtu") != link.mtu:
            change("link", "set", name, "mtu", str(link.mtu))
    if links[interface].get("master") != BRIDGE:
        change("link", "set", interface, "master", BRIDGE)
    for name in (interface, BRIDGE):
        if "UP" not in links.get(name, {}).get("flags", ()):
            change("link", "set", name, "up")
    address = link.with_prefix(link.host)
    if address not in _addresses(links.get(BRIDGE, {})):
        change("address", "add", address, "dev", BRIDGE)
    changes += set_offloads(host, BRIDGE, link)
    return changes + set_congestion_control(host, BRIDGE, link, link.host, (link.client,))


def ensure_guest(operation: Operation, guest: GuestImage) -> tuple[GuestFiles, list[str]]:
    """Upload the guest's files to the host, except those that are there unchanged; says what was uploaded."""
    host = operation.host
    sources = (guest.disk, guest.kernel, guest.initramfs)
    if operation.guest:
        return GuestFiles(*(f"{operation.guest}/{source.name}" for source in sources)), []
    folder = PurePosixPath(operation.files) / "guest" / guest.checksums["disk.qcow2"][:16]
    changes = []
    host.run(["mkdir", "-p", str(folder)])
    for source in sources:
        target = str(folder / source.name)
        if sha256_at(host, target) != guest.checksums[source.name]:
            host.put(source, target)
            changes.append(f"uploaded {target}")
    return GuestFiles(*(str(folder / source.name) for source in sources)), changes


def prepare(
    spec: Mapping[str, Any],
    guest: GuestImage | None,
    host_image: Path | None,
    packages: Sequence[str],
    state: Path,
) -> dict[str, Any]:
    """Prepare a host for the hypervisors of `spec`; returns the content of host.json.

    `guest` is None if no hypervisor has one of ours. Raises MachineError with the machine and the command if
    something cannot be had.
    """
    journal = Journal()
    place = _place(spec, state, host_image)
    with in_operation(
        place, journal, purpose="prepare", needs_host=not place.is_provided, guest=guest
    ) as operation:
        if place.is_provided:
            check_congestion_control(operation.client, place.link)
            prepared = _Prepared((), (), {})
        else:
            prepared = _prepared(spec, place, operation, guest, packages)
    return {
        "format": 1,
        "environment": place.name,
        "machine": dict(spec),
        "host_image": str(host_image) if host_image else None,
        "acceleration": asdict(operation.acceleration) if operation.acceleration else None,
        "facts": dict(prepared.facts),
        "prepared_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "changes": prepared.changes,
        "problems": prepared.problems,
        "commands": [asdict(command) for command in journal.commands],
    }


@dataclass(frozen=True)
class _Prepared:
    """What was changed, what does not work, and what the host is."""

    changes: Sequence[str]
    problems: Sequence[str]
    facts: Facts


def _prepared(
    spec: Mapping[str, Any],
    place: Place,
    operation: Operation,
    guest: GuestImage | None,
    packages: Sequence[str],
) -> _Prepared:
    host = operation.host
    drivers = [load_driver(name)({}) for name in spec["hypervisors"]]
    base = [*packages, *packages_of(spec["tools"])]
    # Asked once, since it takes a while on a slow machine.
    missing = set(missing_packages(host, [*base, *(name for driver in drivers for name in driver.packages)]))
    changes = _installations(host, missing.intersection(base))
    changes += ensure_bridge(host, operation.host_interface, place.link)
    if place.is_real:
        check_way(operation.client, operation.client_interface, host, BRIDGE, place.link)
    files = None
    if guest and any(driver.has_guest for driver in drivers):
        files, uploaded = ensure_guest(operation, guest)
        changes += uploaded
    problems = []
    needs_xen = any(driver.boot_mode == "xen" for driver in drivers)
    if place.is_real and needs_xen:
        ledger.note(host, Ledger(files=(boot.SETTINGS,)))
        changes += boot.keep_default(host)
    for driver in drivers:
        try:
            changes += _installations(host, missing.intersection(driver.packages))
            changes += driver.prepare(host)
            if files and driver.has_guest:
                changes += driver.prepare_files(host, files)
        except MachineError as error:
            # The other systems can be measured all the same; this one's session will fail and say so.
            log.warning("%s", error)
            problems.append(str(error))
    if place.is_real and needs_xen:
        changes += boot.ensure_menu(host)
    programs = versions() | versions_of(spec["tools"])
    about_host = {**facts.collect(host, operation.host_interface), **facts.versions(host, programs)}
    return _Prepared(changes, problems, about_host)


def _installations(host: Connection, missing: Collection[str]) -> list[str]:
    """Install what is missing, unless it came with something else meanwhile; says what was installed."""
    if not missing:
        return []
    return [f"installed package {package}" for package in ensure_packages(host, sorted(missing))]


def place_of_prepared(
    host_json: Path,
    state: Path,
    link: Mapping[str, Any],
    host: Mapping[str, Any],
    client: Mapping[str, Any],
) -> Place:
    """Where to measure, from the host.json of a host that was prepared for this link, host and client.

    Of the machines, what matters to a session is compared, and not how they are reached.

    Raises MachineError if it was prepared for others, since the configuration was changed.
    """

    def prepared(data: Mapping[str, Any]) -> tuple[list[Any], Place]:
        machine, host_image = data["machine"], data["host_image"]
        ends = (("host", host), ("client", client))
        of_ends = [{key: machine[end].get(key) for key in of} for end, of in ends]
        place = _place(machine, state, Path(host_image) if host_image else None)
        return [machine["link"], *of_ends], replace(place, acceleration=acceleration.of_prepared(data))

    prepared_for, place = read_json(host_json, "written by prepare_host", prepared)
    if prepared_for != [dict(link), dict(host), dict(client)]:
        raise MachineError(
            f"{place.name} host: it was prepared for another link or other hardware; "
            f"prepare it again with `snakemake -f {host_json}`"
        )
    return place


def _place(spec: Mapping[str, Any], state: Path, host_image: Path | None) -> Place:
    return Place(
        name=spec["environment"],
        link=link_from(spec["link"]),
        host=spec["host"],
        client=spec["client"],
        state=state,
        host_image=host_image,
    )


def _addresses(entry: dict[str, Any]) -> Iterable[str]:
    return (f"{info['local']}/{info['prefixlen']}" for info in entry.get("addr_info", ()))
