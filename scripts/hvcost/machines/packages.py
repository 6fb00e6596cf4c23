"""The Debian packages of a machine, as dpkg-query(1) tells them."""

from __future__ import annotations

from collections.abc import Sequence

from hvcost.machines.base import Connection

GONE = ("not-installed", "config-files")


def packages_by_status(host: Connection) -> dict[str, str]:
    """Status of every package of which anything is there, half an installation included."""
    listed = host.run(["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\\n"]).stdout
    statuses = (line.split() for line in listed.splitlines())
    return {name: status for name, status in statuses if status not in GONE}


def missing_packages(host: Connection, packages: Sequence[str]) -> list[str]:
    """Those packages that are not wholly installed."""
    found = packages_by_status(host)
    return [package for package in packages if found.get(package) != "installed"]
