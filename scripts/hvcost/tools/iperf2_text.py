"""Text of iperf 2 over TCP: a parser of everything that one end prints, of any version since 2.0.

The parser is strict, because a wrong number is worse than a missing one:

- A figure is taken only from a report of the whole run, never from an interval report (`-i`).
- Several streams need iperf's own total, `[SUM]`. They are not added up here: without it, a text
  that was cut short and a server that served one client after the other look just like a complete
  run. (iperf 2.1.8 prints no total with `-y C`; that combination is refused.)
- A total of more streams than have connected, such as `[SUM-2]` of one, is not the run's: a server on a slow
  machine counts the connection before as well, which it has reported and not forgotten yet.
- Bytes, seconds and rate of a report must agree with each other as far as their digits go.
- UDP and a text that holds several runs are refused. Traffic in both directions at once is two figures:
  `parse` refuses it, `parse_duplex` reads it.
- A line that reports trouble spoils the run. iperf says so on standard error, and still prints a
  report and exits with 0 (a server that died, a connection that was reset): parse standard output
  with standard error after it.
- What iperf prints of retransmissions (`-e`) is left alone: iperf 2.2 prints a 0, or with `-i` what there had
  been when it last looked, up to a half less than the kernel's count.

What a text alone does not tell: cut right after its first interval report, or from a client that
was interrupted, it reads as a complete, shorter run; CSV of several streams, cut after the first,
reads as one stream. Compare `duration_s` and `streams` with what was asked for. On a slow path a
client counts what it has sent into buffers, not what has arrived: compare with the server's report.
And CSV of iperf 2.1 and later is the same at both ends: its role is given as `client`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from hvcost.errors import ParseError

PORT = 5001
GREETING = "Server listening on TCP port"

BYTES_PER_UNIT = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}
BITS_PER_UNIT = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}

Role = Literal["client", "server"]

_CLIENT_BANNER = re.compile(r"^Client connecting to .*?, (TCP|UDP) port", re.MULTILINE)
_SERVER_BANNER = re.compile(r"^Server listening on (TCP|UDP) port", re.MULTILINE)
_PORT = r"port ([0-9]{1,5})"
_CONNECTED = re.compile(rf"^\[ *\*?([0-9]+)\] local (\S+) {_PORT} connected with \S+ {_PORT}(.*)$")
_REPORT_START = re.compile(r"^\[ *(\*?)([0-9]+|SUM(?:-([0-9]{1,9}))?)\] *(.*?\bsec\b)(.*)$")
_INTERVAL = re.compile(r"^(\S+?)- *(\S+) +sec$")
_AMOUNTS = re.compile(r"^ +(\S+) ([KMGTP]?)Bytes? +(\S+) ([KMGTP]?)(bits?|Bytes?)/sec(?:\s(.*))?$", re.ASCII)
# What follows in enhanced reports (`-e`): of one who writes, and of one who reads.
_WRITES = re.compile(r"^[0-9]+/[0-9]+ +[0-9]+ +\S+ us +\S+$", re.ASCII)
_READS = re.compile(r"^[0-9]+=[0-9]+(?::[0-9]+){7}$", re.ASCII)
# What the kernel has granted, which is twice what was asked for, up to its limits (tcp(7), socket(7)).
_WINDOW = re.compile(r"^TCP window size: +([0-9]{1,9}(?:\.[0-9]{1,9})?) ([KMG]?)Bytes?\b", re.MULTILINE)
_SEGMENTS = re.compile(r" \(icwnd/mss/irtt=[0-9]+/([0-9]{1,9})/[0-9]+\)")
# Lines of options that also begin with an interval, but hold no amounts of data.
_OTHER_REPORT = re.compile(r"^ +(?:\S*PDF:|OWD Delays|L2 processing|[0-9]+ datagrams)")
_TROUBLE = re.compile(
    r"\b(?:failed|error|refused|timed out|unreachable|reset by peer|broken pipe|unable to|"
    r"waiting for server threads)\b",
    re.IGNORECASE,
)
_WARNING = re.compile(r"^(?:\[ *\*?[0-9]+\] )?WARN")
# What others say on the same standard error: sudo of a name that nobody resolves, shells of a locale.
_OTHERS = re.compile(r"^(?:sudo|timeout|setpriv|env|ip|sh|bash|perl): ")
_CSV_LINE = re.compile(r"^(?:[+-][0-9]{4}:)?[0-9]{14}[.,]")
_CSV_HEADER = re.compile(r"^time,srcaddress,")
_CSV_FIELDS = 9
_NUMBER = re.compile(r"[0-9]{1,24}(?:\.([0-9]{1,12}))?")
_TOTAL = "SUM"


@dataclass(frozen=True)
class _Quantity:
    """A printed number in base units and the size of one step of its last digit."""

    value: float
    step: float


@dataclass(frozen=True)
class _Report:
    """One line with interval, amount and rate; `columns`: what follows them. `is_starred`: `[ *1]`."""

    start: _Quantity
    end: _Quantity
    transferred: _Quantity
    rate: _Quantity
    columns: str = ""
    is_starred: bool = False

    @property
    def seconds(self) -> float:
        return self.end.value - self.start.value


@dataclass(frozen=True)
class Measurement:
    """What one end reports of one run, in base units.

    A resolution is one step of the last digit that was printed. `stream_rates_bps`: of each stream. `ports`:
    the client's, one per stream, as this end saw them; empty if the output does not tell. `mss_bytes`: sizes
    of segments that the connections began with, without headers; empty likewise. `window_bytes`: the
    socket buffer that the kernel has granted; empty likewise.
    """

    role: Role
    throughput_bps: float
    transferred_bytes: float
    duration_s: float
    streams: int
    throughput_resolution_bps: float
    transferred_resolution_bytes: float
    stream_rates_bps: tuple[float, ...]
    ports: frozenset[int] = frozenset()
    mss_bytes: frozenset[int] = frozenset()
    window_bytes: frozenset[float] = frozenset()


@dataclass(frozen=True)
class _Printed:
    """What an output holds: its role, the reports of each stream and of all, what it says of connections."""

    role: Role
    reports: Mapping[str, Sequence[_Report]]
    totals: Sequence[_Report]
    ports: frozenset[int] = frozenset()
    mss_bytes: frozenset[int] = frozenset()
    window_bytes: frozenset[float] = frozenset()
    is_duplex: bool = False


def parse(text: str) -> Measurement:
    """What the output of one end of one run says; ParseError if that is not a figure."""
    lines = _lines(text)
    banners = _CLIENT_BANNER.findall(text) + _SERVER_BANNER.findall(text)
    is_csv = any(_CSV_LINE.match(line) or _CSV_HEADER.match(line) for line in lines)
    if is_csv and banners:
        raise ParseError("the output holds both CSV and plain reports: more than one run")
    if is_csv:
        return _parse_csv(lines)
    printed = _printed(text, lines)
    if printed.is_duplex:
        raise ParseError("traffic in both directions at once: that is not one figure")
    return _measurement(printed)


def parse_duplex(text: str) -> tuple[Measurement, Measurement]:
    """What one end of a run in both directions sent, and what it received; ParseError if it does not say.

    The run is of one connection, and the output enhanced (`-e`), which tells by its columns what was written
    and what was read.
    """
    printed = _printed(text, _lines(text))
    if not printed.is_duplex:
        raise ParseError("the traffic was in one direction")
    (reports,) = printed.reports.values() if len(printed.reports) == 1 else [()]
    # The client marks what it reads with a star, the server what it writes.
    starred_columns = _READS if printed.role == "client" else _WRITES
    written = [each for each in reports if _WRITES.search(each.columns)]
    read = [each for each in reports if _READS.search(each.columns)]
    are_marked = all(each.is_starred == bool(starred_columns.search(each.columns)) for each in reports)
    if (len(written), len(read), len(reports)) != (1, 1, 2) or not are_marked:
        raise ParseError("there is not one report of each direction: the output is incomplete")
    sent = _measurement(replace(printed, reports={"sent": written}, totals=[]))
    received = _measurement(replace(printed, reports={"received": read}, totals=[]))
    return sent, received


def _lines(text: str) -> list[str]:
    """Lines of an output; ParseError if there are none, or one of them reports trouble."""
    if not text.strip():
        raise ParseError("the output is empty")
    lines = text.splitlines(keepends=True)
    # Most texts hold none: the whole is looked through once before its lines are.
    trouble = [
        line.strip()
        for line in (lines if _TROUBLE.search(text) else ())
        if _TROUBLE.search(line) and not _WARNING.search(line) and not _OTHERS.search(line)
    ]
    if trouble:
        raise ParseError(f"iperf reports trouble: {_shown(trouble[0])}")
    return lines


def _printed(text: str, lines: Sequence[str]) -> _Printed:
    role, banners = _plain_role(text)
    connected: list[str] = []
    remarks: list[str] = []
    ports: set[int] = set()
    reports: dict[str, list[_Report]] = {}
    totals: list[tuple[int, _Report]] = []
    for line in lines:
        if connection := _CONNECTED.search(line):
            stream, address, port, far_port, remark = connection.groups()
            if stream in connected:
                raise ParseError(f"stream {stream} connected twice: the output of several runs")
            if port == "0":
                raise ParseError(f"the connection was not made (local address {address} port 0)")
            connected.append(stream)
            remarks.append(remark)
            ports.add(int(port if role == "client" else far_port))
        elif start := _REPORT_START.search(line.rstrip()):
            star, stream, of_streams, interval, amounts = start.groups()
            if not _OTHER_REPORT.search(amounts):
                report = _plain_report(interval, amounts, line, bool(star))
                if stream.startswith(_TOTAL):
                    totals.append((int(of_streams or 0), report))
                else:
                    reports.setdefault(stream, []).append(report)
    if not connected:
        raise ParseError("no line says that a client connected to a server")
    if banners > 1:
        raise ParseError(f"{banners} banners: the output of several runs")
    if not reports and not totals:
        raise ParseError("connected, but there is no report: the run did not get to its end")
    missing = [stream for stream in connected if stream not in reports]
    if missing or len(connected) != len(reports):
        raise ParseError(f"{len(connected)} connected, but {len(reports)} reported: the output is incomplete")
    return _Printed(
        role=role,
        reports=reports,
        totals=[total for of_streams, total in totals if of_streams <= len(connected)],
        ports=frozenset(ports),
        mss_bytes=frozenset(int(size) for remark in remarks for size in _SEGMENTS.findall(remark)),
        window_bytes=frozenset(float(n) * BYTES_PER_UNIT[unit] for n, unit in _WINDOW.findall(text)),
        is_duplex=any("(full-duplex)" in remark for remark in remarks),
    )


def _plain_role(text: str) -> tuple[Role, int]:
    clients = _CLIENT_BANNER.findall(text)
    servers = _SERVER_BANNER.findall(text)
    if "UDP" in clients + servers:
        raise ParseError("this is a run over UDP, not TCP")
    if not clients and not servers:
        raise ParseError("neither the banner of an iperf 2 client nor of a server is there")
    if clients and servers:
        raise ParseError("client and server in one output: runs in both directions")
    return ("client", len(clients)) if clients else ("server", len(servers))


def _plain_report(interval: str, amounts: str, line: str, is_starred: bool) -> _Report:
    times = _INTERVAL.search(interval)
    values = _AMOUNTS.search(amounts)
    if times is None or values is None:
        raise ParseError(f"cut or unreadable report: {_shown(line)}")
    transferred, transferred_unit, rate, rate_unit, rate_kind, columns = values.groups()
    if rate_kind.startswith("bit"):
        bits_per_step = BITS_PER_UNIT[rate_unit]
    else:
        bits_per_step = 8 * BYTES_PER_UNIT[rate_unit]
    return _report(
        _quantity(times[1], 1, line),
        _quantity(times[2], 1, line),
        _quantity(transferred, BYTES_PER_UNIT[transferred_unit], line),
        _quantity(rate, bits_per_step, line),
        line,
        (columns or "").strip(),
        is_starred,
    )


def _parse_csv(lines: Sequence[str]) -> Measurement:
    role: Role = "client"
    header: list[str] = []
    reports: dict[str, list[_Report]] = {}
    for line in lines:
        if not line.endswith("\n"):
            raise ParseError(f"the last line is cut, it has no end of line: {_shown(line)}")
        fields = line.strip().split(",")
        if _CSV_HEADER.search(line):
            if header:
                raise ParseError("two headers: the output of several runs")
            header = fields
            role = "server" if "readcnt" in header else "client"
            continue
        if _WARNING.search(line):
            continue
        if not _CSV_LINE.search(line):
            raise ParseError(f"unreadable line between CSV reports: {_shown(line)}")
        if header:
            row = _csv_row(fields, header, line)
        elif len(fields) == _CSV_FIELDS:
            interval = fields[6].partition("-")
            row = [*fields[1:6], interval[0], interval[2], *fields[7:9]]
            if fields[2] == str(PORT):
                role = "server"
        else:
            raise ParseError(f"{len(fields)} fields, a report over TCP has {_CSV_FIELDS}: {_shown(line)}")
        stream = _TOTAL if row[4] == "-1" else " ".join(row[:5])
        start, end, transferred, rate = (_quantity(field, 1, line) for field in row[5:])
        reports.setdefault(stream, []).append(_report(start, end, transferred, rate, line))
    totals = reports.pop(_TOTAL, [])
    if not reports:
        raise ParseError("CSV without a report of a stream: the output is incomplete")
    return _measurement(_Printed(role, reports, totals))


def _csv_row(fields: Sequence[str], header: Sequence[str], line: str) -> list[str]:
    named = dict(zip(header, fields, strict=False))
    names = ("srcaddress", "srcport", "dstaddr", "dstport", "transferid")
    amounts = ("istart", "iend", "bytes", "speed")
    if len(fields) != len(header) or not {*names, *amounts} <= named.keys():
        raise ParseError(f"CSV report does not fit its header: {_shown(line)}")
    return [named[name] for name in (*names, *amounts)]


def _quantity(printed: str, unit: int, line: str) -> _Quantity:
    number = _NUMBER.fullmatch(printed)
    if number is None:
        kinds = {"nan": "not a number", "inf": "infinite"}
        bare = printed.lstrip("+-").lower()
        kind = next((text for key, text in kinds.items() if bare.startswith(key)), None)
        if kind is None:
            kind = "negative" if printed.startswith("-") else "unreadable"
        raise ParseError(f"{printed!r} is {kind}: {_shown(line)}")
    return _Quantity(float(Decimal(printed) * unit), unit / 10 ** len(number[1] or ""))


def _report(
    start: _Quantity,
    end: _Quantity,
    transferred: _Quantity,
    rate: _Quantity,
    line: str,
    columns: str = "",
    is_starred: bool = False,
) -> _Report:
    if end.value <= start.value:
        raise ParseError(f"the interval has no length: {_shown(line)}")
    report = _Report(start, end, transferred, rate, columns, is_starred)
    # Each number may be off by a step of its last digit, as iperf rounds some and truncates others.
    slack_s = start.step + end.step
    least = (transferred.value - transferred.step) * 8 / (report.seconds + slack_s)
    shortest_s = report.seconds - slack_s
    most = (transferred.value + transferred.step) * 8 / shortest_s if shortest_s > 0 else math.inf
    if rate.value + rate.step < least or rate.value - rate.step > most:
        raise ParseError(f"bytes, seconds and rate do not agree: {_shown(line)}")
    return report


def _measurement(printed: _Printed) -> Measurement:
    streams, totals = printed.reports, printed.totals
    wholes = [_whole(reports, f"stream {name}") for name, reports in streams.items()]
    if totals:
        # A total that is alone beside interval reports, or more frequent, is not the whole run's.
        lengths = {len(reports) for reports in streams.values()}
        if len(totals) > max(lengths) or (len(totals) == 1 and max(lengths) > 1):
            raise ParseError("totals and reports do not pair: cut short, or several runs")
        whole = _whole(totals, "the total")
    elif len(wholes) > 1:
        raise ParseError(f"{len(wholes)} streams without a total: clients one after the other, or cut short")
    else:
        whole = wholes[0]
    if whole.transferred.value <= 0:
        raise ParseError("0 bytes were transferred")
    if whole.rate.value <= 0:
        raise ParseError("the rate is printed as 0: too slow for the unit of the report")
    return Measurement(
        role=printed.role,
        throughput_bps=whole.rate.value,
        transferred_bytes=whole.transferred.value,
        duration_s=round(whole.seconds, 9),
        streams=len(wholes),
        throughput_resolution_bps=whole.rate.step,
        transferred_resolution_bytes=whole.transferred.step,
        stream_rates_bps=tuple(each.rate.value for each in wholes),
        ports=printed.ports,
        mss_bytes=printed.mss_bytes,
        window_bytes=printed.window_bytes,
    )


def _whole(reports: Sequence[_Report], name: str) -> _Report:
    """The report of the whole run: the last one, which follows those of the intervals, if any."""
    last = reports[-1]
    if reports[0].start.value > 0 or last.start.value > 0:
        raise ParseError(f"{name}: only interval reports, none of the whole run")
    tolerance_s = 2 * last.end.step
    at_s = 0.0
    for report in reports[:-1]:
        if abs(report.start.value - at_s) > tolerance_s:
            raise ParseError(f"{name}: interval reports with a gap, or of several runs")
        at_s = report.end.value
    if last.end.value < at_s - tolerance_s:
        raise ParseError(f"{name}: the last report is shorter than the run: several runs")
    return last


def _shown(line: str) -> str:
    """A line of unknown content as part of a message: printable, and not too long."""
    printable = "".join(c if c.isprintable() else "?" for c in line.strip())
    return printable if len(printable) <= 120 else printable[:117] + "..."
