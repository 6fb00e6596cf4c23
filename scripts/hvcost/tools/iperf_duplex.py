"""iperf 2 over TCP in both directions at once, on one connection (`--full-duplex`).

Which number is right is as of `iperf`: in each direction the bytes that arrived, over the longer of both
ends' times. The figure of the run is the bytes of both directions, over the longest of all four times: one
direction may drain while the other one is over already.

Each end prints two reports, of what it wrote and of what it read, told apart by their columns (`-e`) and by a
star, which 2.1.8 and 2.2.1 do alike, also with each other. Their sums are not used: 2.1.8 has two kinds of
them, and no sum says which direction it lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hvcost.model.link import tcp_limit_bps
from hvcost.model.metric import LinkSpec, Metric, Value
from hvcost.model.process import Listening, Process
from hvcost.model.record import End
from hvcost.tools import DURATION, TRANSFERRED, Tool, check_exit, output_of
from hvcost.tools.iperf import (
    CONNECT_ROOM_S,
    SEND_BUFFER_BITS,
    SLOWEST_BPS,
    WINDOW,
    check_role,
    check_same_run,
    check_time,
    heard,
    server_argv,
)
from hvcost.tools.iperf2_text import GREETING, PORT, Measurement, Role, parse_duplex


def _one_way(link: LinkSpec) -> float:
    return tcp_limit_bps(link["rate_mbit"], link["mtu"])


def _both_ways(link: LinkSpec) -> float:
    return 2 * _one_way(link)


@dataclass(frozen=True)
class IperfDuplexOptions:
    """`duration_s`: how long a run transfers. `window`: size of the client's socket buffers in bytes."""

    duration_s: int = field(default=10, metadata={"minimum": 1, "maximum": 86_400})
    window: str | None = field(default=None, metadata=WINDOW)


class IperfDuplex(Tool):
    """`iperf -s` in the guest, `iperf -c ADDRESS --full-duplex` on the client."""

    name = "iperf-duplex"
    packages = ("iperf",)
    version_argv = ("iperf", "--version")
    version_begins = "iperf version 2"
    Options = IperfDuplexOptions
    metrics = (
        Metric("duplex_throughput", "bit/s", "TCP throughput of both directions at once", limit=_both_ways),
        Metric(
            "throughput_to_guest", "bit/s", "TCP throughput to the guest beside the other way", limit=_one_way
        ),
        Metric(
            "throughput_from_guest",
            "bit/s",
            "TCP throughput from the guest beside the other way",
            limit=_one_way,
        ),
    )
    details = (TRANSFERRED, DURATION)

    def expected_s(self, options: IperfDuplexOptions) -> float:
        return float(options.duration_s)

    def processes(self, options: IperfDuplexOptions, address: str) -> tuple[Process, ...]:
        client = ["iperf", "-c", address, "-e", "-t", str(options.duration_s), "--full-duplex"]
        if options.window is not None:
            client += ["-w", options.window]
        limit_s = options.duration_s + 2 * SEND_BUFFER_BITS / SLOWEST_BPS + CONNECT_ROOM_S
        return (
            Process("server", "server", server_argv(address), limit_s, Listening(PORT), GREETING),
            Process("client", "client", tuple(client), limit_s),
        )

    def read(self, options: IperfDuplexOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        output = output_of(outputs, "client")
        check_exit("client", output)
        client_sent, client_got = _of_end("client", output)
        check_time(client_sent, output, options.duration_s)
        check_time(client_got, output, options.duration_s)
        server_sent, server_got = _of_end("server", output_of(outputs, "server"))
        ways = {
            "throughput_to_guest": (client_sent, server_got),
            "throughput_from_guest": (server_sent, client_got),
        }
        for sent, arrived in ways.values():
            check_same_run(sent, arrived)
        slower = {name: min(ends, key=lambda end: end.throughput_bps) for name, ends in ways.items()}
        longest_s = max(end.duration_s for ends in ways.values() for end in ends)
        arrived_bytes = server_got.transferred_bytes + client_got.transferred_bytes
        step_bytes = server_got.transferred_resolution_bytes + client_got.transferred_resolution_bytes
        return {
            "duplex_throughput": Value(8 * arrived_bytes / longest_s, 8 * step_bytes / longest_s),
            **{
                name: Value(end.throughput_bps, end.throughput_resolution_bps) for name, end in slower.items()
            },
            "transferred": Value(arrived_bytes, step_bytes),
            "duration": Value(longest_s),
        }


TOOL = IperfDuplex()


def _of_end(role: Role, output: End) -> tuple[Measurement, Measurement]:
    """What one end sent, and what it got."""
    sent, received = heard(role, output, parse_duplex)
    check_role(role, sent)
    return sent, received
