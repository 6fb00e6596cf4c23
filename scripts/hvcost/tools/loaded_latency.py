"""Latency under load: round trips while a TCP stream of iperf 2 fills the link to the system.

First the path is probed while it is idle, then the stream begins, and when it has run for a second, the path
is probed again. The stream goes on until the last probe was answered, however long that takes: it is ended
then. So there is no time that is too short on a slow machine. Both are by ping, which the system's kernel
answers.

That the stream was there all the while is seen by one clock, the client's: by the time at which iperf says
that it began, and how long it took, and by the times of ping's answers. iperf 2.1 says its beginning in whole
seconds. What both ends of the stream have to agree on, iperf's reader says; that is why its client has the
role `client`.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hvcost.errors import ParseError
from hvcost.model.metric import THROUGHPUT, Metric, Value, percentile_of
from hvcost.model.process import Process
from hvcost.model.record import End
from hvcost.tools import TRANSFERRED, Tool, iperf, output_of
from hvcost.tools.ping import PingOptions, Probes, probes_of, probing
from hvcost.tools.round_trips import MEDIAN, loss, percentile, percentiles

# The first line about an interval of the stream holds this.
FIRST_SECOND = " sec "
FIRST_SECOND_S = 1.0

LOADED, LOADED_P90, LOADED_P99, LOADED_P999 = (
    percentile_of("loaded_round_trip", "round-trip time under load", percentile)
    for percentile in (50.0, 90.0, 99.0, 99.9)
)
LATENCY_INCREASE = Metric(
    "latency_increase",
    "1",
    "round-trip time under load as a ratio to the idle one",
    better="lower",
    about="Both medians are of the same run.",
)
IDLE = Metric("idle_round_trip", "ms", "median round-trip time before the load")
LOADED_LOSS = Metric("loaded_loss", "%", "packet loss under load")

_BEGAN = re.compile(
    r"^\[ *[0-9]+\] local .* connected with .* on "
    r"([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{3})? \(UTC\)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class LoadedLatencyOptions:
    """`count` and `idle_count`: probes under load and before it. `interval_ms`: time from one to the next."""

    count: int = field(default=1100, metadata={"minimum": 1, "maximum": 65_535})
    idle_count: int = field(default=200, metadata={"minimum": 1, "maximum": 65_535})
    interval_ms: int = field(default=10, metadata={"minimum": 2, "maximum": 10_000})

    @property
    def idle(self) -> PingOptions:
        return PingOptions(self.idle_count, self.interval_ms)

    @property
    def loaded(self) -> PingOptions:
        return PingOptions(self.count, self.interval_ms)


class LoadedLatency(Tool):
    """ping, then iperf, and ping beside it."""

    name = "loaded-latency"
    packages = ("iperf", "iputils-ping")
    version_argv = ("iperf", "--version")
    version_begins = "iperf version 2"
    Options = LoadedLatencyOptions
    metrics = (LOADED, LOADED_P90, LOADED_P99, LOADED_P999, LATENCY_INCREASE, THROUGHPUT)
    details = (TRANSFERRED, IDLE, LOADED_LOSS)

    def expected_s(self, options: LoadedLatencyOptions) -> float:
        return FIRST_SECOND_S + (options.idle_count + options.count) * options.interval_ms / 1000

    def processes(self, options: LoadedLatencyOptions, address: str) -> tuple[Process, ...]:
        idle, loaded = probing("idle", options.idle, address), probing("loaded", options.loaded, address)
        limit_s = self.expected_s(options) + idle.limit_s + loaded.limit_s
        server, client = iperf.TOOL.processes(_stream(int(limit_s)), address)
        # Its beginning is printed in the time of a zone, and each second when it is over.
        argv = ("env", "TZ=UTC", *client.argv, "-e", "-i", "1")
        stream = replace(client, argv=argv, greeting=FIRST_SECOND)
        return (
            replace(server, limit_s=limit_s),
            replace(idle, limit_s=limit_s),
            replace(stream, limit_s=limit_s),
            replace(loaded, limit_s=limit_s),
        )

    def read(self, options: LoadedLatencyOptions, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        idle = probes_of("idle", options.idle, output_of(outputs, "idle"))
        loaded = probes_of("loaded", options.loaded, output_of(outputs, "loaded"))
        client = output_of(outputs, "client")
        # How long it was to last was the probes' matter.
        stream = iperf.TOOL.read(
            _stream(int(FIRST_SECOND_S)),
            {role: outputs[role] for role in ("client", "server") if role in outputs},
        )
        _check_load(client, stream["duration"], idle, loaded)
        found = percentiles(loaded.round_trips, self.metrics[:4])
        before = percentile(idle.round_trips, MEDIAN)
        return {
            **found,
            LATENCY_INCREASE.name: _ratio(percentile(loaded.round_trips, MEDIAN), before),
            THROUGHPUT.name: stream[THROUGHPUT.name],
            TRANSFERRED.name: stream[TRANSFERRED.name],
            IDLE.name: before,
            LOADED_LOSS.name: loss(loaded.sent, len(loaded.answers)),
        }


TOOL = LoadedLatency()


def _stream(duration_s: int) -> iperf.IperfOptions:
    return iperf.IperfOptions(duration_s=duration_s)


def _ratio(loaded: Value, idle: Value) -> Value:
    """The ratio of two round trips, with what both last digits do to it."""
    if idle.value <= 0:
        raise ParseError("idle: the median round trip is printed as 0")
    ratio = loaded.value / idle.value
    return Value(ratio, ((loaded.resolution or 0.0) + ratio * (idle.resolution or 0.0)) / idle.value)


def _check_load(client: End, duration: Value | str, idle: Probes, loaded: Probes) -> None:
    """ParseError unless the stream began after the last idle answer and before the first probe beside it,

    and ended after the last answer.
    """
    found = _BEGAN.findall(client.stdout)
    if len(found) != 1 or not isinstance(duration, Value):
        raise ParseError("client: iperf does not say when its stream began")
    whole, fraction = found[0]
    try:
        began = datetime.datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=datetime.UTC)
    except ValueError as error:
        raise ParseError(f"client: its stream began at no time that there is: {error}") from error
    began_s = began.timestamp() + float(fraction or 0)
    step_s = 0.001 if fraction else 1.0
    first_s = min(answer.at_s - answer.round_trip.value / 1000 for answer in loaded.answers)
    last_s = max(answer.at_s for answer in loaded.answers)
    if max(answer.at_s for answer in idle.answers) > began_s + step_s:
        raise ParseError("idle: the stream had begun before the last probe was answered")
    if first_s < began_s:
        raise ParseError("loaded: the stream had not begun when the first probe was sent")
    if last_s > began_s + step_s + duration.value:
        raise ParseError("loaded: the stream had ended before the last probe was answered")
