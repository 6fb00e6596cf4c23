"""No guest, but the host under Xen: what its first domain, dom0, loses of bare metal."""

from __future__ import annotations

from hvcost.hypervisors import bare_metal, xen
from hvcost.machines.base import Connection

DOM0 = "Domain-0"


class Driver(bare_metal.Driver):
    """Dom0 as it is, with its address on the bridge."""

    boot_mode = xen.Driver.boot_mode
    packages = xen.Driver.packages
    sid_packages = xen.Driver.sid_packages
    ready_nested_s = 30.0  # dom0 takes longer to boot than the plain host

    def guests(self, host: Connection) -> list[str]:
        """Domains beside dom0."""
        return [f"domain {name}" for name in xen.cpu_time_s(host) if name != DOM0]

    def cpu_time_s(self, host: Connection) -> dict[str, float]:
        return xen.cpu_time_s(host)
