"""What both ends of iperf 2 say of one stream over UDP (`-u -e`), and whether it is what was asked for.

What counts are the server's numbers. The client has a copy of them ("Server Report"), which the server sends
it at the end; both have to be the same, so that a report whose last line is cut is not taken for a whole one.
What iperf 2.1.8 and 2.2.1 do, from their source and from captures:

- The client ends with exit code 0 whatever happens: no server at all, a server that died. Then there is no
  copy of its report.
- The client tells the server the end with a last datagram, which counts as one of the run, and repeats it
  every 10 ms for 2 s until there is an answer. Each repetition has the next number. So those that were lost
  look like datagrams of the run that were lost, and spoil the jitter. How many there were is known: the
  numbers go on from what the client has sent when its time was over. They are taken out, and there is no
  jitter then.
- The server's time begins and ends with datagrams that arrived. A run that lost its first or its last is
  shorter there, so the longer of both ends' times counts.
- A datagram that comes twice counts as out of order, and makes up for a lost one.
- `PPS` of 2.2.1 is -0, and latencies are of clocks that nobody has set: neither is read.
- `IPG target` of 2.2.1 is 0, and it keeps the rate all the same.

A client that writes less than what was offered has measured itself (or its own card, which UDP waits for).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hvcost.errors import ParseError, shown
from hvcost.model.process import Bound, Process
from hvcost.model.record import End
from hvcost.tools import check_lasted
from hvcost.tools.iperf2_text import BYTES_PER_UNIT, PORT

GREETING = "Server listening on UDP port"
# An Ethernet frame of 64 bytes, the smallest, has room for so much (RFC 2544, 9.1); the most is UDP's own.
MESSAGE: Mapping[str, Any] = {"minimum": 18, "maximum": 65_507}
RATE: Mapping[str, Any] = {"minimum": 10, "maximum": 10_000_000}

# The rate that was written may differ from the offered one by so much. iperf paces itself by a running
# balance: a client that keeps up is within 0.1 %. One that was held up at the end of a second for 20 ms has
# missed 2 %.
OFFER_TOLERANCE = 0.02
# The first datagram goes out with the second, and the last one ends the run.
OFFER_SLACK = 3
# The last datagram is repeated for 2 s, every 10 ms.
MOST_REPETITIONS = 200
# The first datagram of 2.1.8 and the last of 2.2.1 count with another length.
ODD_DATAGRAMS = 2

_CLIENT_BANNER = re.compile(r"^Client connecting to \S+, UDP port [0-9]+", re.MULTILINE)
_PORT = r"port ([0-9]{1,5})"
_CONNECTED = re.compile(rf"^\[ *([0-9]{{1,9}})\] local \S+ {_PORT} connected with \S+ {_PORT}[ \n]")
_HEAD = r"^\[ *([0-9]{1,9})\] +0\.0{1,4}-([0-9]{1,9}\.[0-9]{1,4}) sec +"
_AMOUNTS = r"([0-9]{1,9}(?:\.[0-9]{1,2})?) ([KMGT]?)Bytes? +\S+ [KMGT]?bits/sec +"
_WRITTEN = re.compile(rf"{_HEAD}{_AMOUNTS}([0-9]{{1,18}})/([0-9]{{1,18}})(?:/[0-9]+)? +-?[0-9]+ pps\n$")
_SENT = re.compile(r"^\[ *([0-9]+)\] Sent ([0-9]{1,18}) datagrams\n$")
_RELAYED = re.compile(r"^\[ *([0-9]+)\] Server Report:\n$")
_ARRIVED = re.compile(
    rf"{_HEAD}{_AMOUNTS}([0-9]{{1,9}}\.[0-9]{{3}}) ms ([0-9]{{1,18}})/([0-9]{{1,18}}) \((\S+)%\) \S+ ms "
    r"-?[0-9]+ pps(?: (?:(?!/sec).)*)?\n$"
)
_ANY_WRITTEN = re.compile(r"/sec .* pps")
_ANY_REPORT = re.compile(r"/sec +\S+ ms ")
_OUT_OF_ORDER = re.compile(rf"{_HEAD}([0-9]{{1,18}}) +datagrams received out-of-order\n$")
_TROUBLE = re.compile(r"\b(?:failed|error|refused|unreachable)\b", re.IGNORECASE)
# Warnings; and that a server repeats its report to a client that is gone, which has got it, or shows itself
# that it has not.
_HARMLESS = re.compile(r"^(?:\[ *[0-9]+\] )?WARN|^write-ackfin failed: Connection refused$")


@dataclass(frozen=True)
class Arrived:
    """What the server counted: datagrams lost, of all up to the last number that it saw; the time in s.

    `received_bytes` is printed to `step_bytes`.
    """

    seconds: float
    received_bytes: float
    step_bytes: float
    jitter_ms: float
    lost: int
    total: int
    out_of_order: int = 0

    @property
    def counts(self) -> tuple[int, int, int]:
        return self.lost, self.total, self.out_of_order


@dataclass(frozen=True)
class Sent:
    """What the client says: its port, the time in s, datagrams that it wrote, writes that failed.

    `numbered`: the number of the datagram that ends the run, and one. `relayed`: its copy of the server's
    report, None if it got none, however often it repeated the last datagram.
    """

    port: int
    seconds: float
    written: int
    errors: int
    numbered: int
    relayed: Arrived | None

    def heard(self) -> Arrived:
        """Its copy of the server's report; ParseError if it got none."""
        if self.relayed is None:
            raise ParseError(
                "client: it got no report of the server, which is not there or did not see the end"
            )
        return self.relayed

    def keeps(self, packets_per_s: int) -> bool:
        """Whether it has really offered that rate."""
        ordered = packets_per_s * self.seconds
        return self.errors == 0 and abs(self.written - ordered) <= max(OFFER_TOLERANCE * ordered, OFFER_SLACK)


@dataclass(frozen=True)
class Run:
    """A run that both ends saw: datagrams that were sent, lost and out of order; the longer time in s.

    `jitter_ms` is None if the run's last datagram was lost and had to be repeated.
    """

    seconds: float
    sent: int
    lost: int
    out_of_order: int
    jitter_ms: float | None

    @property
    def arrived(self) -> int:
        return self.sent - self.lost


def server_of(address: str, message_bytes: int, limit_s: float) -> Process:
    """The server in the background, which serves one client after the other."""
    argv = ("iperf", "-s", "-u", "-e", "-l", str(message_bytes), "-B", address)
    return Process("server", "server", argv, limit_s, Bound(PORT), GREETING)


def check_trouble(role: str, end: End) -> None:
    """ParseError if iperf reports trouble: it does so on standard error, and goes on.

    That a last datagram was not acknowledged is only a warning; what is missing then shows elsewhere.
    """
    for line in (end.stdout + end.stderr).splitlines():
        if _TROUBLE.search(line) and not _HARMLESS.search(line):
            raise ParseError(f"{role}: iperf reports trouble: {line.strip()}")


def sent(text: str, duration_s: int) -> Sent:
    """What the client of one run has written to its standard output, if it lasted as ordered."""
    if len(_CLIENT_BANNER.findall(text)) != 1:
        raise ParseError("client: the output is not that of one run of iperf over UDP")
    own: list[str] = []
    copy: list[str] = []
    for line in text.splitlines(keepends=True):
        (copy if copy or _RELAYED.search(line) else own).append(line)
    port = int(_only(_CONNECTED, own, "line that says that it has connected")[2])
    _check_readable(_WRITTEN, _ANY_WRITTEN, own, "client")
    written = _only(_WRITTEN, own, "report of the whole run")
    numbered = int(_only(_SENT, own, "line that says how much it sent")[2])
    seconds = float(written[2])
    check_lasted(seconds, duration_s)
    if numbered - int(written[5]) not in (1, 2):
        raise ParseError(f"client: it wrote {written[5]} datagrams, but sent {numbered}")
    relayed = list(_arrived(copy, "client").values())
    if copy and len(relayed) != 1:
        raise ParseError("client: its copy of the server's report is cut")
    return Sent(port, seconds, int(written[5]), int(written[6]), numbered, relayed[0] if copy else None)


def arrived(text: str) -> list[tuple[int, Arrived | None]]:
    """What a server reports of its clients one after the other, with their ports; None of one without end."""
    lines = text.splitlines(keepends=True)
    ports = {found[1]: int(found[3]) for line in lines if (found := _CONNECTED.search(line))}
    reports = _arrived(lines, "server")
    if not reports.keys() <= ports.keys():
        raise ParseError("server: it reports clients that had not connected: the output is incomplete")
    return [(port, reports.get(stream)) for stream, port in ports.items()]


def same_run(sent: Sent, port: int, arrived: Arrived | None, message_bytes: int) -> Run:
    """The run that both ends saw; ParseError if one of them saw no end, or they did not see the same."""
    relayed = sent.heard()
    if arrived is None:
        raise ParseError("server: it reports nothing of its client: it did not see the end, or is incomplete")
    if port != sent.port:
        raise ParseError(
            f"server: its client was at port {port}, ours at {sent.port}: they are not of the same run"
        )
    if arrived.counts != relayed.counts:
        raise ParseError(
            f"server: it reports {_counted(arrived)}, but the client was told {_counted(relayed)}: "
            "one of them is incomplete"
        )
    # The last datagram has the number `numbered` - 1, and its repetitions those that follow.
    repetitions = arrived.total - (sent.numbered - 1)
    if not 0 <= repetitions <= MOST_REPETITIONS or repetitions > arrived.lost:
        raise ParseError(
            f"server: it knows of {arrived.total} datagrams, but the client sent {sent.numbered}: "
            "they are not of the same run"
        )
    run = Run(
        seconds=max(sent.seconds, arrived.seconds),
        sent=arrived.total - repetitions,
        lost=arrived.lost - repetitions,
        out_of_order=arrived.out_of_order,
        jitter_ms=None if repetitions else arrived.jitter_ms,
    )
    # One that came twice may have made up for none that was lost.
    allowance = (ODD_DATAGRAMS + arrived.out_of_order) * message_bytes + arrived.step_bytes
    if abs(run.arrived * message_bytes - arrived.received_bytes) > allowance:
        raise ParseError(
            f"server: {run.arrived} datagrams of {message_bytes} bytes are not the "
            f"{arrived.received_bytes:.0f} bytes that it received"
        )
    if run.arrived <= 1:
        raise ParseError("server: nothing arrived but the datagram that ends the run")
    return run


def too_slow(sent: Sent, packets_per_s: int) -> str:
    """What is wrong if the client did not offer a rate."""
    failed = f", and {sent.errors} of its writes failed" if sent.errors else ""
    return (
        f"it wrote {sent.written} datagrams in {sent.seconds:g} s, which are "
        f"{sent.written / sent.seconds:.0f}/s instead of {packets_per_s}/s{failed}: such a client, or its "
        "own card, measures itself"
    )


def _only(pattern: re.Pattern[str], lines: list[str], what: str) -> re.Match[str]:
    found = [match for line in lines if (match := pattern.search(line))]
    if len(found) != 1:
        raise ParseError(f"client: {len(found) or 'no'} {what}: the output is incomplete, or of several runs")
    return found[0]


def _check_readable(report: re.Pattern[str], alike: re.Pattern[str], lines: list[str], role: str) -> None:
    """ParseError if a line looks like a report and is none."""
    for line in lines:
        if alike.search(line) and not report.search(line):
            raise ParseError(f"{role}: cut or unreadable report: {shown([line])}")


def _arrived(lines: list[str], role: str) -> dict[str, Arrived]:
    """Reports of a server by the number of the stream."""
    _check_readable(_ARRIVED, _ANY_REPORT, lines, role)
    out_of_order = {
        (found[1], found[2]): int(found[3]) for line in lines if (found := _OUT_OF_ORDER.search(line))
    }
    reports = {}
    for line in lines:
        if found := _ARRIVED.search(line):
            stream, end_s, amount, unit, jitter_ms, lost, total, percent = found.groups()
            if stream in reports:
                raise ParseError(f"{role}: two reports of stream {stream}: the output of several runs")
            _check_percent(role, int(lost), int(total), percent)
            step = BYTES_PER_UNIT[unit] / 10 ** len(amount.partition(".")[2])
            reports[stream] = Arrived(
                seconds=float(end_s),
                received_bytes=float(amount) * BYTES_PER_UNIT[unit],
                step_bytes=step,
                jitter_ms=float(jitter_ms),
                lost=int(lost),
                total=int(total),
                out_of_order=out_of_order.pop((stream, end_s), 0),
            )
    # Without any report, that is what is wrong.
    if reports and out_of_order:
        raise ParseError(f"{role}: it says what came out of order in a run that it does not report")
    return reports


def _check_percent(role: str, lost: int, total: int, printed: str) -> None:
    """ParseError unless the share of losses is what is printed of it, with two digits (%.2g of printf(3))."""
    if not 0 <= lost <= total or total == 0 or f"{100 * lost / total:.2g}" != printed:
        raise ParseError(f"{role}: {lost} lost of {total} are not {printed} %: the report is damaged")


def _counted(report: Arrived) -> str:
    return f"{report.lost} lost of {report.total} and {report.out_of_order} out of order"
