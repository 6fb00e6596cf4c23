"""A shaky world: what real machines and networks do in the middle of a measurement, done to them for real.

Host and client are machines with OpenSSH's own server, joined with the controller by a switch that this
computer plays. After each failure, the same command measures what is missing.

    controller 198.18.77.9 -- switch0 -+- host ====== lan0 198.18.77.2 host
                                       +- client ==== lan0 198.18.77.1 client
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import openssh
import pytest
import yaml
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection
from openssh import SshServer
from workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

NIC = openssh.INTERFACE
TARGET = "results/shaky/measurements/bare-metal.csv"
RUNS = 2
CONFIG = {
    "repetitions": RUNS,
    "workloads": {"tcp": {"tool": "iperf", "duration_s": 2}},
    "systems": {"bare-metal": {"hypervisor": "bare-metal"}},
    "environments": {
        "shaky": {
            # Which is what these network cards say of themselves.
            "link": {"rate_mbit": 10000, "network": "198.18.78.0/24"},
            "host": {"connection": "ssh", "address": "host", "interface": NIC},
            "client": {"connection": "ssh", "address": "client", "interface": NIC},
        }
    },
}
# A whole run takes some ten seconds; what is lost without a word is noticed after one or two minutes.
RUN_TIMEOUT_S = 300
GIVEN_UP = "failed: shaky bare-metal boot 1: session given up in run 2 .*"


@dataclass(frozen=True)
class World:
    """Two machines, the controller's namespace with the switch, and a workspace."""

    workspace: Workspace
    controller: str
    host: SshServer
    client: SshServer

    def ip(self, *arguments: str) -> str:
        """ip(8) on the controller."""
        return LocalConnection("this computer").run(["ip", "-n", self.controller, *arguments]).stdout

    def run(self, *arguments: str) -> subprocess.Popen[str]:
        """Snakemake as the experimenter starts it."""
        return self.workspace.start(TARGET, "--configfile", "shaky.yaml", *arguments)

    def said(self, process: subprocess.Popen[str]) -> str:
        """The output of a failing run."""
        assert process.wait(RUN_TIMEOUT_S) != 0, self.workspace.output()
        return self.workspace.output()

    def wait_for(self, process: subprocess.Popen[str], text: str) -> None:
        """Wait until a run has said something."""
        deadline = Deadline(RUN_TIMEOUT_S, f"output with {text!r}")
        while text not in self.workspace.output():
            assert process.poll() is None, self.workspace.output()
            deadline.wait_a_little()

    def networks(self) -> str:
        """Addresses and routes of both machines."""
        lines = []
        for machine in (self.host, self.client):
            for what in (["-o", "address"], ["route"]):
                shown = machine.computer.run(["ip", "-n", machine.namespace, *what]).stdout
                lines += [line.split("valid_lft")[0] for line in shown.splitlines() if "fe80" not in line]
        return "\n".join(lines)

    def forget(self) -> None:
        """Remove what was measured."""
        for folder in ("raw", "measurements"):
            shutil.rmtree(self.workspace.folder / "results/shaky" / folder, ignore_errors=True)

    def outcomes(self) -> list[tuple[str, str | None]]:
        """Status and reason of what was recorded."""
        return [(one.status, one.reason) for one in self.workspace.records("shaky", "bare-metal")]


@pytest.fixture(scope="module")
def whole_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("shaky")
    addresses = {"host": "198.18.77.2", "client": "198.18.77.1"}
    small = ["mkdir /run/hvcost", "mount -t tmpfs -o size=256k tmpfs /run/hvcost"]
    home = tmp_path_factory.mktemp("home")
    with openssh.switched(LocalConnection("this computer"), "shaky", home, addresses, small) as machines:
        workspace = Workspace(folder, machines.within)
        workspace.link_project()
        (folder / "shaky.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
        yield World(workspace, machines.controller, **machines.by_name)


@pytest.fixture
def world(whole_world: World) -> Iterator[World]:
    """The world with nothing measured; afterwards the next run measures it, and the network is as it was."""
    whole_world.forget()
    before = whole_world.networks()
    yield whole_world
    assert whole_world.run().wait(RUN_TIMEOUT_S) == 0, whole_world.workspace.output()
    assert whole_world.outcomes() == [("ok", None)] * RUNS
    deadline = Deadline(90, "network as it was")
    while whole_world.networks() != before:
        deadline.check(whole_world.networks())
        deadline.wait_a_little()


def test_the_ssh_server_of_the_host_dies(world: World) -> None:
    process = world.run()
    world.wait_for(process, "run 2 of 2")
    world.host.kill()
    said = world.said(process)
    world.host.start()
    # What iperf says of it may be several lines, of which the last words of the run have the first.
    assert "failed: shaky bare-metal boot 1: session given up in run 2 " in said, said
    assert "shaky host: " in said, said
    assert world.outcomes() == []


def test_the_client_vanishes(world: World) -> None:
    process = world.run()
    world.wait_for(process, "run 2 of 2")
    world.client.kill()
    said = world.said(process)
    world.client.start()
    assert re.search(GIVEN_UP + "shaky client: .*`", said, re.DOTALL), said
    assert world.outcomes() == []


def test_the_way_to_the_host_drops_everything(world: World) -> None:
    process = world.run()
    world.wait_for(process, "run 2 of 2")
    before = world.networks()
    world.ip("link", "set", "host", "nomaster")
    try:
        # The host cannot be told: it gives itself back.
        deadline = Deadline(120, "host gives itself back")
        while world.networks() == before:
            deadline.wait_a_little()
        said = world.said(process)
    finally:
        world.ip("link", "set", "host", "master", openssh.SWITCH)
    # What iperf says of it may be several lines, of which the last words of the run have the first.
    assert "failed: shaky bare-metal boot 1: session given up in run 2 " in said, said
    assert "shaky host: " in said, said
    assert world.outcomes() == []


def test_the_controller_is_killed(world: World) -> None:
    before = world.networks()
    process = world.run()
    world.wait_for(process, "run 2 of 2")
    assert world.networks() != before
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    deadline = Deadline(30, "network as it was")
    while world.networks() != before:
        deadline.wait_a_little()


def test_the_disk_of_the_host_is_full(world: World) -> None:
    process = world.run()
    world.wait_for(process, "run 1 of 2")
    with contextlib.closing(world.host.connect(world.controller)) as host:
        host.run(["sh", "-c", "cat /dev/zero >/run/hvcost/full 2>/dev/null || true"])
    assert process.wait(RUN_TIMEOUT_S) == 0
    statuses = world.outcomes()
    assert [status for status, _ in statuses].count("failed") >= 1
    cause = "shaky host: the server `iperf -s .*there is no room for its output in /run/hvcost"
    for reason in (reason for _, reason in statuses if reason):
        assert re.search(cause, reason), reason
    world.forget()


def test_an_address_is_in_use(world: World) -> None:
    card = re.search("link/ether (\\S+)", world.ip("link", "show", openssh.SWITCH))
    assert card
    for number in (1, 2, 3):
        address = f"198.18.78.{number}"
        world.ip("address", "add", f"{address}/24", "dev", openssh.SWITCH)
        said = world.said(world.run())
        world.ip("address", "del", f"{address}/24", "dev", openssh.SWITCH)
        reason = f"shaky client: the address {address} is in use already, by the network card {card[1]}"
        assert reason in said


def test_the_port_is_in_use(world: World) -> None:
    with contextlib.closing(world.host.connect(world.controller)) as host:
        other = host.open_stream(["sh", "-c", "echo $$ >/run/other; exec iperf -s"])
        deadline = Deadline(20, "other server")
        while not host.succeeds(["sh", "-c", "ss -Hltn 'sport = :5001' | grep -q ."]):
            deadline.wait_a_little()
        assert world.run().wait(RUN_TIMEOUT_S) == 0
        host.run(["sh", "-c", "kill $(cat /run/other)"])
        other.close()
    for status, reason in world.outcomes():
        assert status == "failed"
        assert "another program listens at port 5001 already" in str(reason)
    world.forget()
