"""What the round trips of a run say: percentiles and losses, the same for every tool that has each of them.

**Which percentile.** The smallest round trip that at least so many of all were not longer than: type 1 of
Hyndman and Fan (The American Statistician 50, 1996), the inverse of the empirical distribution. So it is one
that was measured, with its own last digit, and nothing is made up between two. It is of the round trips that
came to their end; those that were lost are told as losses, beside it. A percentile needs ten round trips
above it: with fewer, a single stall of the machine decides it.
"""

from __future__ import annotations

from collections.abc import Sequence

from hvcost.errors import ParseError
from hvcost.model.metric import Metric, Value

MEDIAN = 500
# Thousandths of the round trips, and how that percentile is called.
TAILS = {900: "90th", 990: "99th", 999: "99.9th"}
NEEDED_ABOVE = 10
# So much silence at the end is not loss: who answered was gone.
SILENT_PROBES = 10
SILENT_SHARE = 0.1


def percentile(round_trips: Sequence[Value], thousandths: int) -> Value:
    """The round trip that so many thousandths of all are not longer than; there has to be one."""
    ordered = sorted(round_trips, key=lambda each: each.value)
    rank = -(-len(ordered) * thousandths // 1000)
    return ordered[rank - 1]


def percentiles(round_trips: Sequence[Value], metrics: Sequence[Metric]) -> dict[str, Value | str]:
    """Median and the percentiles of TAILS as these four metrics, by name; a text where there are too few."""
    median, *tails = metrics
    found: dict[str, Value | str] = {median.name: percentile(round_trips, MEDIAN)}
    for metric, (thousandths, name) in zip(tails, TAILS.items(), strict=True):
        needed = NEEDED_ABOVE * 1000 // (1000 - thousandths)
        if len(round_trips) < needed:
            found[metric.name] = f"fewer than {needed:,} round trips, so no {name} percentile"
        else:
            found[metric.name] = percentile(round_trips, thousandths)
    return found


def loss(sent: int, answered: int) -> Value:
    """Share of the probes that were not answered, in %; a step is one probe."""
    return Value(100 * (sent - answered) / sent, 100 / sent)


def check_answered(role: str, sent: int, last: int) -> None:
    """ParseError if nobody answered any more towards the end: what is lost on its way is lost anywhere.

    `last`: how many were sent up to the last one that was answered.
    """
    silent = sent - last
    if silent > max(SILENT_PROBES, SILENT_SHARE * sent):
        raise ParseError(f"{role}: nobody answered the last {silent} of {sent} probes")
