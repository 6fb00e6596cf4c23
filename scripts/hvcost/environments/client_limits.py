"""What a client can carry by itself: a slow one measures itself, and not the systems.

One TCP connection from the client to itself, over its loopback and in segments as small as the link's, is an
upper bound of what it carries over the link: there is no driver, no interrupt and no distance. The loopback
also hands over many segments at once, as a card does with its offloads on; so those that are off are told
beside it, and so is how far the socket buffers reach, which a loopback does not need. Nothing here refuses a
client, and no measurement is judged by it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hvcost.environments.check import Finding
from hvcost.environments.network import LOOPBACK
from hvcost.environments.place import CLIENT_PREFIX
from hvcost.errors import HvcostError, MachineError, ParseError, told
from hvcost.machines import facts
from hvcost.machines.background import DESCRIPTORS, Background
from hvcost.machines.base import Connection
from hvcost.machines.offloads import OFFLOADS
from hvcost.model.link import FRAMING_BYTES, HEADER_BYTES, tcp_limit_bps
from hvcost.model.process import Process
from hvcost.model.record import End
from hvcost.tools import NoOutput, ping
from hvcost.tools.iperf import TIMESTAMPS_BYTES, TOOL, IperfOptions
from hvcost.tools.round_trips import MEDIAN, percentile
from hvcost.wording import listed

DURATION_S = 3
PROBES = ping.PingOptions(count=5, interval_ms=200)
# From so many busy processors on, they are what limits one connection: either end is one thread.
BUSY_PROCESSOR = 0.9
# From this share of all processors on, there was none left for the other end, which the link has elsewhere.
ALL_BUSY_SHARE = 0.9
# What one end costs is at least this share of what both cost (an estimate: to receive costs a little more).
LEAST_OF_ONE_END = 0.25
# Linux needs about 1 us or more for a packet (an estimate), so that these are a tenth of a processor.
MANY_PACKETS_PER_S = 100_000

# Argument: a command, which is run. What the processors have spent (proc(5)) is printed before and after it.
BETWEEN_READINGS = """
processors() {
    while read -r line; do case $line in cpu[0-9]*) echo "$line" ;; esac; done </proc/stat
}
processors; echo @begins; "$@"; code=$?; echo @ends; processors; exit "$code"
"""
_PARTED = re.compile(r"(.*)^@begins\n(.*)^@ends\n(.*)", re.DOTALL | re.MULTILINE)
# user, nice, system, idle, iowait, irq, softirq, steal; a guest's time is in user's.
_PROCESSOR = re.compile(r"^(cpu[0-9]+) ([0-9]+(?: [0-9]+){7})\b", re.MULTILINE)


@dataclass(frozen=True)
class Carried:
    """What a TCP connection from a client to itself carried, in bit/s.

    `busy`: the share of this time, 0 to 1, in which each of its processors was not idle.
    """

    rate_bps: float
    busy: tuple[float, ...]


def examine_limits(
    client: Connection, interface: str, rate_mbit: int, mtu: int, peers: Iterable[str]
) -> Iterator[Finding]:
    """What limits a client on a link of this rate and MTU. It takes seconds and one processor or two.

    `peers`: addresses beyond the link that may answer a ping.
    """
    try:
        carried = carry_to_itself(client, mtu)
    except HvcostError as error:
        yield Finding(client.name, "not known", f"what it carries to itself: {told(error)}")
    else:
        yield judge_transfer(client.name, carried, tcp_limit_bps(rate_mbit, mtu))
    known = facts.collect(client, interface)
    if packets_per_s(rate_mbit, mtu) >= MANY_PACKETS_PER_S:
        offloads = known.get("offloads_on")
        yield judge_offloads(
            client.name, interface, None if offloads is None else str(offloads), rate_mbit, mtu
        )
    tcp_rmem, tcp_wmem = (str(known.get(name, "")) for name in ("tcp_rmem", "tcp_wmem"))
    yield judge_buffers(client.name, tcp_rmem, tcp_wmem, rate_mbit, round_trip_ms(client, peers))


def judge_transfer(client: str, carried: Carried, limit_bps: float) -> Finding:
    """What a client carries to itself beside what the link can carry, and how busy that made it."""
    count = len(carried.busy)
    load = (
        f"of its {count} processors {sum(carried.busy):.1f} were busy, the busiest for "
        f"{100 * max(carried.busy):.0f} % of the time"
        if count > 1
        else f"its only processor was busy for {100 * carried.busy[0]:.0f} % of the time"
    )
    carries = f"one TCP connection carries {_rate(carried.rate_bps)}"
    if carried.rate_bps >= limit_bps:
        text = f"to itself, {carries}, and the link can carry {_rate(limit_bps)}; {load}"
        return Finding(client, "works", text)
    carries = f"{carries} of the {_rate(limit_bps)} that the link can"
    are_all_busy = sum(carried.busy) >= ALL_BUSY_SHARE * count
    if are_all_busy and carried.rate_bps >= LEAST_OF_ONE_END * limit_bps:
        text = (
            f"to itself, {carries}; {load}, with both ends of the connection; over the link it is one end "
            "only, and may carry more"
        )
        return Finding(client, "not known", text)
    limit = "its processor limits it" if sum(carried.busy) >= BUSY_PROCESSOR else "its processor is not why"
    text = f"even to itself, {carries}: it would measure itself; {limit}: {load}"
    return Finding(client, "will limit", text)


def judge_offloads(
    client: str, interface: str, offloads_on: str | None, rate_mbit: float, mtu: float
) -> Finding:
    """Whether a card that has many packets a second to carry bundles them. `offloads_on` as in the facts."""
    if offloads_on is None:
        text = f"{interface}: its offloads (tso, gso, gro); ethtool is not there, or does not tell them"
        return Finding(client, "not known", text)
    off = [short for name, short in OFFLOADS.items() if name not in offloads_on.split()]
    if not off:
        return Finding(client, "works", f"{interface}: {listed(OFFLOADS.values())} are on")
    text = (
        f"{interface}: off are {listed(off)}, so its processor may have to handle each of "
        f"{packets_per_s(rate_mbit, mtu):,.0f} packets a second by itself"
    )
    return Finding(client, "will limit", text)


def judge_buffers(
    client: str, tcp_rmem: str, tcp_wmem: str, rate_mbit: float, round_trip_ms: float | None
) -> Finding:
    """Whether what Linux lets a socket keep is enough for rate times round trip (RFC 7323, 1.1).

    `tcp_rmem`, `tcp_wmem`: least, default and most bytes (Linux, ip-sysctl). Half of what receives is the
    kernel's own: it is the share that tcp_adv_win_scale has by default, and that Linux 6.6 begins with.
    """
    try:
        holds_bytes = min(int(tcp_rmem.split()[2]) / 2, int(tcp_wmem.split()[2]))
    except (IndexError, ValueError):
        return Finding(client, "not known", "its socket buffers (tcp_rmem, tcp_wmem)")
    enough_ms = 8 * holds_bytes / (rate_mbit * 1e3)
    until = f"fill the link up to a round trip of {enough_ms:.3g} ms"
    if round_trip_ms is None:
        return Finding(client, "works", f"its socket buffers {until}; what it is there is not known yet")
    if round_trip_ms <= enough_ms:
        return Finding(client, "works", f"its socket buffers {until}; it is {round_trip_ms:.3g} ms")
    most_bps = 8e3 * holds_bytes / round_trip_ms
    text = (
        f"its socket buffers {until}, but it is {round_trip_ms:.3g} ms: one connection carries at most "
        f"{_rate(most_bps)} (tcp_rmem, tcp_wmem)"
    )
    return Finding(client, "will limit", text)


def packets_per_s(rate_mbit: float, mtu: float) -> float:
    """Full-sized packets that Ethernet of this rate carries in a second."""
    return rate_mbit * 1e6 / (8 * (mtu + FRAMING_BYTES))


def busy_shares(before: str, after: str) -> tuple[float, ...]:
    """Share of the time in which each processor was not idle, from two readings of /proc/stat.

    ParseError if no processor is in both. One that was off meanwhile was not busy.
    """
    first, last = _ticks(before), _ticks(after)
    shares = []
    for name in sorted(first.keys() & last.keys()):
        spent = [late - early for early, late in zip(first[name], last[name], strict=True)]
        idle = spent[3] + spent[4]
        shares.append((sum(spent) - idle) / sum(spent) if sum(spent) > 0 else 0.0)
    if not shares:
        raise ParseError("/proc/stat names no processor")
    return tuple(shares)


def _ticks(stat: str) -> dict[str, list[int]]:
    return {name: [int(each) for each in spent.split()] for name, spent in _PROCESSOR.findall(stat)}


def carry_to_itself(client: Connection, mtu: int) -> Carried:
    """Let a client send to itself for some seconds, in segments for this MTU.

    MachineError or ParseError if that fails. The server is ended, whatever happens.
    """
    options = IperfOptions(duration_s=DURATION_S, mss=mtu - HEADER_BYTES + TIMESTAMPS_BYTES)
    serving, sending = TOOL.processes(options, LOOPBACK)
    folder = f"{CLIENT_PREFIX.format(secrets.token_hex(8))}{serving.role}"
    with client.shell() as shell:
        server = Background(shell, serving, folder, DESCRIPTORS[0], sending.limit_s)
        try:
            sent, shares = _sent(client, sending)
            outputs = {sending.role: sent}

            def has_reported(process: Process, end: End) -> bool:
                try:
                    TOOL.read(options, {**outputs, process.role: end})
                except ParseError:
                    return False
                return True

            try:
                TOOL.read(options, outputs)
            except NoOutput:
                server.await_report(has_reported)
        finally:
            server.stop()
    values = TOOL.read(options, {**outputs, serving.role: server.end})
    throughput = values["throughput"]
    assert not isinstance(throughput, str)
    return Carried(throughput.value, shares)


def _sent(client: Connection, sending: Process) -> tuple[End, tuple[float, ...]]:
    """What the sender said, and the busy share of each processor meanwhile."""
    command = ["sh", "-c", BETWEEN_READINGS, "transfer", *sending.argv]
    result = client.run(command, timeout_s=sending.limit_s, check=False)
    parts = _PARTED.fullmatch(result.stdout)
    if parts is None:
        raise MachineError(f"{client.name}: its transfer to itself was not run: {result.stderr.strip()}")
    before, said, after = parts.groups()
    end = End(client.name, sending.argv, result.exit_code, said, result.stderr, result.duration_s)
    return end, busy_shares(before, after)


def round_trip_ms(client: Connection, peers: Iterable[str]) -> float | None:
    """Median round trip to the first of these addresses that answers; None if none does."""
    for peer in peers:
        probing = ping.probing("client", PROBES, peer)
        try:
            result = client.run(probing.argv, timeout_s=probing.limit_s, check=False)
            end = End(
                client.name, probing.argv, result.exit_code, result.stdout, result.stderr, result.duration_s
            )
            return percentile(ping.probes_of("client", PROBES, end).round_trips, MEDIAN).value
        except ParseError:
            continue
    return None


def _rate(bps: float) -> str:
    return f"{bps / 1e9:.3g} Gbit/s" if bps >= 1e9 else f"{bps / 1e6:.3g} Mbit/s"
