"""Guests that somebody else provides, and a host that is left alone: the same protocol, tables and report.

The guest is a machine with OpenSSH's own server, whose network card a command switches on and off.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openssh
import pytest
import yaml
from hvcost.analysis import rows
from hvcost.machines.local import LocalConnection
from openssh import Machines
from workspace import BESIDE, Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

ADDRESSES = {"server": "198.18.77.2", "guest": "198.18.77.3"}
NIC = openssh.INTERFACE
CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")


@dataclass(frozen=True)
class Rack:
    """A server with a guest, and a workspace of the client that is the controller as well."""

    machines: Machines
    workspace: Workspace

    def configure(self, name: str, congestion_control: str = "", **options: str) -> None:
        """Write a configuration with these options of the guest."""
        link = f"ip -n {self.machines.by_name['guest'].namespace} link"
        guest = {
            "address": ADDRESSES["guest"],
            "ssh": "guest",
            "start": f"{link} set {NIC} up",
            "stop": f"{link} set {NIC} down",
            "prove": f"{link} show {NIC}",
            "expect": "state UP",
            "detected": _virtualisation(),
        }
        place: dict[str, Any] = {
            "link": {
                "rate_mbit": 10000,
                "network": "198.18.77.0/24",
                # What this computer uses itself.
                "congestion_control": congestion_control or CONGESTION_CONTROL.read_text().strip(),
            },
            "host": {
                "connection": "provided",
                "bare_metal": {"address": ADDRESSES["server"], "ssh": "server"},
            },
            "client": {"connection": "local", "interface": openssh.SWITCH},
        }
        content = {
            "repetitions": 6,
            "workloads": {"tcp": {"tool": "iperf", "duration_s": 1}},
            "systems": {
                "bare-metal": {"hypervisor": "bare-metal"},
                "box": {"hypervisor": "provided", "options": guest | options},
            },
            "environments": {name: place},
        }
        text = yaml.safe_dump(content, sort_keys=False)
        (self.workspace.folder / f"{name}.yaml").write_text(text)

    def guest_is_up(self) -> bool:
        """Whether the guest is switched on."""
        namespace = self.machines.by_name["guest"].namespace
        shown = LocalConnection("this computer").run(["ip", "-n", namespace, "link", "show", NIC]).stdout
        return "state UP" in shown


def _virtualisation() -> str:
    """What this computer is itself."""
    return subprocess.run(["systemd-detect-virt"], capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    computer = LocalConnection("this computer")
    home: Path = tmp_path_factory.mktemp("home")
    with openssh.switched(computer, "rack", home, ADDRESSES) as machines:
        workspace = Workspace(tmp_path_factory.mktemp("rack"), (*machines.within, *BESIDE))
        workspace.link_project()
        yield Rack(machines, workspace)


@pytest.fixture(scope="module")
def measured(rack: Rack) -> Rack:
    """The rack after a whole experiment."""
    rack.configure("rack")
    rack.workspace.run("all", "--configfile", "rack.yaml")
    return rack


def test_check_finds_the_client_and_the_way(rack: Rack) -> None:
    rack.configure("rack")
    said = rack.workspace.run("check", "--configfile", "rack.yaml")
    for line in (
        f"rack client: works: the way to {ADDRESSES['guest']} is {openssh.SWITCH}",
        "rack guest box: works: each session starts it, so it is not looked at now",
        "rack host: works: reached: Linux",
        "rack host: works: iperf version 2",
    ):
        assert line in said, said


def test_check_names_what_is_missing(rack: Rack) -> None:
    rack.configure("lost", ssh="nobody.invalid", start="", stop="")
    process = rack.workspace.start("check", "--configfile", "lost.yaml")
    assert process.wait() != 0
    assert "lost guest box: missing: SSH to nobody.invalid port 22" in rack.workspace.output()


def test_a_client_with_another_congestion_control_is_refused(rack: Rack) -> None:
    rack.configure("other", congestion_control="veno")
    process = rack.workspace.start("check", "--configfile", "other.yaml")
    assert process.wait() != 0
    assert "other client: missing: its TCP congestion control is" in rack.workspace.output()


def test_guest_and_bare_metal_are_measured_and_proved(measured: Rack) -> None:
    for system in ("bare-metal", "box"):
        records = measured.workspace.records("rack", system)
        assert [(one.status, one.reason) for one in records] == [("ok", None)] * 6
    box = measured.workspace.records("rack", "box")[0]
    assert "state UP" in box.proof["proved"]
    assert box.proof["guest"]["hostname"] == "guest"
    assert box.facts["host"] is None
    assert box.outputs["server"].argv[-1] == ADDRESSES["guest"]
    bare_metal = measured.workspace.records("rack", "bare-metal")[0]
    assert (bare_metal.facts["host"] or {})["hostname"] == "server"


def test_the_guest_is_stopped_after_its_session(measured: Rack) -> None:
    assert not measured.guest_is_up()


def test_tables_and_report_are_those_of_any_other_system(measured: Rack) -> None:
    results = measured.workspace.folder / "results"
    found = rows.read(rows.CellStatistics, results / "rack/statistics.csv")
    cells = {(cell.metric, cell.system): cell for cell in found}
    box, bare_metal = cells["throughput", "box"], cells["throughput", "bare-metal"]
    assert box.mean and bare_metal.mean
    assert box.effect == pytest.approx(box.mean / bare_metal.mean, rel=1e-4)
    # Nobody can ask the host of somebody else's guest what its processors spent.
    spent = cells["host_cpu", "box"]
    assert (spent.ok, spent.failed, spent.unavailable) == (0, 0, box.planned)
    assert (results / "rack/figures/topology.svg").is_file()
    assert "box" in (results / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"expect": "VMware"}, "it should have 'VMware' in it (option expect)"),
        ({"detected": "vmware"}, f"the proof has detected {_virtualisation()!r}, not 'vmware'"),
        ({"start": "echo no such machine >&2; exit 3"}, "ended with exit code 3: no such machine"),
    ],
    ids=["expect", "detected", "start"],
)
def test_what_is_not_as_it_is_said_to_be_is_not_measured(
    rack: Rack, options: dict[str, str], reason: str
) -> None:
    rack.configure("other", **options)
    process = rack.workspace.start("results/other/measurements/box.csv", "--configfile", "other.yaml")
    assert process.wait() != 0
    assert reason in rack.workspace.output()
    assert rack.workspace.records("other", "box") == []
    assert not rack.guest_is_up()
