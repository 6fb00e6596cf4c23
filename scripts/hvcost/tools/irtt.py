"""irtt: round trips of UDP packets that are sent at a fixed rate, whatever becomes of those before them.

The server answers each packet; a program of the system takes part, unlike in ICMP echo. Losses spoil nothing.

irtt prints each round trip with three or four digits, and as JSON in nanoseconds. The text is taken: the JSON
of a thousand round trips is 0.7 MB, its text 35 KB, and the last digit is less than 1 % of what it belongs
to. Both say the same otherwise.

irtt exits with 0 also if it was interrupted, or if the server died: what tells is its time, how many packets
it has sent or missed to send, and who answered the last of them. Its goodbye to the server is one packet,
which may be lost, so the server's log need not have it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from hvcost.errors import ParseError, shown
from hvcost.model.metric import (
    LOSS,
    ROUND_TRIP,
    ROUND_TRIP_P90,
    ROUND_TRIP_P99,
    ROUND_TRIP_P999,
    Value,
)
from hvcost.model.process import Bound, Process
from hvcost.model.record import End
from hvcost.tools import TRANSACTIONS, Tool, check_exit, output_of
from hvcost.tools.round_trips import check_answered, loss, percentiles

PORT = 2112
GREETING = "[ListenerStart] starting IPv4 listener on"
# The server refuses less, lest somebody floods it by mistake.
SHORTEST_INTERVAL_MS = 1
# How long the client waits for the server's first word, twice: in a guest that is translated twice it takes
# longer than the 15 s of irtt itself. A server that is late answers whoever asks sooner, as irtt does after
# 1 s, as often, and the client dies of the second answer. It waits for late answers for 4 s or three times
# the longest.
PATIENCE = "30s,30s"
ROOM_S = 120.0
# By its own count of packets, irtt may lose a few when its timer drifts.
TOLERANCE = 0.02

MS_PER_UNIT = {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3, "h": 3600e3}
# Durations below so much, in ms, are printed in steps of so much; from a minute on in seconds (irtt's rdur).
STEPS_MS = (
    (1e-3, 1e-6),
    (1e-2, 1e-5),
    (1e-1, 1e-4),
    (1e0, 1e-3),
    (1e2, 1e-2),
    (1e3, 1e-1),
    (1e4, 1e1),
    (6e4, 1e2),
)
LARGEST_STEP_MS = 1e3

_DURATION = r"(?:[0-9]{1,6}(?:\.[0-9]{1,9})?(?:ns|µs|ms|s|m|h)){1,3}"
_ONE = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,9})?)(ns|µs|ms|s|m|h)")
_ROUND_TRIP = re.compile(rf"seq=([0-9]{{1,9}}) rtt=({_DURATION}) ipdv=(?:n/a|{_DURATION})")
_EVENT = re.compile(
    r"\[Connecting\] connecting to \S+|\[\S+\] \[Connected\] connection established|"
    r"\[\S+\] \[WaitForPackets\] waiting \S+ for final packets"
)
# Lines of the summary that hold nothing that is needed.
_REST = re.compile(
    r"\s*|\s*Min\s+Mean\s+Median\s+Max\s+Stddev\s*|[ -]+|"
    r"\s*(?:IPDV \(jitter\)|send call time|timer error)\s.*|"
    r" server packets received: [0-9]+/[0-9]+ \([0-9.]+%/[0-9.]+% loss up/down\)|"
    r"\s*bytes sent/received: [0-9]+/[0-9]+|\s*send/receive rate: .*|late \(out-of-order\) pkts: .*"
)
_TIMES = re.compile(
    rf"\s*RTT\s+({_DURATION})\s+({_DURATION})\s+({_DURATION})\s+({_DURATION})\s+{_DURATION}\s*"
)
_TIME = re.compile(rf"\s*duration: ({_DURATION}) \(wait {_DURATION}\)")
_COUNTS = re.compile(r"\s*packets sent/received: ([0-9]{1,9})/([0-9]{1,9}) \(([0-9]{1,3}\.[0-9]{2})% loss\)")
_LENGTH = re.compile(r"\s*packet length: ([0-9]{1,5}) bytes")
_TIMER = re.compile(r"\s*timer stats: ([0-9]{1,9})/([0-9]{1,9}) \([0-9.]+%\) missed, [0-9.]+% error")
_NEW = re.compile(r"^\[(\S+)\] \[NewConn\] ", re.MULTILINE)


@dataclass(frozen=True)
class RoundTrips:
    """What the client says of a run: packets that it sent, and that it should have sent, and the answers.

    `round_trips`: in ms, by the number of the packet, from 0.
    """

    sent: int
    expected: int
    duration_ms: float
    length_bytes: int
    round_trips: Mapping[int, Value]


@dataclass(frozen=True)
class IrttOptions:
    """`duration_s`: how long packets are sent. `interval_ms`: from one to the next. `length_bytes`: of each.

    The smallest length holds what irtt needs; its server cuts what is longer than a packet of its link.
    """

    # A 99th percentile has to be left if some are lost, or come too late to be sent.
    duration_s: int = field(default=11, metadata={"minimum": 1, "maximum": 86_400})
    interval_ms: int = field(default=10, metadata={"minimum": SHORTEST_INTERVAL_MS, "maximum": 1000})
    length_bytes: int = field(default=64, metadata={"minimum": 64, "maximum": 1472})

    @property
    def packets(self) -> float:
        return self.duration_s * 1000 / self.interval_ms


class Irtt(Tool):
    """`irtt server` in the system, `irtt client` on the client."""

    name = "irtt"
    packages = ("irtt",)
    # Both releases would start a server when it is installed, and at each boot.
    autostart = ("/lib/systemd/system/irtt.service", "/usr/lib/systemd/system/irtt.service")
    version_argv = ("irtt", "version")
    version_begins = "irtt version: 0.9"
    Options = IrttOptions
    metrics = (ROUND_TRIP, ROUND_TRIP_P90, ROUND_TRIP_P99, ROUND_TRIP_P999, LOSS)
    details = (TRANSACTIONS,)

    def expected_s(self, options: IrttOptions) -> float:
        return float(options.duration_s)

    def processes(self, options: IrttOptions, address: str) -> tuple[Process, ...]:
        limit_s = options.duration_s + ROOM_S
        server = ("irtt", "server", "-b", f"{address}:{PORT}", "-i", f"{SHORTEST_INTERVAL_MS}ms")
        client = ["irtt", "client", "-i", f"{options.interval_ms}ms", "-d", f"{options.duration_s}s"]
        # Nobody needs the server's clocks.
        client += ["-l", str(options.length_bytes), "--tstamp=none", f"--timeouts={PATIENCE}"]
        client.append(f"{address}:{PORT}")
        return (
            Process("server", "server", server, limit_s, Bound(PORT), GREETING),
            Process("client", "client", tuple(client), limit_s),
        )

    def read(self, options: IrttOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        seen = _seen(options, output_of(outputs, "client"))
        _check_server(output_of(outputs, "server"))
        return {
            **percentiles(list(seen.round_trips.values()), self.metrics[:-1]),
            LOSS.name: loss(seen.sent, len(seen.round_trips)),
            TRANSACTIONS.name: Value(float(len(seen.round_trips))),
        }


TOOL = Irtt()


def _seen(options: IrttOptions, client: End) -> RoundTrips:
    """What the client says by itself; ParseError with the reason if that is not what was asked for."""
    check_exit("client", client)
    try:
        seen = parse(client.stdout)
    except ParseError as error:
        said = client.stderr.strip()
        raise ParseError(f"client: {error}" + (f"; it said: {shown([said])}" if said else "")) from error
    if seen.length_bytes != options.length_bytes:
        raise ParseError(
            f"client: packets of {seen.length_bytes} bytes were sent instead of {options.length_bytes}"
        )
    # The last packet is sent one interval before the end.
    least_ms = (options.duration_s * 1000 - options.interval_ms) * (1 - TOLERANCE)
    if seen.duration_ms < least_ms:
        raise ParseError(
            f"client: it sent for {seen.duration_ms / 1000:g} s instead of {options.duration_s} s"
        )
    if abs(seen.expected - options.packets) > 1 + TOLERANCE * options.packets:
        raise ParseError(f"client: it was to send {seen.expected} packets instead of {options.packets:g}")
    if not seen.round_trips:
        raise ParseError(f"client: nobody answered any of {seen.sent} probes")
    check_answered("client", seen.sent, max(seen.round_trips) + 1)
    return seen


def _check_server(server: End) -> None:
    """ParseError unless the server saw one client. One that tries again is the same one."""
    clients = set(_NEW.findall(server.stderr + server.stdout))
    if len(clients) != 1:
        raise ParseError(f"server: it saw {len(clients)} clients instead of one")


def parse(text: str) -> RoundTrips:
    """What the client's output of a whole run says; ParseError if it does not hold or agree with itself."""
    if not text.endswith("\n"):
        raise ParseError("the output is cut or empty")
    round_trips: dict[int, Value] = {}
    summary: dict[re.Pattern[str], re.Match[str]] = {}
    for line in text[:-1].split("\n"):
        if found := _ROUND_TRIP.fullmatch(line):
            number = int(found[1])
            if summary or number in round_trips:
                raise ParseError(f"a round trip twice, or after the end: {shown([line])}")
            round_trips[number] = _duration(found[2])
            continue
        kind = next(
            (kind for kind in (_TIMES, _TIME, _COUNTS, _LENGTH, _TIMER) if kind.fullmatch(line)), None
        )
        if kind and (said := kind.fullmatch(line)):
            if kind in summary:
                raise ParseError(f"two summaries: {shown([line])}")
            summary[kind] = said
        elif not _EVENT.fullmatch(line) and not _REST.fullmatch(line):
            raise ParseError(f"irtt says: {shown([line])}")
    if {_TIME, _COUNTS, _LENGTH, _TIMER} - summary.keys():
        raise ParseError("there is no summary: the run did not get to its end")
    sent, received = int(summary[_COUNTS][1]), int(summary[_COUNTS][2])
    missed, expected = int(summary[_TIMER][1]), int(summary[_TIMER][2])
    lost_share = 100 * (sent - received) / max(sent, 1)
    if received != len(round_trips) or abs(lost_share - float(summary[_COUNTS][3])) > 0.01:
        raise ParseError(f"{len(round_trips)} round trips do not agree with: {shown([summary[_COUNTS][0]])}")
    if sent + missed != expected or max(round_trips, default=0) >= max(sent, 1):
        raise ParseError(f"{sent} packets do not agree with: {shown([summary[_TIMER][0]])}")
    if round_trips:
        _check_times(list(round_trips.values()), summary.get(_TIMES))
    return RoundTrips(
        sent, expected, _duration(summary[_TIME][1]).value, int(summary[_LENGTH][1]), round_trips
    )


def _check_times(round_trips: list[Value], said: re.Match[str] | None) -> None:
    """ParseError unless shortest, mean and longest are those of the round trips, by their digits."""
    if said is None:
        raise ParseError("there is no summary of the round trips")
    times = [each.value for each in round_trips]
    seen = (min(times), sum(times) / len(times), max(times))
    for own, printed in zip(seen, (said[1], said[2], said[4]), strict=True):
        one = _duration(printed)
        if abs(own - one.value) > 2 * max(_step_ms(own), one.resolution or 0.0):
            raise ParseError(f"the round trips do not agree with: {shown([said[0]])}")


def _duration(printed: str) -> Value:
    """A duration as Go prints it, in ms, with the step that irtt has rounded it to."""
    value = sum(float(number) * MS_PER_UNIT[unit] for number, unit in _ONE.findall(printed))
    return Value(round(value, 6), _step_ms(value))


def _step_ms(value_ms: float) -> float:
    return next((step for limit, step in STEPS_MS if value_ms < limit), LARGEST_STEP_MS)
