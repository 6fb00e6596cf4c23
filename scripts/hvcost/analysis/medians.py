"""The ratio of two medians: of figures that are skewed and heavy-tailed from run to run, such as percentiles.

A run of a thousand round trips that stalled eleven times has a 99th percentile that is many times that of a
run that stalled nine times. Of few such figures neither the mean nor its error is known, but the median is,
however they are distributed (docs/simulations.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hvcost.analysis.intervals import (
    CONFIDENCE,
    MIN_VALUES,
    Evidence,
    Interval,
    Stratum,
    Values,
    median_tails,
    weights,
)


@dataclass(frozen=True)
class MedianRatio(Evidence):
    """The ratio of two samples' medians; `estimate` is its logarithm, what is told is the ratio.

    The exact intervals of both medians (`median_interval`) become one of the ratio: distances of logarithms
    from estimate to bound are squared and added (Zou & Donner, Statistics in Medicine 27, 2008). A p-value is
    the least level whose bound excludes the ratio in question. The least of all is 2/2ⁿ, so that six values
    reject nothing below 3 %, and ten nothing below 0.2 %.

    `lows` and `highs`: bounds of the logarithm, each wrong in a share of `levels` at most; the levels rise.
    """

    estimate: float
    levels: Values
    lows: Values
    highs: Values

    def times(self, factor: float) -> MedianRatio:
        """What it would be if all values of the first sample were so many times what they are."""
        far = math.log(factor)
        return replace(self, estimate=self.estimate + far, lows=self.lows + far, highs=self.highs + far)

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """All ratios that are not rejected; it has no bounds if there are too few values for so much."""
        place = int(np.searchsorted(self.levels, (1 - confidence) / 2, side="right")) - 1
        if place < 0:
            return Interval(0.0, math.inf, confidence)
        with np.errstate(over="ignore"):
            return Interval(float(np.exp(self.lows[place])), float(np.exp(self.highs[place])), confidence)

    def _distance(self, margin: float) -> float:
        return math.log1p(margin)

    def _above_p(self, limit: float) -> float:
        return float(np.min(self.levels[self.lows > limit], initial=1.0))

    def _below_p(self, limit: float) -> float:
        return float(np.min(self.levels[self.highs < limit], initial=1.0))


def median_ratio(a: Values, b: Values, resolution_a: float, resolution_b: float) -> MedianRatio | None:
    """Ratio of the medians of two samples; see `median_ratio_within`."""
    return median_ratio_within([Stratum(a, b)], resolution_a, resolution_b)


def median_ratio_within(
    strata: Sequence[Stratum], resolution_a: float, resolution_b: float
) -> MedianRatio | None:
    """Ratio of the medians of two samples; None if there are too few values, a zero, or no spread.

    With several strata it is the weighted geometric mean of the ratios within them, and each of them needs as
    many values as an interval does. Values and resolutions in any unit, the same for both; a resolution of 0:
    it is not known. The ratio of b to a is the inverse of that of a to b, with the inverse interval.
    """
    every = [values for stratum in strata for values in (stratum.a, stratum.b)]
    if min(map(len, every)) < MIN_VALUES or min(values.min() for values in every) <= 0:
        return None
    if not (resolution_a or resolution_b or any(np.ptp(values) for values in every)):
        return None
    tails = [median_tails(len(values)) for values in every]
    levels = np.unique(np.concatenate(tails))
    levels = levels[levels >= max(each[0] for each in tails)]
    estimate = 0.0
    lows, highs = np.zeros(len(levels)), np.zeros(len(levels))
    parts = zip(strata, weights(strata), tails[::2], tails[1::2], strict=True)
    for stratum, weight, tails_a, tails_b in parts:
        below_a, above_a = _distances(stratum.a, resolution_a, tails_a, levels)
        below_b, above_b = _distances(stratum.b, resolution_b, tails_b, levels)
        estimate += weight * math.log(np.median(stratum.a) / np.median(stratum.b))
        lows = np.hypot(lows, weight * np.hypot(below_a, above_b))
        highs = np.hypot(highs, weight * np.hypot(above_a, below_b))
    return MedianRatio(estimate, levels, estimate - lows, estimate + highs)


def _distances(values: Values, resolution: float, tails: Values, levels: Values) -> tuple[Values, Values]:
    """How far the bounds of the median are below and above it at each level, in logarithms.

    Each bound is within the tool's last digit of where the value is.
    """
    ordered, middle = np.sort(values), np.median(values)
    place = np.searchsorted(tails, levels, side="right") - 1
    with np.errstate(divide="ignore"):
        below = np.log(middle) - np.log(np.maximum(ordered[place] - resolution / 2, 0))
    return below, np.log(ordered[::-1][place] + resolution / 2) - np.log(middle)
