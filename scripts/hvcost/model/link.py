"""What a link can carry: the highest possible TCP goodput, from its rate, its MTU and the headers' sizes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

# Ethernet (IEEE 802.3) puts 38 bytes around each packet: preamble 8, header 14, checksum 4, gap 12.
FRAMING_BYTES = 38
# IPv4 (RFC 791) 20 and TCP (RFC 9293) 20 with timestamps (RFC 7323) 12 take 52 bytes of the packet.
HEADER_BYTES = 52
# From this share of the limit on, a value is taken for the link's and not for the system's. What is left
# to the limit is less than losses and acknowledgements can explain.
AT_LIMIT_SHARE = 0.95
# From this share on, the link is not what it is said to be.
IMPOSSIBLE_SHARE = 1.02


def tcp_limit_bps(rate_mbit: float, mtu: float) -> float:
    """Most that one TCP connection can carry over Ethernet of this rate, in full-sized packets, in bit/s."""
    return rate_mbit * 1e6 * (mtu - HEADER_BYTES) / (mtu + FRAMING_BYTES)


@dataclass(frozen=True)
class Link:
    """The measured link and its addresses: client, host and guest are the first three of `network`.

    `offloads`: whether its ends let their cards cut and join segments; None leaves them as they are.
    """

    rate_mbit: int
    mtu: int
    network: IPv4Network
    congestion_control: str
    offloads: bool | None = None

    @property
    def client(self) -> IPv4Address:
        return self.network[1]

    @property
    def host(self) -> IPv4Address:
        return self.network[2]

    @property
    def guest(self) -> IPv4Address:
        return self.network[3]

    def with_prefix(self, address: IPv4Address) -> str:
        """Address with prefix length, as ip-address(8) takes it."""
        return f"{address}/{self.network.prefixlen}"
