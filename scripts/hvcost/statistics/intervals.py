"""Intervals that hold for few values of an unknown distribution, and are refused where they cannot hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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
    """The ratio of two means and how far it can be trusted: bootstrap-t of its logarithm.

    Each resample draws both samples anew, with replacement, and takes t = (log ratio of the resample - log
    ratio) / (standard error of the resample); `t` holds all of them. Their quantiles take the place of
    Student's (Efron & Tibshirani, An Introduction to the Bootstrap, section 12.5). The standard error is that
    of the log of a ratio of means to first order, s²/(n mean²) of both. The rounding of the tool adds
    resolution²/12, which does not shrink with n: ten equal readings do not make an exact value.
    """

    ratio: float
    standard_error: float
    t: Values

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Interval of the ratio; without an upper bound if one value is a thousand times the others."""
        tail = (1 - confidence) / 2
        bounds_t = np.quantile(self.t, (1 - tail, tail))
        with np.errstate(over="ignore"):
            low, high = np.exp(np.log(self.ratio) - bounds_t * self.standard_error)
        return Interval(float(low), float(high), confidence)

    def equivalence_p(self, margin: float) -> float:
        """p-value that the ratio is not within 1/(1 + margin) to 1 + margin.

        Two one-sided tests on the log ratio (Schuirmann 1987), with the distribution of t from the bootstrap.
        """
        log_ratio, limit = np.log(self.ratio), np.log1p(margin)
        not_above = (1 + np.sum(self.t >= (log_ratio + limit) / self.standard_error)) / (1 + len(self.t))
        not_below = (1 + np.sum(self.t <= (log_ratio - limit) / self.standard_error)) / (1 + len(self.t))
        return float(max(not_above, not_below))


def ratio_bootstrap(
    a: Values, b: Values, resolution_a: float, resolution_b: float, seed_a: str, seed_b: str
) -> RatioBootstrap | None:
    """Bootstrap of the ratio of two samples' means; None if one has fewer than MIN_VALUES, or a zero.

    Values and resolutions, which are positive, in any unit, the same for both. A seed is a text and belongs
    to its sample, so that the ratio of b to a is the inverse of that of a to b, with the inverse interval.
    """
    if min(len(a), len(b)) < MIN_VALUES or min(a.min(), b.min()) <= 0:
        return None
    log_a, variance_a = _log_means(a[None, :], resolution_a)
    log_b, variance_b = _log_means(b[None, :], resolution_b)
    log_ratio = float(log_a[0] - log_b[0])
    log_as, variance_as = _resampled(a, resolution_a, seed_a)
    log_bs, variance_bs = _resampled(b, resolution_b, seed_b)
    return RatioBootstrap(
        ratio=float(np.exp(log_ratio)),
        standard_error=float(np.sqrt(variance_a[0] + variance_b[0])),
        t=(log_as - log_bs - log_ratio) / np.sqrt(variance_as + variance_bs),
    )


def _resampled(values: Values, resolution: float, seed: str) -> tuple[Values, Values]:
    """`_log_means` of RESAMPLES samples drawn from the values with replacement.

    Each is moved as a whole to some place within the tool's last digit, where its true mean may be.
    """
    random = np.random.default_rng(list(hashlib.sha256(seed.encode()).digest()))
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
