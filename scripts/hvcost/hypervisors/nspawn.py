"""System container by systemd-nspawn: the guest's file system on the host's own kernel, as OpenVZ had it.

It is a port of the host's bridge, as every guest is, or behind the host, as Docker has it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from hvcost.errors import ProofError
from hvcost.hypervisors import (
    GuestFiles,
    Hypervisor,
    RunningSystem,
    SystemPlan,
    convert_disk,
    disk_as,
    expect,
)
from hvcost.images.guest import CHANNEL, INIT
from hvcost.machines import guest as guest_system
from hvcost.machines import translation
from hvcost.machines.base import Connection

MACHINE = "hvcost-guest"
UNIT = "hvcost-guest.scope"
EXPORT = f"/run/systemd/nspawn/unix-export/{MACHINE}"
OUTSIDE = "hvcost-ct0"
INSIDE = "hvcost-ct1"
READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0

# Arguments: the container's unit, its interface on the host, what a killed systemd-nspawn leaves mounted.
STOP = """
! systemctl --quiet is-active "$1" || systemctl kill --signal=SIGKILL "$1"
while systemctl --quiet is-active "$1"; do sleep 0.1; done
! [ -e "/sys/class/net/$2" ] || ip link delete "$2"
! mountpoint -q "$3" || umount "$3"
"""


@dataclass(frozen=True)
class Options:
    """`network`: a port of the host's bridge, or behind the host, which translates addresses."""

    network: str = field(default="bridge", metadata={"allowed": ("bridge", "nat")})


class Driver(Hypervisor):
    """A container of systemd, limited to the guest's processors and memory."""

    Options = Options
    packages = ("systemd-container", "qemu-utils", "nftables")
    guest_program = "systemd-nspawn"
    # Containers are units of the first process, systemd.
    needs_machine = True
    ready_nested_s = 5.0

    @property
    def is_translated(self) -> bool:
        """Whether the container is behind the host."""
        return bool(self.options.network == "nat")

    def prepare_files(self, host: Connection, files: GuestFiles) -> list[str]:
        """The disk as a raw file, which the kernel can mount."""
        return convert_disk(host, files, "raw")

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        _stop(host)
        with ExitStack() as stack:
            stack.callback(_stop, host)
            link, bridge = plan.link, plan.bridge
            if self.is_translated:
                around = translation.translated(host, plan.bridge, plan.link, plan.runtime)
                link, bridge = stack.enter_context(around), translation.BRIDGE
            _add_interfaces(host, plan, bridge)
            arguments = self.command_line(plan)
            # In a file, since socat has a syntax of its own.
            script = f"{plan.runtime}/container"
            host.write_text(script, shlex.join(arguments))
            # The container's console is a terminal, and the container ends with it.
            terminal = ["socat", "STDIO", f"EXEC:sh {script},pty,rawer,ctty,setsid,stderr"]
            with guest_system.booted(
                plan.name,
                host.open_stream(terminal),
                host,
                link,
                READY_TIMEOUT_S,
                power_on=lambda: None,
            ) as guest:
                told = translation.joined(host, guest.console, link) if self.is_translated else {}
                proof = {
                    "hypervisor": "nspawn",
                    "command_line": arguments,
                    "scope": _scope(host),
                    "processes": host.run(["systemd-cgls", "--no-pager", "--full", "--unit", UNIT]).stdout,
                    "guest": dict(guest.facts),
                    "ready_after_s": guest.ready_after_s,
                    **told,
                }
                self.check_proof(host.name, proof)
                yield RunningSystem(guest.console, str(plan.link.guest), proof, inner_address=str(link.guest))

    def command_line(self, plan: SystemPlan) -> list[str]:
        """The container in a scope of its own, which limits it; its end is that of its console."""
        assert plan.guest
        shape, files = plan.guest.shape, plan.guest.files
        return [
            "systemd-run", "--quiet", "--collect", "--scope", f"--unit={UNIT}",
            f"--property=MemoryMax={shape.memory_mib}M",
            f"--property=AllowedCPUs=0-{shape.cpus - 1}",
            "systemd-nspawn", "--quiet", "--keep-unit", "--register=no", f"--machine={MACHINE}",
            f"--image={disk_as(files, 'raw')}", "--read-only",
            f"--network-interface={INSIDE}:{guest_system.INTERFACE}",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no",
            f"/{INIT}",
        ]  # fmt: skip

    def check_proof(self, machine: str, proof: Mapping[str, Any]) -> None:
        expect(machine, proof, "hypervisor", "nspawn")
        expect(machine, proof, "scope.ActiveState", "active")
        expect(machine, proof, "guest.driver", "veth")
        if self.is_translated:
            translation.check(machine, proof)
        # It is the host's own kernel that runs what is in it.
        if CHANNEL not in proof["processes"]:
            raise ProofError(f"{machine}: the host does not list the container's processes among its own")


def _scope(host: Connection) -> dict[str, str]:
    """What systemd says of the container's limits."""
    properties = "--property=ActiveState,MemoryMax,AllowedCPUs"
    lines = host.run(["systemctl", "show", UNIT, properties]).stdout.split()
    return dict(line.split("=", 1) for line in lines)


def _add_interfaces(host: Connection, plan: SystemPlan, bridge: str) -> None:
    """A pair of interfaces: one end in a bridge, the other for the container."""
    mtu = ["mtu", str(plan.link.mtu)]
    host.run(["ip", "link", "add", OUTSIDE, *mtu, "type", "veth", "peer", "name", INSIDE, *mtu])
    host.run(["ip", "link", "set", OUTSIDE, "master", bridge, "up"])


def _stop(host: Connection) -> None:
    """End the container, if it is there, and remove its interfaces."""
    host.run(["sh", "-c", STOP, "stop", UNIT, OUTSIDE, EXPORT], timeout_s=STOP_TIMEOUT_S)
