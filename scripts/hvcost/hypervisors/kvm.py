"""QEMU with KVM: the processor runs the guest's instructions, QEMU (or the kernel's vhost) its devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hvcost.errors import ConfigError, MachineError, ProofError
from hvcost.hypervisors import RunningSystem, SystemPlan, hardware_virtualisation, qemu
from hvcost.machines.base import Connection

VHOST_DEVICE = "/dev/vhost-net"
# What QEMU has open, and how all processes and QEMU's own threads are called. Argument: the session's folder.
VHOST = """
read -r pid <"$1/pid"
echo "pid $pid"
ls -l "/proc/$pid/fd"
cat /proc/[0-9]*/comm "/proc/$pid/task/"*/comm 2>/dev/null || true
"""


@dataclass(frozen=True)
class Options(qemu.Options):
    """`vhost`: frames are moved by the host's kernel instead of by QEMU (virtio only)."""

    cpu_model: str = "host"
    vhost: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vhost and self.nic != "virtio":
            raise ConfigError(f"vhost: true is not allowed; allowed: false with nic {self.nic}")


class Driver(qemu.Driver):
    """A guest of QEMU under KVM. It is never assumed that KVM works: `/dev/kvm` proves nothing."""

    Options = Options
    ready_nested_s = 8.0
    accelerator = "kvm"
    cpuid_vendor = "KVMKVMKVM"
    ready_timeout_s = 240.0

    @classmethod
    def examine(cls, host: Connection) -> str:
        return hardware_virtualisation(host, "kvm")

    def tap_options(self) -> str:
        return super().tap_options() + (",vhost=on" if self.options.vhost else "")

    def further_proof(self, host: Connection, plan: SystemPlan) -> dict[str, Any]:
        """Who moves the frames, if it is to be the host's kernel."""
        if not self.options.vhost:
            return {}
        return {"vhost": parse_vhost(host.run(["sh", "-c", VHOST, "vhost", plan.runtime]).stdout)}

    def check_proof(self, machine: str, proof: Mapping[str, Any]) -> None:
        super().check_proof(machine, proof)
        if not self.options.vhost:
            return
        found = proof.get("vhost") or {"devices": 0, "workers": 0}
        if found["devices"] < self.options.queues or not found["workers"]:
            raise ProofError(
                f"{machine}: vhost is not at work: QEMU has {VHOST_DEVICE} open {found['devices']} times for "
                f"{self.options.queues} queues, and its kernel threads are {found['workers']}"
            )

    def prepare(self, host: Connection) -> list[str]:
        """Load the modules of KVM, and of vhost if it is wanted."""
        module = {"AMD-V": "kvm_amd", "VT-x": "kvm_intel"}[hardware_virtualisation(host, "KVM")]
        wanted = [("/dev/kvm", module)]
        if self.options.vhost:
            wanted.append(("/dev/vhost-net", "vhost_net"))
        changes = []
        for device, module in wanted:
            if not host.succeeds(["test", "-e", device]):
                host.run(["modprobe", module])
                changes.append(f"loaded kernel module {module}")
        return changes

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        is_up = False
        try:
            with super().started(host, plan) as system:
                is_up = True
                yield system
        except MachineError as error:
            if is_up:
                raise
            raise MachineError(
                f"{host.name}: KVM does not work on this machine: no guest gets up under it ({error})"
            ) from error


def parse_vhost(said: str) -> dict[str, int]:
    """How often QEMU has the kernel's device open, and how many threads of the kernel work for it.

    Those are called after QEMU's process: a process of the kernel up to Linux 6.3, since then a thread of
    QEMU's own (vhost_task).
    """
    first, *lines = said.splitlines()
    worker = f"vhost-{first.removeprefix('pid ')}"
    return {
        "devices": sum(line.endswith(f" -> {VHOST_DEVICE}") for line in lines),
        "workers": lines.count(worker),
    }
