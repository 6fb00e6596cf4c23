"""What both ends of an iperf3 test say of it, and whether they saw the same one.

iperf3 prints JSON (`-J`) of a test when it is over: the server one object for each client. An object looks
whole and has plausible rates when the test was interrupted, so its `error` comes first; the client of iperf
3.12 ends with exit code 0 even so.

What an end has of the other one it was told over the control connection, and that may be wrong: iperf 3.18
reads as 0 what a server of 3.12 lost of UDP. So an end's own figures count. The copy is a witness of those
that are right in every pair of versions (3.12, 3.18): seconds, bytes, packets. Sums and rates have to agree
with them as well.

The client's clock begins before the first byte is sent, in either direction, and its end is the end of the
test: it says so to the server, and neither counts what is still on its way. So fewer bytes arrive than are
sent, by as much as buffers hold, and what was sent is no measure of a slow link. An end that is stopped
within a block may not count it (no sender does, and since iperf 3.16, which has threads, no receiver): what
arrived is known to a block of each stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hvcost.errors import ParseError
from hvcost.files import parse_json
from hvcost.model.metric import Metric
from hvcost.model.process import Listening, Process
from hvcost.model.record import End
from hvcost.tools import check_exit, check_lasted, check_ports, check_within

PACKAGES = ("iperf3",)
VERSION_ARGV = ("iperf3", "--version")
VERSION_BEGINS = "iperf 3."
PORT = 5201
# To connect, and to say what came of it. iperf3 gives up its handshake of UDP, which is never repeated, after
# 30 s, and itself waits for longer than 45 s when a guest has vanished.
ROOM_S = 60.0

# What one end counted and what it told the other may differ by as much as came while it did both.
COPY_TOLERANCE_S = 0.001
# Rates are worked out before seconds are rounded to a microsecond.
RATE_TOLERANCE = 1e-5
LARGEST = 1e18

# What the process itself took, of one processor. The kernel's work for packets is not in it, and a guest's
# clock may not tell what its host did: it is not to be trusted in a guest (netperf's manual, 3.1.1).
CLIENT_CPU = Metric("client_cpu", "%", "processor share of the client’s iperf3, as it reports it")
SERVER_CPU = Metric("server_cpu", "%", "processor share of the server’s iperf3, as it reports it")

Role = Literal["client", "server"]
Way = Literal["sent", "received"]


@dataclass(frozen=True)
class Datagrams:
    """UDP: how many a sender sent, or a receiver knows of, since they are numbered; what it made of them."""

    packets: int
    lost: int
    out_of_order: int
    jitter_ms: float


@dataclass(frozen=True)
class Flow:
    """What was sent, or what was received. `streams`: bytes of each stream; of UDP there is one."""

    seconds: float
    bytes: int
    streams: tuple[int, ...]
    datagrams: Datagrams | None

    @property
    def bits_per_s(self) -> float:
        return self.bytes * 8 / self.seconds


@dataclass(frozen=True)
class Report:
    """What one end says of a whole test. `ports`: the client's, one of each stream; `test`: what was ordered.

    Of `sent` and `received` a server has its own only, since it prints before it is told of the other.
    """

    role: Role
    cookie: str
    ports: frozenset[int]
    test: Mapping[str, Any]
    sent: Flow
    received: Flow
    cpu_percent: float

    @property
    def own(self) -> Flow:
        """What this end counted itself."""
        sends = (self.role == "client") != bool(self.test["reverse"])
        return self.sent if sends else self.received

    @property
    def slack_bytes(self) -> int:
        """What may not be counted of blocks that were begun: one of each stream."""
        return int(self.test["blksize"]) * len(self.ports)


def processes(address: str, duration_s: int, arguments: Sequence[str]) -> tuple[Process, ...]:
    """Server and client of a test; `arguments` are what the tool adds to the client's command line.

    The server stays for all runs and prints one object for each, and no word before. `-i 0`: no intervals.
    """
    limit_s = duration_s + ROOM_S
    server = ("iperf3", "-s", "-J", "-i", "0", "-B", address)
    client = ("iperf3", "-c", address, "-J", "-i", "0", "-t", str(duration_s), *arguments)
    return (
        Process("server", "server", server, limit_s, Listening(PORT)),
        Process("client", "client", client, limit_s),
    )


def read_client(end: End, ordered: Mapping[str, Any]) -> Report:
    """What the client says by itself; ParseError with the reason if that is not what was asked for.

    `ordered`: what it has to say of the test; its `duration` in s is among it.
    """
    report = _read("client", end)
    check_exit("client", end)
    for key, value in ordered.items():
        if report.test.get(key) != value:
            raise ParseError(f"client: {key} of the test is {report.test.get(key)!r} instead of {value!r}")
    seconds = report.own.seconds
    check_lasted(seconds, ordered["duration"])
    check_within(seconds, end)
    if report.received.bytes > report.sent.bytes + report.slack_bytes:
        raise ParseError(
            f"client: {report.received.bytes} bytes arrived, but {report.sent.bytes} were sent: "
            "one of both ends did not see the whole run"
        )
    return report


def read_server(end: End, client: Report) -> Report:
    """What the server says of the client's test; ParseError with the reason if it is another one."""
    report = _read("server", end)
    if report.cookie != client.cookie:
        raise ParseError("server: its test’s cookie is not the client’s: they are not of the same run")
    check_ports(client.ports, report.ports)
    for key in sorted(report.test.keys() & client.test.keys()):
        if report.test[key] != client.test[key]:
            raise ParseError(
                f"server: {key} of the test is {report.test[key]!r}, the client’s {client.test[key]!r}: "
                "they are not of the same run"
            )
    own = report.own
    told = client.sent if own is report.sent else client.received
    if (
        abs(own.seconds - told.seconds) > COPY_TOLERANCE_S
        or abs(own.bytes - told.bytes) > report.slack_bytes
        or abs(_packets(own) - _packets(told)) > 1
    ):
        raise ParseError(
            f"server: it counted {_shown(own)}, but told the client {_shown(told)}: "
            "they are not of the same run, or their versions do not fit"
        )
    return report


def _read(role: Role, end: End) -> Report:
    if not end.stdout.lstrip().startswith("{"):
        ended = "" if end.exit_code is None else f"ended with exit code {end.exit_code} and "
        # After what was wrong, iperf3 prints an empty line and how it is used.
        said = (end.stdout + end.stderr).strip().partition("\n\n")[0] or "nothing"
        raise ParseError(f"{role}: {ended}printed no report; it said: {said}")
    return parse_json(end.stdout, role, "iperf3’s report of one test", lambda said: _report(role, said))


def _report(role: Role, said: Mapping[str, Any]) -> Report:
    """What an object says; KeyError, TypeError or ValueError if it is none of iperf3."""
    if "error" in said:
        raise ParseError(f"{role}: iperf3 reports trouble: {said['error']}")
    start, end = said["start"], said["end"]
    port = "local_port" if role == "client" else "remote_port"
    ports = [_count(connection, port) for connection in start["connected"]]
    test = start["test_start"]
    streams = _count(test, "num_streams")
    if not len(end["streams"]) == len(ports) == len(set(ports)) == streams:
        raise ValueError(f"{len(ports)} connections and {len(end['streams'])} results of {streams} streams")
    read = _udp if test["protocol"] == "UDP" else _tcp
    report = Report(
        role=role,
        cookie=start["cookie"],
        ports=frozenset(ports),
        test=test,
        sent=read(end, "sent"),
        received=read(end, "received"),
        cpu_percent=_number(end["cpu_utilization_percent"], "host_total", least=-LARGEST),
    )
    if _count(test, "blksize") < 1 or report.own.bytes < 1:
        raise ValueError("0 bytes were transferred")
    if test["reverse"] not in (0, 1):
        raise ValueError(f"`reverse` is {test['reverse']!r}")
    return report


def _tcp(end: Mapping[str, Any], way: Way) -> Flow:
    whole = end[f"sum_{way}"]
    parts = [stream["sender" if way == "sent" else "receiver"] for stream in end["streams"]]
    if sum(_count(part, "bytes") for part in parts) != _count(whole, "bytes"):
        raise ValueError("`bytes` of the streams and of their sum do not agree")
    return Flow(
        seconds=_seconds(whole),
        bytes=_count(whole, "bytes"),
        streams=tuple(_count(part, "bytes") for part in parts),
        datagrams=None,
    )


def _udp(end: Mapping[str, Any], way: Way) -> Flow:
    whole = end[f"sum_{way}"]
    (stream,) = end["streams"]
    part = stream["udp"]
    size = _count(whole, "bytes")
    # A sender's stream has what it was told of the receiver.
    if not whole["sender"] and not part["sender"]:
        for key in ("packets", "lost_packets", "jitter_ms"):
            if _number(part, key) != _number(whole, key):
                raise ValueError(f"`{key}` of the stream and of its sum do not agree")
    datagrams = Datagrams(
        packets=_count(whole, "packets"),
        lost=_count(whole, "lost_packets"),
        out_of_order=_count(part, "out_of_order"),
        jitter_ms=_number(whole, "jitter_ms"),
    )
    return Flow(_seconds(whole), size, (size,), datagrams)


def _seconds(whole: Mapping[str, Any]) -> float:
    """Time of a sum in s; ValueError if its bytes and its rate do not agree with it."""
    seconds = _number(whole, "seconds")
    bits = 8 * _count(whole, "bytes")
    if seconds == 0 or abs(_number(whole, "bits_per_second") * seconds - bits) > RATE_TOLERANCE * bits:
        raise ValueError(f"{bits // 8} bytes, {seconds:g} s and their rate do not agree")
    return seconds


def _number(said: Mapping[str, Any], key: str, least: float = 0) -> float:
    """A number; ValueError if there is none, or none that makes sense."""
    value = said[key]
    if type(value) not in (int, float) or not least <= value < LARGEST:
        raise ValueError(f"`{key}` is {value!r}")
    return float(value)


def _count(said: Mapping[str, Any], key: str) -> int:
    """A whole number; ValueError as of `_number`."""
    value = _number(said, key)
    if not value.is_integer():
        raise ValueError(f"`{key}` is {value!r}")
    return int(value)


def _packets(flow: Flow) -> int:
    return flow.datagrams.packets if flow.datagrams else 0


def _shown(flow: Flow) -> str:
    packets = f", {flow.datagrams.packets} packets" if flow.datagrams else ""
    return f"{flow.bytes} bytes in {flow.seconds:g} s{packets}"
