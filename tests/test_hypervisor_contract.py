"""What every hypervisor guarantees (docs/adding-a-hypervisor.md), on real ones; a new one inherits this.

Each is started while an earlier one of it still runs, as after a killed session, loses its guest, and is
stopped twice; nothing may be left of it.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hvcost.environments import operation as environment
from hvcost.environments import preparation
from hvcost.environments.place import Operation, Place
from hvcost.errors import MachineError
from hvcost.hypervisors import Guest, GuestFiles, Hypervisor, SystemPlan, load_driver, names
from hvcost.images import guest as guest_image
from hvcost.images.guest import GuestShape
from hvcost.machines import guest as guest_system
from hvcost.machines.base import Connection
from hvcost.machines.console import ConsoleConnection
from hvcost.machines.deadline import Deadline
from hvcost.machines.guest import BootedGuest
from hvcost.machines.journal import Journal
from hvcost.machines.stream import Stream
from hvcost.model.link import Link
from workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

SHAPE = GuestShape(cpus=1, memory_mib=128, disk_gib=10)
LINK = Link(rate_mbit=1000, mtu=1500, network=IPv4Network("198.18.5.0/24"), congestion_control="cubic")

PROOFS = Path(__file__).parent / "data/proofs"

# Ends the guest's program on the host, or its domain, as no session would, and with it the hypervisor's
# service there: VirtualBox's, or what watches over a domain and its console in dom0.
KILL = {
    "kvm": "kill -KILL $(pgrep -n qemu-system)",
    "nspawn": "kill -KILL $(pgrep -n systemd-nspawn)",
    "qemu": 'kill -KILL $(cat "$1/pid")',
    "virtualbox": "kill -KILL $(pgrep -n VBoxHeadless) $(pgrep -x VBoxSVC)",
    "xen": "kill -KILL $(pgrep -x xl) $(pgrep -x xenconsoled) && xl destroy hvcost-guest",
}


@dataclass(frozen=True)
class Ground:
    """A machine for guests, and the host itself as the system that shows whether a guest is left."""

    operation: Operation
    files: GuestFiles
    host: Hypervisor

    def plan(self, files: GuestFiles) -> SystemPlan:
        return self.operation.plan("contract guest", Guest(SHAPE, files), LINK)

    def check_that_nothing_is_left(self, before: set[str]) -> None:
        with self.host.started(self.operation.host, self.plan(self.files)) as system:
            assert system.proof["guests"] == []
        # Xen's scripts take an interface away after its domain has gone.
        deadline = Deadline(30, "the interfaces that were there before")
        while (left := self.interfaces()) != before:
            deadline.check(str(left ^ before))
            deadline.wait_a_little(0.5)

    def interfaces(self) -> set[str]:
        return set(self.operation.host.run(["ls", "/sys/class/net"]).stdout.split())


# Where each hypervisor that has a guest is tried; translated twice, QEMU would take too long.
GROUNDS = {
    name: "local" if name == "qemu" else load_driver(name).boot_mode
    for name in names()
    if load_driver(name).has_guest
}
GUESTS = [pytest.param(GROUNDS[name], name, id=name) for name in sorted(GROUNDS, key=GROUNDS.__getitem__)]


@pytest.fixture(scope="module")
def ground(request: pytest.FixtureRequest, workspace: Workspace) -> Iterator[Ground]:
    """This computer, or the emulated machine booted as the parameter says."""
    if request.param == "local":
        machine = _this_computer(workspace)
    else:
        machine = request.getfixturevalue("emulated").machine(request.param)
    with machine as operation:
        preparation.ensure_bridge(operation.host, operation.host_interface, LINK)
        image = guest_image.load(workspace.folder / "results/guest/manifest.json")
        files, _ = preparation.ensure_guest(operation, image)
        host = load_driver("bare-metal-dom0" if request.param == "xen" else "bare-metal")({})
        yield Ground(operation, files, host)


@contextmanager
def _this_computer(workspace: Workspace) -> Iterator[Operation]:
    here = {"connection": "local"}
    place = Place("contract", LINK, here, here, workspace.state, None)
    with environment.in_operation(place, Journal(), purpose="measure") as operation:
        yield operation


@pytest.mark.parametrize(("ground", "hypervisor"), GUESTS, indirect=["ground"], scope="module")
def test_started_twice_killed_and_stopped_twice(ground: Ground, hypervisor: str) -> None:
    host, plan = ground.operation.host, ground.plan(ground.files)
    before = ground.interfaces()
    driver = load_driver(hypervisor)({})
    driver.prepare(host)
    driver.prepare_files(host, ground.files)
    takes_long = driver.ready_nested_s > 50
    first = _powered_on(driver, host, plan) if takes_long else driver.started(host, plan)
    with first, driver.started(host, plan) as second:
        assert second.server.run(["cat", "/proc/sys/kernel/hostname"]).stdout == "guest\n"
        with host.shell() as shell:
            spent_s = driver.cpu_time_s(shell.ask(driver.cpu_time_command))
        assert all(each_s >= 0 for each_s in spent_s.values())
        host.run(["sh", "-c", KILL[hypervisor], "kill", plan.runtime])
        with pytest.raises(MachineError, match="contract guest"):
            second.server.run(["true"])
    ground.check_that_nothing_is_left(before)


@contextmanager
def _powered_on(driver: Hypervisor, host: Connection, plan: SystemPlan) -> Iterator[None]:
    """The guest of a session that was killed while it booted, so that nobody has to wait for that."""
    facts = json.loads((PROOFS / f"{type(driver).__module__.rpartition('.')[2]}.json").read_text())["guest"]

    @contextmanager
    def booted(
        name: str,
        stream: Stream,
        host: Connection,
        link: Link,
        timeout_s: float,
        power_on: Callable[[], object],
        **_: object,
    ) -> Iterator[BootedGuest]:
        power_on()
        try:
            yield BootedGuest(ConsoleConnection(name, stream), facts, 0.0)
        finally:
            stream.close()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(guest_system, "booted", booted)
        patched.setattr(driver, "check_proof", lambda machine, proof: None)
        first = driver.started(host, plan)
        first.__enter__()
    with contextlib.ExitStack() as stack:
        stack.push(first.__exit__)
        yield


@pytest.mark.parametrize(("ground", "hypervisor"), GUESTS, indirect=["ground"], scope="module")
def test_an_image_that_is_none_is_refused_in_a_sentence(ground: Ground, hypervisor: str) -> None:
    host = ground.operation.host
    before = ground.interfaces()
    folder = host.run(["mktemp", "-d"]).stdout.strip()
    files = GuestFiles(*(f"{folder}/{name}" for name in ("disk.qcow2", "vmlinuz", "initrd.img")))
    for file in (files.disk, files.kernel, files.initramfs):
        host.run(["sh", "-c", 'echo "no image" >"$1"', "sh", file])
    driver = load_driver(hypervisor)({})
    driver.prepare(host)
    with pytest.raises(MachineError, match=rf"^{host.name}: .*disk"):
        driver.prepare_files(host, files)
        with driver.started(host, ground.plan(files)):
            pass
    ground.check_that_nothing_is_left(before)
