"""Bare metal is measured alone: a guest that runs on its host is refused, by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from subprocess import PIPE

import pytest
from hvcost.environments.operation import in_operation
from hvcost.environments.place import BRIDGE, Operation, Place
from hvcost.errors import CommandError, ProofError
from hvcost.hypervisors import SystemPlan, bare_metal, load_driver
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection, end_group
from hvcost.model.link import Link

LINK = Link(rate_mbit=1000, mtu=1500, network=IPv4Network("198.18.66.0/24"), congestion_control="cubic")
PLAN = SystemPlan("env1", None, BRIDGE, "lan0", "198.18.66.2", LINK, "/run/hvcost")
QEMU = "/usr/bin/qemu-system-x86_64"
# What the QEMU of emulated machines is run by.
LOADER = "/lib64/ld-linux-x86-64.so.2"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture
def this_computer(tmp_path: Path) -> Iterator[Operation]:
    """This computer as the host, which no other test measures meanwhile."""
    here = {"connection": "local"}
    place = Place("alone", LINK, here, here, tmp_path, None)
    with in_operation(place, Journal(), purpose="measure") as operation:
        yield operation


@contextmanager
def idle_guest(host: LocalConnection, *program: str) -> Iterator[int]:
    """A QEMU without a machine, paused; its process id."""
    arguments = [*program, "-machine", "none", "-S", "-nodefaults", "-display", "none", "-qmp", "stdio"]
    process = host.start(arguments, stdin=PIPE, stdout=PIPE)
    try:
        assert process.stdout
        assert b"QMP" in process.stdout.readline()
        yield process.pid
    finally:
        end_group(process)


@needs_root
def test_a_guest_beside_bare_metal_is_refused_and_named(
    this_computer: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bare_metal, "PASSING_S", 0.0)
    host, driver = this_computer.host, load_driver("bare-metal")({})
    assert isinstance(host, LocalConnection)
    with idle_guest(host, QEMU) as pid:
        refused = rf"^alone host: .*process {pid} \(qemu-system-x86\).*stop"
        with pytest.raises(ProofError, match=refused), driver.started(host, PLAN):
            pass
    with driver.started(host, PLAN) as system:
        assert system.proof["guests"] == []


@needs_root
def test_an_emulated_machine_is_no_guest_of_the_computer_that_plays_it(this_computer: Operation) -> None:
    host, driver = this_computer.host, load_driver("bare-metal")({})
    assert isinstance(host, LocalConnection)
    with idle_guest(host, LOADER, QEMU), driver.started(host, PLAN) as system:
        assert system.proof["guests"] == []


class Listing(LocalConnection):
    """A host whose guests are listed in the words of pgrep or xl, one answer after the other."""

    def __init__(self, *answers: str, exit_code: int = 0) -> None:
        super().__init__("lab host")
        self._answers = list(answers)
        self._exit_code = exit_code

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        return self._exit_code, self._answers.pop(0).encode(), b""


def test_a_program_that_is_gone_in_a_moment_is_no_guest() -> None:
    """`qemu-system-x86_64 --version` is one, which a session of another host runs on this computer."""
    host = Listing("4711 qemu-system-x86\n", "")
    with load_driver("bare-metal")({}).started(host, PLAN) as system:
        assert system.proof["guests"] == []


def test_a_host_that_cannot_say_what_runs_on_it_is_refused() -> None:
    with (
        pytest.raises(CommandError, match=r"^lab host: `pgrep"),
        load_driver("bare-metal")({}).started(Listing("", exit_code=127), PLAN),
    ):
        pass


def test_a_domain_beside_dom0_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare_metal, "PASSING_S", 0.0)
    header = "Name   ID   Mem VCPUs      State   Time(s)\n"
    host = Listing(f"{header}Domain-0  0  2048  2  r-----  31.2\nweb  3  512  1  -b----  7.5\n")
    with (
        pytest.raises(ProofError, match=r"^lab host: .*domain web\b.*stop"),
        load_driver("bare-metal-dom0")({}).started(host, PLAN),
    ):
        pass
