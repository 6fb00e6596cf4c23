"""The link's congestion control: what TCP uses there, and nowhere else."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hvcost.environments import network
from hvcost.environments.congestion import set_congestion_control
from hvcost.environments.network import CLIENT_INTERFACE
from hvcost.errors import MachineError
from hvcost.machines import facts
from hvcost.machines.local import LocalConnection
from hvcost.model.link import Link

# Not what Linux takes by itself.
LINK = Link(1000, 1500, IPv4Network("198.18.77.0/24"), "reno")
PEERS = (LINK.host, LINK.guest)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[LocalConnection, LocalConnection]]:
    computer = LocalConnection("this computer")
    name = network.prefix_of(tmp_path) + "test"
    with network.client_and_far_end(computer, name, LINK, "lan0") as (client, far):
        for address in (LINK.host, "198.18.77.9"):
            computer.run(["ip", "-n", far, "address", "add", f"{address}/24", "dev", "lan0"])
        yield LocalConnection("client", namespace=client), LocalConnection("far", namespace=far)


def used(client: LocalConnection, far: LocalConnection, address: str) -> str:
    """What a connection of the client says of itself."""
    assert client.namespace
    listener = far.open_stream(["socat", "-u", f"TCP-LISTEN:7000,bind={address},reuseaddr", "STDIO"])
    far.run(["sh", "-c", "until ss -Htln sport = 7000 | grep -q .; do sleep 0.05; done"], timeout_s=30)
    with network.open_tcp(client.namespace, address, 7000, 5):
        said = client.run(["ss", "-Htin", "dport = 7000"]).stdout
    listener.close()
    return said


def test_connections_on_the_link_use_it_and_no_others(ends: tuple[LocalConnection, LocalConnection]) -> None:
    client, far = ends
    set_congestion_control(client, CLIENT_INTERFACE, LINK, LINK.client, PEERS)
    assert " reno " in used(client, far, str(LINK.host))
    assert " reno " not in used(client, far, "198.18.77.9")


def test_it_is_set_once_and_can_be_another(ends: tuple[LocalConnection, LocalConnection]) -> None:
    client = ends[0]
    assert len(set_congestion_control(client, CLIENT_INTERFACE, LINK, LINK.client, PEERS)) == 2
    assert set_congestion_control(client, CLIENT_INTERFACE, LINK, LINK.client, PEERS) == []
    other = dataclasses.replace(LINK, congestion_control="cubic")
    assert len(set_congestion_control(client, CLIENT_INTERFACE, other, LINK.client, PEERS)) == 2


def test_the_facts_of_a_machine_show_it(ends: tuple[LocalConnection, LocalConnection]) -> None:
    client = ends[0]
    client.run(["ip", "route", "add", "default", "via", "198.18.77.9"])
    set_congestion_control(client, CLIENT_INTERFACE, LINK, LINK.client, PEERS)
    assert "198.18.77.2 scope link src 198.18.77.1 congctl reno" in str(
        facts.collect(client, CLIENT_INTERFACE)["route"]
    )


def test_one_that_is_unknown_is_named_with_those_that_are_there(
    ends: tuple[LocalConnection, LocalConnection],
) -> None:
    unknown = dataclasses.replace(LINK, congestion_control="nosuch")
    complaint = r"^client: .*'nosuch'; it has .*cubic.* \(key link\.congestion_control\)"
    with pytest.raises(MachineError, match=complaint):
        set_congestion_control(ends[0], CLIENT_INTERFACE, unknown, LINK.client, PEERS)
