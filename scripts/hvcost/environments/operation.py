"""An environment in operation: link up, host switched on, both ends connected; all of it gone afterwards."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from hvcost.environments import acceleration, boot, emulated, network
from hvcost.environments.congestion import set_congestion_control
from hvcost.environments.custody import Custody, custody
from hvcost.environments.place import BRIDGE, REMOTE_FILES, REMOTE_RUNTIME, Operation, Place
from hvcost.environments.reachability import check_unused
from hvcost.errors import MachineError, ProofError
from hvcost.hypervisors import BootMode, DiskFormat
from hvcost.images import guest_disk
from hvcost.images import host as host_images
from hvcost.images.guest import GuestImage
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline
from hvcost.machines.interfaces import interface_with
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection
from hvcost.machines.locks import locked, of_computer
from hvcost.machines.offloads import set_offloads
from hvcost.machines.ssh import SshAddress, SshConnection
from hvcost.machines.waiting import awaited
from hvcost.model.record import Facts

log = logging.getLogger(__name__)

RUNTIME = Path("/run")
# Where an emulated host has the disk of its guest's files.
GUEST_FILES = f"{REMOTE_FILES}/guest"
# A machine may just be booting: it has rebooted by itself, or somebody did it.
REACHABLE_TIMEOUT_S = 180.0
LOCAL_INTERFACE = "lan0"


@contextlib.contextmanager
def in_operation(
    place: Place,
    journal: Journal,
    *,
    purpose: Literal["prepare", "measure"],
    boot_mode: BootMode = "native",
    needs_host: bool = True,
    guest: GuestImage | None = None,
) -> Iterator[Operation]:
    """The environment, exclusively. An emulated host's disk keeps what `prepare` writes and nothing else.

    How an emulated host is played is decided for `prepare`, and what the place says otherwise.
    `guest`: the guest that is to be started or prepared for; an emulated host comes with its files.
    `needs_host`: whether to reach a host that is left alone otherwise.
    """
    computer = LocalConnection("this computer", journal)
    with contextlib.ExitStack() as stack:
        if place.is_here:
            stack.enter_context(_this_computer())
        kind = place.host["connection"]
        if kind == "ssh":
            opened = _real(place, journal, stack, boot_mode)
        elif kind == "provided":
            opened = _provided(place, computer, stack, needs_host=needs_host)
        elif kind == "local":
            opened = _local(place, computer, stack)
        else:
            opened = _emulated(place, computer, stack, boot_mode, guest, keep=purpose == "prepare")
        opened.host.run(["mkdir", "-p", "-m", "0700", opened.runtime])
        try:
            yield opened
        finally:
            with contextlib.suppress(MachineError):
                opened.host.run(["rm", "-rf", opened.runtime])


def check_host(place: Place, facts: Facts, boot_mode: BootMode = "native") -> None:
    """Raise ProofError unless the host runs under what the configuration and the boot mode say."""
    vendor = facts.get("cpuid_vendor")
    if (boot_mode == "xen") != (facts.get("hypervisor_type") == "xen"):
        raise ProofError(
            f"{place.name} host: it should be booted as {boot_mode}, but its processor says {vendor!r}"
        )
    if place.acceleration and boot_mode == "native":
        accelerator = place.acceleration.accelerator
        if vendor != acceleration.VENDORS[accelerator]:
            raise ProofError(
                f"{place.name} host: its accelerator should be {accelerator}, but its CPU says {vendor!r}"
            )


def _local(place: Place, computer: LocalConnection, stack: contextlib.ExitStack) -> Operation:
    runtime = stack.enter_context(_runtime_folder(network.prefix_of(place.state).rstrip("-")))
    client, far = stack.enter_context(
        network.client_and_far_end(computer, _prefix(place), place.link, LOCAL_INTERFACE)
    )
    return Operation(
        host=LocalConnection(f"{place.name} host", computer.journal, far),
        host_interface=LOCAL_INTERFACE,
        host_address=str(place.link.host),
        client=_client_in(client, place, computer),
        client_interface=network.CLIENT_INTERFACE,
        files=str((place.state / "files").resolve()),
        runtime=str(runtime / "session"),
    )


def _emulated(
    place: Place,
    computer: LocalConnection,
    stack: contextlib.ExitStack,
    boot_mode: BootMode,
    guest: GuestImage | None,
    *,
    keep: bool,
) -> Operation:
    if place.host_image is None:
        raise MachineError(f"{place.name} host: an emulated host needs a host image")
    image = host_images.load(place.host_image)
    runtime = stack.enter_context(_runtime_folder(network.prefix_of(place.state).rstrip("-")))
    played = place.acceleration
    if keep:
        played = acceleration.decide(f"{place.name} host", place.host, image, computer, runtime)
        log.info("%s host: accelerator %s", place.name, played)
        _new_disk(place, computer, image)
    elif not place.host_disk.is_file():
        raise MachineError(
            f"{place.name} host: its disk {place.host_disk} is missing; "
            f"prepare it with `snakemake -f {place.host_json}`"
        )
    if played is None:
        raise MachineError(
            f"{place.name} host: how it is played was not decided; "
            f"prepare it with `snakemake -f {place.host_json}`"
        )
    hardware = emulated.Hardware(place.host["cpus"], place.host["memory_mib"], played.accelerator)
    disk = None
    if guest:
        disk = guest_disk.ensure(computer, guest, get_args(DiskFormat), guest.disk.parent)
    client, far = stack.enter_context(
        network.client_and_far_end(computer, _prefix(place), place.link, "port0")
    )
    network.add_switch(computer, far, "port0", emulated.TAP, place.link.mtu)
    console_log = runtime / "console.log"
    host = stack.enter_context(
        emulated.switched_on(
            f"{place.name} host",
            computer,
            far,
            emulated.command_line(
                hardware,
                image,
                place.host_disk,
                boot_mode,
                console_log,
                guest_disk=disk,
                keep_changes=keep,
            ),
            image,
            console_log,
            orderly=keep,
        )
    )
    set_offloads(host, emulated.INTERFACE, place.link)
    if disk:
        host.run(["mkdir", "-p", GUEST_FILES])
        host.run(["mount", "-t", "ext4", "-o", "ro", emulated.GUEST_DISK, GUEST_FILES])
    return Operation(
        host=host,
        host_interface=emulated.INTERFACE,
        host_address=str(place.link.host),
        client=_client_in(client, place, computer),
        client_interface=network.CLIENT_INTERFACE,
        files=REMOTE_FILES,
        runtime=REMOTE_RUNTIME,
        guest=GUEST_FILES if disk else None,
        emulator=image.qemu_version,
        acceleration=played,
    )


def _client_in(namespace: str, place: Place, computer: LocalConnection) -> LocalConnection:
    """The client that this computer plays in a namespace, which has its address on the link."""
    client = LocalConnection(f"{place.name} client", computer.journal, namespace)
    peers = (place.link.host, place.link.guest)
    set_congestion_control(client, network.CLIENT_INTERFACE, place.link, place.link.client, peers)
    return client


def _real(place: Place, journal: Journal, stack: contextlib.ExitStack, boot_mode: BootMode) -> Operation:
    host, guard = _in_custody(f"{place.name} host", place.host, journal, boot_mode, stack)
    client_name = f"{place.name} client"
    client = awaited(
        lambda: connected(client_name, place.client, journal),
        Deadline(REACHABLE_TIMEOUT_S, f"{client_name}: connection"),
    )
    stack.callback(client.close)
    guard_of_client = stack.enter_context(custody(client, waits=False))
    check_unused(place.link, client, place.client["interface"], host, place.host["interface"])
    guard_of_client.join(place.client["interface"], place.link)
    guard.take(place.host["interface"], BRIDGE)
    return Operation(
        host=host,
        host_interface=place.host["interface"],
        host_address=str(place.link.host),
        client=client,
        client_interface=place.client["interface"],
        files=REMOTE_FILES,
        runtime=REMOTE_RUNTIME,
    )


def _provided(
    place: Place,
    computer: LocalConnection,
    stack: contextlib.ExitStack,
    *,
    needs_host: bool,
) -> Operation:
    """Both ends as they are; in place of the host this computer, unless the host itself is measured."""
    # Nothing is locked there, and nothing tells whether a machine is another one than the next.
    stack.enter_context(_machines_left_alone())
    client = connected(f"{place.name} client", place.client, computer.journal, as_root=False)
    stack.callback(client.close)
    if not needs_host:
        return Operation(
            host=LocalConnection(f"{place.name} controller", computer.journal),
            host_interface="lo",
            host_address=network.LOOPBACK,
            client=client,
            client_interface=place.client["interface"],
            files="",
            runtime=f"/tmp/hvcost-{secrets.token_hex(8)}",
        )
    spec = place.host["bare_metal"]
    address = SshAddress(spec["ssh"] or spec["address"])
    host = SshConnection(f"{place.name} host", address, computer.journal, as_root=False)
    stack.callback(host.close)
    return Operation(
        host=host,
        host_interface=interface_with(host, spec["address"]),
        host_address=spec["address"],
        client=client,
        client_interface=place.client["interface"],
        files="",
        runtime=f"/tmp/hvcost-{secrets.token_hex(8)}",
    )


@contextlib.contextmanager
def host_alone(spec: Mapping[str, Any], journal: Journal, boot_mode: BootMode) -> Iterator[Connection]:
    """A real host by itself, locked and booted as wanted, with its network as it is."""
    with contextlib.ExitStack() as stack:
        name = f"{spec['environment']} host"
        yield _in_custody(name, spec["host"], journal, boot_mode, stack)[0]


def _in_custody(
    name: str,
    spec: Mapping[str, Any],
    journal: Journal,
    boot_mode: BootMode,
    stack: contextlib.ExitStack,
) -> tuple[SshConnection, Custody]:
    """The host, locked until the stack is left, and rebooted if it is not booted as wanted."""

    def connect() -> SshConnection:
        return _by_ssh(name, spec, journal)

    def hold(connection: SshConnection) -> tuple[SshConnection, Custody]:
        stack.callback(connection.close)
        return connection, stack.enter_context(custody(connection))

    host, guard = hold(awaited(connect, Deadline(REACHABLE_TIMEOUT_S, f"{name}: connection")))
    if boot.boot_mode(host) != boot_mode:
        host, guard = hold(boot.reboot(host, boot_mode, connect))
    return host, guard


@contextlib.contextmanager
def client_alone(client: Connection, spec: Mapping[str, Any]) -> Iterator[None]:
    """The client of a real environment, which no measurement of ours uses until the block ends.

    MachineError with who has it if it is locked there, as a session does; what is locked here is waited for.
    """
    with contextlib.ExitStack() as stack:
        if spec["client"]["connection"] == "local":
            stack.enter_context(_this_computer())
        if spec["host"]["connection"] == "provided":
            stack.enter_context(_machines_left_alone())
        else:
            stack.enter_context(custody(client, waits=False))
        yield


def connected(name: str, spec: Mapping[str, Any], journal: Journal, *, as_root: bool = True) -> Connection:
    """A real machine, or this computer, as the configuration says it is reached."""
    if spec["connection"] == "ssh":
        return _by_ssh(name, spec, journal, as_root=as_root)
    return LocalConnection(name, journal)


def _by_ssh(name: str, spec: Mapping[str, Any], journal: Journal, *, as_root: bool = True) -> SshConnection:
    address = SshAddress(spec["address"], spec.get("user"), spec.get("port"))
    return SshConnection(name, address, journal, as_root=as_root)


def _this_computer() -> contextlib.AbstractContextManager[None]:
    return locked(of_computer("hvcost.lock"), "this computer is being measured")


def _machines_left_alone() -> contextlib.AbstractContextManager[None]:
    return locked(of_computer("hvcost-provided.lock"), "machines that are left alone are being measured")


def _new_disk(place: Place, computer: LocalConnection, image: host_images.HostImage) -> None:
    """An empty disk on top of the host image: preparation starts from what the image has."""
    place.state.mkdir(parents=True, exist_ok=True)
    place.host_disk.unlink(missing_ok=True)
    backing = os.path.relpath(image.disk.resolve(), place.state.resolve())
    computer.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backing, str(place.host_disk)]
    )  # fmt: skip


def _prefix(place: Place) -> str:
    return network.prefix_of(place.state) + place.name


@contextlib.contextmanager
def _runtime_folder(name: str) -> Iterator[Path]:
    """A private folder with a short path (sockets need one)."""
    folder = RUNTIME / name
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
