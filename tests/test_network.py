"""The networks this computer plays, with real namespaces and real iperf inside them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hvcost.environments import network
from hvcost.errors import ParseError
from hvcost.machines.background import Background
from hvcost.machines.deadline import Deadline
from hvcost.machines.inside import Inside
from hvcost.machines.local import LocalConnection
from hvcost.model.link import Link
from hvcost.model.metric import Value
from hvcost.model.record import End
from hvcost.tools import load_tool, options_of
from hvcost.tools.iperf import TOOL, IperfOptions
from hvcost.tools.iperf2_text import parse

LINK = Link(100, 1500, IPv4Network("198.18.77.0/24"), "cubic")
# Payload of a full frame and its time on the wire: Ethernet framing 38, IPv4 and TCP headers 52 bytes.
GOODPUT_SHARE = (1500 - 52) / (1500 + 38)


@pytest.fixture
def computer() -> LocalConnection:
    return LocalConnection("this computer")


@pytest.fixture
def ends(computer: LocalConnection, tmp_path: Path) -> Iterator[tuple[LocalConnection, LocalConnection]]:
    name = network.prefix_of(tmp_path) + "test"
    with network.client_and_far_end(computer, name, LINK, "lan0") as (client, far):
        computer.run(["ip", "-n", far, "address", "add", LINK.with_prefix(LINK.host), "dev", "lan0"])
        yield (
            LocalConnection("client", computer.journal, client),
            LocalConnection("far", computer.journal, far),
        )


def test_the_link_carries_what_a_wire_carries_and_no_more(
    ends: tuple[LocalConnection, LocalConnection], tmp_path: Path
) -> None:
    client, far = ends
    of_server, of_client = TOOL.processes(IperfOptions(duration_s=2), str(LINK.host))
    with far.shell() as shell:
        server = Background(shell, of_server, str(tmp_path / "server"), (4, 5), 60)
        client.run(of_client.argv, timeout_s=of_client.limit_s)
        server.await_report(lambda _, end: "sec" in end.stdout)
        server.stop()
    end = server.end
    measured = parse(end.stdout + end.stderr)
    # Above the goodput of the wire by no more than the shaper's first burst and the last printed digit.
    assert measured.throughput_bps < LINK.rate_mbit * 1e6 * GOODPUT_SHARE * 1.005


@pytest.mark.parametrize(
    "workload",
    [
        {"tool": "iperf", "direction": "from-guest"},
        {"tool": "iperf", "direction": "from-guest", "streams": 3, "mss": 1000, "length_bytes": 8192},
        {"tool": "iperf", "bytes": 10_000_000, "streams": 2},
        {"tool": "iperf-duplex"},
    ],
    ids=str,
)
def test_iperf_of_this_computer_does_what_is_asked_of_it(
    ends: tuple[LocalConnection, LocalConnection], tmp_path: Path, workload: dict[str, Any]
) -> None:
    client, far = ends
    chosen = workload if "bytes" in workload else workload | {"duration_s": 1}
    tool, options = load_tool(workload["tool"]), options_of(chosen)
    of_server, of_client = tool.processes(options, str(LINK.host))
    with far.shell() as shell:
        server = Background(shell, of_server, str(tmp_path / "server"), (4, 5), 60)
        done = client.run(of_client.argv, timeout_s=of_client.limit_s)
        of_client_end = End("client", of_client.argv, 0, done.stdout, done.stderr, None)

        def is_whole(_: object, end: End) -> bool:
            try:
                tool.read(options, {"client": of_client_end, "server": end})
            except ParseError:
                return False
            return True

        server.await_report(is_whole)
        # As a session takes it: what a server says of its own end is no part of the run.
        of_server_end = server.end
        server.stop()
    found = tool.read(options, {"client": of_client_end, "server": of_server_end})
    for metric in tool.metrics:
        value, limit = found.get(metric.name), metric.limit({"rate_mbit": LINK.rate_mbit, "mtu": LINK.mtu})
        if isinstance(value, Value) and limit:
            assert 0 < value.value < limit * 1.02


def test_the_client_waits_for_a_guest_that_answers_late(
    ends: tuple[LocalConnection, LocalConnection],
) -> None:
    """Linux gives up after three probes, one a second."""
    client, far = ends

    def probes() -> int:
        """How often the guest's address was asked for; the count begins above 0 (neigh->probes)."""
        found = re.search(r"probes (\d+)", client.run(["ip", "-statistics", "neigh", "show"]).stdout)
        return int(found[1]) if found else 0

    waiting = client.start(["ping", "-c", "1", "-W", "600", str(LINK.guest)], stdout=subprocess.DEVNULL)
    deadline = Deadline(60, "probes for the guest's address")
    while not (first := probes()):
        deadline.wait_a_little()
    while probes() < first + 5:
        assert waiting.poll() is None
        deadline.wait_a_little()
    far.run(["ip", "address", "add", LINK.with_prefix(LINK.guest), "dev", "lan0"])
    assert waiting.wait(60) == 0


def test_nothing_inside_reaches_the_world(ends: tuple[LocalConnection, LocalConnection]) -> None:
    for end in ends:
        routes = end.run(["ip", "-json", "route", "show"]).stdout
        assert "default" not in routes


def test_namespaces_and_their_processes_are_gone_afterwards(
    computer: LocalConnection, tmp_path: Path
) -> None:
    name = network.prefix_of(tmp_path) + "test"
    with network.client_and_far_end(computer, name, LINK, "lan0") as (client, _):
        inside = LocalConnection("client", namespace=client)
        process = inside.start(["sleep", "60"], stdin=subprocess.DEVNULL)
    assert process.wait(5) != 0
    assert not list(network.NAMESPACES.glob(f"{network.prefix_of(tmp_path)}*"))


def test_a_socket_of_a_namespace_is_usable_from_outside(
    ends: tuple[LocalConnection, LocalConnection],
) -> None:
    client, far = ends
    assert client.namespace
    listener = far.open_stream(["socat", "-u", "STDIO", "TCP-LISTEN:7000,reuseaddr"])
    listener.send(b"hello\n")
    far.run(["sh", "-c", "until ss -Htln sport = 7000 | grep -q .; do sleep 0.05; done"], timeout_s=5)
    with network.open_tcp(client.namespace, str(LINK.host), 7000, 5) as connection:
        assert connection.recv(6) == b"hello\n"
    listener.close()
    with pytest.raises(OSError):
        network.open_tcp(client.namespace, str(LINK.host), 7000, 1)


def test_a_namespace_of_a_machine_is_a_machine(machine: LocalConnection) -> None:
    inside = Inside("inside", LocalConnection("outside", machine.journal), str(machine.namespace))
    ask = ["readlink", "/proc/self/ns/net"]
    wanted = machine.run(ask).stdout.strip()
    assert inside.run(ask).stdout.strip() == wanted
    with inside.shell() as shell:
        assert shell.ask("readlink /proc/self/ns/net").strip() == wanted
    assert not inside.succeeds(["false"])
    assert {command.machine for command in machine.journal.commands} >= {"inside"}
