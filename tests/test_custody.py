"""A host in custody: its interface with all addresses and routes in a bridge, and back, whatever happens.

The host is a network namespace of this computer; what is done there is what is done to a real host.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from typing import Any

import pytest
from hvcost import network
from hvcost.connections.base import Connection
from hvcost.connections.local import LocalConnection
from hvcost.deadline import Deadline
from hvcost.errors import MachineError
from hvcost.hosts import boot, custody
from hvcost.hosts.custody import Custody, addressed, move_to_bridge
from hvcost.network import Link

BRIDGE = "hvcost-br0"
NIC = "eth7"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Pipe:
    """The stream of a program that nobody ends: a connection that dies takes its input away, no more."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def send(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def receive(self, timeout_s: float) -> bytes:
        assert self._process.stdout
        return os.read(self._process.stdout.fileno(), 4096)

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with contextlib.suppress(OSError):
                pipe.close()


class Host(LocalConnection):
    """A namespace of this computer that behaves like a machine behind a connection."""

    def open_stream(self, argv: Sequence[str]) -> Pipe:  # type: ignore[override]
        line = self.command_line(argv)
        process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        return Pipe(process)


@pytest.fixture
def host() -> Iterator[LocalConnection]:
    """A host whose only interface carries its addresses and default routes."""
    computer = LocalConnection("this computer")
    with network.namespace(computer, f"hvcost-test-{uuid.uuid4().hex[:8]}") as name:
        made = Host("lab host", computer.journal, name)
        made.run(["ip", "link", "add", NIC, "type", "veth", "peer", "name", "far"])
        for interface in (NIC, "far"):
            made.run(["ip", "link", "set", interface, "up"])
        made.run(["ip", "address", "add", "198.18.7.20/24", "broadcast", "+", "dev", NIC])
        made.run(["ip", "address", "add", "2001:db8::20/64", "dev", NIC, "nodad"])
        made.run(["ip", "route", "add", "default", "via", "198.18.7.254", "metric", "100"])
        made.run(["ip", "route", "add", "198.18.200.0/24", "via", "198.18.7.253"])
        made.run(["ip", "-6", "route", "add", "default", "via", "2001:db8::1"])
        yield made


def network_of(host: Connection) -> dict[str, Any]:
    """Addresses by interface, and routes, without what counts time or packets."""
    links = json.loads(host.run(["ip", "-json", "address", "show"]).stdout)
    routes = [
        (route["dst"], route.get("gateway"), route["dev"], route.get("metric"), route.get("prefsrc"))
        for family in ("-4", "-6")
        for route in json.loads(host.run(["ip", "-json", family, "route"]).stdout)
        if not route["dst"].startswith("fe80")
    ]
    addresses = {
        link["ifname"]: sorted(a["local"] for a in link["addr_info"] if a["scope"] != "link")
        for link in links
    }
    return {"addresses": addresses, "routes": sorted(routes, key=str)}


def is_as(before: dict[str, Any], host: Connection, patience_s: float = 20) -> None:
    """Wait until the host's network is as it was."""
    deadline = Deadline(patience_s, "network as it was")
    while network_of(host) != before:
        deadline.check(str(network_of(host)))
        deadline.wait_a_little()


def test_addresses_and_routes_move_to_the_bridge_and_back(host: LocalConnection) -> None:
    before = network_of(host)
    with custody.custody(host) as guard:
        guard.take(NIC, BRIDGE)
        during = network_of(host)
        assert during["addresses"][NIC] == []
        assert during["addresses"][BRIDGE] == before["addresses"][NIC]
        assert {route[2] for route in during["routes"]} == {BRIDGE}
        assert [(r[0], r[1], *r[3:]) for r in during["routes"]] == [
            (r[0], r[1], *r[3:]) for r in before["routes"]
        ]
        host.run(["ip", "address", "add", "198.18.1.2/24", "dev", BRIDGE])
    assert network_of(host) == before


def test_a_failure_in_the_session_gives_the_host_back(host: LocalConnection) -> None:
    before = network_of(host)
    with pytest.raises(MachineError, match="broken"), custody.custody(host) as guard:
        guard.take(NIC, BRIDGE)
        raise MachineError("broken")
    assert network_of(host) == before


def test_the_host_takes_itself_back_when_the_connection_dies(host: LocalConnection) -> None:
    before = network_of(host)
    guard = Custody(host)
    guard.lock()
    guard.take(NIC, BRIDGE)
    guard.close()
    is_as(before, host)


def test_the_host_takes_itself_back_when_it_does_not_hear_from_us(
    host: LocalConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = network_of(host)
    monkeypatch.setattr(custody, "PATIENCE_S", 1)
    cut = Host("lab host", host.journal, host.namespace)
    guard = Custody(cut)
    guard.lock()

    def dead(*_: object, **__: object) -> None:
        is_as(before, host)
        raise MachineError("lab host: the SSH connection is lost")

    state = custody.state_of(cut, NIC)
    monkeypatch.setattr(custody, "state_of", lambda *_: state)
    monkeypatch.setattr(cut, "run", dead)
    with pytest.raises(MachineError, match="the SSH connection is lost"):
        guard.take(NIC, BRIDGE)
    guard.close()


def test_the_host_takes_itself_back_from_who_says_nothing(
    host: LocalConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = network_of(host)
    monkeypatch.setattr(custody, "PATIENCE_S", 2)
    monkeypatch.setattr(custody, "BEAT_S", 0.5)
    guard = Custody(host)
    guard.lock()
    guard.take(NIC, BRIDGE)
    with pytest.raises(MachineError, match="not within"):
        is_as(before, host, patience_s=4)
    monkeypatch.setattr(custody, "BEAT_S", 1000.0)
    is_as(before, host)
    guard.close()


def test_a_refused_change_is_undone_and_said(host: LocalConnection) -> None:
    host.run(["ip", "link", "add", BRIDGE, "type", "bridge"])
    before = network_of(host)
    complaint = f"lab host: cannot put {NIC} into a bridge: refused .*File exists"
    with pytest.raises(MachineError, match=complaint), custody.custody(host) as guard:
        guard.take(NIC, BRIDGE)
    assert network_of(host)["addresses"][NIC] == before["addresses"][NIC]


def test_an_unknown_interface_is_named_with_those_that_are_there(host: LocalConnection) -> None:
    complaint = "there is no interface 'eth9'; it has eth7, far, lo"
    with pytest.raises(MachineError, match=complaint), custody.custody(host) as guard:
        guard.take("eth9", BRIDGE)


def test_a_locked_host_is_waited_for_and_its_owner_named(
    host: LocalConnection, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as first:
        first.enter_context(custody.custody(host))
        second = Custody(host)
        monitor = Deadline(10, "second run")
        said = second._answer()
        assert said.startswith("busy ") and f"process {os.getpid()}" in said
    assert re.search(r", since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\+00:00$", said)
    second.lock()
    assert monitor.remaining_s > 0
    second.close()


def test_the_lock_of_a_dead_owner_is_free(host: LocalConnection) -> None:
    dead = Custody(host)
    dead.lock()
    dead.close()
    with custody.custody(host):
        pass


def test_the_clients_address_is_added_and_taken_away(host: LocalConnection) -> None:
    link = Link(1000, 1500, IPv4Network("198.18.1.0/24"), "cubic")
    before = network_of(host)
    with addressed(host, NIC, link):
        assert "198.18.1.1" in network_of(host)["addresses"][NIC]
    assert network_of(host) == before


def test_a_locked_client_is_refused_and_its_owner_named(host: LocalConnection) -> None:
    link = Link(1000, 1500, IPv4Network("198.18.1.0/24"), "cubic")
    complaint = f"lab host: it is in use by .*, process {os.getpid()}, since"
    with custody.custody(host), pytest.raises(MachineError, match=complaint), addressed(host, NIC, link):
        pass


def test_an_address_that_the_client_has_already_stays(host: LocalConnection) -> None:
    host.run(["ip", "address", "add", "198.18.1.1/24", "dev", NIC])
    before = network_of(host)
    with addressed(host, NIC, Link(1000, 1500, IPv4Network("198.18.1.0/24"), "cubic")):
        assert network_of(host) == before
    assert network_of(host) == before


def test_lifetimes_and_flags_of_addresses_are_kept() -> None:
    link = {
        "ifname": "eno1",
        "address": "52:54:00:00:00:02",
        "mtu": 1500,
        "flags": ["UP"],
        "addr_info": [
            {
                "family": "inet",
                "local": "192.0.2.7",
                "prefixlen": 24,
                "broadcast": "192.0.2.255",
                "scope": "global",
                "metric": 100,
                "noprefixroute": True,
                "valid_life_time": 3000,
                "preferred_life_time": 2000,
            }
        ],
    }
    routes = [
        {"dst": "192.0.2.0/24", "protocol": "kernel", "scope": "link", "prefsrc": "192.0.2.7", "metric": 100}
    ]
    move = move_to_bridge(link, routes, BRIDGE)
    address = "broadcast 192.0.2.255 metric 100 noprefixroute valid_lft 3000 preferred_lft 2000"
    assert f"address add 192.0.2.7/24 dev {BRIDGE} {address}" in move.apply
    route = "proto kernel scope link src 192.0.2.7 metric 100"
    assert f"route replace 192.0.2.0/24 dev {BRIDGE} {route}" in move.apply
    assert move.undo[0] == f"link del {BRIDGE}"
    assert f"route replace 192.0.2.0/24 dev eno1 {route}" in move.undo


MENU = """
menuentry 'Debian GNU/Linux' --class debian --class os $menuentry_id_option 'gnulinux-simple-1' {
\tlinux /boot/vmlinuz root=UUID=1
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-1' {
\tmenuentry 'Debian GNU/Linux, with Linux 6.12' --class os $menuentry_id_option 'gnulinux-6.12-1' {
\t\tlinux /boot/vmlinuz root=UUID=1
\t}
}
"""
XEN = "menuentry 'Debian, with Xen' --class os --class xen $menuentry_id_option 'xen-simple-1' {\n}\n"


def test_the_entry_of_xen_is_found_wherever_it_is() -> None:
    assert boot.xen_entry(MENU + XEN, "host") == "xen-simple-1"
    submenu = "submenu 'Xen' $menuentry_id_option 'xen-advanced-1' {\n" + XEN + "}\n"
    assert boot.xen_entry(MENU + submenu, "host") == "xen-advanced-1>xen-simple-1"
    with pytest.raises(MachineError, match=r"host: its boot menu .* has no entry that starts Xen"):
        boot.xen_entry(MENU, "host")
