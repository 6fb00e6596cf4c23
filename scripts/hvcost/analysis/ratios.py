"""The ratio of two cells' means, with its interval or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hvcost.analysis.intervals import MIN_VALUES, Interval, RatioBootstrap, ratio_bootstrap
from hvcost.analysis.samples import Sample


@dataclass(frozen=True)
class Ratio:
    """Mean of one cell to that of another; `note` says what is missing and why."""

    value: float | None
    interval: Interval | None
    bootstrap: RatioBootstrap | None
    note: str


def ratio(a: Sample, b: Sample, seed: int) -> Ratio:
    """Ratio of a's mean to b's, the same wherever the pair is compared."""
    if not len(a.values) or not len(b.values) or b.values.mean() <= 0:
        return Ratio(None, None, None, shortage(a, b) or f"{_name(b)}: a mean of 0 has no ratio to it")
    value = float(a.values.mean() / b.values.mean())
    bootstrap = ratio_bootstrap(a.values, b.values, a.resolution, b.resolution, a.seed(seed), b.seed(seed))
    if bootstrap is None:
        return Ratio(value, None, None, shortage(a, b) or _flaw(a, b))
    interval = bootstrap.interval()
    if not (interval.low > 0 and math.isfinite(interval.high)):
        return Ratio(value, None, bootstrap, f"{_name(a)} or {_name(b)}: values too uneven for an interval")
    return Ratio(value, interval, bootstrap, "")


def shortage(*samples: Sample) -> str:
    """Why there is no interval: who has too few values. Empty if nobody has."""
    fewest = min(samples, key=lambda sample: len(sample.values))
    count = len(fewest.values)
    if count >= MIN_VALUES:
        return ""
    noun = fewest.level if count == 1 else f"{fewest.level}s"
    return f"{_name(fewest)}: {count} {noun} with a value, an interval needs {MIN_VALUES}"


def _flaw(a: Sample, b: Sample) -> str:
    """Why enough values have no interval."""
    if min(a.values.min(), b.values.min()) <= 0:
        return f"{_name(a)} or {_name(b)}: a value is 0"
    return f"{_name(a)} and {_name(b)}: values without any spread, of which the last digit is not known"


def _name(sample: Sample) -> str:
    return f"{sample.system} in {sample.environment}"
