"""netperf's connect, request, response, close: how many connections the system takes, and for how long.

See `omni` for what makes a run count. This is netperf's TCP_CRR. Its test without messages, TCP_CC, prints no
percentiles in Debian's builds and, asked of the omni engine (`-d 0 -c`), lets the server count nothing: only
the client would have seen the run. So a connection's time is that of all of it, two round trips and what both
ends need to set it up and to take it down. It is not that of connect(2) alone.

No client runs out of ports, however fast the connections come. netserver closes first, so it is there that a
closed connection keeps its ports for a minute (TIME-WAIT), and Linux lets a new one have them at once
(RFC 6191). netperf counts its own port up from 5000 to 65535, begins again, and has the kernel choose where a
port is in use. Seen: 8,000 connections in 3 s through 1,000 ports, none of which took 15 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hvcost.model.metric import Metric, Value, percentile_of
from hvcost.model.process import Process
from hvcost.model.record import End
from hvcost.tools import DURATION, TRANSACTIONS, Tool, omni

_OF_ALL = "It is the time from connect to close, with a request and its response in between."

CONNECTION_RATE = Metric("connection_rate", "1/s", "connections per second")
CONNECTION_TIME, CONNECTION_TIME_P99 = (
    percentile_of("connection_time", "time of a connection", percentile, _OF_ALL)
    for percentile in (50.0, 99.0)
)


@dataclass(frozen=True)
class NetperfConnectOptions:
    """`duration_s`: how long a run connects. `request_bytes`, `response_bytes`: sizes of both messages."""

    duration_s: int = field(default=10, metadata={"minimum": 1, "maximum": 86_400})
    request_bytes: int = field(default=1, metadata={"minimum": 1, "maximum": 1_048_576})
    response_bytes: int = field(default=1, metadata={"minimum": 1, "maximum": 1_048_576})


class NetperfConnect(Tool):
    """`netperf -t TCP_CRR` on the client, netserver in the system."""

    name = "netperf-connect"
    packages = omni.PACKAGES
    autostart = omni.AUTOSTART
    version_argv = omni.VERSION_ARGV
    version_begins = omni.VERSION_BEGINS
    Options = NetperfConnectOptions
    metrics = (CONNECTION_RATE, CONNECTION_TIME, CONNECTION_TIME_P99)
    details = (TRANSACTIONS, DURATION)

    def expected_s(self, options: NetperfConnectOptions) -> float:
        return options.duration_s + omni.LISTENS_ON_S

    def processes(self, options: NetperfConnectOptions, address: str) -> tuple[Process, ...]:
        return omni.processes(_order(options), address)

    def read(self, options: NetperfConnectOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        report = omni.read(_order(options), outputs, "connections")
        return {
            "connection_rate": report.rate,
            "connection_time": report.median_ms(),
            "connection_time_p99": report.p99_ms(),
            "transactions": Value(float(report.transactions)),
            "duration": report.elapsed,
        }


TOOL = NetperfConnect()


def _order(options: NetperfConnectOptions) -> omni.Order:
    return omni.Order("TCP_CRR", options.duration_s, options.request_bytes, options.response_bytes)
