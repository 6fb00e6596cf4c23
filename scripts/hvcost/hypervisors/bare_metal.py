"""No hypervisor: the host itself is the server. The study's "real system", the baseline of every ratio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hvcost.connections.base import Connection
from hvcost.hypervisors import Hypervisor, RunningSystem, SystemPlan


@dataclass(frozen=True)
class Options:
    """Bare metal has none."""


class Driver(Hypervisor):
    """The host as it is, with its address on the bridge."""

    Options = Options
    ready_nested_s = 0.0

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        qemus = host.run(["pgrep", "--count", "qemu-system"], check=False).stdout
        yield RunningSystem(
            server=host,
            address=str(plan.link.host),
            interface=plan.bridge,
            runtime=plan.runtime,
            proof={"hypervisor": "none", "qemu_processes": int(qemus)},
        )
