"""iperf3 over UDP, to the guest, at an offered rate; see `iperf3_report`.

Packets are numbered, so the receiver knows which are missing: `loss` is their share of all up to the last
one that arrived. What was sent after that one is in no receiver's figure, be it lost or not yet read when the
test ended. If that is more than a little, the run does not count.

iperf3 sends as many packets together as its rate has for a millisecond, and makes up for what it was late:
small buffers on the way see bursts. A rate that it could not keep is not the rate that was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hvcost.errors import ParseError
from hvcost.model.metric import JITTER, LOSS, OUT_OF_ORDER, PACKET_RATE, UDP_THROUGHPUT, Value
from hvcost.model.process import Process
from hvcost.model.record import End
from hvcost.tools import DURATION, PACKETS, TRANSFERRED, Tool, iperf3_report, output_of
from hvcost.tools.iperf3_report import Datagrams, Report

# What was sent late in the last moment of a run is not made up for.
OFFER_TOLERANCE = 0.05
# An end may be stopped between counting a packet's bytes and the packet.
AMID = 1
# Share of a run at whose end nothing more may have arrived: a socket holds some packets that nobody has read.
SILENCE_TOLERANCE = 0.05


@dataclass(frozen=True)
class Iperf3UdpOptions:
    """`duration_s`: how long a run sends. Offered are `packets_per_s` of `message_bytes`, without headers."""

    duration_s: int = field(default=10, metadata={"minimum": 1, "maximum": 86_400})
    packets_per_s: int = field(default=1000, metadata={"minimum": 1, "maximum": 10_000_000})
    message_bytes: int = field(default=64, metadata={"minimum": 16, "maximum": 65_507})


class Iperf3Udp(Tool):
    """`iperf3 -s` in the guest, `iperf3 -c ADDRESS -u` on the client."""

    name = "iperf3-udp"
    packages = iperf3_report.PACKAGES
    version_argv = iperf3_report.VERSION_ARGV
    version_begins = iperf3_report.VERSION_BEGINS
    Options = Iperf3UdpOptions
    metrics = (LOSS, PACKET_RATE, JITTER, OUT_OF_ORDER, UDP_THROUGHPUT)
    details = (
        PACKETS,
        TRANSFERRED,
        DURATION,
        iperf3_report.CLIENT_CPU,
        iperf3_report.SERVER_CPU,
    )

    def expected_s(self, options: Iperf3UdpOptions) -> float:
        return float(options.duration_s)

    def processes(self, options: Iperf3UdpOptions, address: str) -> tuple[Process, ...]:
        bits_per_s = options.packets_per_s * options.message_bytes * 8
        arguments = ["-u", "-l", str(options.message_bytes), "-b", str(bits_per_s)]
        return iperf3_report.processes(address, options.duration_s, arguments)

    def read(self, options: Iperf3UdpOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        """The server's figures count, over the longer of both ends' times."""
        ordered = {
            "protocol": "UDP",
            "num_streams": 1,
            "duration": options.duration_s,
            "reverse": 0,
            "blksize": options.message_bytes,
        }
        client = iperf3_report.read_client(output_of(outputs, "client"), ordered)
        _check_offer(options, client)
        server = iperf3_report.read_server(output_of(outputs, "server"), client)
        received = server.own
        known = _datagrams(server)
        arrived = received.bytes // options.message_bytes
        if received.bytes % options.message_bytes or abs(known.packets - known.lost - arrived) > AMID:
            raise ParseError(
                f"server: {received.bytes} bytes arrived, {known.lost} of {known.packets} packets did not: "
                "they do not agree"
            )
        seconds = max(client.own.seconds, received.seconds)
        return {
            "loss": Value(100 * known.lost / known.packets, 100 / known.packets),
            "packet_rate": Value(arrived / seconds, 1 / seconds),
            "jitter": Value(known.jitter_ms),
            "out_of_order": Value(100 * known.out_of_order / arrived, 100 / arrived),
            "udp_throughput": Value(received.bytes * 8 / seconds, options.message_bytes * 8 / seconds),
            "packets": Value(float(arrived)),
            "transferred": Value(float(received.bytes)),
            "duration": Value(seconds),
            "client_cpu": Value(client.cpu_percent),
            "server_cpu": Value(server.cpu_percent),
        }


TOOL = Iperf3Udp()


def _check_offer(options: Iperf3UdpOptions, client: Report) -> None:
    """ParseError if the client did not send what it had to, or the server knows nothing of a run's end."""
    sent = _datagrams(client)
    rate = sent.packets / client.own.seconds
    if rate < options.packets_per_s * (1 - OFFER_TOLERANCE):
        raise ParseError(
            f"client: it sent {rate:.0f} packets per second instead of {options.packets_per_s}: "
            "it, or the link, cannot have more"
        )
    if abs(sent.packets - client.own.bytes / options.message_bytes) > AMID:
        raise ParseError(f"client: {sent.packets} packets and {client.own.bytes} bytes do not agree")
    known = client.received.datagrams
    silent = sent.packets - (known.packets if known else 0)
    if silent > max(AMID, SILENCE_TOLERANCE * sent.packets):
        raise ParseError(
            f"client: of the last {silent} of {sent.packets} packets nothing arrived: "
            "the link broke, or the server cannot read so many"
        )


def _datagrams(report: Report) -> Datagrams:
    """What this end says of its packets."""
    if report.own.datagrams is None:
        raise ParseError(f"{report.role}: it says nothing of packets")
    return report.own.datagrams
