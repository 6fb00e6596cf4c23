"""What two cells differ by, as their metric is compared, with its interval or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hvcost.analysis.intervals import (
    MIN_VALUES,
    Evidence,
    Interval,
    difference_bootstrap,
    ratio_bootstrap,
    seen_in_less_than,
)
from hvcost.analysis.medians import median_ratio
from hvcost.analysis.samples import Sample
from hvcost.model.metric import MEDIAN, RATIO


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
    """a beside b, the same wherever the pair is compared; both are of one metric."""
    return _ratio(a, b, seed) if a.metric.compared == RATIO else _difference(a, b, seed)


def _ratio(a: Sample, b: Sample, seed: int) -> Effect:
    if not len(a.values) or not len(b.values) or _centre(b) <= 0:
        flaw = f"{_name(b)}: a {b.metric.centre} of 0 has no ratio to it"
        return Effect(None, None, None, shortage(a, b) or flaw)
    value = _centre(a) / _centre(b)
    cells = a.values, b.values, a.resolution, b.resolution
    evidence: Evidence | None
    if a.metric.centre == MEDIAN:
        evidence = median_ratio(*cells)
    else:
        evidence = ratio_bootstrap(*cells, a.seed(seed), b.seed(seed))
    if evidence is None and min(a.values.min(), b.values.min()) <= 0:
        return Effect(value, None, None, shortage(a, b) or f"{_name(a)} or {_name(b)}: a value is 0")
    return _trusted(a, b, value, evidence)


def _centre(sample: Sample) -> float:
    """What is compared of a cell's values."""
    return float(np.median(sample.values) if sample.metric.centre == MEDIAN else sample.values.mean())


def _difference(a: Sample, b: Sample, seed: int) -> Effect:
    if not len(a.values) or not len(b.values):
        return Effect(None, None, None, shortage(a, b))
    value = float(a.values.mean() - b.values.mean())
    if not (a.values.any() or b.values.any()):
        return Effect(value, None, None, shortage(a, b) or _never_seen(a, b))
    bootstrap = difference_bootstrap(
        a.values, b.values, a.resolution, b.resolution, a.seed(seed), b.seed(seed)
    )
    return _trusted(a, b, value, bootstrap)


def _trusted(a: Sample, b: Sample, value: float, evidence: Evidence | None) -> Effect:
    """The effect with the interval of its evidence, if there is any."""
    if evidence is None:
        flaw = f"{_name(a)} and {_name(b)}: values without any spread, of which the last digit is not known"
        return Effect(value, None, None, shortage(a, b) or flaw)
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
