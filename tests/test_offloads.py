"""Offloads of the link: set on machines that are played, asked for on real ones."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hvcost.environments import network
from hvcost.errors import MachineError
from hvcost.machines import facts
from hvcost.machines.local import LocalConnection
from hvcost.machines.offloads import check_offloads, offloads_on, set_offloads
from hvcost.model.link import Link

LINK = Link(1000, 1500, IPv4Network("198.18.77.0/24"), "cubic")
OFF, ON = replace(LINK, offloads=False), replace(LINK, offloads=True)
# Of the kernel's ten or twenty, those that a virtio card of Linux 6.12 has on.
ALL = (
    "generic-receive-offload generic-segmentation-offload rx-checksumming scatter-gather "
    "tcp-segmentation-offload tx-checksumming"
)


def check(link: Link, said: str | None) -> None:
    told = {} if said is None else {"offloads_on": said}
    check_offloads({"lab client": {"interface": "eth1", **told}, "lab guest": None}, link)


@pytest.mark.parametrize("said", [None, "none", ALL])
def test_a_link_that_says_nothing_takes_cards_as_they_are(said: str | None) -> None:
    check(LINK, said)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (OFF, "none"),
        (OFF, "rx-checksumming tx-checksumming"),
        (ON, ALL),
        (ON, "generic-receive-offload generic-segmentation-offload"),
    ],
)
def test_cards_that_do_as_the_link_says_are_taken(link: Link, said: str) -> None:
    check(link, said)


@pytest.mark.parametrize(
    ("link", "said", "complaint"),
    [
        (
            OFF,
            ALL,
            "has on tso, gso, gro, but link.offloads is false; run `ethtool -K eth1 tso off gso off gro",
        ),
        (OFF, "generic-receive-offload", "has on gro, but"),
        (OFF, None, "does not tell them: is ethtool there"),
        (
            ON,
            "none",
            "has on none, but link.offloads is true; run `ethtool -K eth1 tso on gso on gro on` there",
        ),
        (ON, "tcp-segmentation-offload", "has on tso, but"),
        (ON, "generic-receive-offload", "has on gro, but"),
        (ON, None, "does not tell them"),
    ],
)
def test_cards_that_do_not_are_refused_with_what_to_do(link: Link, said: str | None, complaint: str) -> None:
    with pytest.raises(MachineError, match=r"^lab client: its measured card ") as caught:
        check(link, said)
    assert complaint in str(caught.value)


def test_an_interface_is_set_as_the_link_says_and_tells_so(machine: LocalConnection) -> None:
    machine.run(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"])
    assert set_offloads(machine, "lan0", LINK) == []
    for link in (OFF, ON):
        set_offloads(machine, "lan0", link)
        found = facts.collect(machine, "lan0")
        check_offloads({"lab host": found}, link)
    assert offloads_on(str(found["offloads_on"])) == ["tso", "gso", "gro"]


def test_the_link_that_this_computer_plays_has_them_off(machine: LocalConnection) -> None:
    machine.run(["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"])
    every = [word for name in network.OFFLOADS for word in (name, "off")]
    machine.run(["ethtool", "-K", "lan0", *every])
    check_offloads({"env1 client": facts.collect(machine, "lan0")}, OFF)
