"""A host in custody: its interface with all addresses and routes in a bridge, and back, whatever happens.

The host is a network namespace of this computer; what is done there is what is done to a real host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hvcost.environments import boot, custody, network
from hvcost.environments.custody import Custody, move_to_bridge
from hvcost.errors import DeadlineExceeded, MachineError
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection
from hvcost.model.link import Link

BRIDGE = "hvcost-br0"
NIC = "eth7"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


class Pipe:
    """The stream of a program that nobody ends: a connection that dies takes its pipes away, no more."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def send(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def receive(self, timeout_s: float) -> bytes:
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], timeout_s)[0]:
            raise DeadlineExceeded(f"the process said nothing within {timeout_s:g} s")
        return os.read(self.process.stdout.fileno(), 4096)

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            with contextlib.suppress(OSError):
                pipe.close()


class Host(LocalConnection):
    """A namespace of this computer that behaves like a machine behind a connection.

    `programs`: a folder whose programs it finds first. Signals that were ignored here are not ignored there.
    """

    programs: Path | None = None

    def open_stream(self, argv: Sequence[str], *, outlives_us: bool = False) -> Pipe:  # type: ignore[override]
        path = os.pathsep.join([*([str(self.programs)] if self.programs else []), os.environ["PATH"]])
        line = self.command_line(["env", "--default-signal", f"PATH={path}", *argv])
        pipe = subprocess.PIPE
        return Pipe(subprocess.Popen(line, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True))


def process_of(guard: Custody) -> subprocess.Popen[bytes]:
    """The process on the host."""
    assert isinstance(guard._guard, Pipe)
    return guard._guard.process


@pytest.fixture
def host() -> Iterator[Host]:
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
    """Addresses by interface, and all routes, without what the kernel makes and what counts time."""
    links = json.loads(host.run(["ip", "-json", "address", "show"]).stdout)
    routes = [
        re.sub(" expires [0-9]+sec", "", line).strip()
        for family in ("-4", "-6")
        for line in host.run(["ip", "-oneline", family, "route", "show", "table", "all"]).stdout.splitlines()
        if not line.startswith("fe80") and "table local" not in line
    ]
    passing = ("valid_life_time", "preferred_life_time", "dynamic")
    addresses = {
        link["ifname"]: sorted(
            str({key: value for key, value in address.items() if key not in passing})
            for address in link["addr_info"]
            if address["scope"] != "link"
        )
        for link in links
    }
    return {"addresses": addresses, "routes": sorted(routes)}


def locals_of(host: Connection, interface: str) -> list[str]:
    """The addresses of an interface, without those of the link alone."""
    links = json.loads(host.run(["ip", "-json", "address", "show", "dev", interface]).stdout)
    return [address["local"] for address in links[0]["addr_info"] if address["scope"] != "link"]


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
        assert locals_of(host, BRIDGE) == ["198.18.7.20", "2001:db8::20"]
        moved = [route.replace(f"dev {NIC}", f"dev {BRIDGE}") for route in before["routes"]]
        assert during["routes"] == sorted(moved)
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


ODD = [
    # Each takes the others of its network with it.
    "address add 198.18.7.21/24 dev eth7 label eth7:1",
    "address add 198.18.7.22/24 dev eth7",
    "address add 198.18.9.1 peer 198.18.9.2/32 dev eth7",
    "address add 198.18.10.1/24 dev eth7 metric 300 noprefixroute",
    "address add 198.18.11.1/24 dev eth7 valid_lft 3000 preferred_lft 2000",
    "route add 198.18.10.0/24 dev eth7 proto kernel scope link src 198.18.10.1 metric 300",
    # A gateway behind another route, several gateways, other tables, and what else a route can have.
    "route add 198.18.12.1 dev eth7 scope link",
    "route add 198.18.13.0/24 via 198.18.12.1 dev eth7 proto static mtu lock 1400 congctl reno",
    "route add 198.18.14.0/24 nexthop via 198.18.7.1 dev eth7 nexthop via 198.18.7.2 dev eth7 weight 2",
    "route add 198.18.15.0/24 via 198.18.8.1 dev eth7 onlink metric 7",
    "route add default via 198.18.7.254 dev eth7 table 77",
    "route add 2001:db8:7::/48 dev eth7 proto static metric 500",
    "route add ::/0 dev eth7 metric 2000",
    "route add ::/0 via fe80::1 dev eth7 proto ra metric 3000 expires 1800 pref high",
]


def test_whatever_a_host_has_moves_to_the_bridge_and_back(host: LocalConnection) -> None:
    host.run(["sysctl", "-q", f"net.ipv4.conf.{NIC}.promote_secondaries=0"])
    for command in ODD:
        host.run(["ip", *command.split()])
    before = network_of(host)
    with custody.custody(host) as guard:
        guard.take(NIC, BRIDGE)
        moved = [route.replace(f"dev {NIC}", f"dev {BRIDGE}") for route in before["routes"]]
        assert network_of(host)["routes"] == sorted(moved)
    assert network_of(host) == before


@pytest.mark.parametrize("renewed", [NIC, BRIDGE])
def test_an_address_that_was_renewed_meanwhile_is_no_obstacle(host: LocalConnection, renewed: str) -> None:
    before = network_of(host)
    guard = Custody(host)
    guard.lock()
    guard.take(NIC, BRIDGE)
    host.run(["ip", "address", "replace", "198.18.7.20/24", "broadcast", "+", "dev", renewed,
              "valid_lft", "7200", "preferred_lft", "3600"])  # fmt: skip
    guard.close()
    is_as(before, host)


def test_an_address_that_was_changed_on_the_bridge_is_as_it_was_on_the_card(host: LocalConnection) -> None:
    before = network_of(host)
    guard = Custody(host)
    guard.lock()
    guard.take(NIC, BRIDGE)
    host.run(["ip", "address", "del", "198.18.7.20/24", "dev", BRIDGE])
    host.run(["ip", "address", "add", "198.18.7.99/24", "dev", BRIDGE])
    guard.close()
    is_as(before, host)


def test_what_was_set_on_the_card_meanwhile_stays(host: LocalConnection) -> None:
    before = network_of(host)
    guard = Custody(host)
    guard.lock()
    guard.take(NIC, BRIDGE)
    host.run(["ip", "address", "add", "198.18.7.99/24", "broadcast", "+", "dev", NIC])
    host.run(["ip", "route", "del", "default", "dev", BRIDGE])
    host.run(["ip", "route", "add", "default", "via", "198.18.7.1", "dev", NIC, "metric", "100"])
    guard.close()
    deadline = Deadline(20, "addresses as they were")
    while set(locals_of(host, NIC)) != {"198.18.7.20", "198.18.7.99", "2001:db8::20"}:
        deadline.wait_a_little()
    process_of(guard).wait(60)
    renewed = f"default via 198.18.7.1 dev {NIC} metric 100"
    kept = [route for route in before["routes"] if "via" in route and "198.18.7.254" not in route]
    assert {renewed, *kept} <= set(network_of(host)["routes"])
    assert not any("198.18.7.254" in route for route in network_of(host)["routes"])


def test_a_lease_that_has_run_out_is_not_put_back(host: LocalConnection) -> None:
    before = network_of(host)
    host.run(["ip", "address", "add", "198.18.16.1/24", "dev", NIC, "valid_lft", "2", "preferred_lft", "1"])
    guard = Custody(host)
    guard.lock()
    guard.take(NIC, BRIDGE)
    deadline = Deadline(30, "end of the lease")
    while "198.18.16.1" in locals_of(host, BRIDGE):
        deadline.wait_a_little()
    guard.close()
    process_of(guard).wait(60)
    assert network_of(host) == before


def test_half_a_message_changes_nothing(host: LocalConnection) -> None:
    before = network_of(host)
    guard = Custody(host)
    guard.lock()
    guard._send("take 2 1", f"link add {BRIDGE} type bridge")
    guard.close()
    process_of(guard).wait(60)
    assert network_of(host) == before


def test_half_a_message_is_not_waited_for(host: LocalConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custody, "PATIENCE_S", 1)
    monkeypatch.setattr(custody, "BEAT_S", 1000.0)
    guard = Custody(host)
    guard.lock()
    guard._send("take 2 1", f"link add {BRIDGE} type bridge")
    process_of(guard).wait(60)
    guard.close()


# What does half of a batch, says so, and waits for a word before it does the rest.
SLOW_IP = r"""#!/bin/bash
[ "$1" = {option} ] || exec {ip} "$@"
mapfile -t lines
printf '%s
' "${{lines[@]:0:5}}" | {ip} "$@"
touch {folder}/half
until [ -e {folder}/go ]; do sleep 0.05; done
printf '%s
' "${{lines[@]:5}}" | {ip} "$@"
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
@pytest.mark.parametrize("option", ["-batch", "-force"], ids=["taking", "putting-back"])
def test_a_signal_in_the_middle_of_a_change_leaves_no_half(
    host: Host, tmp_path: Path, option: str, number: signal.Signals
) -> None:
    before = network_of(host)
    slow = tmp_path / "ip"
    slow.write_text(SLOW_IP.format(option=option, ip=shutil.which("ip"), folder=tmp_path))
    slow.chmod(0o755)
    host.programs = tmp_path
    guard = Custody(host)
    guard.lock()
    move = move_to_bridge(*custody.state_of(host, NIC), BRIDGE)
    guard._send(f"take {len(move.apply)} {len(move.undo)}", *move.apply, *move.undo)
    if option == "-force":
        assert guard._answer() == "taken"
        guard.close()
    deadline = Deadline(20, "half of the change")
    while not (tmp_path / "half").exists():
        deadline.wait_a_little(0.02)
    for _ in range(2):
        os.killpg(process_of(guard).pid, number)
    (tmp_path / "go").touch()
    if option == "-batch":
        assert guard._answer() == "taken"
        guard.close()
    process_of(guard).wait(60)
    assert network_of(host) == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_the_custody(host: LocalConnection, number: signal.Signals) -> None:
    before = network_of(host)
    guard = Custody(host)
    guard.lock()
    guard.take(NIC, BRIDGE)
    os.kill(process_of(guard).pid, number)
    assert guard._answer() == "given back"
    assert network_of(host) == before
    guard.close()


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
    assert network_of(host) == before


def test_a_change_that_is_refused_half_way_is_undone(host: LocalConnection) -> None:
    before = network_of(host)
    link, routes = custody.state_of(host, NIC)
    move = move_to_bridge(link, [*routes, f"198.18.99.0/24 via 198.18.98.1 dev {NIC}"], BRIDGE)
    with pytest.raises(MachineError, match=r"refused .*invalid gateway"), custody.custody(host) as guard:
        guard._change(move, "move")
    assert network_of(host) == before


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


def test_the_lock_is_free_when_a_custody_is_over(host: LocalConnection) -> None:
    for _ in range(5):
        with custody.custody(host, waits=False):
            pass


LINK = Link(1000, 1500, IPv4Network("198.18.1.0/24"), "reno")


@pytest.mark.parametrize(
    "there",
    [
        [],
        ["address add 198.18.1.1/24 dev eth7"],
        # As network managers have it.
        [
            "address add 198.18.1.1/24 dev eth7 noprefixroute",
            "route add 198.18.1.0/24 dev eth7 proto kernel scope link src 198.18.1.1 metric 100",
        ],
        ["address add 198.18.1.1/16 dev eth7", "address add 198.18.1.1/29 dev eth7"],
    ],
    ids=["nothing", "address", "metric", "other-lengths"],
)
def test_a_client_joins_the_link_and_leaves_it_as_it_was(host: LocalConnection, there: list[str]) -> None:
    for command in there:
        host.run(["ip", *command.split()])
    before = network_of(host)
    with custody.custody(host, waits=False) as guard:
        guard.join(NIC, LINK)
        assert "198.18.1.1" in locals_of(host, NIC)
        for peer in (LINK.host, LINK.guest):
            way = host.run(["ip", "-oneline", "route", "get", str(peer)]).stdout
            assert f"dev {NIC} src 198.18.1.1 " in way
            assert "congctl reno" in way
        assert set(before["routes"]) <= set(network_of(host)["routes"])
    assert network_of(host) == before


def test_a_congestion_control_that_is_unknown_is_named(host: LocalConnection) -> None:
    before = network_of(host)
    link = dataclasses.replace(LINK, congestion_control="nosuch")
    complaint = "lab host: cannot give eth7 .*'nosuch'.*key.* link.congestion_control.*Unknown tcp congestion"
    with pytest.raises(MachineError, match=complaint), custody.custody(host, waits=False) as guard:
        guard.join(NIC, link)
    assert network_of(host) == before


def test_a_locked_client_is_refused_at_once_and_its_owner_named(host: LocalConnection) -> None:
    complaint = f"lab host: it is in use by .*, process {os.getpid()}, since"
    with custody.custody(host):
        guard = Custody(host, waits=False)
        with pytest.raises(MachineError, match=complaint):
            guard.lock()
        assert process_of(guard).wait(60) == 1
        guard.close()


# A session on a client that is this computer, in a namespace. Arguments: namespace, interface.
SESSION = """
import sys, time
from ipaddress import IPv4Network
from hvcost.machines.local import LocalConnection
from hvcost.environments.custody import custody
from hvcost.model.link import Link

client = LocalConnection("local client", namespace=sys.argv[1])
with custody(client, waits=False) as guard:
    guard.join(sys.argv[2], Link(1000, 1500, IPv4Network("198.18.1.0/24"), "reno"))
    print("joined", flush=True)
    sys.stdin.readline()
"""


def session_in(host: LocalConnection) -> subprocess.Popen[str]:
    """A controller in a process of its own, which has taken its address."""
    assert host.namespace
    process = subprocess.Popen(
        [sys.executable, "-c", SESSION, host.namespace, NIC],
        cwd=Path(__file__).parents[1] / "scripts",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout and process.stdout.readline() == "joined\n"
    return process


def test_a_local_client_gets_back_what_it_had_from_a_controller_that_is_killed(host: LocalConnection) -> None:
    before = network_of(host)
    for _ in range(2):
        # The second session must not take what the first has left for the client's own.
        process = session_in(host)
        assert network_of(host) != before
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        is_as(before, host)
    with session_in(host) as orderly:
        orderly.communicate("\n")
    assert network_of(host) == before


def test_a_local_client_gets_back_what_it_had_when_its_guard_does_not_answer(
    host: LocalConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = network_of(host)
    client = LocalConnection("local client", namespace=host.namespace)

    def silent(_: Custody) -> None:
        raise DeadlineExceeded("no answer")

    monkeypatch.setattr(Custody, "give_back", silent)
    with pytest.raises(DeadlineExceeded), custody.custody(client, waits=False) as guard:
        guard.join(NIC, LINK)
    assert network_of(host) == before


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
