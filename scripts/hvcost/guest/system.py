"""The running guest: how its kernel is started and its network set, the same under every hypervisor."""

from __future__ import annotations

from hvcost.connections.base import Connection
from hvcost.network import Link

INTERFACE = "eth0"
RUNTIME = "/run"


def kernel_arguments(console: str) -> str:
    """Kernel command line; the guest takes commands on `console`. Quiet, since serial ports are slow."""
    return f"console={console} quiet nokaslr"


def configure_network(guest: Connection, link: Link) -> str:
    """Give the guest its address; the name of its interface."""
    guest.run(["ip", "link", "set", INTERFACE, "mtu", str(link.mtu), "up"])
    guest.run(["ip", "address", "add", link.with_prefix(link.guest), "dev", INTERFACE])
    return INTERFACE
