"""A real host in our custody for one session: locked, its measured interface in a bridge; then given back.

A process on the host holds the lock and knows the way back. Its standard input is our SSH connection, so that
it takes the host back by itself when it does not hear from us after the change, when we are done, and when
we, the connection or this computer die. The interface may carry that very connection: its addresses and
routes move to the bridge and back in one `ip -batch` each.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hvcost.connections.base import Connection, Stream
from hvcost.deadline import Deadline
from hvcost.errors import MachineError
from hvcost.hosts import interfaces
from hvcost.network import Link

log = logging.getLogger(__name__)

LOCK = "/run/lock/hvcost-host.lock"
ANSWER_TIMEOUT_S = 60.0
PATIENCE_S = 60
FOREVER_S = 4294967295  # ip-address(8): a lifetime without end

# Arguments: lock file, who we are, seconds to wait for us after a change. It reads lines: `take` with the
# numbers of lines of both batches, and the batches; `heard`; `done`, or the end of the stream.
GUARD = r"""
lock=$1 owner=$2 patience=$3
trap '' HUP
exec 9>>"$lock" || exit 1
until flock --nonblock 9; do
    echo "busy $(head -n 1 "$lock")"
    flock --wait 30 9 && break
done
: >"$lock"
echo "$owner" >"$lock"
echo locked
undo=""
put_back() {
    [ -z "$undo" ] || printf '%s\n' "$undo" | ip -force -batch - >&2
    undo=""
}
trap 'put_back; : >"$lock"; echo "given back"' EXIT
lines() {
    for ((n = 0; n < $1; n++)); do IFS= read -r line || exit 1; printf '%s\n' "$line"; done
}
while read -r word first second; do
    case $word in
    take)
        apply=$(lines "$first") undo=$(lines "$second")
        if ! said=$(printf '%s\n' "$apply" | ip -batch - 2>&1); then
            put_back
            echo "refused $(printf '%s' "$said" | tr '\n' ' ')"
            continue
        fi
        echo taken
        read -r -t "$patience" word && [ "$word" = heard ] || exit 1
        echo kept
        ;;
    done) exit 0 ;;
    esac
done
"""


@dataclass(frozen=True)
class Move:
    """Arguments of `ip`, line by line: to put an interface into a bridge, and to put it back."""

    apply: tuple[str, ...]
    undo: tuple[str, ...]


def move_to_bridge(link: Mapping[str, Any], routes: Sequence[Mapping[str, Any]], bridge: str) -> Move:
    """How to move an interface's addresses and routes to a new bridge that it becomes a port of, and back.

    `link`: entry of `ip -json address show`; `routes`: of `ip -json route show dev`, of both families. What
    the kernel makes by itself (connected routes, link-local addresses) it makes again.
    """
    name = link["ifname"]
    addresses = [entry for entry in link.get("addr_info", ()) if entry.get("scope") != "link"]
    by_hand = any(entry.get("noprefixroute") for entry in addresses)
    kept = [route for route in routes if by_hand or route.get("protocol") not in ("kernel", "ra")]
    was_up = "UP" in link.get("flags", ())

    def placed(device: str) -> list[str]:
        return [
            *(_address(entry, device) for entry in addresses),
            *(_route(route, device) for route in kept),
        ]

    apply = [
        f"link add {bridge} address {link['address']} mtu {link['mtu']} "
        "type bridge stp_state 0 forward_delay 0",
        *(f"address del {entry['local']}/{entry['prefixlen']} dev {name}" for entry in addresses),
        f"link set {name} master {bridge}",
        f"link set {name} up",
        f"link set {bridge} up",
        *placed(bridge),
    ]
    undo = [
        f"link del {bridge}",
        f"link set {name} mtu {link['mtu']}",
        *([] if was_up else [f"link set {name} down"]),
        *placed(name),
    ]
    return Move(tuple(apply), tuple(undo))


class Custody:
    """The process on the host that holds the lock and puts back what it took."""

    def __init__(self, host: Connection) -> None:
        owner = f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}"
        self._host = host
        self._has_taken = False
        self._buffer = b""
        arguments = ("guard", LOCK, owner, str(PATIENCE_S))
        self._guard: Stream = host.open_stream(["bash", "-c", GUARD, *arguments])

    def lock(self) -> None:
        """Wait until no other run has the host."""
        while (said := self._answer()) != "locked":
            if not said.startswith("busy"):
                raise MachineError(f"{self._host.name}: cannot be locked: {said!r}")
            log.warning("%s: waiting: it is in use by %s", self._host.name, said[5:] or "another run")

    def take(self, interface: str, bridge: str) -> None:
        """Put the interface into a new bridge, which gets its addresses and routes.

        MachineError if that is refused; the host has put everything back then, as it does if it does not
        hear from us within a minute.
        """
        move = move_to_bridge(*state_of(self._host, interface), bridge)
        lines = [f"take {len(move.apply)} {len(move.undo)}", *move.apply, *move.undo]
        self._guard.send("".join(f"{line}\n" for line in lines).encode())
        self._has_taken = True
        said = self._answer()
        if said != "taken":
            raise MachineError(f"{self._host.name}: cannot put {interface} into a bridge: {said}")
        # A command of its own: only a connection that works says so.
        self._host.run(["true"])
        self._guard.send(b"heard\n")
        if (said := self._answer()) != "kept":
            raise MachineError(f"{self._host.name}: has put {interface} back: {said}")

    def give_back(self) -> None:
        """Let the process put back what it took, if anything; returns when it has."""
        if not self._has_taken:
            return
        self._guard.send(b"done\n")
        if (said := self._answer()) != "given back":
            raise MachineError(f"{self._host.name}: its network could not be put back: {said}")

    def close(self) -> None:
        self._guard.close()

    def _answer(self) -> str:
        deadline = Deadline(ANSWER_TIMEOUT_S, f"{self._host.name}: answer of the process that guards it")
        while b"\n" not in self._buffer:
            deadline.check()
            received = self._guard.receive(deadline.remaining_s)
            if not received:
                raise MachineError(f"{self._host.name}: the process that guards it has ended")
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace").strip()


@contextlib.contextmanager
def custody(host: Connection) -> Iterator[Custody]:
    """The host, ours alone until the block ends; whatever was taken is put back then."""
    guard = Custody(host)
    try:
        guard.lock()
        try:
            yield guard
        except BaseException:
            # What went wrong is the news; if the host cannot hear this, it puts everything back by itself.
            with contextlib.suppress(MachineError):
                guard.give_back()
            raise
        guard.give_back()
    finally:
        guard.close()


@contextlib.contextmanager
def addressed(client: Connection, interface: str, link: Link) -> Iterator[None]:
    """The client with its address on the link, which is taken away again unless it was there before."""
    address = link.with_prefix(link.client)
    found = interfaces.interface(client, interface)
    if any(entry.get("local") == str(link.client) for entry in found.get("addr_info", ())):
        yield
        return
    client.run(["ip", "address", "add", address, "dev", interface])
    try:
        yield
    finally:
        with contextlib.suppress(MachineError):
            client.run(["ip", "address", "del", address, "dev", interface])


def state_of(host: Connection, interface: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The interface's entry with its addresses, and its routes."""
    link = interfaces.interface(host, interface)
    if "master" in link:
        raise MachineError(
            f"{host.name}: {interface} is a port of {link['master']} already; the measured "
            "interface has to be a network card by itself (key environments.*.host.interface)"
        )
    routes = [
        route
        for family in ("-4", "-6")
        for route in json.loads(
            host.run(["ip", "-json", family, "route", "show", "dev", interface]).stdout or "[]"
        )
    ]
    return link, routes


def _address(entry: Mapping[str, Any], device: str) -> str:
    words = [f"address add {entry['local']}/{entry['prefixlen']} dev {device}"]
    if "broadcast" in entry:
        words.append(f"broadcast {entry['broadcast']}")
    if "metric" in entry:
        words.append(f"metric {entry['metric']}")
    if entry.get("noprefixroute"):
        words.append("noprefixroute")
    if entry["family"] == "inet6":
        words.append("nodad")
    for lifetime in ("valid", "preferred"):
        left_s = entry.get(f"{lifetime}_life_time", FOREVER_S)
        if left_s != FOREVER_S:
            words.append(f"{lifetime}_lft {left_s}")
    return " ".join(words)


def _route(route: Mapping[str, Any], device: str) -> str:
    words = [f"route replace {route['dst']}"]
    if "gateway" in route:
        words.append(f"via {route['gateway']}")
    words.append(f"dev {device}")
    for key, word in (("protocol", "proto"), ("scope", "scope"), ("prefsrc", "src"), ("metric", "metric")):
        if key in route:
            words.append(f"{word} {route[key]}")
    if "onlink" in route.get("flags", ()):
        words.append("onlink")
    return " ".join(words)
