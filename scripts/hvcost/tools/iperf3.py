"""iperf3 over TCP, the other tool that people know, in one direction at a time; see `iperf3_report`.

`throughput` is the receiver's bytes over the time of the run. To the guest that is the longer of both ends'
times: a guest may begin its clock late, and it reads on until it hears of the end. From the guest it is the
client's, which began before the first byte and counts nothing after it: a guest that hears of the end late
goes on sending for nobody, and that time is not the run's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hvcost.model.metric import FAIRNESS, RETRANSMISSIONS, THROUGHPUT, Value
from hvcost.model.process import Process
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
    fairness_of,
    iperf3_report,
    output_of,
)


@dataclass(frozen=True)
class Iperf3Options:
    """`duration_s`: how long a run transfers. `streams`: parallel TCP connections. `direction`: who receives.

    `length_bytes`: of one write or read. `mss`: TCP's largest segment in bytes. `window`: size of the socket
    buffers in bytes. None leaves it to iperf3 or to the system.
    """

    duration_s: int = field(default=10, metadata={"minimum": 1, "maximum": 86_400})
    streams: int = field(default=1, metadata={"minimum": 1, "maximum": 128})
    direction: str = field(default=TO_GUEST, metadata={"allowed": (TO_GUEST, FROM_GUEST)})
    length_bytes: int | None = field(default=None, metadata={"minimum": 1, "maximum": 1024**2})
    mss: int | None = field(default=None, metadata={"minimum": 88, "maximum": 9216})
    window: str | None = field(
        default=None,
        metadata={
            # iperf3 takes 512M at most.
            "pattern": "[1-9][0-9]{0,7}|[1-9][0-9]{0,4}K|[1-9][0-9]?M",
            "form": "a number of bytes, or one up to 99999 with K or up to 99 with M, such as 64K,",
        },
    )


class Iperf3(Tool):
    """`iperf3 -s` in the guest, `iperf3 -c ADDRESS` on the client; `-R` turns the stream round."""

    name = "iperf3"
    packages = iperf3_report.PACKAGES
    version_argv = iperf3_report.VERSION_ARGV
    version_begins = iperf3_report.VERSION_BEGINS
    Options = Iperf3Options
    metrics = (THROUGHPUT, RETRANSMISSIONS, FAIRNESS)
    details = (
        TRANSFERRED,
        DURATION,
        STREAMS,
        CLIENT_THROUGHPUT,
        SERVER_THROUGHPUT,
        iperf3_report.CLIENT_CPU,
        iperf3_report.SERVER_CPU,
    )

    def expected_s(self, options: Iperf3Options) -> float:
        return float(options.duration_s)

    def sender(self, options: Iperf3Options) -> iperf3_report.Role:
        return "client" if options.direction == TO_GUEST else "server"

    def processes(self, options: Iperf3Options, address: str) -> tuple[Process, ...]:
        arguments = ["-R"] if options.direction == FROM_GUEST else []
        if options.streams > 1:
            arguments += ["-P", str(options.streams)]
        if options.length_bytes is not None:
            arguments += ["-l", str(options.length_bytes)]
        if options.mss is not None:
            arguments += ["-M", str(options.mss)]
        if options.window is not None:
            arguments += ["-w", options.window]
        return iperf3_report.processes(address, options.duration_s, arguments)

    def read(self, options: Iperf3Options, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        """The receiver's bytes count. See the module."""
        to_guest = options.direction == TO_GUEST
        ordered = {
            "protocol": "TCP",
            "num_streams": options.streams,
            "duration": options.duration_s,
            "reverse": int(not to_guest),
        }
        if options.length_bytes is not None:
            ordered["blksize"] = options.length_bytes
        client = iperf3_report.read_client(output_of(outputs, "client"), ordered)
        server = iperf3_report.read_server(output_of(outputs, "server"), client)
        receiver = server if to_guest else client
        received = receiver.own
        seconds = max(client.own.seconds, received.seconds)
        return {
            "throughput": Value(received.bytes * 8 / seconds, receiver.slack_bytes * 8 / seconds),
            "fairness": _fairness(received.streams),
            "transferred": Value(float(received.bytes), float(receiver.slack_bytes)),
            "duration": Value(seconds),
            "streams": Value(float(len(received.streams))),
            "client_throughput": Value(client.own.bits_per_s),
            "server_throughput": Value(server.own.bits_per_s),
            "client_cpu": Value(client.cpu_percent),
            "server_cpu": Value(server.cpu_percent),
        }


TOOL = Iperf3()


def _fairness(shares: Sequence[int]) -> Value | str:
    """Jain's index of the streams' bytes."""
    if len(shares) == 1:
        return "one stream only: there is nothing to share"
    return fairness_of(shares)
