"""Addresses of the link that are somebody else's are found before anything is taken.

switch namespace: bridge switch0 -+- lan0 of the client
                                  +- lan0 of the host
                                  +- lan0 of another machine
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network

import pytest
from hvcost.environments import network
from hvcost.environments.reachability import check_unused
from hvcost.errors import MachineError
from hvcost.machines.local import LocalConnection
from hvcost.model.link import Link

NIC = "lan0"
LINK = Link(1000, 1500, IPv4Network("198.18.78.0/24"), "cubic")
CLIENT, HOST, GUEST = (str(address) for address in (LINK.client, LINK.host, LINK.guest))

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@dataclass(frozen=True)
class Lan:
    """Three machines on one switch."""

    client: LocalConnection
    host: LocalConnection
    other: LocalConnection

    def check(self) -> None:
        """Ask who has the addresses of the link."""
        check_unused(LINK, self.client, NIC, self.host, NIC)


def take(machine: LocalConnection, address: str, interface: str = NIC) -> None:
    """Give a machine an address."""
    machine.run(["ip", "address", "add", address, "dev", interface])


def card_of(machine: LocalConnection) -> str:
    """Hardware address of a machine's card."""
    shown = json.loads(machine.run(["ip", "-json", "link", "show", "dev", NIC]).stdout)
    return str(shown[0]["address"])


@pytest.fixture
def lan() -> Iterator[Lan]:
    computer = LocalConnection("this computer")
    prefix = f"hvcost-test-{uuid.uuid4().hex[:8]}"
    machines = []
    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(network.namespace(computer, f"{prefix}-switch"))
        computer.run(
            ["ip", "-n", switch, "link", "add", "switch0", "up", "type", "bridge", "forward_delay", "0"]
        )
        for name in ("client", "host", "other"):
            namespace = stack.enter_context(network.namespace(computer, f"{prefix}-{name}"))
            machine = LocalConnection(f"lab {name}", computer.journal, namespace)
            machine.run(["ip", "link", "add", NIC, "type", "veth", "peer", "name", name, "netns", switch])
            computer.run(["ip", "-n", switch, "link", "set", name, "master", "switch0", "up"])
            machine.run(["ip", "link", "set", NIC, "up"])
            machine.run(["ip", "link", "add", "wlan0", "type", "veth", "peer", "name", "wlan1"])
            machines.append(machine)
        yield Lan(*machines)


@pytest.mark.parametrize("of_client", [None, "198.18.77.1/24", f"{CLIENT}/24", f"{CLIENT}/16"])
@pytest.mark.parametrize("of_host", [None, f"{HOST}/24", f"{HOST}/16", f"{HOST}/29"])
def test_what_the_measured_cards_have_is_theirs(lan: Lan, of_client: str | None, of_host: str | None) -> None:
    for machine, address in ((lan.client, of_client), (lan.host, of_host)):
        if address:
            take(machine, address)
    lan.check()


@pytest.mark.parametrize("of_client", [None, "198.18.77.1/24"], ids=["no-address", "address"])
@pytest.mark.parametrize("taken", [CLIENT, HOST, GUEST])
def test_an_address_of_another_machine_is_refused_with_its_card(
    lan: Lan, taken: str, of_client: str | None
) -> None:
    if of_client:
        take(lan.client, of_client)
        take(lan.other, "198.18.77.9/24")
    take(lan.other, f"{taken}/24")
    # As many firewalls do.
    lan.other.run(["sysctl", "-q", "net.ipv4.icmp_echo_ignore_all=1"])
    complaint = f"lab client: the address {taken} is in use already, by the network card {card_of(lan.other)}"
    with pytest.raises(MachineError, match=complaint):
        lan.check()


def test_the_hosts_address_is_refused_if_another_machine_has_it_too(lan: Lan) -> None:
    take(lan.host, f"{HOST}/24")
    lan.host.run(["sysctl", "-q", f"net.ipv4.conf.{NIC}.arp_ignore=8"])
    take(lan.other, f"{HOST}/24")
    with pytest.raises(MachineError, match=card_of(lan.other)):
        lan.check()


@pytest.mark.parametrize("taken", [CLIENT, HOST, GUEST])
@pytest.mark.parametrize("owner", ["client", "host"])
def test_an_address_on_another_card_of_the_machines_is_refused(lan: Lan, owner: str, taken: str) -> None:
    take(getattr(lan, owner), f"{taken}/24", "wlan0")
    complaint = f"lab {owner}: the address {taken} is in use already, by its interface wlan0"
    with pytest.raises(MachineError, match=complaint):
        lan.check()
