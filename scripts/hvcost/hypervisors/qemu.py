"""QEMU as the study measured it: every instruction of the guest translated by software (accelerator TCG)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hvcost.errors import CommandError, ConfigError, MachineError
from hvcost.hypervisors import GuestFiles, Hypervisor, RunningSystem, SystemPlan, expect
from hvcost.images.guest import PARAVIRTUAL, SERIAL_PORT, kernel_arguments
from hvcost.machines import facts, qmp
from hvcost.machines import guest as guest_system
from hvcost.machines.base import Connection

log = logging.getLogger(__name__)

PROGRAM = "qemu-system-x86_64"
TAP = "hvcost-tap0"
MAC = "52:54:00:20:10:03"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
NICS = {"virtio": "virtio-net-pci", "e1000": "e1000", "rtl8139": "rtl8139", "pcnet": "pcnet"}
NIC_DRIVERS = {"virtio": "virtio_net", "e1000": "e1000", "rtl8139": "8139cp", "pcnet": "pcnet32"}

# The process id may belong to somebody else by now: QEMU's command line names the folder. One that is stopped
# or hangs does not heed SIGTERM.
STOP = """
pid=$(cat "$1/pid" 2>/dev/null) || exit 0
signal=TERM tries=0
while grep -qsF "$1/" "/proc/$pid/cmdline"; do
    [ "$tries" -lt 100 ] || signal=KILL
    kill -s "$signal" "$pid"
    tries=$((tries + 1))
    sleep 0.1
done
"""


@dataclass(frozen=True)
class Options:
    """`cpu_model` as in `qemu-system-x86_64 -cpu help`.

    `queues`: of the guest's network card, each way (virtio only).
    """

    nic: str = field(default="virtio", metadata={"allowed": tuple(NICS)})
    machine_type: str = field(default="pc", metadata={"allowed": ("pc", "q35")})
    cpu_model: str = "qemu64"
    queues: int = field(default=1, metadata={"minimum": 1, "maximum": 64})

    def __post_init__(self) -> None:
        if self.queues > 1 and self.nic != "virtio":
            raise ConfigError(f"queues: {self.queues} is not allowed; allowed: 1 with nic {self.nic}")


class Driver(Hypervisor):
    """A guest of QEMU, started and asked over its own control sockets."""

    Options = Options
    packages = ("qemu-system-x86", "qemu-utils")
    guest_program = "qemu-system"
    versions: ClassVar[Mapping[str, str]] = {
        "qemu_version": f"! command -v {PROGRAM} >/dev/null || {PROGRAM} --version | sed -n 's/.*version //p'"
    }
    ready_nested_s = 110.0
    accelerator = "tcg"
    cpuid_vendor = facts.TRANSLATED
    # Translated inside a translated machine, the guest takes four minutes.
    ready_timeout_s = 900.0

    def prepare_files(self, host: Connection, files: GuestFiles) -> list[str]:
        """Make nothing. A file that is no disk is found here, so that nobody takes it for a fault of QEMU."""
        host.run(["qemu-img", "info", "-f", "qcow2", files.disk])
        return []

    def check_guest(self, cpus: int) -> None:
        # Linux uses no more queues than it has processors.
        if self.options.queues > cpus:
            raise ConfigError(
                f"queues: {self.options.queues} is not allowed; allowed: up to guest.cpus, {cpus}"
            )

    def tap_options(self) -> str:
        """Further options of QEMU's network backend."""
        return f",queues={self.options.queues}" if self.options.queues > 1 else ""

    def nic_options(self) -> str:
        """Further options of the guest's network card: an interrupt for each queue, and two for the card."""
        queues = self.options.queues
        return f",mq=on,vectors={2 * queues + 2}" if queues > 1 else ""

    def further_proof(self, host: Connection, plan: SystemPlan) -> dict[str, Any]:
        """What proves options of a variant, while the guest is up."""
        return {}

    def check_proof(self, machine: str, proof: Mapping[str, Any]) -> None:
        expect(machine, proof, "hypervisor", "qemu")
        expect(machine, proof, "query-kvm.enabled", self.accelerator == "kvm")
        expect(machine, proof, "guest.cpuid_vendor", self.cpuid_vendor)
        expect(machine, proof, "guest.driver", NIC_DRIVERS[self.options.nic])
        if self.options.queues > 1:
            expect(machine, proof, "guest.rx_queues", self.options.queues)

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        monitor = f"{plan.runtime}/qmp"
        _stop(host, plan)
        try:
            _add_tap(host, plan, has_queues=self.options.queues > 1)
            host.run(self.command_line(plan), timeout_s=START_TIMEOUT_S)
            with guest_system.booted(
                plan.name,
                host.open_stream(["socat", "STDIO", f"UNIX-CONNECT:{plan.runtime}/console"]),
                host,
                plan.link,
                self.ready_timeout_s,
                power_on=lambda: qmp.ask(host, monitor, "cont"),
                check_alive=lambda: guest_system.check_panic(plan.name, host, *_consoles(plan)),
            ) as guest:
                proof = {
                    "hypervisor": "qemu",
                    **qmp.ask(host, monitor, "query-kvm", "query-version", "query-status"),
                    "guest": dict(guest.facts),
                    "ready_after_s": guest.ready_after_s,
                    **self.further_proof(host, plan),
                }
                self.check_proof(host.name, proof)
                yield RunningSystem(guest.console, str(plan.link.guest), proof)
        except MachineError:
            with suppress(MachineError):
                said = guest_system.end_of(host, *_consoles(plan))
                log.error("%s: the guest's consoles ended with:\n%s", plan.name, said)
            raise
        finally:
            _stop(host, plan)

    def command_line(self, plan: SystemPlan) -> list[str]:
        """QEMU's arguments; it starts paused and in the background, or fails with a message."""
        assert plan.guest
        shape, files = plan.guest.shape, plan.guest.files
        return [
            PROGRAM,
            "-name", "hvcost-guest",
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S",
            "-machine", self.options.machine_type,
            "-accel", self.accelerator,
            "-cpu", self.options.cpu_model,
            "-smp", str(shape.cpus), "-m", str(shape.memory_mib),
            # SeaBIOS looks for disks, networks and option ROMs to boot from before it starts the kernel.
            "-bios", "qboot.rom", "-kernel", files.kernel, "-initrd", files.initramfs,
            "-append", kernel_arguments(SERIAL_PORT, PARAVIRTUAL),
            "-drive", f"file={files.disk},format=qcow2,if=virtio,snapshot=on",
            "-netdev", f"tap,id=lan,ifname={TAP},script=no,downscript=no{self.tap_options()}",
            "-device", f"{NICS[self.options.nic]},netdev=lan,mac={MAC}{self.nic_options()}",
            "-chardev", f"socket,id=console,path={plan.runtime}/console,server=on,wait=off,"
                        f"logfile={plan.runtime}/console.log",
            "-device", "virtio-serial-pci,max_ports=1", "-device", "virtconsole,chardev=console",
            "-serial", f"file:{plan.runtime}/serial.log",
            "-qmp", f"unix:{plan.runtime}/qmp,server=on,wait=off",
            "-daemonize", "-pidfile", f"{plan.runtime}/pid",
        ]  # fmt: skip


def _add_tap(host: Connection, plan: SystemPlan, *, has_queues: bool) -> None:
    host.run(["ip", "tuntap", "add", "dev", TAP, "mode", "tap", *(["multi_queue"] if has_queues else [])])
    host.run(["ip", "link", "set", TAP, "mtu", str(plan.link.mtu), "master", plan.bridge, "up"])


def _consoles(plan: SystemPlan) -> list[str]:
    """Logs of both of the guest's consoles, that of its kernel's start first."""
    return [f"{plan.runtime}/{name}.log" for name in ("serial", "console")]


def _stop(host: Connection, plan: SystemPlan) -> None:
    """End the QEMU of this folder by its process id, if it is there, and remove its tap."""
    try:
        host.run(["sh", "-c", STOP, "stop", plan.runtime], timeout_s=STOP_TIMEOUT_S)
    finally:
        with suppress(CommandError):
            host.run(["ip", "link", "delete", TAP])
