"""Where an experiment is measured, and what of it is in operation: the data that all rooms share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from hvcost.environments.acceleration import Acceleration
from hvcost.hypervisors import Guest, SystemPlan
from hvcost.machines.base import Connection
from hvcost.model.link import Link

REMOTE_FILES = "/var/lib/hvcost"
REMOTE_RUNTIME = "/run/hvcost"
BRIDGE = "hvcost-br0"
# How the folders begin that are used on the client for a while, whatever user it is there.
CLIENT_PREFIX = "/tmp/hvcost-{}-"


@dataclass(frozen=True)
class Place:
    """Where to measure, as the configuration has it. `state` is the folder of emulated machines' disks.

    `acceleration` is how the host is played; None if it is not, or if that is yet to be decided.
    """

    name: str
    link: Link
    host: Mapping[str, Any]
    client: Mapping[str, Any]
    state: Path
    host_image: Path | None
    acceleration: Acceleration | None = None

    @property
    def is_real(self) -> bool:
        """Whether the host is a machine of its own, which is changed and given back."""
        return bool(self.host["connection"] == "ssh")

    @property
    def is_provided(self) -> bool:
        """Whether the host is left alone: nothing is prepared, changed or locked there."""
        return bool(self.host["connection"] == "provided")

    @property
    def is_here(self) -> bool:
        """Whether this computer is an end, or plays one; all other environments can be measured meanwhile."""
        return not {self.host["connection"], self.client["connection"]} <= {"ssh", "provided"}

    @property
    def host_json(self) -> Path:
        """What the preparation of the host writes down: the state is in the folder of the results."""
        return self.state.parent / self.name / "host.json"

    @property
    def host_disk(self) -> Path:
        """The disk of an emulated host with what its preparation has changed."""
        return self.state / f"{self.name}-host.qcow2"


@dataclass(frozen=True)
class Operation:
    """Both ends of an environment in operation.

    `files` and `runtime` are folders on the host: what is kept there, and what only this session uses.
    `guest` is a folder with the guest's files, as built and unchangeable, if they came with the machine.
    `emulator` is the version of the QEMU that plays the host, if one does, and `acceleration` how it does.
    """

    host: Connection
    host_interface: str
    host_address: str
    client: Connection
    client_interface: str
    files: str
    runtime: str
    guest: str | None = None
    emulator: str | None = None
    acceleration: Acceleration | None = None

    def plan(self, name: str, guest: Guest | None, link: Link) -> SystemPlan:
        """What a driver has to start here, on the host's bridge."""
        return SystemPlan(
            name=name,
            guest=guest,
            bridge=BRIDGE,
            interface=self.host_interface,
            host_address=self.host_address,
            link=link,
            runtime=self.runtime,
        )


def link_from(spec: Mapping[str, Any]) -> Link:
    """The link from its keys in the configuration."""
    return Link(
        rate_mbit=spec["rate_mbit"],
        mtu=spec["mtu"],
        network=IPv4Network(spec["network"]),
        congestion_control=spec["congestion_control"],
        offloads=spec.get("offloads"),
    )
