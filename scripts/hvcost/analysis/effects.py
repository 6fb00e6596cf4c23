"""What two cells differ by, as their metric is compared, with its interval or why there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hvcost.analysis.intervals import (
    MIN_VALUES,
    Evidence,
    Interval,
    Stratum,
    Values,
    difference_within,
    ratio_within,
    seen_in_less_than,
    weights,
)
from hvcost.analysis.medians import median_ratio_within
from hvcost.analysis.samples import Sample
from hvcost.model.metric import MEDIAN, RATIO
from hvcost.wording import counted, listed

# One value says nothing of how far values spread on its computer.
MIN_IN_STRATUM = 2


@dataclass(frozen=True)
class Effect:
    """Mean of one cell, or its median, beside that of another, as the metric is compared.

    It is their ratio, or their difference in the metric's unit; `evidence` is what it can be trusted for.

    `note` says what is missing and why.
    """

    value: float | None
    interval: Interval | None
    evidence: Evidence | None
    note: str


def effect(a: Sample, b: Sample, seed: int) -> Effect:
    """a beside b, the same wherever the pair is compared; both are of one metric.

    Where several computers played their machines, they are compared within each of these, so that a slow
    computer does not look like a slow system. What was measured on a computer where too little of the other
    was, is left out, and the note says so.
    """
    strata, left_out = _strata(a, b)
    if not strata:
        computers = (f"{_name(one)} on {listed(filter(None, one.by_computer))}" for one in (a, b))
        flaw = f"{' and '.join(computers)}: no computer played both, so that nothing is known of the systems"
        return Effect(None, None, None, shortage(a, b) or flaw)
    found = (_ratio if a.metric.compared == RATIO else _difference)(a, b, strata, seed)
    if not left_out:
        return found
    note = f"left out is what was measured on {listed(left_out)}, where the other was not, or only once"
    return replace(found, note="; ".join(filter(None, (found.note, note))))


def _strata(a: Sample, b: Sample) -> tuple[list[Stratum], list[str]]:
    """Values by the computer that played the machines, and the computers that are left out.

    Environments are compared whole unless they share a computer: each may well have one of its own.
    """
    everywhere = sorted({*a.by_computer, *b.by_computer})
    if len(everywhere) < 2:
        return [Stratum(a.values, b.values)], []
    pairs = [(name, a.by_computer.get(name), b.by_computer.get(name)) for name in everywhere]
    strata = [
        Stratum(own, other, name)
        for name, own, other in pairs
        if own is not None and other is not None and min(len(own), len(other)) >= MIN_IN_STRATUM
    ]
    if not strata and a.environment != b.environment:
        return [Stratum(a.values, b.values)], []
    kept = {stratum.name for stratum in strata}
    return strata, [name for name in everywhere if name not in kept]


def _ratio(a: Sample, b: Sample, strata: Sequence[Stratum], seed: int) -> Effect:
    lowest = min((centre(b, stratum.b) for stratum in strata if len(stratum.b)), default=0.0)
    if not len(a.values) or not len(b.values) or lowest <= 0:
        flaw = f"{_name(b)}: a {b.metric.centre} of 0 has no ratio to it"
        return Effect(None, None, None, shortage(a, b) or flaw)
    ratios = [centre(a, each.a) / centre(b, each.b) for each in strata]
    value = ratios[0] if len(ratios) == 1 else _geometric_mean(ratios, weights(strata))
    evidence: Evidence | None
    if a.metric.centre == MEDIAN:
        evidence = median_ratio_within(strata, a.resolution, b.resolution)
    else:
        evidence = ratio_within(strata, a.resolution, b.resolution, a.seed(seed), b.seed(seed))
    if evidence is None and min(min(each.a.min(), each.b.min()) for each in strata) <= 0:
        return Effect(value, None, None, shortage(a, b) or f"{_name(a)} or {_name(b)}: a value is 0")
    return _trusted(a, b, strata, value, evidence)


def centre(sample: Sample, values: Values) -> float:
    """What is compared of a cell's values."""
    return float(np.median(values) if sample.metric.centre == MEDIAN else values.mean())


def _geometric_mean(ratios: Sequence[float], shares: Sequence[float]) -> float:
    if min(ratios) <= 0:
        return 0.0
    return math.exp(sum(share * math.log(ratio) for share, ratio in zip(shares, ratios, strict=True)))


def _difference(a: Sample, b: Sample, strata: Sequence[Stratum], seed: int) -> Effect:
    if not len(a.values) or not len(b.values):
        return Effect(None, None, None, shortage(a, b))
    shares = weights(strata)
    differences = [float(each.a.mean() - each.b.mean()) for each in strata]
    value = sum(share * difference for share, difference in zip(shares, differences, strict=True))
    if not (a.values.any() or b.values.any()):
        return Effect(value, None, None, shortage(a, b) or _never_seen(a, b))
    bootstrap = difference_within(strata, a.resolution, b.resolution, a.seed(seed), b.seed(seed))
    return _trusted(a, b, strata, value, bootstrap)


def _trusted(
    a: Sample, b: Sample, strata: Sequence[Stratum], value: float, evidence: Evidence | None
) -> Effect:
    """The effect with the interval of its evidence, if there is any."""
    if evidence is None:
        flaw = f"{_name(a)} and {_name(b)}: values without any spread, of which the last digit is not known"
        return Effect(value, None, None, shortage(a, b) or _shortage_within(a, b, strata) or flaw)
    interval = evidence.interval()
    lowest = 0.0 if a.metric.compared == RATIO else -math.inf
    if not (interval.low > lowest and math.isfinite(interval.high)):
        return Effect(value, None, evidence, f"{_name(a)} or {_name(b)}: values too uneven for an interval")
    return Effect(value, interval, evidence, "")


def shortage(*samples: Sample) -> str:
    """Why there is no interval: who has too few values. Empty if nobody has."""
    fewest = min(samples, key=lambda sample: len(sample.values))
    count = len(fewest.values)
    if count >= MIN_VALUES:
        return ""
    noun = fewest.level if count == 1 else f"{fewest.level}s"
    return f"{_name(fewest)}: {count} {noun} with a value, an interval needs {MIN_VALUES}"


def _shortage_within(a: Sample, b: Sample, strata: Sequence[Stratum]) -> str:
    """The same of values by computer: medians need as many on each, means on all together."""
    if len(strata) < 2:
        return ""
    counts = [(len(values), sample) for each in strata for sample, values in ((a, each.a), (b, each.b))]
    if a.metric.centre == MEDIAN:
        fewest, sample = min(counts, key=lambda count: count[0])
        where = "on one computer, an interval of medians needs"
    else:
        totals = [(sum(count for count, of in counts if of is each), each) for each in (a, b)]
        fewest, sample = min(totals, key=lambda total: total[0])
        where = "on computers that both were measured on, an interval needs"
    if fewest >= MIN_VALUES:
        return ""
    return f"{_name(sample)}: {counted(fewest, sample.level)} with a value {where} {MIN_VALUES}"


def _never_seen(*samples: Sample) -> str:
    """What samples of zeros can tell: in how many at most there is something else."""
    fewest = min(samples, key=lambda sample: len(sample.values))
    share = f"{100 * seen_in_less_than(len(fewest.values)):.0f} %"
    return (
        f"{' and '.join(map(_name, samples))}: all values are 0, and {len(fewest.values)} {fewest.level}s "
        f"show only that less than {share} of them have any other (95 % confidence), not by how much"
    )


def _name(sample: Sample) -> str:
    return f"{sample.system} in {sample.environment}"
