"""netperf's request and response over one connection: how long the system takes to answer.

See `omni` for what makes a run count. TCP sends again what was lost, after 0.2 s or more, which shows in the
percentiles and among the details. UDP does not, so a run over UDP that loses anything has failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hvcost.model.metric import (
    ROUND_TRIP,
    ROUND_TRIP_P90,
    ROUND_TRIP_P99,
    TRANSACTION_RATE,
    Metric,
    Value,
)
from hvcost.model.process import Process
from hvcost.model.record import End
from hvcost.tools import DURATION, TRANSACTIONS, Tool, omni

PROTOCOLS = {"tcp": "TCP_RR", "udp": "UDP_RR"}
# What a datagram over IPv4 can carry (RFC 768: 16 bits of length, less both headers).
LARGEST_BYTES = 65_507


@dataclass(frozen=True)
class NetperfOptions:
    """`duration_s`: how long a run asks. `protocol`: tcp or udp.

    `request_bytes`, `response_bytes`: sizes of both messages.
    """

    duration_s: int = field(default=10, metadata={"minimum": 1, "maximum": 86_400})
    request_bytes: int = field(default=1, metadata={"minimum": 1, "maximum": LARGEST_BYTES})
    response_bytes: int = field(default=1, metadata={"minimum": 1, "maximum": LARGEST_BYTES})
    protocol: str = field(default="tcp", metadata={"allowed": tuple(PROTOCOLS)})


class Netperf(Tool):
    """`netperf -t TCP_RR` or `UDP_RR` on the client, netserver in the system."""

    name = "netperf"
    packages = omni.PACKAGES
    autostart = omni.AUTOSTART
    version_argv = omni.VERSION_ARGV
    version_begins = omni.VERSION_BEGINS
    Options = NetperfOptions
    metrics = (ROUND_TRIP, ROUND_TRIP_P90, ROUND_TRIP_P99, TRANSACTION_RATE)
    details = (
        TRANSACTIONS,
        DURATION,
        Metric("client_retransmissions", "1", "retransmissions of the client"),
        Metric("server_retransmissions", "1", "retransmissions of the server"),
    )

    def expected_s(self, options: NetperfOptions) -> float:
        return float(options.duration_s)

    def processes(self, options: NetperfOptions, address: str) -> tuple[Process, ...]:
        return omni.processes(_order(options), address)

    def read(self, options: NetperfOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        report = omni.read(_order(options), outputs, "round trips")
        return {
            "round_trip": report.median_ms(),
            "round_trip_p90": report.p90_ms(),
            "round_trip_p99": report.p99_ms(),
            "transaction_rate": report.rate,
            "transactions": Value(float(report.transactions)),
            "duration": report.elapsed,
            "client_retransmissions": _retransmissions(report.client_retransmissions),
            "server_retransmissions": _retransmissions(report.server_retransmissions),
        }


TOOL = Netperf()


def _order(options: NetperfOptions) -> omni.Order:
    return omni.Order(
        PROTOCOLS[options.protocol], options.duration_s, options.request_bytes, options.response_bytes
    )


def _retransmissions(count: int) -> Value | str:
    return Value(float(count)) if count >= 0 else "not available: only TCP sends again"
