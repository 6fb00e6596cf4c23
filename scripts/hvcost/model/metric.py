"""What is measured, as data: a figure's name and unit, which way is better, and what a link lets it be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from hvcost.model.link import AT_LIMIT_SHARE, tcp_limit_bps

LinkSpec = Mapping[str, float]
Better = Literal["higher", "lower"]


def no_limit(_link: LinkSpec) -> None:
    """Of what no link sets a limit to."""
    return None


@dataclass(frozen=True)
class Metric:
    """A figure that a repetition has: its unit, and which way is better.

    `title` is what people call it. `limit`: the best that a link (`rate_mbit`, `mtu` in bytes) lets it be, in
    its unit; None for none.
    """

    name: str
    unit: str
    title: str
    better: Better = "higher"
    limit: Callable[[LinkSpec], float | None] = no_limit

    def is_at_limit(self, value: float, limit: float | None) -> bool:
        """Whether a value is so near to the link's limit that it may be the link's own."""
        if limit is None:
            return False
        return value >= AT_LIMIT_SHARE * limit if self.better == "higher" else value <= limit / AT_LIMIT_SHARE


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
HOST_CPU = Metric("host_cpu", "s/Gbit", "host processor time", better="lower")
