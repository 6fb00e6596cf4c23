"""The network interfaces of a machine, as ip-address(8) tells them."""

from __future__ import annotations

import json
from typing import Any

from hvcost.errors import MachineError
from hvcost.machines.base import Connection

Interface = dict[str, Any]


def interfaces(machine: Connection) -> dict[str, Interface]:
    """Entry of every interface, with its addresses, by name."""
    listed = json.loads(machine.run(["ip", "-json", "address", "show"]).stdout)
    return {entry["ifname"]: entry for entry in listed}


def interface(machine: Connection, name: str) -> Interface:
    """Entry of one interface; MachineError names those that are there."""
    found = interfaces(machine)
    if name not in found:
        raise MachineError(
            f"{machine.name}: there is no interface {name!r}; it has {', '.join(sorted(found))}"
        )
    return found[name]


def interface_with(machine: Connection, address: str) -> str:
    """Name of the interface that has this address; MachineError with the addresses that are there."""
    found = {
        info["local"]: name for name, entry in interfaces(machine).items() for info in entry["addr_info"]
    }
    if address not in found:
        raise MachineError(
            f"{machine.name}: it does not have the address {address}; it has {', '.join(sorted(found))}"
        )
    return found[address]
