"""A guest that somebody else provides: VMware ESXi, Hyper-V, Proxmox, a cloud instance, by the same protocol.

Nothing of its host is known or changed. It is reached by SSH, as any user; what starts, stops and proves it
are commands of the experimenter's, run on this computer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hvcost.errors import ConfigError, ProofError
from hvcost.hypervisors import Hypervisor, RunningSystem, SystemPlan, expect
from hvcost.machines import facts
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline
from hvcost.machines.interfaces import interface_with
from hvcost.machines.ssh import SshAddress, SshConnection
from hvcost.machines.waiting import awaited

log = logging.getLogger(__name__)

COMMAND_TIMEOUT_S = 900.0
READY_TIMEOUT_S = 900.0
NOT_VIRTUAL = "none"


@dataclass(frozen=True)
class Options:
    """`address`: the guest's on the measured link; `ssh`: its name for SSH, if that is another.

    `start`, `stop`, `prove`: shell commands, run on this computer. `expect`: text that is in what `prove`
    prints. `detected`: what systemd-detect-virt(1) says in the guest; anything but `none` if it is empty.
    """

    address: str = ""
    ssh: str = ""
    start: str = ""
    stop: str = ""
    prove: str = ""
    expect: str = ""
    detected: str = ""


class Driver(Hypervisor):
    """A machine that is there, or that a command starts."""

    Options = Options
    has_guest = False
    needs_host = False
    # Nothing is known of the host.
    cpu_time_command = ""
    ready_nested_s = 60.0

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Any:
        checked = super().check_options(options)
        if bool(checked.prove) != bool(checked.expect):
            raise ConfigError(
                f"expect: {checked.expect!r} is not allowed with prove: {checked.prove!r}; "
                "allowed: both, a command and a text that is in what it prints, or none"
            )
        return checked

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        if self.options.stop:
            # An earlier session may have been killed; if the guest is off, this is no failure.
            _run(host, self.options.stop, check=False)
        try:
            deadline = Deadline(READY_TIMEOUT_S, f"{plan.name}: start of the guest")
            if self.options.start:
                _run(host, self.options.start)
            guest = self._reached(host, plan, deadline)
            try:
                proof = self._proof(host, guest, round(deadline.elapsed_s, 1))
                self.check_proof(plan.name, proof)
                folder = guest.run(["mktemp", "-d"]).stdout.strip()
                try:
                    yield RunningSystem(guest, self.options.address, proof, folder)
                finally:
                    guest.run(["rm", "-rf", folder])
            finally:
                guest.close()
        finally:
            if self.options.stop:
                _run(host, self.options.stop)

    def check_proof(self, machine: str, proof: Mapping[str, Any]) -> None:
        expect(machine, proof, "hypervisor", "provided")
        detected = proof["detected"]
        if self.options.detected:
            expect(machine, proof, "detected", self.options.detected)
        elif detected in ("", NOT_VIRTUAL):
            raise ProofError(
                f"{machine}: this is no guest: systemd-detect-virt says {detected!r} there (option detected)"
            )
        if self.options.expect not in proof["proved"]:
            raise ProofError(
                f"{machine}: `{self.options.prove}` printed {proof['proved']!r}; it should "
                f"have {self.options.expect!r} in it (option expect)"
            )

    def _reached(self, host: Connection, plan: SystemPlan, deadline: Deadline) -> SshConnection:
        """Connection to the guest, when its SSH server lets us in."""
        address = SshAddress(self.options.ssh or self.options.address)
        return awaited(lambda: SshConnection(plan.name, address, host.journal, as_root=False), deadline)

    def _proof(self, host: Connection, guest: Connection, ready_after_s: float) -> dict[str, Any]:
        proved = _run(host, self.options.prove) if self.options.prove else ""
        return {
            "hypervisor": "provided",
            "proved": proved,
            "detected": guest.run(["systemd-detect-virt"], check=False).stdout.strip(),
            "guest": dict(facts.collect(guest, interface_with(guest, self.options.address))),
            "ready_after_s": ready_after_s,
        }


def _run(computer: Connection, command: str, *, check: bool = True) -> str:
    """What a command of the experimenter's prints."""
    return computer.run(["sh", "-c", command], timeout_s=COMMAND_TIMEOUT_S, check=check).stdout
