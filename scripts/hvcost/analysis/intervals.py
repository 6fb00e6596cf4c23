"""Intervals that hold for few values of an unknown distribution, and are refused where they cannot hold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hvcost.analysis.seeds import generator

Values = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 9999
# With fewer values no interval between two of them covers the median with 95 %; and a bootstrap of so few
# has too few different samples to be one.
MIN_VALUES = 6
# So many resampled values are held in memory at a time: 16 MB.
CHUNK_VALUES = 2_000_000


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`; `confidence` is what it covers at least."""

    low: float
    high: float
    confidence: float


def median_interval(values: Values) -> Interval | None:
    """Exact interval of the median, between two of the values; None for fewer than MIN_VALUES.

    The k-th smallest and largest value enclose the median unless fewer than k of the n values are on one
    side of it, and how many there are is binomial with p = 1/2, whatever the distribution (Le Boudec,
    Performance Evaluation of Computer and Communication Systems, theorem 2.1). For n = 10: the second and
    the ninth, 97.9 %.
    """
    n = len(values)
    if n < MIN_VALUES:
        return None
    k = int(stats.binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))
    ordered = np.sort(values)
    confidence = 1 - 2 * float(stats.binom.cdf(k - 1, n, 0.5))
    return Interval(float(ordered[k - 1]), float(ordered[n - k]), confidence)


@dataclass(frozen=True)
class RatioBootstrap:
    """The ratio of two means and how far it can be trusted: bootstrap-t of its logarithm, or Student's t.

    Each resample draws both samples anew, with replacement, and takes t = (log ratio of the resample - log
    ratio) / (standard error of the resample); `t` holds all of them. Their quantiles take the place of
    Student's (Efron & Tibshirani, An Introduction to the Bootstrap, section 12.5), which knows nothing of
    skewed values; but where Student's, with Welch's `freedom` (Biometrika 34, 1947), reaches further, it is
    taken, since resamples of ten values that are nearly the same vary too little (docs/simulations.md).

    The standard error is that of the log of a ratio of means to first order, s²/(n mean²) of both. The
    rounding of the tool adds resolution²/12, which does not shrink with n: ten equal readings do not make an
    exact value.
    """

    ratio: float
    standard_error: float
    freedom: float
    t: Values

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """All ratios that are not rejected: 1 is among them unless `difference_p` is below 1 - confidence.

        It has no upper bound if one value is a thousand times the others.
        """
        tail = (1 - confidence) / 2
        # So many of t on one side are too few for a ratio there: their share is less than `tail`.
        too_few = math.ceil(round(tail * (1 + len(self.t)), 6)) - 1
        ordered = np.sort(self.t)
        student = stats.t.ppf(1 - tail, self.freedom)
        bounds_t = np.array([max(ordered[-too_few], student), min(ordered[too_few - 1], -student)])
        with np.errstate(over="ignore"):
            low, high = np.exp(np.log(self.ratio) - bounds_t * self.standard_error)
        return Interval(float(low), float(high), confidence)

    def difference_p(self) -> float:
        """p-value that the ratio is 1: twice the smaller one of both sides."""
        return min(1.0, 2 * min(self._above_p(0.0), self._below_p(0.0)))

    def equivalence_p(self, margin: float) -> float:
        """p-value that the ratio is not within 1/(1 + margin) to 1 + margin (Schuirmann 1987)."""
        limit = float(np.log1p(margin))
        return max(self._above_p(-limit), self._below_p(limit))

    def _above_p(self, limit: float) -> float:
        """p-value that the log ratio is not above a limit."""
        t = (np.log(self.ratio) - limit) / self.standard_error
        return float(max((1 + np.sum(self.t >= t)) / (1 + len(self.t)), stats.t.sf(t, self.freedom)))

    def _below_p(self, limit: float) -> float:
        """p-value that the log ratio is not below a limit."""
        t = (np.log(self.ratio) - limit) / self.standard_error
        return float(max((1 + np.sum(self.t <= t)) / (1 + len(self.t)), stats.t.cdf(t, self.freedom)))


def ratio_bootstrap(
    a: Values, b: Values, resolution_a: float, resolution_b: float, seed_a: str, seed_b: str
) -> RatioBootstrap | None:
    """Bootstrap of the ratio of two samples' means; None if there are too few values, a zero, or no spread.

    Values and resolutions in any unit, the same for both; a resolution of 0: it is not known. Without it, and
    without any spread, nothing is known of how far the values can be trusted. A seed is a text and belongs
    to its sample, so that the ratio of b to a is the inverse of that of a to b, with the inverse interval.
    """
    if min(len(a), len(b)) < MIN_VALUES or min(a.min(), b.min()) <= 0:
        return None
    if not (resolution_a or resolution_b or np.ptp(a) or np.ptp(b)):
        return None
    log_a, variance_a = _log_means(a[None, :], resolution_a)
    log_b, variance_b = _log_means(b[None, :], resolution_b)
    log_ratio = float(log_a[0] - log_b[0])
    log_as, variance_as = _resampled(a, resolution_a, seed_a)
    log_bs, variance_bs = _resampled(b, resolution_b, seed_b)
    deviations, errors = log_as - log_bs - log_ratio, np.sqrt(variance_as + variance_bs)
    # A resample of one value alone, with nothing known of its last digit, is infinitely far off, if it is.
    with np.errstate(divide="ignore"):
        t = np.divide(deviations, errors, out=np.zeros_like(errors), where=(errors > 0) | (deviations != 0))
    return RatioBootstrap(
        ratio=float(np.exp(log_ratio)),
        standard_error=float(np.sqrt(variance_a[0] + variance_b[0])),
        freedom=_freedom(a, b, float(variance_a[0] + variance_b[0])),
        t=t,
    )


def _freedom(a: Values, b: Values, variance: float) -> float:
    """Degrees of freedom of a variance that is the sum of two of log means, and of rounding (Welch 1947)."""
    parts = [float(values.var(ddof=1)) / len(values) / float(values.mean()) ** 2 for values in (a, b)]
    spread = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (a, b), strict=True))
    return variance**2 / spread if spread else math.inf


def _resampled(values: Values, resolution: float, seed: str) -> tuple[Values, Values]:
    """`_log_means` of RESAMPLES samples drawn from the values with replacement.

    Each is moved as a whole to some place within the tool's last digit, where its true mean may be.
    """
    random = generator(seed)
    shifts = random.uniform(-resolution / 2, resolution / 2, (RESAMPLES, 1))
    rows = max(1, CHUNK_VALUES // len(values))
    parts = [
        _log_means(random.choice(values, (len(chunk), len(values))) + chunk, resolution)
        for chunk in np.split(shifts, range(rows, RESAMPLES, rows))
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _log_means(samples: Values, resolution: float) -> tuple[Values, Values]:
    """Logarithm of each row's mean, and its variance to first order."""
    mean = samples.mean(axis=1)
    variance = samples.var(axis=1, ddof=1) / samples.shape[1] + resolution**2 / 12
    return np.log(mean), variance / mean**2
