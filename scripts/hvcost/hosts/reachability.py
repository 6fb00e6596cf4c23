"""Whether the addresses of the link are free, and lead where they should: real networks have other machines.

Linux takes an address that another machine has without a word, and then some packets go here and some there.
What answers to an address is in the neighbour table (ip-neighbour(8)), also where it does not answer pings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv4Address

from hvcost.connections.base import Connection
from hvcost.errors import MachineError
from hvcost.hosts.interfaces import interface as interface_of
from hvcost.network import Link


def check_unused(client: Connection, interface: str, link: Link, addresses: Iterable[IPv4Address]) -> None:
    """MachineError if something on the client's link has one of these addresses."""
    client.run(["ip", "neigh", "flush", "to", str(link.network), "dev", interface])
    asked = [str(address) for address in addresses]
    for address in asked:
        client.run(["ping", "-c", "1", "-W", "1", "-I", interface, address], check=False)
    cards = _neighbours(client, interface)
    for address in asked:
        if address in cards:
            raise MachineError(
                f"{client.name}: the address {address} is in use already, by the network card "
                f"{cards[address]} behind {interface}; choose another network (key link.network)"
            )


def check_way(client: Connection, client_interface: str, host: Connection, bridge: str, link: Link) -> None:
    """MachineError unless client and host find each other over the link."""
    ping = ["ping", "-c", "3", "-w", "10", "-I", client_interface, str(link.host)]
    if not client.succeeds(ping):
        raise MachineError(
            f"{client.name}: {host.name} does not answer over {client_interface}: `{' '.join(ping)}` fails; "
            "are both cards on one switch (keys client.interface and host.interface)?"
        )
    own = interface_of(client, client_interface)["address"]
    found = _neighbours(host, bridge).get(str(link.client), own)
    if found != own:
        raise MachineError(
            f"{host.name}: {link.client} is the address of the network card {found}, the client's is "
            f"{own}: another machine has it; choose another network (key link.network)"
        )


def _neighbours(machine: Connection, interface: str) -> dict[str, str]:
    """Hardware addresses of those that have answered, by their address."""
    listed = json.loads(machine.run(["ip", "-json", "neigh", "show", "dev", interface]).stdout or "[]")
    return {entry["dst"]: entry["lladdr"] for entry in listed if "lladdr" in entry}
