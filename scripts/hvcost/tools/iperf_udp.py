"""iperf 2 over UDP at an offered rate: how much of it is lost on the way to the system.

Which number is right: what the receiver counted. Rates are over the longer of both ends' times. A run counts
only if the client really wrote what was offered, since one that was too slow has measured itself, and if
both ends saw the same run (see `iperf2_datagrams`). Jitter is that of RFC 3550 (6.4.1) as iperf works it out:
2.1.8 prints its value at the end of the run, 2.2.1 its mean over the run, so compare ends of one version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hvcost.errors import ParseError
from hvcost.model.metric import JITTER, LOSS, OUT_OF_ORDER, PACKET_RATE, UDP_THROUGHPUT, Metric, Value
from hvcost.model.process import Process
from hvcost.model.record import End
from hvcost.tools import DURATION, PACKETS, TRANSFERRED, Tool, check_exit, check_within, output_of
from hvcost.tools.iperf2_datagrams import (
    MESSAGE,
    RATE,
    Sent,
    arrived,
    check_trouble,
    same_run,
    sent,
    server_of,
    too_slow,
)

ROOM_S = 60.0


@dataclass(frozen=True)
class IperfUdpOptions:
    """`duration_s`: how long a run transfers. `packets_per_s`: datagrams that the client writes.

    `message_bytes`: payload of each.
    """

    duration_s: int = field(default=10, metadata={"minimum": 1, "maximum": 86_400})
    packets_per_s: int = field(default=1000, metadata=RATE)
    message_bytes: int = field(default=1470, metadata=MESSAGE)


class IperfUdp(Tool):
    """`iperf -s -u` in the system, `iperf -c ADDRESS -u` on the client."""

    name = "iperf-udp"
    packages = ("iperf",)
    version_argv = ("iperf", "--version")
    version_begins = "iperf version 2"
    Options = IperfUdpOptions
    metrics = (LOSS, PACKET_RATE, JITTER, OUT_OF_ORDER, UDP_THROUGHPUT)
    details = (
        PACKETS,
        TRANSFERRED,
        DURATION,
        Metric("offered", "1", "packets that the client wrote"),
    )

    def expected_s(self, options: IperfUdpOptions) -> float:
        return float(options.duration_s)

    def processes(self, options: IperfUdpOptions, address: str) -> tuple[Process, ...]:
        limit_s = options.duration_s + ROOM_S
        argv = ["iperf", "-c", address, "-u", "-e", "-l", str(options.message_bytes)]
        argv += ["-b", f"{options.packets_per_s}pps", "-t", str(options.duration_s)]
        return (
            server_of(address, options.message_bytes, limit_s),
            Process("client", "client", tuple(argv), limit_s),
        )

    def read(self, options: IperfUdpOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        """The figures of a run whose client kept the offered rate."""
        client = _sent(options, output_of(outputs, "client"))
        server = output_of(outputs, "server")
        check_trouble("server", server)
        reports = arrived(server.stdout)
        if len(reports) != 1:
            raise ParseError(f"server: {len(reports)} reports instead of one")
        ((port, report),) = reports
        run = same_run(client, port, report, options.message_bytes)
        received_bits = 8.0 * options.message_bytes * run.arrived
        percent = 100 / run.sent
        return {
            "loss": Value(run.lost * percent, percent),
            "packet_rate": Value(run.arrived / run.seconds, 1 / run.seconds),
            "jitter": _jitter(run.jitter_ms),
            "out_of_order": Value(run.out_of_order * percent, percent),
            "udp_throughput": Value(received_bits / run.seconds, 8 * options.message_bytes / run.seconds),
            "packets": Value(float(run.arrived), 1.0),
            "transferred": Value(received_bits / 8, float(options.message_bytes)),
            "duration": Value(run.seconds),
            "offered": Value(float(client.written), 1.0),
        }


TOOL = IperfUdp()


def _sent(options: IperfUdpOptions, client: End) -> Sent:
    """What the client says by itself; ParseError with the reason if that is not what was asked for."""
    check_exit("client", client)
    check_trouble("client", client)
    said = sent(client.stdout, options.duration_s)
    check_within(said.seconds, client)
    said.heard()
    if not said.keeps(options.packets_per_s):
        raise ParseError(f"client: {too_slow(said, options.packets_per_s)} (option packets_per_s)")
    return said


def _jitter(jitter_ms: float | None) -> Value | str:
    if jitter_ms is None:
        return "the last datagram was lost and had to be repeated, which iperf takes for jitter"
    return Value(jitter_ms, 0.001)
