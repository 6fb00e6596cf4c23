"""No hypervisor: the host itself is the server. The study's "real system", the baseline of every ratio."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hvcost.hypervisors import Hypervisor, RunningSystem, SystemPlan, expect, guest_programs
from hvcost.machines.base import Connection

# States of processes; one that has ended may wait for its parent.
ALIVE = "R,S,D,T"


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
        proof = {"hypervisor": "none", "boot_mode": self.boot_mode, "guests": self.count_guests(host)}
        self.check_proof(host.name, proof)
        yield RunningSystem(
            server=host,
            address=plan.host_address,
            proof=proof,
            runtime=plan.runtime,
        )

    def count_guests(self, host: Connection) -> int:
        """How many guests the host runs."""
        programs = "|".join(guest_programs())
        return int(host.run(["pgrep", "--count", "--runstates", ALIVE, programs], check=False).stdout)

    def check_proof(self, machine: str, proof: Mapping[str, Any]) -> None:
        expect(machine, proof, "hypervisor", "none")
        expect(machine, proof, "boot_mode", self.boot_mode)
