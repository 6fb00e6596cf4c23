"""Two namespaces and a link of known properties between them, in operation as a session finds its machines.

Rates are those of this computer, whose link every local experiment has. Delay and loss are netem's
(tc-netem(8)), which some kernels do not have. There the namespaces are in an emulated machine, whose kernel
has it: slow, but a delay of milliseconds is one there, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

from hvcost.calibration.expectations import MTU, Setting
from hvcost.environments import network
from hvcost.environments.congestion import set_congestion_control
from hvcost.environments.operation import LOCAL_INTERFACE, in_operation
from hvcost.environments.place import Operation, Place
from hvcost.environments.preparation import ensure_bridge
from hvcost.errors import MachineError
from hvcost.machines.inside import Inside
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection
from hvcost.model.link import Link

NAME = "calibration"
NETWORK = IPv4Network("198.18.12.0/24")
CONGESTION_CONTROL = "cubic"
HERE = "this computer"
EMULATED = "an emulated machine"
# Translated everywhere, so that it needs nothing of this computer. One processor: a second one is woken up by
# the first only after a while, which varies.
HOST = {"connection": "emulated", "cpus": 1, "memory_mib": 1024, "accelerator": "tcg"}
CLIENT = {"connection": "local"}
# Nothing waits for room in netem, however long the delay.
NETEM_PACKETS = 10_000


@dataclass(frozen=True)
class Lab:
    """Both ends in operation, and where they are, in words."""

    operation: Operation
    where: str
    link: Link
    journal: Journal

    def impair(self, setting: Setting) -> None:
        """Give the link this delay in both directions, and this loss on the way to the system."""
        ends = (
            (self.operation.client, self.operation.client_interface, setting.loss_percent),
            (self.operation.host, self.operation.host_interface, 0),
        )
        for machine, interface, loss_percent in ends:
            machine.run(
                ["tc", "qdisc", "replace", "dev", interface, "parent", f"{network.SHAPER}1", "handle", "2:",
                 "netem", "limit", str(NETEM_PACKETS), "delay", f"{setting.delay_ms}ms",
                 "loss", f"{loss_percent}%"]
            )  # fmt: skip


@contextlib.contextmanager
def here(rate_mbit: int, state: Path) -> Iterator[Lab]:
    """A link of this rate between two namespaces of this computer. `state` as of a `Place`."""
    journal, link = Journal(), _link(rate_mbit)
    place = Place(NAME, link, {"connection": "local"}, CLIENT, state, None)
    with in_operation(place, journal, purpose="measure") as operation:
        ensure_bridge(operation.host, operation.host_interface, link)
        yield Lab(operation, HERE, link, journal)


@contextlib.contextmanager
def with_netem(rate_mbit: int, state: Path, host_image: Path) -> Iterator[Lab]:
    """A link that can be impaired: of this computer if its kernel has netem, else of an emulated machine.

    `host_image` is the manifest of that machine's image. MachineError if it is needed and not there.
    """
    if _has_netem(LocalConnection(HERE), state):
        with here(rate_mbit, state) as lab:
            yield lab
        return
    if not host_image.is_file():
        raise MachineError(
            f"{HERE}: its kernel has no netem, so delays and losses are made in an emulated machine, but "
            f"its image {host_image} is missing; build it with "
            "`snakemake --cores 1 results/host-image/manifest.json`"
        )
    journal, link = Journal(), _link(rate_mbit)
    place = Place(NAME, link, HOST, CLIENT, state, host_image)
    with (
        in_operation(place, journal, purpose="prepare") as outside,
        network.client_and_far_end(outside.host, NAME, link, LOCAL_INTERFACE) as (client, far),
    ):
        operation = replace(
            outside,
            host=Inside(f"{NAME} host", outside.host, far),
            host_interface=LOCAL_INTERFACE,
            client=Inside(f"{NAME} client", outside.host, client),
            client_interface=network.CLIENT_INTERFACE,
        )
        ensure_bridge(operation.host, operation.host_interface, link)
        set_congestion_control(operation.client, operation.client_interface, link, link.client, (link.host,))
        yield Lab(operation, EMULATED, link, journal)


def _link(rate_mbit: int) -> Link:
    return Link(rate_mbit, MTU, NETWORK, CONGESTION_CONTROL)


def _has_netem(computer: LocalConnection, state: Path) -> bool:
    with network.namespace(computer, f"{network.prefix_of(state)}netem") as name:
        return computer.succeeds(["tc", "-n", name, "qdisc", "add", "dev", "lo", "root", "netem"])
