"""Whether values are what intervals take them for: independent, without drift, without outliers.

Nothing is discarded on their account. They are shown, so that a reader knows how far to trust an interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from hvcost.statistics.samples import Run, Sample

# Iglewicz & Hoaglin (1993): values whose modified z-score is beyond 3.5 are potential outliers.
OUTLIER_SCORE = 3.5
# Makes the median absolute deviation an estimate of the standard deviation of normal values.
MAD_TO_SIGMA = 1.4826
MIN_FOR_ORDER = 4
MIN_FOR_SHAPIRO = 3
MAX_FOR_SHAPIRO = 5000


@dataclass(frozen=True)
class Diagnostics:
    """Kendall's tau of value and order with its p, lag-1 autocorrelation, Shapiro-Wilk, outlying runs.

    All but the outliers are of the cell's values, in the order in which they were measured. None: there are
    too few of them, or they are all the same.
    """

    drift_tau: float | None
    drift_p: float | None
    lag1_autocorrelation: float | None
    shapiro_w: float | None
    shapiro_p: float | None
    outliers: tuple[Run, ...]


def lag1_limit(values: int) -> float:
    """Autocorrelation of independent values is beyond this in 5 of 100 cases, to first order."""
    return float(1.96 / np.sqrt(values))


def diagnose(sample: Sample) -> Diagnostics:
    """Diagnostics of a cell."""
    values = sample.values_bps
    tau = p = lag1 = shapiro_w = shapiro_p = None
    varies = len(values) > 0 and np.ptp(values) > 0
    if varies and len(values) >= MIN_FOR_ORDER:
        kendall = stats.kendalltau(np.arange(len(values)), values)
        tau, p = float(kendall.statistic), float(kendall.pvalue)
        deviations = values - values.mean()
        lag1 = float(np.sum(deviations[:-1] * deviations[1:]) / np.sum(deviations**2))
    if varies and MIN_FOR_SHAPIRO <= len(values) <= MAX_FOR_SHAPIRO:
        shapiro = stats.shapiro(values)
        shapiro_w, shapiro_p = float(shapiro.statistic), float(shapiro.pvalue)
    return Diagnostics(tau, p, lag1, shapiro_w, shapiro_p, _outliers(sample))


def _outliers(sample: Sample) -> tuple[Run, ...]:
    """Runs further from the median than 3.5 robust standard deviations, fixed before anything was measured.

    The deviation is at least the last digit that the tool printed, since nine equal readings do not make the
    tenth, which differs by that digit, an outlier.
    """
    every = np.array([run.throughput_bps for run in sample.runs])
    if not len(every):
        return ()
    distance = np.abs(every - np.median(every))
    sigma = max(MAD_TO_SIGMA * float(np.median(distance)), sample.resolution_bps)
    if not sigma:
        return ()
    return tuple(run for run, far in zip(sample.runs, distance > OUTLIER_SCORE * sigma, strict=True) if far)
