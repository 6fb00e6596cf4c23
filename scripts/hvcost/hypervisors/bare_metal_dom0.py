"""No guest, but the host under Xen: what its first domain, dom0, loses of bare metal."""

from __future__ import annotations

from hvcost.hypervisors import bare_metal, xen
from hvcost.machines.base import Connection

DOM0 = "Domain-0"


class Driver(bare_metal.Driver):
    """Dom0 as it is, with its address on the bridge."""

    boot_mode = xen.Driver.boot_mode
    needs_machine = xen.Driver.needs_machine
    packages = xen.Driver.packages
    sid_packages = xen.Driver.sid_packages
    cpu_time_command = xen.Driver.cpu_time_command
    cpu_time_s = staticmethod(xen.Driver.cpu_time_s)
    ready_nested_s = 30.0  # dom0 takes longer to boot than the plain host

    def guests(self, host: Connection) -> list[str]:
        """Domains beside dom0."""
        listed = xen.parse_list(host.run(["xl", "list"]).stdout)
        return [f"domain {name}" for name in listed if name != DOM0]
