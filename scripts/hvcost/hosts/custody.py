"""A real machine in our custody for one session: locked, its network as we need it; then given back.

A process on it holds the lock and knows the way back. Its standard input is our SSH connection, so that
it takes the machine back by itself when we are done, when we or the connection die, and when it does not hear
from us for a minute: a cut cable or a computer without power says nothing. The interface may carry that very
connection: its addresses and routes move to the bridge and back in one `ip -batch` each.
"""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hvcost.connections.base import Connection, Stream
from hvcost.deadline import Deadline
from hvcost.errors import MachineError
from hvcost.hosts import interfaces
from hvcost.network import Link

log = logging.getLogger(__name__)

LOCK = "/run/lock/hvcost-machine.lock"
ANSWER_TIMEOUT_S = 60.0
PATIENCE_S = 60
BEAT_S = 10.0
FOREVER_S = 4294967295  # ip-address(8): a lifetime without end

# Arguments: lock file, who we are, seconds of silence after which we are lost. It reads lines: `alive`;
# `take` with the numbers of lines of both batches, and the batches; `heard`; `done`.
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
# bash waits by the clock of the day, which somebody may step; this one goes on.
uptime_s() { read -r up _ </proc/uptime; echo "${up%%.*}"; }
hear() {
    local since
    since=$(uptime_s)
    until read -r -t "$patience" word first second; do
        [ $? -gt 128 ] && [ $(($(uptime_s) - since)) -lt "$patience" ] || return 1
    done
}
lines() {
    for ((n = 0; n < $1; n++)); do IFS= read -r line || exit 1; printf '%s\n' "$line"; done
}
while hear; do
    case $word in
    take)
        apply=$(lines "$first") undo=$(lines "$second")
        if ! said=$(printf '%s\n' "$apply" | ip -batch - 2>&1); then
            put_back
            echo "refused $(printf '%s' "$said" | tr '\n' ' ')"
            continue
        fi
        echo taken
        while hear && [ "$word" = alive ]; do :; done
        [ "$word" = heard ] || exit 1
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
    """The process on the machine that holds the lock and puts back what it took."""

    def __init__(self, machine: Connection) -> None:
        since = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
        owner = f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}, since {since}"
        self._machine = machine
        self._has_taken = False
        self._buffer = b""
        arguments = ("guard", LOCK, owner, str(PATIENCE_S))
        self._guard: Stream = machine.open_stream(["bash", "-c", GUARD, *arguments])
        self._sending = threading.Lock()
        self._is_over = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def lock(self, *, waits: bool = True) -> None:
        """Wait until no other run has the machine, or else refuse it: MachineError with its owner."""
        while (said := self._answer()) != "locked":
            if not said.startswith("busy"):
                raise MachineError(f"{self._machine.name}: cannot be locked: {said!r}")
            owner = said[5:] or "another run"
            if not waits:
                raise MachineError(f"{self._machine.name}: it is in use by {owner}")
            log.warning("%s: waiting: it is in use by %s", self._machine.name, owner)
        self._heart.start()

    def take(self, interface: str, bridge: str) -> None:
        """Put the interface into a new bridge, which gets its addresses and routes.

        MachineError if that is refused; the host has put everything back then, as it does if it does not
        hear from us within a minute.
        """
        move = move_to_bridge(*state_of(self._machine, interface), bridge)
        self._change(move, f"put {interface} into a bridge")

    def add_address(self, address: str, interface: str) -> None:
        """Give the interface one more address, with its prefix length, for as long as the custody lasts."""
        where = f"{address} dev {interface}"
        self._change(
            Move((f"address add {where}",), (f"address del {where}",)), f"give {interface} {address}"
        )

    def _change(self, move: Move, what: str) -> None:
        self._send(f"take {len(move.apply)} {len(move.undo)}", *move.apply, *move.undo)
        self._has_taken = True
        said = self._answer()
        if said != "taken":
            raise MachineError(f"{self._machine.name}: cannot {what}: {said}")
        # A command of its own: only a connection that works says so.
        self._machine.run(["true"])
        self._send("heard")
        if (said := self._answer()) != "kept":
            raise MachineError(f"{self._machine.name}: has taken back what was to {what}: {said}")

    def give_back(self) -> None:
        """Let the process put back what it took, if anything; returns when it has."""
        if not self._has_taken:
            return
        self._send("done")
        if (said := self._answer()) != "given back":
            raise MachineError(f"{self._machine.name}: its network could not be put back: {said}")

    def close(self) -> None:
        self._is_over.set()
        self._guard.close()

    def _send(self, *lines: str) -> None:
        with self._sending:
            self._guard.send("".join(f"{line}\n" for line in lines).encode())

    def _beat(self) -> None:
        """Let the process know that we are still there."""
        with contextlib.suppress(MachineError):
            while not self._is_over.wait(BEAT_S):
                self._send("alive")

    def _answer(self) -> str:
        deadline = Deadline(ANSWER_TIMEOUT_S, f"{self._machine.name}: answer of the process that guards it")
        while b"\n" not in self._buffer:
            deadline.check()
            received = self._guard.receive(deadline.remaining_s)
            if not received:
                raise MachineError(f"{self._machine.name}: the process that guards it has ended")
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace").strip()


@contextlib.contextmanager
def custody(machine: Connection, *, waits: bool = True) -> Iterator[Custody]:
    """The machine, ours alone until the block ends; whatever was taken is put back then."""
    guard = Custody(machine)
    try:
        guard.lock(waits=waits)
        try:
            yield guard
        except BaseException:
            # What went wrong is the news; if the machine cannot hear this, it puts everything back by itself.
            with contextlib.suppress(MachineError):
                guard.give_back()
            raise
        guard.give_back()
    finally:
        guard.close()


@contextlib.contextmanager
def addressed(client: Connection, interface: str, link: Link) -> Iterator[None]:
    """The client, ours alone, with its address on the link, which goes again unless it was there before.

    It is not waited for: two runs that have each other's client as their host would wait for ever.
    """
    with custody(client, waits=False) as guard:
        found = interfaces.interface(client, interface)
        if all(entry.get("local") != str(link.client) for entry in found.get("addr_info", ())):
            guard.add_address(link.with_prefix(link.client), interface)
        yield


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
