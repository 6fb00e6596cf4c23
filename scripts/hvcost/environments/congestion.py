"""The congestion control of the link: set on the ways to its peers, for the link alone.

Each way is a host route of its own beside whatever routes there are. So it is used whatever the length of the
prefix that leads there otherwise, and taking it away leaves those as they were.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

from hvcost.errors import MachineError
from hvcost.machines.base import Connection
from hvcost.model.link import Link


def way(link: Link, interface: str, source: IPv4Address, peer: IPv4Address) -> str:
    """Route from an address of the link to another one, as ip-route(8) takes it."""
    return f"{peer}/32 dev {interface} scope link src {source} congctl {link.congestion_control}"


def set_congestion_control(
    machine: Connection, interface: str, link: Link, source: IPv4Address, peers: Iterable[IPv4Address]
) -> list[str]:
    """Let TCP from `source` to its peers use the link's congestion control; says what was changed.

    It lasts as long as the interface. MachineError if the machine does not know this congestion control.
    """
    changes = []
    for peer in peers:
        found = machine.run(["ip", "route", "show", f"{peer}/32", "dev", interface]).stdout
        if f"congctl {link.congestion_control} " in f"{found.strip()} ":
            continue
        arguments = f"route replace {way(link, interface, source, peer)}"
        if not machine.succeeds(["ip", *arguments.split()]):
            known = machine.run(["cat", "/proc/sys/net/ipv4/tcp_available_congestion_control"]).stdout
            raise MachineError(
                f"{machine.name}: there is no TCP congestion control {link.congestion_control!r}; "
                f"it has {', '.join(known.split())} (key link.congestion_control)"
            )
        changes.append(f"ip {arguments}")
    return changes


def check_congestion_control(machine: Connection, link: Link) -> None:
    """MachineError unless TCP on a machine that is left alone uses the link's congestion control."""
    found = machine.run(["cat", "/proc/sys/net/ipv4/tcp_congestion_control"]).stdout.strip()
    if found != link.congestion_control:
        raise MachineError(
            f"{machine.name}: its TCP congestion control is {found!r}, not {link.congestion_control!r} as "
            "the configuration says (key link.congestion_control), and this machine is not changed; run "
            f"`sysctl net.ipv4.tcp_congestion_control={link.congestion_control}` there"
        )
