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
import itertools
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hvcost.environments import congestion
from hvcost.errors import MachineError
from hvcost.machines import interfaces
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline
from hvcost.machines.stream import Stream
from hvcost.model.link import Link

log = logging.getLogger(__name__)

LOCK = "/run/lock/hvcost-machine.lock"
ANSWER_TIMEOUT_S = 60.0
PATIENCE_S = 60
BEAT_S = 10.0
FOREVER_S = 4294967295  # ip-address(8): a lifetime without end
# What `ip route show` says of a route beside what it is; a backslash is where a line was joined.
STATES = {
    "\\", "dead", "linkdown", "notify", "offload", "offload_failed", "pervasive", "rt_offload", "rt_trap",
    "trap", "unresolved",
}  # fmt: skip

# Arguments: lock file, who we are, seconds of silence after which we are lost, whether to wait for the lock.
# It reads lines: `alive`; `take` with the numbers of lines of both batches, and the batches; `heard`; `done`.
# Nobody has to read what it says, and nothing but KILL keeps it from putting back what it took.
GUARD = r"""
lock=$1 owner=$2 patience=$3 waits=$4 glance=$(($3 < 5 ? $3 : 5)) undo="" taken_s=0 complaints=""
set -o noglob
trap '' HUP PIPE
heed() { trap 'exit 1' TERM INT QUIT; }
ignore() { trap '' TERM INT QUIT; }
heed
exec 9>>"$lock" || exit 1
until flock --nonblock 9; do
    echo "busy $(head -n 1 "$lock")" && [ "$waits" ] || exit 1
    flock --wait 30 9 && break
done
: >"$lock"
echo "$owner" >"$lock"
# bash waits by the clock of the day, which somebody may step; this one goes on.
uptime_s() { read -r up _ </proc/uptime; echo "${up%%.*}"; }
# Lifetimes have gone on in these seconds, and some are over.
aged() {
    local passed=$1 words i
    while read -ra words; do
        for ((i = 0; i + 1 < ${#words[@]}; i++)); do
            case ${words[i]} in valid_lft | preferred_lft | expires) ;; *) continue ;; esac
            words[i + 1]=$((words[i + 1] > passed ? words[i + 1] - passed : 0))
            [ "${words[i]}" = preferred_lft ] || [ "${words[i + 1]}" -gt 0 ] || continue 2
        done
        echo "${words[*]}"
    done
}
put_back() {
    [ -n "$undo" ] || return
    complaints=$(printf '%s\n' "$undo" | aged $(($(uptime_s) - taken_s)) | ip -force -batch - 2>&1)
    undo=""
}
trap 'ignore; put_back; : >"$lock"; exec 9>&-; echo "given back" $complaints' EXIT
echo locked
# It waits a little at a time: a signal right before bash begins to wait is heard when that is over.
hear() {
    local since up line="" piece
    read -r since _ </proc/uptime
    until IFS= read -r -t "$glance" piece; do
        [ $? -gt 128 ] || return 1
        line+=$piece
        read -r up _ </proc/uptime
        [ $((${up%%.*} - ${since%%.*})) -lt "$patience" ] || return 1
    done
    set -- $line$piece
    word=$1 first=$2 second=$3
}
lines() {
    for ((n = 0; n < $1; n++)); do IFS= read -r -t "$patience" line || exit 1; printf '%s\n' "$line"; done
}
# When the first command is refused, nothing was done that could be undone.
change() {
    said=$(printf '%s\n' "$apply" | head -n 1 | ip -batch - 2>&1) || return 1
    undo=$back taken_s=$(uptime_s)
    said=$(printf '%s\n' "$apply" | tail -n +2 | ip -batch - 2>&1)
}
while hear; do
    case $word in
    take)
        apply=$(lines "$first") && back=$(lines "$second") || exit 1
        ignore
        if ! change; then
            put_back
            heed
            echo refused $said
            continue
        fi
        heed
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


def move_to_bridge(link: Mapping[str, Any], routes: Sequence[str], bridge: str) -> Move:
    """How to move an interface's addresses and routes to a new bridge that it becomes a port of, and back.

    `link`: entry of `ip -json address show`; `routes`: those that lead over the interface, as `state_of` has
    them. What the kernel makes by itself (connected routes, link-local addresses) it makes again. On the way
    back, what somebody has set on the interface meanwhile stays, such as a lease that was renewed.
    """
    name = link["ifname"]
    addresses = [entry for entry in link.get("addr_info", ()) if entry.get("scope") != "link"]
    by_hand = any(entry.get("noprefixroute") for entry in addresses)
    kept = [route for route in routes if by_hand or "proto kernel" not in route]
    # A gateway has to be within reach before there is a way over it.
    kept.sort(key=lambda route: " via " in route)
    was_up = "UP" in link.get("flags", ())
    apply = [
        f"link add {bridge} address {link['address']} mtu {link['mtu']} "
        "type bridge stp_state 0 forward_delay 0",
        # The first address of a network takes the others with it when it goes.
        *(f"address del {_local(entry)} dev {name}" for entry in reversed(addresses)),
        f"link set {name} master {bridge}",
        f"link set {name} up",
        f"link set {bridge} up",
        *(_address(entry, bridge) for entry in addresses),
        *(f"route replace {_over(route, name, bridge)}" for route in kept),
    ]
    undo = [
        f"link del {bridge}",
        f"link set {name} mtu {link['mtu']}",
        *([] if was_up else [f"link set {name} down"]),
        *(_address(entry, name) for entry in addresses),
        *(f"route add {route}" for route in kept),
    ]
    return Move(tuple(apply), tuple(undo))


def join_link(link: Link, interface: str, *, has_address: bool) -> Move:
    """How a client's interface gets its address on the link, and the ways to its peers, and loses both."""
    where = f"{link.with_prefix(link.client)} dev {interface}"
    address = () if has_address else (where,)
    ways = [congestion.way(link, interface, link.client, peer) for peer in (link.host, link.guest)]
    return Move(
        (*(f"address add {one}" for one in address), *(f"route add {way}" for way in ways)),
        (*(f"route del {way}" for way in ways), *(f"address del {one}" for one in address)),
    )


class Custody:
    """The process on the machine that holds the lock and puts back what it took."""

    def __init__(self, machine: Connection, *, waits: bool = True) -> None:
        since = datetime.datetime.now(datetime.UTC).isoformat(" ", "seconds")
        owner = f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}, since {since}"
        self._machine = machine
        self._waits = waits
        self._has_taken = False
        self._buffer = b""
        arguments = ("guard", LOCK, owner, str(PATIENCE_S), "waits" if waits else "")
        self._guard: Stream = machine.open_stream(["bash", "-c", GUARD, *arguments], outlives_us=True)
        self._sending = threading.Lock()
        self._is_over = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def lock(self) -> None:
        """Wait until no other run has the machine, or else refuse it: MachineError with its owner."""
        while (said := self._answer()) != "locked":
            if not said.startswith("busy"):
                raise MachineError(f"{self._machine.name}: cannot be locked: {said!r}")
            owner = said[5:] or "another run"
            if not self._waits:
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

    def join(self, interface: str, link: Link) -> None:
        """Give a client's interface its address on the link, unless it has it, and the ways to its peers.

        Those use the link's congestion control; MachineError if the machine does not know it.
        """
        address = str(link.client)
        found = interfaces.interface(self._machine, interface).get("addr_info", ())
        has_address = any(entry.get("local") == address for entry in found)
        self._change(
            join_link(link, interface, has_address=has_address),
            f"give {interface} the address {address} with the congestion control "
            f"{link.congestion_control!r} (keys link.network, link.congestion_control)",
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
            raise MachineError(f"{self._machine.name}: cannot {what}; what was changed is taken back: {said}")

    def give_back(self) -> None:
        """Let the process put back what it took, if anything, and end; returns when the machine is free.

        MachineError if it does not say so; of a machine from which nothing was taken, nothing is expected: it
        may have been rebooted.
        """
        try:
            self._send("done")
            said = self._answer()
        except MachineError:
            if self._has_taken:
                raise
            return
        if not said.startswith("given back"):
            raise MachineError(f"{self._machine.name}: its network could not be put back: {said}")
        if complaints := said.removeprefix("given back").strip():
            log.warning("%s: while its network was put back, ip said: %s", self._machine.name, complaints)

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
    """The machine, ours alone until the block ends; whatever was taken is put back then.

    `waits`: whether to wait for a machine that is in use, or to refuse it. Two runs that have each other's
    client as their host would wait for ever, so clients are refused.
    """
    guard = Custody(machine, waits=waits)
    try:
        guard.lock()
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


def state_of(host: Connection, interface: str) -> tuple[dict[str, Any], list[str]]:
    """The interface's entry with its addresses, and the routes over it as `ip route` takes them.

    Those are of all tables and both families, without the kernel's own table `local`.
    """
    link = interfaces.interface(host, interface)
    if "master" in link:
        raise MachineError(
            f"{host.name}: {interface} is a port of {link['master']} already; the measured "
            "interface has to be a network card by itself (key environments.*.host.interface)"
        )
    routes = []
    for family, everywhere in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
        listed = host.run(["ip", "-oneline", family, "route", "show", "table", "all"]).stdout
        for line in listed.splitlines():
            route = _route(line.split(), everywhere)
            if f" dev {interface} " in f"{route} " and " table local" not in route:
                routes.append(route)
    return link, routes


def _local(entry: Mapping[str, Any]) -> str:
    """An address with its prefix length, and its peer if it has one."""
    peer = f" peer {entry['address']}" if "address" in entry else ""
    return f"{entry['local']}{peer}/{entry['prefixlen']}"


def _address(entry: Mapping[str, Any], device: str) -> str:
    words = [f"address add {_local(entry)} dev {device}"]
    if "broadcast" in entry:
        words.append(f"broadcast {entry['broadcast']}")
    # A label begins with the name of its interface.
    if str(entry.get("label", "")).startswith(device):
        words.append(f"label {entry['label']}")
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


def _route(words: Sequence[str], everywhere: str) -> str:
    """A line of `ip -oneline route show` as `ip route add` takes it. `everywhere` names its family."""
    kept = [
        word.removesuffix("sec") if previous == "expires" else word
        for previous, word in itertools.pairwise(["", *words])
        if word not in STATES
    ]
    return " ".join([everywhere if kept[0] == "default" else kept[0], *kept[1:]])


def _over(route: str, old: str, new: str) -> str:
    """The route over another interface."""
    return f"{route} ".replace(f" dev {old} ", f" dev {new} ").strip()
