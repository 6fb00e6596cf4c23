"""iperf 2 over TCP: both ends, a parser of everything that they print, and whether they saw the same run.

The parser is strict, because a wrong number is worse than a missing one:

- A figure is taken only from a report of the whole run, never from an interval report (`-i`).
- Several streams need iperf's own total, `[SUM]`. They are not added up here: without it, a text
  that was cut short and a server that served one client after the other look just like a complete
  run. (iperf 2.1.8 prints no total with `-y C`; that combination is refused.)
- Bytes, seconds and rate of a report must agree with each other as far as their digits go.
- Traffic in both directions, UDP and a text that holds several runs are refused.
- A line that reports trouble spoils the run. iperf says so on standard error, and still prints a
  report and exits with 0 (a server that died, a connection that was reset): parse standard output
  with standard error after it.

What a text alone does not tell: cut right after its first interval report, or from a client that
was interrupted, it reads as a complete, shorter run; CSV of several streams, cut after the first,
reads as one stream. Compare `duration_s` and `streams` with what was asked for. On a slow path a
client counts what it has sent into buffers, not what has arrived: compare with the server's report.
And CSV of iperf 2.1 and later is the same at both ends: its role is given as `client`.

So a run counts only if both ends have seen it. The client alone is no witness: iperf ends with exit code 0
when it is refused, interrupted, or when the server dies under it. Nothing here depends on how fast a machine
is: a slow connection or a slow guest makes times longer, at one end more than at the other, and that is no
fault. What has to hold is that both ends counted the same bytes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from hvcost.errors import ParseError
from hvcost.model.metric import THROUGHPUT, Metric, Value
from hvcost.model.process import Listening, Process
from hvcost.model.record import End
from hvcost.tools import TRANSFERRED, Tool, check_exit, output_of

PORT = 5001
GREETING = "Server listening on TCP port"

# Linux grows a socket's send buffer up to 4 MiB (tcp_wmem); the client waits while it drains.
SEND_BUFFER_BITS = 8 * 4 * 1024**2
SLOWEST_BPS = 1e6
CONNECT_ROOM_S = 60.0

# A client may end its clock a little before the time it was given.
DURATION_TOLERANCE = 0.01
# A report cannot be of a longer time than its program ran. This is for what two computers' clocks differ.
OVERLONG_S = 0.05
# A client that is stopped in the middle of a write does not count what it has written of this block (iperf's
# default length of a buffer), and the server may get it all the same.
BLOCK_BYTES = 128 * 1024
# Files of the time before clocks were read have nothing but both ends' times to tell a stepped clock by.
UNWITNESSED_TOLERANCE = 0.2
UNWITNESSED_TOLERANCE_S = 2.0

BYTES_PER_UNIT = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4, "P": 1024**5}
BITS_PER_UNIT = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}

Role = Literal["client", "server"]

_CLIENT_BANNER = re.compile(r"^Client connecting to .*?, (TCP|UDP) port", re.MULTILINE)
_SERVER_BANNER = re.compile(r"^Server listening on (TCP|UDP) port", re.MULTILINE)
_CONNECTED = re.compile(r"^\[ *\*?([0-9]+)\] local (\S+) port ([0-9]+) connected with \S+ port ([0-9]+)(.*)$")
_REPORT_START = re.compile(r"^\[ *\*?([0-9]+|SUM(?:-[0-9]+)?)\] *(.*?\bsec\b)(.*)$")
_INTERVAL = re.compile(r"^(\S+?)- *(\S+) +sec$")
_AMOUNTS = re.compile(r"^ +(\S+) ([KMGTP]?)Bytes? +(\S+) ([KMGTP]?)(bits?|Bytes?)/sec(?:\s.*)?$", re.ASCII)
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
_CSV_LINE = re.compile(r"^(?:[+-][0-9]{4}:)?[0-9]{14}(?:\.[0-9]+)?,")
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
    """One line with interval, amount and rate."""

    start: _Quantity
    end: _Quantity
    transferred: _Quantity
    rate: _Quantity

    @property
    def seconds(self) -> float:
        return self.end.value - self.start.value


@dataclass(frozen=True)
class Measurement:
    """What one end reports of one run, in base units.

    A resolution is one step of the last digit that was printed. `ports`: the client's, one per stream, as
    this end saw them; empty if the output does not tell.
    """

    role: Role
    throughput_bps: float
    transferred_bytes: float
    duration_s: float
    streams: int
    throughput_resolution_bps: float
    transferred_resolution_bytes: float
    ports: frozenset[int] = frozenset()


@dataclass(frozen=True)
class IperfOptions:
    """`duration_s`: how long a run transfers. `streams`: parallel TCP connections.

    `window`: size of the socket buffers in bytes; None leaves it to iperf.
    """

    duration_s: int = field(default=10, metadata={"minimum": 1, "maximum": 86_400})
    streams: int = field(default=1, metadata={"minimum": 1, "maximum": 128})
    window: str | None = field(
        default=None,
        metadata={
            "pattern": "[1-9][0-9]*[KMG]?",
            "form": "a number of bytes with an optional K, M or G, such as 64K,",
        },
    )


class Iperf(Tool):
    """iperf 2 as the study ran it: `iperf -s` in the guest, `iperf -c ADDRESS` on the client."""

    name = "iperf"
    packages = ("iperf",)
    version_argv = ("iperf", "--version")
    version_begins = "iperf version 2"
    Options = IperfOptions
    metrics = (THROUGHPUT,)
    details = (
        TRANSFERRED,
        Metric("duration", "s", "duration"),
        Metric("streams", "1", "streams"),
        Metric("client_throughput", "bit/s", "throughput as the client saw it"),
        Metric("server_throughput", "bit/s", "throughput as the server saw it"),
    )

    def expected_s(self, options: IperfOptions) -> float:
        return float(options.duration_s)

    def processes(self, options: IperfOptions, address: str) -> tuple[Process, ...]:
        client = ["iperf", "-c", address, "-t", str(options.duration_s)]
        if options.streams > 1:
            client += ["-P", str(options.streams)]
        if options.window is not None:
            client += ["-w", options.window]
        limit_s = options.duration_s + options.streams * SEND_BUFFER_BITS / SLOWEST_BPS + CONNECT_ROOM_S
        return (
            Process("server", "server", ("iperf", "-s", "-B", address), limit_s, Listening(PORT), GREETING),
            Process("client", "client", tuple(client), limit_s),
        )

    def read(self, options: IperfOptions, outputs: Mapping[str, End]) -> Mapping[str, Value]:
        """The figure of the run is the lower rate of both ends, which is the one over the longer time.

        Both have counted the same bytes. The client's time ends when it has written its last, which may still
        be on its way. The server's begins when it is ready to look at its clock; much may have been sent by
        then. The run took at least as long as either says.
        """
        sent, arrived = _both(options, outputs)
        figure = min(sent, arrived, key=lambda end: end.throughput_bps)
        return {
            "throughput": _rate(figure),
            "transferred": Value(arrived.transferred_bytes, arrived.transferred_resolution_bytes),
            "duration": Value(figure.duration_s),
            "streams": Value(float(sent.streams)),
            "client_throughput": _rate(sent),
            "server_throughput": _rate(arrived),
        }


TOOL = Iperf()


def check_unwitnessed(options: IperfOptions, outputs: Mapping[str, End]) -> None:
    """ParseError if both ends' times differ as they do if a clock was stepped; for runs without witnesses."""
    sent, arrived = _both(options, outputs)
    tolerance_s = max(UNWITNESSED_TOLERANCE * sent.duration_s, UNWITNESSED_TOLERANCE_S)
    if arrived.duration_s > sent.duration_s + tolerance_s + SEND_BUFFER_BITS / arrived.throughput_bps:
        raise ParseError(
            f"server: the report is of {arrived.duration_s:g} s, but the client's of "
            f"{sent.duration_s:g} s: the clock of one of them was stepped, or they are of two runs"
        )


def _both(options: IperfOptions, outputs: Mapping[str, End]) -> tuple[Measurement, Measurement]:
    """What client and server measured of the same run, which is the one that was asked for."""
    sent = _sent(options, output_of(outputs, "client"))
    arrived = _of_end("server", output_of(outputs, "server"))
    _check_same_run(sent, arrived)
    return sent, arrived


def _sent(options: IperfOptions, client: End) -> Measurement:
    """What the client says by itself; ParseError with the reason if that is not what was asked for."""
    check_exit("client", client)
    sent = _of_end("client", client)
    if sent.duration_s < options.duration_s * (1 - DURATION_TOLERANCE):
        raise ParseError(f"client: the report is of {sent.duration_s:g} s instead of {options.duration_s} s")
    if client.duration_s is not None and sent.duration_s > client.duration_s + OVERLONG_S:
        raise ParseError(
            f"client: the report is of {sent.duration_s:g} s, but the run took {client.duration_s:g} s: "
            f"the clock of {client.machine} was stepped"
        )
    if sent.streams != options.streams:
        raise ParseError(f"client: the report is of {sent.streams} streams instead of {options.streams}")
    return sent


def _check_same_run(sent: Measurement, arrived: Measurement) -> None:
    """ParseError unless what the server got is what the client sent, as far as their digits go.

    TCP delivers everything or says so, and a server reports when it has read to the end.
    """
    if sent.streams != arrived.streams:
        raise ParseError(
            f"server: the report is of {arrived.streams} streams, the client's of {sent.streams}: "
            "they are not of the same run"
        )
    if sent.ports and arrived.ports and sent.ports != arrived.ports:
        raise ParseError(
            f"server: its client was at port {_listed(arrived.ports)}, ours at {_listed(sent.ports)}: "
            "they are not of the same run"
        )
    rounding = sent.transferred_resolution_bytes + arrived.transferred_resolution_bytes
    allowance = rounding + BLOCK_BYTES * sent.streams
    if abs(sent.transferred_bytes - arrived.transferred_bytes) > allowance:
        raise ParseError(
            f"server: it got {arrived.transferred_bytes:.0f} bytes, but the client sent "
            f"{sent.transferred_bytes:.0f}: one of them did not see the whole run"
        )


def _listed(ports: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(ports)))


def _rate(end: Measurement) -> Value:
    return Value(end.throughput_bps, end.throughput_resolution_bps)


def _of_end(role: Role, end: End) -> Measurement:
    """What one end measured. Trouble is reported on standard error, often beside a report that looks good."""
    try:
        measured = parse(end.stdout + end.stderr)
    except ParseError as error:
        said = end.stderr.strip()
        is_news = said and said not in str(error)
        raise ParseError(f"{role}: {error}" + (f"; it said: {said}" if is_news else "")) from error
    if measured.role != role:
        raise ParseError(f"{role}: the output is that of a {measured.role}")
    return measured


def parse(text: str) -> Measurement:
    """What the output of one end of one run says; ParseError if that is not a figure."""
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
    banners = _CLIENT_BANNER.findall(text) + _SERVER_BANNER.findall(text)
    is_csv = any(_CSV_LINE.match(line) or _CSV_HEADER.match(line) for line in lines)
    if is_csv and banners:
        raise ParseError("the output holds both CSV and plain reports: more than one run")
    return _parse_csv(lines) if is_csv else _parse_plain(text, lines)


def _parse_plain(text: str, lines: Sequence[str]) -> Measurement:
    role, banners = _plain_role(text)
    connected: list[str] = []
    ports: set[int] = set()
    reports: dict[str, list[_Report]] = {}
    for line in lines:
        if connection := _CONNECTED.search(line):
            stream, address, port, far_port, remark = connection.groups()
            if stream in connected:
                raise ParseError(f"stream {stream} connected twice: the output of several runs")
            if port == "0":
                raise ParseError(f"the connection was not made (local address {address} port 0)")
            if "(full-duplex)" in remark:
                raise ParseError("traffic in both directions at once: that is not one figure")
            connected.append(stream)
            ports.add(int(port if role == "client" else far_port))
        elif start := _REPORT_START.search(line.rstrip()):
            stream, interval, amounts = start.groups()
            if not _OTHER_REPORT.search(amounts):
                stream = _TOTAL if stream.startswith(_TOTAL) else stream
                report = _plain_report(interval, amounts, line)
                reports.setdefault(stream, []).append(report)
    if not connected:
        raise ParseError("no line says that a client connected to a server")
    if banners > 1:
        raise ParseError(f"{banners} banners: the output of several runs")
    if not reports:
        raise ParseError("connected, but there is no report: the run did not get to its end")
    totals = reports.pop(_TOTAL, [])
    missing = [stream for stream in connected if stream not in reports]
    if missing or len(connected) != len(reports):
        raise ParseError(f"{len(connected)} connected, but {len(reports)} reported: the output is incomplete")
    return _measurement(role, reports, totals, frozenset(ports))


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


def _plain_report(interval: str, amounts: str, line: str) -> _Report:
    times = _INTERVAL.search(interval)
    values = _AMOUNTS.search(amounts)
    if times is None or values is None:
        raise ParseError(f"cut or unreadable report: {_shown(line)}")
    transferred, transferred_unit, rate, rate_unit, rate_kind = values.groups()
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
    return _measurement(role, reports, totals)


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


def _report(start: _Quantity, end: _Quantity, transferred: _Quantity, rate: _Quantity, line: str) -> _Report:
    if end.value <= start.value:
        raise ParseError(f"the interval has no length: {_shown(line)}")
    report = _Report(start, end, transferred, rate)
    # Each number may be off by a step of its last digit, as iperf rounds some and truncates others.
    slack_s = start.step + end.step
    least = (transferred.value - transferred.step) * 8 / (report.seconds + slack_s)
    shortest_s = report.seconds - slack_s
    most = (transferred.value + transferred.step) * 8 / shortest_s if shortest_s > 0 else math.inf
    if rate.value + rate.step < least or rate.value - rate.step > most:
        raise ParseError(f"bytes, seconds and rate do not agree: {_shown(line)}")
    return report


def _measurement(
    role: Role,
    streams: Mapping[str, Sequence[_Report]],
    totals: Sequence[_Report],
    ports: frozenset[int] = frozenset(),
) -> Measurement:
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
        role=role,
        throughput_bps=whole.rate.value,
        transferred_bytes=whole.transferred.value,
        duration_s=round(whole.seconds, 9),
        streams=len(wholes),
        throughput_resolution_bps=whole.rate.step,
        transferred_resolution_bytes=whole.transferred.step,
        ports=ports,
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
