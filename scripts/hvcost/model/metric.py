"""What is measured, as data: a figure's name and unit, which way is better, and what a link lets it be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from hvcost.errors import ConfigError
from hvcost.model.link import AT_LIMIT_SHARE, tcp_limit_bps

LinkSpec = Mapping[str, float]
Better = Literal["higher", "lower"]
Compared = Literal["ratio", "difference"]
Centre = Literal["mean", "median"]
RATIO: Compared = "ratio"
DIFFERENCE: Compared = "difference"
MEAN: Centre = "mean"
MEDIAN: Centre = "median"


def no_limit(_link: LinkSpec) -> None:
    """Of what no link sets a limit to."""
    return None


@dataclass(frozen=True)
class Metric:
    """A figure that a repetition has: its unit, and which way is better.

    `title` is what people call it, `about` what a reader has to know of it, in whole sentences. `limit`: the
    best that a link (`rate_mbit`, `mtu` in bytes) lets it be, in its unit; None for none.

    `compared`: by ratio, or, where 0 is possible, by difference, in the metric's unit. `centre`: of the means
    of a system's values, or, where one run may have many times what the others have, of their medians, which
    are compared by ratio only.
    `margin`: of a difference only, and needed there: up to so much, in its unit, two systems count as
    equivalent. Ratios have the margin of the configuration. What is compared by difference has no limit,
    since a bound of a difference says nothing.

    `percentile`: of a percentile only, which one it is, and of what, `distribution`, as people call it. Those
    of one distribution are shown together.
    """

    name: str
    unit: str
    title: str
    better: Better = "higher"
    limit: Callable[[LinkSpec], float | None] = no_limit
    compared: Compared = RATIO
    centre: Centre = MEAN
    margin: float | None = None
    about: str = ""
    distribution: str = ""
    percentile: float | None = None

    def __post_init__(self) -> None:
        if self.compared == RATIO and self.margin is not None:
            raise ConfigError(f"metric {self.name}: a ratio has the configuration's margin and no other")
        if self.compared == DIFFERENCE and not (self.margin and self.margin > 0):
            raise ConfigError(f"metric {self.name}: a difference needs a margin above 0, in {self.unit}")
        if self.compared == DIFFERENCE and self.centre == MEDIAN:
            raise ConfigError(f"metric {self.name}: medians are compared by ratio")
        if self.compared == DIFFERENCE and self.limit is not no_limit:
            raise ConfigError(f"metric {self.name}: what is compared by difference has no limit")
        if bool(self.distribution) != (self.percentile is not None):
            raise ConfigError(f"metric {self.name}: a percentile needs the name of its distribution")
        if self.percentile is not None and not 0 < self.percentile < 100:
            raise ConfigError(f"metric {self.name}: a percentile is between 0 and 100")

    @property
    def no_effect(self) -> float:
        """The effect where nothing differs."""
        return 1.0 if self.compared == RATIO else 0.0

    def is_better(self, effect: float) -> bool:
        """Whether an effect is one for the better, however small."""
        return (effect > self.no_effect) == (self.better == "higher")

    def is_at_limit(self, value: float, limit: float | None) -> bool:
        """Whether a value is so near to the link's limit that it may be the link's own."""
        if limit is None:
            return False
        return value >= AT_LIMIT_SHARE * limit if self.better == "higher" else value <= limit / AT_LIMIT_SHARE


def percentile_of(name: str, distribution: str, percentile: float, about: str = "") -> Metric:
    """A percentile of what takes time, in ms; `name` is that of the median, and the beginning of the others'.

    One stall more or less changes a high percentile of a run by its multiple: medians of runs are compared.
    """
    is_median = percentile == 50.0
    return Metric(
        name if is_median else f"{name}_p{percentile:g}".replace(".", ""),
        "ms",
        f"median {distribution}" if is_median else f"{distribution}, {percentile:g}th percentile",
        better="lower",
        centre=MEAN if is_median else MEDIAN,
        about=about,
        distribution=distribution,
        percentile=percentile,
    )


@dataclass(frozen=True)
class Value:
    """A figure in its metric's unit. `resolution`: one step of its last digit, None if that is not known."""

    value: float
    resolution: float | None = None


THROUGHPUT = Metric(
    "throughput",
    "bit/s",
    "TCP throughput",
    limit=lambda link: tcp_limit_bps(link["rate_mbit"], link["mtu"]),
)
# What several tools measure has one name, so that their figures stand beside each other.
ROUND_TRIP, ROUND_TRIP_P90, ROUND_TRIP_P99, ROUND_TRIP_P999 = (
    percentile_of("round_trip", "round-trip time", percentile) for percentile in (50.0, 90.0, 99.0, 99.9)
)
TRANSACTION_RATE = Metric("transaction_rate", "1/s", "transactions per second")
FAIRNESS = Metric(
    "fairness",
    "1",
    "fairness among streams",
    about="It is Jain’s index of the rates of a run’s parallel streams: 1 if all are the same, and one over "
    "their number if one of them has everything.",
)
UDP_THROUGHPUT = Metric("udp_throughput", "bit/s", "UDP throughput")
# What can be 0 is compared by difference.
LOSS = Metric("loss", "%", "packet loss", better="lower", compared=DIFFERENCE, margin=0.1)
JITTER = Metric("jitter", "ms", "jitter", better="lower", compared=DIFFERENCE, margin=0.1)
OUT_OF_ORDER = Metric(
    "out_of_order", "%", "packets out of order", better="lower", compared=DIFFERENCE, margin=0.1
)
PACKET_RATE = Metric("packet_rate", "1/s", "packets per second that arrived")
RETRANSMISSIONS = Metric(
    "retransmissions", "1/Gbit", "retransmissions", better="lower", compared=DIFFERENCE, margin=1.0
)

_SPENT = (
    "It is what all processors of the host spent during a run, for each {}: the guest’s own work, the "
    "hypervisor’s and the host’s. Under Xen it is the sum of all domains."
)
HOST_CPU = Metric(
    "host_cpu",
    "s/Gbit",
    "host processor time",
    better="lower",
    about=_SPENT.format("gigabit that arrived, in seconds"),
)
HOST_CPU_PACKET = Metric(
    "host_cpu_packet",
    "us",
    "host processor time per packet",
    better="lower",
    about=_SPENT.format("packet that arrived, in microseconds"),
)
HOST_CPU_TRANSACTION = Metric(
    "host_cpu_transaction",
    "us",
    "host processor time per transaction",
    better="lower",
    about=_SPENT.format("transaction, in microseconds"),
)
