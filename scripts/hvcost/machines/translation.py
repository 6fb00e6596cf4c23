"""A network behind a host that translates addresses (NAT), as Docker's containers have it by default.

What is behind is in a network of its own, at a second bridge of the host. The host has the address by which
the client knows it, and sends on what comes there, whatever the protocol:

    client ---- link ---- bridge (host, guest) ---- nftables: dnat ---- BRIDGE ---- inner guest
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

from hvcost.errors import ProofError
from hvcost.machines.base import Connection
from hvcost.model.link import Link

BRIDGE = "hvcost-nat0"
# Documentation's addresses, which no network has (RFC 5737): the host's is the second, the guest's the third.
NETWORK = IPv4Network("203.0.113.0/29")
TABLE = "hvcost"

# Arguments: rules, our bridge, table, address that the client knows, bridge of the link.
REMOVE = """
! [ -e "/sys/class/net/$1" ] || ip link delete "$1"
! nft list table ip "$2" >/dev/null 2>&1 || nft delete table ip "$2"
ip address delete "$3" dev "$4" 2>/dev/null || true
"""
# Of these interfaces alone, not of the whole host: it ends with them. Arguments: the interfaces.
FORWARD = 'for name; do echo 1 >"/proc/sys/net/ipv4/conf/$name/forwarding" || exit; done'


@contextmanager
def translated(host: Connection, bridge: str, link: Link, folder: str) -> Iterator[Link]:
    """The inner link, whose guest the client reaches at the outer link's guest address, as long as the block.

    `bridge` is that of the outer link, `folder` the session's on the host. What an earlier session left is
    removed first.
    """
    inner = replace(link, network=NETWORK)
    outer_address = f"{link.guest}/32"
    remove = ["sh", "-c", REMOVE, "remove", BRIDGE, TABLE, outer_address, bridge]
    host.run(remove)
    try:
        mtu = ["mtu", str(link.mtu)]
        host.run(
            ["ip", "link", "add", BRIDGE, *mtu, "type", "bridge", "stp_state", "0", "forward_delay", "0"]
        )
        host.run(["ip", "link", "set", BRIDGE, "up"])
        host.run(["ip", "address", "add", inner.with_prefix(inner.host), "dev", BRIDGE])
        host.run(["ip", "address", "add", outer_address, "dev", bridge])
        host.run(["sh", "-c", FORWARD, "forward", bridge, BRIDGE])
        file = f"{folder}/rules.nft"
        host.write_text(file, rules(bridge, link, inner))
        host.run(["nft", "-f", file])
        yield inner
    finally:
        host.run(remove)


def rules(bridge: str, outer: Link, inner: Link) -> str:
    """What nft(8) is told: what comes over the bridge to the guest is counted, and sent on to the inner."""
    return f"""table ip {TABLE} {{
    chain prerouting {{
        type nat hook prerouting priority dstnat
        iifname "{bridge}" ip daddr {outer.guest} counter dnat to {inner.guest}
    }}
}}
"""


def joined(host: Connection, guest: Connection, inner: Link) -> dict[str, str]:
    """Give the guest its way out; what host and guest say of the translation then."""
    guest.run(["ip", "route", "add", "default", "via", str(inner.host)])
    return {
        "translation": host.run(["nft", "list", "table", "ip", TABLE]).stdout,
        "route": guest.run(["ip", "route", "show"]).stdout,
    }


def check(machine: str, proof: Mapping[str, Any]) -> None:
    """ProofError unless what both said, as of `joined`, is that the guest is behind the host."""
    for what, wanted in (("translation", f"dnat to {NETWORK[3]}"), ("route", f"default via {NETWORK[2]}")):
        if wanted not in proof.get(what, ""):
            raise ProofError(f"{machine}: the proof has {what} {proof.get(what)!r}, not {wanted!r}")
