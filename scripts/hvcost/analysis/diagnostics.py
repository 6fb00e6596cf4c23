"""Whether values are what intervals take them for: independent, without drift, without outliers.

Nothing is discarded on their account. They are shown, so that a reader knows how far to trust an interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from hvcost.analysis.intervals import CHUNK_VALUES, Values
from hvcost.analysis.samples import Run, Sample
from hvcost.analysis.seeds import generator

# Iglewicz & Hoaglin (1993): values whose modified z-score is beyond 3.5 are potential outliers.
OUTLIER_SCORE = 3.5
# Makes the median absolute deviation an estimate of the standard deviation of normal values.
MAD_TO_SIGMA = 1.4826
MIN_FOR_ORDER = 4
MIN_FOR_SHAPIRO = 3
MAX_FOR_SHAPIRO = 5000
PERMUTATIONS = 9999
# Sums of the same numbers in another order differ by less.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Diagnostics:
    """Kendall's tau of value and order, lag-1 autocorrelation, Shapiro-Wilk, each with its p; outlying runs.

    All but the outliers are of the cell's values, in the order in which they were measured. None: there are
    too few of them, or they are all the same.
    """

    drift_tau: float | None
    drift_p: float | None
    lag1_autocorrelation: float | None
    lag1_p: float | None
    shapiro_w: float | None
    shapiro_p: float | None
    outliers: tuple[Run, ...]


def diagnose(sample: Sample, seed: int) -> Diagnostics:
    """Diagnostics of a cell; `seed` is that of the experiment."""
    values = sample.values
    tau = p = lag1 = lag1_p = shapiro_w = shapiro_p = None
    varies = len(values) > 0 and np.ptp(values) > 0
    if varies and len(values) >= MIN_FOR_ORDER:
        kendall = stats.kendalltau(np.arange(len(values)), values)
        tau, p = float(kendall.statistic), float(kendall.pvalue)
        lag1, lag1_p = autocorrelation(values, sample.seed(seed))
    if varies and MIN_FOR_SHAPIRO <= len(values) <= MAX_FOR_SHAPIRO:
        shapiro = stats.shapiro(values)
        shapiro_w, shapiro_p = float(shapiro.statistic), float(shapiro.pvalue)
    return Diagnostics(tau, p, lag1, lag1_p, shapiro_w, shapiro_p, _outliers(sample))


def autocorrelation(values: Values, seed: str) -> tuple[float, float]:
    """Lag-1 autocorrelation of values that are not all the same, and its two-sided p.

    If values are independent, all orders of them are equally likely (Wald & Wolfowitz, Annals of Mathematical
    Statistics 14, 1943), so p is the share of PERMUTATIONS that have as much. The common bounds of
    ±1.96/√n are for many values: of ten, independent ones are hardly ever beyond them.
    """
    deviations = values - values.mean()
    variance = float(np.sum(deviations**2))
    seen = float(np.sum(deviations[:-1] * deviations[1:])) / variance
    random = generator(seed)
    above = below = 1
    rows = max(1, CHUNK_VALUES // len(values))
    for first in range(0, PERMUTATIONS, rows):
        orders = np.tile(deviations, (min(rows, PERMUTATIONS - first), 1))
        random.permuted(orders, axis=1, out=orders)
        others = np.sum(orders[:, :-1] * orders[:, 1:], axis=1) / variance
        above += int(np.sum(others >= seen - ROUNDING))
        below += int(np.sum(others <= seen + ROUNDING))
    return seen, min(1.0, 2 * min(above, below) / (1 + PERMUTATIONS))


def _outliers(sample: Sample) -> tuple[Run, ...]:
    """Runs further from the median than 3.5 robust standard deviations, fixed before anything was measured.

    The deviation is at least the last digit that the tool printed, since nine equal readings do not make the
    tenth, which differs by that digit, an outlier.
    """
    every = np.array([run.value for run in sample.runs])
    if not len(every):
        return ()
    distance = np.abs(every - np.median(every))
    sigma = max(MAD_TO_SIGMA * float(np.median(distance)), sample.resolution)
    if not sigma:
        return ()
    return tuple(run for run, far in zip(sample.runs, distance > OUTLIER_SCORE * sigma, strict=True) if far)
