"""QEMU as the study measured it: every instruction of the guest translated by software (accelerator TCG)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from hvcost import qmp
from hvcost.connections.base import Connection
from hvcost.connections.console import ConsoleConnection
from hvcost.deadline import Deadline
from hvcost.errors import CommandError, MachineError, ProofError
from hvcost.guest import system as guest_system
from hvcost.hosts import facts
from hvcost.hypervisors import Hypervisor, RunningSystem, SystemPlan, expect_in_guest

log = logging.getLogger(__name__)

PROGRAM = "qemu-system-x86_64"
TAP = "hvcost-tap0"
MAC = "52:54:00:20:10:03"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
NICS = {"virtio": "virtio-net-pci", "e1000": "e1000", "rtl8139": "rtl8139"}
NIC_DRIVERS = {"virtio": "virtio_net", "e1000": "e1000", "rtl8139": "8139cp"}

# The process id may belong to somebody else by now: QEMU's command line names the folder.
STOP = """
pid=$(cat "$1/pid" 2>/dev/null) || exit 0
while grep -qsF "$1/" "/proc/$pid/cmdline"; do kill "$pid"; sleep 0.1; done
"""


@dataclass(frozen=True)
class Options:
    """`cpu_model` as in `qemu-system-x86_64 -cpu help`."""

    nic: str = field(default="virtio", metadata={"allowed": tuple(NICS)})
    machine_type: str = field(default="pc", metadata={"allowed": ("pc", "q35")})
    cpu_model: str = "max"


class Driver(Hypervisor):
    """A guest of QEMU, started and asked over its own control sockets."""

    Options = Options
    packages = ("qemu-system-x86", "qemu-utils")
    ready_nested_s = 240.0
    accelerator = "tcg"
    # Translated inside a translated machine, the guest takes four minutes.
    ready_timeout_s = 900.0

    def tap_options(self) -> str:
        """Further options of QEMU's network backend."""
        return ""

    def check_evidence(self, host: Connection, proof: dict[str, Any]) -> None:
        """Raise ProofError unless QEMU and the guest both say that the guest is translated."""
        if proof["query-kvm"]["enabled"]:
            raise ProofError(f"{host.name}: QEMU uses KVM for a guest that is to be translated")
        expect_in_guest(host, proof, "cpuid_vendor", "TCGTCGTCGTCG")

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        console_log = f"{plan.runtime}/console.log"
        _stop(host, plan)  # what a killed session has left
        try:
            _add_tap(host, plan)
            host.run(self.command_line(plan), timeout_s=START_TIMEOUT_S)
            monitor = f"{plan.runtime}/qmp"
            # The guest waits until its console has a listener, so that nothing it says is lost.
            console = ConsoleConnection(
                plan.name,
                host.open_stream(["socat", "STDIO", f"UNIX-CONNECT:{plan.runtime}/console"]),
                host.journal,
            )
            try:
                qmp.ask(host, monitor, "cont")
                deadline = Deadline(self.ready_timeout_s, f"{plan.name}: boot of the guest")
                console.wait_until_ready(deadline)
                ready_after_s = round(deadline.elapsed_s, 1)
                log.info("%s: guest is ready after %.0f s", plan.name, ready_after_s)
                interface = guest_system.configure_network(console, plan.link)
                proof = {
                    "hypervisor": "qemu",
                    "accelerator": self.accelerator,
                    **qmp.ask(host, monitor, "query-kvm", "query-version", "query-status"),
                    "guest": dict(facts.collect(console, interface)),
                    "ready_after_s": ready_after_s,
                }
                expect_in_guest(host, proof, "driver", NIC_DRIVERS[self.options.nic])
                self.check_evidence(host, proof)
                yield RunningSystem(console, str(plan.link.guest), interface, guest_system.RUNTIME, proof)
            finally:
                console.close()
        except MachineError:
            with suppress(MachineError):
                said = host.run(["tail", "-c", "1000", console_log], check=False).stdout
                log.error("%s: the guest's console ended with:\n%s", plan.name, said.strip())
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
            "-kernel", files.kernel, "-initrd", files.initramfs,
            "-append", guest_system.kernel_arguments("ttyS0"),
            "-drive", f"file={files.disk},format=qcow2,if=virtio,snapshot=on",
            "-netdev", f"tap,id=lan,ifname={TAP},script=no,downscript=no{self.tap_options()}",
            "-device", f"{NICS[self.options.nic]},netdev=lan,mac={MAC}",
            "-chardev", f"socket,id=console,path={plan.runtime}/console,server=on,wait=off,"
                        f"logfile={plan.runtime}/console.log",
            "-serial", "chardev:console",
            "-qmp", f"unix:{plan.runtime}/qmp,server=on,wait=off",
            "-daemonize", "-pidfile", f"{plan.runtime}/pid",
        ]  # fmt: skip


def _add_tap(host: Connection, plan: SystemPlan) -> None:
    host.run(["ip", "tuntap", "add", "dev", TAP, "mode", "tap"])
    host.run(["ip", "link", "set", TAP, "mtu", str(plan.link.mtu), "master", plan.bridge, "up"])


def _stop(host: Connection, plan: SystemPlan) -> None:
    """End the QEMU of this folder by its process id, if it is there, and remove its tap."""
    try:
        host.run(["sh", "-c", STOP, "stop", plan.runtime], timeout_s=STOP_TIMEOUT_S)
    finally:
        with suppress(CommandError):
            host.run(["ip", "link", "delete", TAP])
