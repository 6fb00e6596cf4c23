"""A guest of this computer and the recorder of its runs, without the workflow around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from hvcost.environments import preparation
from hvcost.environments.operation import in_operation
from hvcost.environments.place import Operation, Place
from hvcost.hypervisors import Guest, Hypervisor, RunningSystem, SystemPlan, load_driver
from hvcost.images import guest as guest_image
from hvcost.images.guest import GuestShape
from hvcost.machines.journal import Journal
from hvcost.model.link import Link
from hvcost.model.record import Order, Record, Session
from hvcost.session import Run, SessionSpec, recorder
from hvcost.tools import completed

HERE = {"connection": "local"}
SHAPE = GuestShape(cpus=1, memory_mib=128, disk_gib=10)
LINK = Link(rate_mbit=1000, mtu=1500, network=IPv4Network("198.18.5.0/24"), congestion_control="cubic")
WORKLOAD = "tcp"
SEED = 2010

# One run after the other, each with its record.
Recorded = Callable[[], Record]


@dataclass(frozen=True)
class Ground:
    """This computer in operation as a host, and what a system has to be started with."""

    name: str
    operation: Operation
    driver: Hypervisor
    plan: SystemPlan
    journal: Journal

    @contextmanager
    def started(self) -> Iterator[RunningSystem]:
        """The system, from start to stop."""
        with self.driver.started(self.operation.host, self.plan) as system:
            yield system

    @contextmanager
    def recorded(self, system: RunningSystem, duration_s: int, runs: int = 10) -> Iterator[Recorded]:
        """Streams of so many seconds to a system that is up, as a session of so many runs and judges them."""
        spec = SessionSpec(
            environment=self.name,
            system=self.plan.name,
            boot=1,
            hypervisor=type(self.driver).__module__.rpartition(".")[2].replace("_", "-"),
            options={},
            workloads={WORKLOAD: completed({"tool": "iperf", "duration_s": duration_s})},
            repetitions=runs,
            guest=None,
            link={"rate_mbit": LINK.rate_mbit, "mtu": LINK.mtu},
            host=HERE,
            client=HERE,
        )
        shared = {"link": spec.link, "host": spec.host}
        session = Session(spec.environment, spec.system, spec.boot, shared, system.proof, {})
        number = 0

        def once() -> Record:
            nonlocal number
            number += 1
            return recorded(Run(WORKLOAD, number, number), Order(1, 1, number, runs, SEED))

        with recorder(spec, self.operation, self.driver, system, session, self.journal) as recorded:
            yield once


@contextmanager
def ground(name: str, hypervisor: str, manifest: Path, state: Path) -> Iterator[Ground]:
    """This computer as a hypervisor's host. `manifest`: of the guest's image; `state` as of a `Place`."""
    journal = Journal()
    with in_operation(Place(name, LINK, HERE, HERE, state, None), journal, purpose="measure") as operation:
        preparation.ensure_bridge(operation.host, operation.host_interface, LINK)
        driver = load_driver(hypervisor)({})
        driver.prepare(operation.host)
        guest = None
        if driver.has_guest:
            files, _ = preparation.ensure_guest(operation, guest_image.load(manifest))
            driver.prepare_files(operation.host, files)
            guest = Guest(SHAPE, files)
        plan = operation.plan(f"{name} {hypervisor}", guest, LINK)
        yield Ground(name, operation, driver, plan, journal)
