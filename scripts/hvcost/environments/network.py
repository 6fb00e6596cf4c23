"""The networks that this computer plays: namespaces, the link between client and host, the switch.

Everything lives in network namespaces named after the folder of the run's state, so that two checkouts
do not meet. A program makes them in namespaces of its own (`user_namespace`) and leaves none behind.

    client namespace            far namespace of an emulated host      far namespace of a local host
    lan0 ====== link ======     port0 - bridge switch0 - tap0 (NIC)    lan0 (the host's measured NIC)
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import logging
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hvcost.errors import MachineError
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline
from hvcost.machines.inside import Inside
from hvcost.machines.local import LocalConnection
from hvcost.machines.offloads import set_argv
from hvcost.model.link import Link

log = logging.getLogger(__name__)

PREFIX = "hvcost-"
CLIENT_INTERFACE = "lan0"
LOOPBACK = "127.0.0.1"
NAMESPACES = Path("/run/netns")
# As `ip netns add`, which fails for a user in the end: there is no way back to where it came from.
ADD = """
mkdir -p "$1"
(set -C && : >"$1/$2") && unshare --net="$1/$2" true
"""
CLONE_NEWNET = 0x40000000  # <sched.h>; os.setns exists from Python 3.12 on
# Preamble, frame check sequence and inter-frame gap take time on the wire but are no part of an skb
# (IEEE 802.3).
WIRE_OVERHEAD_BYTES = 24
BURST_S = 0.002
QUEUE_S = 0.05
# The shaper's name in tc(8), whose queue can be replaced.
SHAPER = "1:"
# A guest that is translated twice may answer later than the three seconds that Linux asks for an address
# (arp(7)). As long as TCP asks for a connection (tcp(7)); a probe a second.
PROBES = ("ucast_probes", "127", "mcast_probes", "127")
OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro")


def prefix_of(state: Path) -> str:
    """First part of the names of all namespaces of the run whose state is in the folder `state`."""
    return PREFIX + hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:8] + "-"


@contextlib.contextmanager
def namespace(computer: Connection, name: str) -> Iterator[str]:
    """A new network namespace with its loopback up; gone afterwards with every process inside."""
    computer.run(["sh", "-c", ADD, "add", str(NAMESPACES), name])
    try:
        computer.run(["ip", "-n", name, "link", "set", "lo", "up"])
        yield name
    finally:
        remove_namespace(computer, name)


def remove_namespace(computer: Connection, name: str) -> None:
    """End the processes in a namespace of ours, by their id, and remove it with its interfaces."""
    deadline = Deadline(60, f"{computer.name}: ending the processes of namespace {name}")
    while pids := computer.run(["ip", "netns", "pids", name]).stdout.split():
        # Some may have ended meanwhile.
        computer.run(["kill", "-KILL", *pids], check=False)
        deadline.wait_a_little(0.02)
    computer.run(["ip", "netns", "delete", name])


@contextlib.contextmanager
def client_and_far_end(
    computer: Connection, name: str, link: Link, far_interface: str
) -> Iterator[tuple[str, str]]:
    """Two namespaces joined by the link: the client's, set up, and the far one with `far_interface`.

    The link carries what a wire carries: whole frames with checksums, no larger than its MTU, at its rate
    in both directions (tc-tbf(8)), framing included.
    """
    with (
        namespace(computer, f"{name}-client") as client,
        namespace(computer, f"{name}-far") as far,
    ):
        # From within: of the namespace in which this process is, nobody but root may ask anything.
        computer.run(
            ["ip", "-n", client, "link", "add", CLIENT_INTERFACE, "type", "veth",
             "peer", "name", far_interface, "netns", far]
        )  # fmt: skip
        for place, interface in ((client, CLIENT_INTERFACE), (far, far_interface)):
            inside = Inside(computer.name, computer, place)
            # One frame per skb: of a larger one the shaper would count the framing only once.
            inside.run(["ip", "link", "set", interface, "mtu", str(link.mtu), "gso_max_segs", "1", "up"])
            inside.run(set_argv(interface, OFFLOADS, is_on=False))
            inside.run(["tc", "qdisc", "add", "dev", interface, "root", "handle", SHAPER, *_shaper(link)])
        for arguments in (
            ["ntable", "change", "name", "arp_cache", "dev", CLIENT_INTERFACE, *PROBES],
            ["address", "add", link.with_prefix(link.client), "dev", CLIENT_INTERFACE],
        ):
            computer.run(["ip", "-n", client, *arguments])
        yield client, far


def add_switch(computer: LocalConnection, far: str, port: str, tap: str, mtu: int) -> None:
    """Join the link's far interface `port` and a new tap, the plug of an emulated machine, by a bridge."""
    for arguments in (
        ["link", "add", "switch0", "type", "bridge", "stp_state", "0", "forward_delay", "0"],
        ["tuntap", "add", tap, "mode", "tap"],
        ["link", "set", tap, "mtu", str(mtu), "master", "switch0", "up"],
        ["link", "set", port, "master", "switch0"],
        ["link", "set", "switch0", "mtu", str(mtu), "up"],
    ):
        computer.run(["ip", "-n", far, *arguments])


def open_tcp(namespace_name: str, host: str, port: int, timeout_s: float) -> socket.socket:
    """Connected TCP socket that lives in a namespace (setns(2)), usable from here.

    Raises OSError like any connect. A thread of its own enters the namespace, so that nothing else does.
    """

    def connect() -> socket.socket:
        with (NAMESPACES / namespace_name).open("rb") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise MachineError(f"cannot enter namespace {namespace_name}: {os.strerror(number)}")
        return socket.create_connection((host, port), timeout=timeout_s)

    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(connect).result()


def _shaper(link: Link) -> list[str]:
    bytes_per_s = link.rate_mbit * 1e6 / 8
    burst = max(int(bytes_per_s * BURST_S), 4 * (link.mtu + WIRE_OVERHEAD_BYTES))
    return [
        "tbf", "rate", f"{link.rate_mbit}mbit", "burst", str(burst),
        "limit", str(int(bytes_per_s * QUEUE_S)), "overhead", str(WIRE_OVERHEAD_BYTES),
    ]  # fmt: skip
