"""Whether the addresses of the link are free, and lead where they should: real networks have other machines.

Linux takes an address that another machine has without a word, and then some packets go here and some there.
What answers to an address is in the neighbour table (ip-neighbour(8)), also where it does not answer pings.
"""

from __future__ import annotations

import json

from hvcost.errors import MachineError
from hvcost.machines.base import Connection
from hvcost.machines.interfaces import interface as interface_of
from hvcost.machines.interfaces import interfaces
from hvcost.model.link import Link

ADVICE = "choose another network (key link.network)"


def check_unused(
    link: Link, client: Connection, client_interface: str, host: Connection, host_interface: str
) -> None:
    """MachineError if an address of the link is somebody else's: another machine's, or another card's.

    The measured cards may have theirs already. Asked before anything is taken: a ping that is bound to an
    interface takes what it looks for to be there, whatever addresses the interface has.
    """
    wanted = [str(address) for address in (link.client, link.host, link.guest)]
    of_client = _own(client, client_interface, str(link.client), wanted)
    of_host = _own(host, host_interface, str(link.host), wanted)
    client.run(["ip", "neigh", "flush", "to", str(link.network), "dev", client_interface])
    # What this machine has itself answers here and nowhere else.
    asked = [address for address in wanted if address not in of_client]
    for address in asked:
        client.run(["ping", "-c", "1", "-W", "1", "-I", client_interface, address], check=False)
    cards = _neighbours(client, client_interface)
    for address in asked:
        if address in cards and cards[address] != of_host.get(address):
            raise MachineError(
                f"{client.name}: the address {address} is in use already, by the network card "
                f"{cards[address]} behind {client_interface}; {ADVICE}"
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
            f"{own}: another machine has it; {ADVICE}"
        )


def _own(machine: Connection, interface: str, address: str, wanted: list[str]) -> dict[str, str]:
    """The measured card by the machine's address on the link, if it has it already."""
    own = {}
    for name, entry in interfaces(machine).items():
        for found in (info.get("local") for info in entry.get("addr_info", ())):
            if (name, found) == (interface, address):
                own[address] = entry["address"]
            elif found in wanted:
                raise MachineError(
                    f"{machine.name}: the address {found} is in use already, by its interface {name}; "
                    f"{ADVICE}"
                )
    return own


def _neighbours(machine: Connection, interface: str) -> dict[str, str]:
    """Hardware addresses of those that have answered, by their address."""
    listed = json.loads(machine.run(["ip", "-json", "neigh", "show", "dev", interface]).stdout or "[]")
    return {entry["dst"]: entry["lladdr"] for entry in listed if "lladdr" in entry}
