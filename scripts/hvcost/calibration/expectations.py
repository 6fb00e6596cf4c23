"""What a metric has to be on a link of known rate, delay and loss, from first principles, and how nearly.

The rules go by metric and not by tool, so that a new tool's metrics are calibrated without anybody's doing. A
metric without a rule is named as such.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal

from hvcost.analysis.metrics import DETAIL, metrics_of
from hvcost.environments.network import QUEUE_S
from hvcost.model import metric as metrics
from hvcost.model.link import FRAMING_BYTES, HEADER_BYTES
from hvcost.model.metric import Metric
from hvcost.tools import load_tool, options_of

Property = Literal["rate", "delay", "loss"]

REPETITIONS = 6
MTU = 1500
# A run that takes longer is made on the links FOR_LONG alone.
LONG_S = 4.0
# IPv4 (RFC 791) 20 and UDP (RFC 768) 8.
UDP_HEADER_BYTES = 28
MESSAGE_BYTES = 1470
# What datagrams are offered of what the link carries, and at most: slow computers write no more. A sender on
# the link's own machine cannot offer more than the link carries: its socket waits for the shaper.
OFFERED = 0.9
MOST_PPS = 10_000
CALM_PPS = 500
# A median of fewer is none.
ROUND_TRIPS = 30
# The search for a rate begins so many times below and above what is expected.
SEARCH = 1.5
# Of a stream in the other direction: an acknowledgement without data, for every second packet (RFC 5681).
ACKNOWLEDGEMENT_BYTES = HEADER_BYTES + FRAMING_BYTES
PACKETS_ACKNOWLEDGED = 2

# Stated errors.
RATE_ERROR = 0.02
# Both ways neither begin nor end together, and some acknowledgements travel with data.
DUPLEX_ERROR = 0.05
# netem counts its delay from a packet's coming, and the kernel's timer wakes it up a little later, both ways.
DELAY_ERROR = 0.01
DELAY_ERROR_MS = 0.3
# Of a loss that is drawn by lot: so many standard errors of the median.
SIGMAS = 3.0
# The median of normal values is less sure than their mean (its asymptotic efficiency is 2/pi).
MEDIAN_PENALTY = math.sqrt(math.pi / 2)


@dataclass(frozen=True)
class Setting:
    """A link of known properties, and which of them it is there to tell.

    `delay_ms` is added each way; `loss_percent` is lost on the way to the system alone, so that every tool
    sees the same, whether something comes back or not.
    """

    tells: tuple[Property, ...]
    rate_mbit: int = 100
    delay_ms: int = 0
    loss_percent: int = 0

    @property
    def is_impaired(self) -> bool:
        """Whether it is there for its delay or loss, which may be 0."""
        return self.tells != ("rate",)

    def __str__(self) -> str:
        parts = [f"{self.rate_mbit} Mbit/s"]
        if self.is_impaired:
            parts += [f"{self.delay_ms} ms each way", f"{self.loss_percent} % loss"]
        return ", ".join(parts)


RATES = tuple(Setting(("rate",), rate) for rate in (10, 100, 1000))
# Nothing is added: what the machines themselves take.
BARE = Setting(("delay", "loss"))
IMPAIRED = (
    BARE,
    *(Setting(("delay",), delay_ms=delay) for delay in (1, 10, 50)),
    *(Setting(("loss",), loss_percent=loss) for loss in (1, 5)),
)
FOR_LONG = (RATES[0], BARE, Setting(("delay",), delay_ms=1))


@dataclass(frozen=True)
class Bare:
    """What a tool says of a metric on the link BARE: the median, and between what it was seen."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Case:
    """A metric on a link. `options`: the tool's. `bare`: what it was on the link BARE, None if nobody knows.

    `resolution`: one step of its last digit, in its unit.
    """

    metric: Metric
    setting: Setting
    options: Any
    bare: Bare | None = None
    resolution: float = 0.0


@dataclass(frozen=True)
class Expected:
    """A value in its metric's unit, and the stated error: by so much a measured median may be off."""

    value: float
    error: float

    def is_kept(self, median: float) -> bool:
        # What is printed with few digits is off by half a step, and computed with an error of its own.
        return abs(median - self.value) <= self.error * (1 + 1e-9)


@dataclass(frozen=True)
class Rule:
    """What a metric has to be, and why in words. `tells`: the properties of a link that it gives back."""

    tells: tuple[Property, ...]
    expect: Callable[[Case], Expected | None]
    words: str


def options_for(tool: str, setting: Setting) -> dict[str, Any]:
    """A workload of the tool for this link: short runs; what a tool has no option for is left out."""
    capacity_pps = udp_capacity_pps(setting.rate_mbit, MESSAGE_BYTES)
    wanted = {
        "duration_s": _duration_s(setting),
        "count": 500 if setting.loss_percent else 110,
        "idle_count": 100,
        # A slow machine that is asked more often makes packets wait for each other.
        "interval_ms": 4 if setting.loss_percent else 10,
        "message_bytes": MESSAGE_BYTES,
        "packets_per_s": CALM_PPS if setting.is_impaired else min(round(OFFERED * capacity_pps), MOST_PPS),
        "trials": 6,
        "trial_s": 1,
        "lowest_pps": round(capacity_pps / SEARCH),
        "highest_pps": round(capacity_pps * SEARCH),
    }
    known = {field.name for field in fields(load_tool(tool).Options)}
    return {"tool": tool, **{key: value for key, value in wanted.items() if key in known}}


def _duration_s(setting: Setting) -> int:
    """Long enough for a median of round trips, and for more than a few losses."""
    return max(2 if setting.loss_percent else 1, math.ceil(ROUND_TRIPS * 2 * setting.delay_ms / 1000))


def rule_of(metric: Metric) -> Rule | None:
    """The rule of a metric; None if nothing is expected of it."""
    if metric.name in RULES:
        return RULES[metric.name]
    return AT_LIMIT if metric.better == "higher" and metric.limit is not metrics.no_limit else None


def expected(case: Case) -> Expected | None:
    """What a metric has to be on a link; None if the link is not there to tell, or nothing is expected."""
    rule = rule_of(case.metric)
    if rule is None or not set(rule.tells) & set(case.setting.tells):
        return None
    return rule.expect(case)


def tools_for(setting: Setting, tools: Sequence[str]) -> list[str]:
    """Those of the tools that tell something of this link."""
    chosen = []
    for name in tools:
        rules = [rule_of(metric) for metric, role in metrics_of(name).items() if role != DETAIL]
        takes_s = load_tool(name).expected_s(options_of(options_for(name, setting)))
        if (takes_s <= LONG_S or setting in FOR_LONG) and any(
            rule and set(rule.tells) & set(setting.tells) for rule in rules
        ):
            chosen.append(name)
    return chosen


def udp_capacity_pps(rate_mbit: float, message_bytes: int) -> float:
    """Most datagrams with so much payload that Ethernet of this rate carries, in 1/s, one frame each."""
    return rate_mbit * 1e6 / 8 / (message_bytes + UDP_HEADER_BYTES + FRAMING_BYTES)


def _at_limit(case: Case) -> Expected | None:
    limit = case.metric.limit({"rate_mbit": case.setting.rate_mbit, "mtu": MTU})
    return None if limit is None else Expected(limit, RATE_ERROR * limit + case.resolution)


def _both_ways(case: Case) -> Expected | None:
    """Beside a stream in the other direction, whose acknowledgements take their share."""
    limit = case.metric.limit({"rate_mbit": case.setting.rate_mbit, "mtu": MTU})
    if limit is None:
        return None
    share = ACKNOWLEDGEMENT_BYTES / (PACKETS_ACKNOWLEDGED * (MTU + FRAMING_BYTES))
    return Expected(limit * (1 - share), DUPLEX_ERROR * limit + case.resolution)


def _delayed(case: Case, ways: int) -> Expected | None:
    """A time in ms with so many ways in it, beside what it is without the delay."""
    added_ms = ways * case.setting.delay_ms
    if case.bare is None or not added_ms:
        return None
    error_ms = DELAY_ERROR_MS + DELAY_ERROR * added_ms + _reach(case.bare)
    return Expected(case.bare.median + added_ms, error_ms + case.resolution)


def _paced(case: Case, ways: int) -> Expected | None:
    """A rate in 1/s of what happens one after the other, with so many ways in it."""
    added_ms = ways * case.setting.delay_ms
    if case.bare is None or not case.bare.low or not added_ms:
        return None
    bare_ms = Bare(1000 / case.bare.high, 1000 / case.bare.median, 1000 / case.bare.low)
    one_ms = bare_ms.median + added_ms
    error = (DELAY_ERROR_MS + DELAY_ERROR * added_ms + _reach(bare_ms)) / one_ms
    # A run that ends by the clock cuts the last one short.
    cut = one_ms / (1000 * case.options.duration_s)
    return Expected(1000 / one_ms, 1000 / one_ms * (error + cut) + case.resolution)


def _reach(bare: Bare) -> float:
    return max(bare.high - bare.median, bare.median - bare.low)


def _lost(case: Case) -> Expected | None:
    share = case.setting.loss_percent / 100
    if not share:
        return Expected(0.0, case.metric.margin or 0.0)
    sent = _packets(case.options)
    if sent is None:
        return None
    error = SIGMAS * MEDIAN_PENALTY * math.sqrt(share * (1 - share) / sent / REPETITIONS)
    # A run loses whole packets.
    return Expected(100 * share, 100 * (error + 0.5 / sent))


def _packets(options: Any) -> float | None:
    """How many packets a run sends; None if its options do not say."""
    if hasattr(options, "count"):
        return float(options.count)
    if hasattr(options, "packets_per_s"):
        return float(options.packets_per_s * options.duration_s)
    if hasattr(options, "interval_ms"):
        return float(options.duration_s * 1000 / options.interval_ms)
    return None


def _arrived(case: Case, bits: bool) -> Expected | None:
    """Datagrams, or their payload's bits, that arrive: what is offered and not lost."""
    if not hasattr(case.options, "packets_per_s"):
        return None
    unit = 8 * case.options.message_bytes if bits else 1
    lost = _lost(Case(metrics.LOSS, case.setting, case.options))
    if lost is None:
        return None
    sent = case.options.packets_per_s * unit
    error = RATE_ERROR + lost.error / 100
    return Expected(sent * (1 - lost.value / 100), sent * error + case.resolution)


def _searched(case: Case) -> Expected | None:
    """The queue holds back what is too much for a while, and the search ends with a step."""
    options = case.options
    capacity = udp_capacity_pps(case.setting.rate_mbit, options.message_bytes)
    step = (options.highest_pps - options.lowest_pps) / 2 ** (options.trials - 2)
    allowed = QUEUE_S / options.trial_s + options.loss_per_million / 1e6
    return Expected(capacity, capacity * (allowed + RATE_ERROR) + step)


def _none_of_it(case: Case) -> Expected:
    return Expected(0.0, case.metric.margin or 0.0)


_RATE = "what the link carries of it in full packets"
_ROUND_TRIP = "what it is without the delay, and the delay both ways"
_CONNECTION = (
    "what it is without the delay, and the delay both ways twice: for the handshake and for the answer"
)
_SENT = "what is sent and not lost"
_DUPLEX = (
    "what the link carries of it in full packets, less an acknowledgement for every second one of the others"
)

AT_LIMIT = Rule(("rate",), _at_limit, _RATE)
RULES: Mapping[str, Rule] = {
    **{
        each.name: Rule(("delay",), partial(_delayed, ways=2), _ROUND_TRIP)
        for each in (
            metrics.ROUND_TRIP,
            metrics.ROUND_TRIP_P90,
            metrics.ROUND_TRIP_P99,
            metrics.ROUND_TRIP_P999,
        )
    },
    metrics.TRANSACTION_RATE.name: Rule(("delay",), partial(_paced, ways=2), _ROUND_TRIP),
    "connection_time": Rule(("delay",), partial(_delayed, ways=4), _CONNECTION),
    "connection_time_p99": Rule(("delay",), partial(_delayed, ways=4), _CONNECTION),
    "connection_rate": Rule(("delay",), partial(_paced, ways=4), _CONNECTION),
    metrics.LOSS.name: Rule(("loss",), _lost, "the share that is dropped, which is drawn by lot"),
    "out_of_order": Rule(("loss",), _none_of_it, "none: the link keeps the order"),
    metrics.PACKET_RATE.name: Rule(("rate", "loss"), partial(_arrived, bits=False), _SENT),
    "udp_throughput": Rule(("rate", "loss"), partial(_arrived, bits=True), _SENT),
    **{
        name: Rule(("rate",), _both_ways, _DUPLEX)
        for name in ("duplex_throughput", "throughput_to_guest", "throughput_from_guest")
    },
    "lossless_rate": Rule(("rate",), _searched, "what the link carries in whole frames"),
}
