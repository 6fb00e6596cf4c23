"""No hypervisor: the host itself is the server. The study's "real system", the baseline of every ratio.

It is measured alone: a guest beside it would take its processors, and the ratios would be too good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hvcost.errors import CommandError, DeadlineExceeded, ProofError
from hvcost.hypervisors import Hypervisor, RunningSystem, SystemPlan, expect, guest_programs
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline

# States of processes; one that has ended may wait for its parent.
ALIVE = "R,S,D,T"
NONE_FOUND = 1  # how pgrep(1) ends then
# What is gone within this time was no guest, but said its version, or it was just ending.
PASSING_S = 10.0
POLL_S = 0.5


@dataclass(frozen=True)
class Options:
    """Bare metal has none."""


class Driver(Hypervisor):
    """The host as it is, with its address on the bridge."""

    Options = Options
    has_guest = False
    ready_nested_s = 0.0

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        proof = {
            "hypervisor": "none",
            "boot_mode": self.boot_mode,
            "guests": self._lasting_guests(host),
        }
        self.check_proof(host.name, proof)
        yield RunningSystem(
            server=host,
            address=plan.host_address,
            proof=proof,
            runtime=plan.runtime,
        )

    def guests(self, host: Connection) -> list[str]:
        """Guests that the host runs, as its processes.

        Emulated machines that this computer plays are not among them: their QEMU goes by the name of the
        loader that starts it. The computer's lock keeps them away from a measurement.
        """
        ask = ("pgrep", "--list-name", "--runstates", ALIVE, "|".join(guest_programs()))
        listed = host.run(ask, check=False)
        if listed.exit_code not in (0, NONE_FOUND):
            raise CommandError(host.name, ask, listed.exit_code, listed.stderr)
        processes = (line.split(maxsplit=1) for line in listed.stdout.splitlines())
        return [f"process {pid} ({name})" for pid, name in processes]

    def _lasting_guests(self, host: Connection) -> list[str]:
        deadline = Deadline(PASSING_S * host.slowness, f"{host.name}: end of its guests")
        while found := self.guests(host):
            try:
                deadline.wait_a_little(POLL_S)
            except DeadlineExceeded:
                break
        return found

    def check_proof(self, machine: str, proof: Mapping[str, Any]) -> None:
        expect(machine, proof, "hypervisor", "none")
        expect(machine, proof, "boot_mode", self.boot_mode)
        if proof["guests"]:
            running = ", ".join(proof["guests"])
            raise ProofError(
                f"{machine}: bare metal is measured alone, but guests run there: {running}; "
                "stop them and measure again"
            )
