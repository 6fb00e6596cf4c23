"""iperf 2 over TCP in one direction: both ends, and whether they saw the same run.

Which number is right: the bytes that arrived, over the longer of both ends' times. Both have counted the same
bytes, so that is the lower of both rates. The sender's time ends when it has written its last, which may
still be on its way; the client's begins before the connection is made, and the server's when it is ready to
look at its clock, by when much may have been sent. The run took at least as long as either says.

A run counts only if both ends have seen it. The client alone is no witness: iperf ends with exit code 0
when it is refused, interrupted, or when the server dies under it. Nothing here depends on how fast a machine
is: a slow connection or a slow guest makes times longer, at one end more than at the other, and that is no
fault. What has to hold is that both ends counted the same bytes.

Both ends are asked for enhanced reports (`-e`), which the study's were not: 2.2.1 tells only there how large
the segments are, and a server for both directions is the same one. Amounts, times and rates have the same
digits. On a link of 400 Mbit/s the rates of 2.1.8 and 2.2.1 were the same with it and without, and the
processor time of each end differed by less than 0.02 s per gigabit, which is within its scatter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hvcost.errors import ConfigError, ParseError
from hvcost.model.metric import FAIRNESS, RETRANSMISSIONS, THROUGHPUT, Value
from hvcost.model.options import number
from hvcost.model.process import Listening, Process
from hvcost.model.record import End
from hvcost.tools import (
    CLIENT_THROUGHPUT,
    DURATION,
    FROM_GUEST,
    SERVER_THROUGHPUT,
    STREAMS,
    TO_GUEST,
    TRANSFERRED,
    Tool,
    check_exit,
    check_lasted,
    check_ports,
    check_within,
    fairness_of,
    output_of,
)
from hvcost.tools.iperf2_text import GREETING, PORT, Measurement, Role, parse
from hvcost.wording import listed

# Linux grows a socket's send buffer up to 4 MiB (tcp_wmem); the sender waits while it drains.
SEND_BUFFER_BITS = 8 * 4 * 1024**2
SLOWEST_BPS = 1e6
CONNECT_ROOM_S = 60.0
# How long a run by bytes takes is not known before. This is for the plan alone: the study's link.
TYPICAL_BPS = 100e6

# A client that is stopped in the middle of a write does not count what it has written of this block (iperf's
# default length of a buffer), and the server may get it all the same.
BLOCK_BYTES = 128 * 1024
# TCP's timestamps (RFC 7323) take this from the segment size that was asked for.
TIMESTAMPS_BYTES = 12
# Files of the time before clocks were read have nothing but both ends' times to tell a stepped clock by.
UNWITNESSED_TOLERANCE = 0.2
UNWITNESSED_TOLERANCE_S = 2.0

# A size is printed with three digits.
WINDOW_PRINTED = 0.99

Heard = TypeVar("Heard")

DURATION_S = 10

WINDOW: Mapping[str, Any] = {
    "pattern": "[1-9][0-9]*[KMG]?",
    "form": "a number of bytes with an optional K, M or G, such as 64K,",
}


@dataclass(frozen=True)
class IperfOptions:
    """`duration_s`: how long a run transfers. `bytes`: how much each stream transfers instead.

    `direction`: who receives. `streams`: parallel TCP connections. `length_bytes`: of each write, and of
    each read of a client that receives. `mss`: largest segment in bytes, options within it included.
    `window`, `server_window`: size of the client's and the server's socket buffers in bytes. None leaves each
    of them to iperf or the system.
    """

    duration_s: int = field(default=DURATION_S, metadata={"minimum": 1, "maximum": 86_400})
    bytes: int | None = field(default=None, metadata={"minimum": 1, "maximum": 10**12})
    direction: str = field(default=TO_GUEST, metadata={"allowed": (TO_GUEST, FROM_GUEST)})
    streams: int = field(default=1, metadata={"minimum": 1, "maximum": 128})
    length_bytes: int | None = field(default=None, metadata={"minimum": 64, "maximum": 1024**2})
    # Linux refuses others (TCP_MAXSEG, tcp(7)).
    mss: int | None = field(default=None, metadata={"minimum": 88, "maximum": 32_767})
    window: str | None = field(default=None, metadata=WINDOW)
    server_window: str | None = field(default=None, metadata=WINDOW)

    def __post_init__(self) -> None:
        if self.bytes is not None and self.duration_s != DURATION_S:
            raise ConfigError(
                "bytes: a run ends after these bytes, so it has no duration_s: leave out one of both"
            )

    @property
    def sender(self) -> Role:
        return "client" if self.direction == TO_GUEST else "server"

    @property
    def receiver(self) -> Role:
        return "server" if self.direction == TO_GUEST else "client"


class Iperf(Tool):
    """iperf 2 as the study ran it: `iperf -s` in the guest, `iperf -c ADDRESS` on the client."""

    name = "iperf"
    packages = ("iperf",)
    version_argv = ("iperf", "--version")
    version_begins = "iperf version 2"
    Options = IperfOptions
    metrics = (THROUGHPUT, RETRANSMISSIONS, FAIRNESS)
    details = (
        TRANSFERRED,
        DURATION,
        STREAMS,
        CLIENT_THROUGHPUT,
        SERVER_THROUGHPUT,
    )

    def expected_s(self, options: IperfOptions) -> float:
        return _expected_s(options, TYPICAL_BPS)

    def sender(self, options: IperfOptions) -> Role:
        return options.sender

    def processes(self, options: IperfOptions, address: str) -> tuple[Process, ...]:
        client = ["iperf", "-c", address, "-e"]
        client += ["-t", str(options.duration_s)] if options.bytes is None else ["-n", str(options.bytes)]
        if options.direction == FROM_GUEST:
            client += ["-R"]
        if options.streams > 1:
            client += ["-P", str(options.streams)]
        if options.length_bytes is not None:
            client += ["-l", str(options.length_bytes)]
        if options.mss is not None:
            client += ["-M", str(options.mss)]
        if options.window is not None:
            client += ["-w", options.window]
        server = [*server_argv(address)]
        if options.server_window is not None:
            server += ["-w", options.server_window]
        limit_s = (
            _expected_s(options, SLOWEST_BPS)
            + options.streams * SEND_BUFFER_BITS / SLOWEST_BPS
            + CONNECT_ROOM_S
        )
        return (
            Process("server", "server", tuple(server), limit_s, Listening(PORT), GREETING),
            Process("client", "client", tuple(client), limit_s),
        )

    def read(self, options: IperfOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        ends = _both(options, outputs)
        sent, arrived = ends[options.sender], ends[options.receiver]
        figure = min(ends.values(), key=lambda end: end.throughput_bps)
        return {
            "throughput": _rate(figure),
            "fairness": _fairness(arrived),
            "transferred": Value(arrived.transferred_bytes, arrived.transferred_resolution_bytes),
            "duration": Value(figure.duration_s),
            "streams": Value(float(sent.streams)),
            "client_throughput": _rate(ends["client"]),
            "server_throughput": _rate(ends["server"]),
        }


TOOL = Iperf()


def server_argv(address: str) -> tuple[str, ...]:
    """Command line of the server for runs in every direction."""
    return ("iperf", "-s", "-e", "-B", address)


def check_unwitnessed(options: IperfOptions, outputs: Mapping[str, End]) -> None:
    """ParseError if both ends' times differ as they do if a clock was stepped; for runs without witnesses."""
    ends = _both(options, outputs)
    client, server = ends["client"], ends["server"]
    tolerance_s = max(UNWITNESSED_TOLERANCE * client.duration_s, UNWITNESSED_TOLERANCE_S)
    if server.duration_s > client.duration_s + tolerance_s + SEND_BUFFER_BITS / server.throughput_bps:
        raise ParseError(
            f"server: the report is of {server.duration_s:g} s, but the client's of "
            f"{client.duration_s:g} s: the clock of one of them was stepped, or they are of two runs"
        )


def check_time(client: Measurement, end: End, ordered_s: float) -> None:
    """ParseError if the client's report is of a shorter run than was ordered, or a longer than there was."""
    check_lasted(client.duration_s, ordered_s)
    check_within(client.duration_s, end)


def check_same_run(sent: Measurement, arrived: Measurement, block_bytes: int = BLOCK_BYTES) -> None:
    """ParseError unless what one end got is what the other sent, as far as their digits go.

    TCP delivers everything or says so, and a receiver reports when it has read to the end. `block_bytes`:
    what is written at once.
    """
    client, server = (sent, arrived) if sent.role == "client" else (arrived, sent)
    if client.streams != server.streams:
        raise ParseError(
            f"server: the report is of {server.streams} streams, the client's of {client.streams}: "
            "they are not of the same run"
        )
    if client.ports and server.ports:
        check_ports(client.ports, server.ports)
    rounding = sent.transferred_resolution_bytes + arrived.transferred_resolution_bytes
    allowance = rounding + block_bytes * sent.streams
    if abs(sent.transferred_bytes - arrived.transferred_bytes) > allowance:
        raise ParseError(
            f"{arrived.role}: it got {arrived.transferred_bytes:.0f} bytes, but the {sent.role} sent "
            f"{sent.transferred_bytes:.0f}: one of them did not see the whole run"
        )


def _expected_s(options: IperfOptions, rate_bps: float) -> float:
    """How long a run takes, without the drain; `rate_bps` is that of one by bytes."""
    if options.bytes is None:
        return float(options.duration_s)
    return 8 * options.bytes * options.streams / rate_bps


def _both(options: IperfOptions, outputs: Mapping[str, End]) -> dict[Role, Measurement]:
    """What client and server measured of the same run, which is the one that was asked for."""
    ends: dict[Role, Measurement] = {"client": _of_client(options, output_of(outputs, "client"))}
    ends["server"] = _of_end("server", output_of(outputs, "server"))
    block_bytes = options.length_bytes or BLOCK_BYTES
    check_same_run(ends[options.sender], ends[options.receiver], block_bytes)
    windows = {"client": options.window, "server": options.server_window}
    for role, end in ends.items():
        _check_segments(role, end, options.mss)
        _check_window(role, end, windows[role])
    return ends


def _of_client(options: IperfOptions, output: End) -> Measurement:
    """What the client says by itself; ParseError with the reason if that is not what was asked for."""
    check_exit("client", output)
    client = _of_end("client", output)
    check_time(client, output, options.duration_s if options.bytes is None else 0.0)
    if client.streams != options.streams:
        raise ParseError(f"client: the report is of {client.streams} streams instead of {options.streams}")
    ordered_bytes = (options.bytes or 0) * options.streams
    if client.transferred_bytes + client.transferred_resolution_bytes < ordered_bytes:
        raise ParseError(
            f"client: the report is of {client.transferred_bytes:.0f} bytes instead of {ordered_bytes}"
        )
    return client


def _of_end(role: Role, output: End) -> Measurement:
    measured = heard(role, output, parse)
    check_role(role, measured)
    return measured


def _check_segments(role: Role, end: Measurement, mss: int | None) -> None:
    """ParseError if this end prints other segments than were asked for."""
    if mss is None or all(mss - TIMESTAMPS_BYTES <= size <= mss for size in end.mss_bytes):
        return
    raise ParseError(
        f"{role}: its segments are of {listed(sorted(end.mss_bytes))} bytes instead of {mss}: "
        "the link's MTU allows no larger ones, or the system did not take the size (option mss)"
    )


def _check_window(role: Role, end: Measurement, asked: str | None) -> None:
    """ParseError if this end prints smaller socket buffers than were asked for."""
    least = WINDOW_PRINTED * (number(asked) or 0.0)
    if asked is None or all(size >= least for size in end.window_bytes):
        return
    granted = listed(f"{size:.0f}" for size in sorted(end.window_bytes))
    raise ParseError(
        f"{role}: its socket buffers are of {granted} bytes, less than {asked}: the system allows no larger "
        "ones (net.core.rmem_max, net.core.wmem_max)"
    )


def _fairness(arrived: Measurement) -> Value | str:
    """Jain's index of the streams' rates."""
    rates = arrived.stream_rates_bps
    if len(rates) < 2:
        return "one stream: there is nothing to share"
    if not any(rates):
        return f"the {arrived.role}’s iperf prints the rates of the streams as 0"
    return fairness_of(rates)


def _rate(end: Measurement) -> Value:
    return Value(end.throughput_bps, end.throughput_resolution_bps)


def heard(role: Role, end: End, parse: Callable[[str], Heard]) -> Heard:
    """What one end says. Trouble is reported on standard error, often beside a report that looks good."""
    try:
        return parse(end.stdout + end.stderr)
    except ParseError as error:
        said = end.stderr.strip()
        is_news = said and said not in str(error)
        raise ParseError(f"{role}: {error}" + (f"; it said: {said}" if is_news else "")) from error


def check_role(role: Role, measured: Measurement) -> None:
    """ParseError if this is what the other end measured."""
    if measured.role != role:
        raise ParseError(f"{role}: the output is that of a {measured.role}")
