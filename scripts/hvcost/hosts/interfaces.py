"""The network interfaces of a machine, as ip-address(8) tells them."""

from __future__ import annotations

import json
from typing import Any

from hvcost.connections.base import Connection
from hvcost.errors import MachineError

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
