"""Intervals that hold for few values of an unknown distribution, and are refused where they cannot hold."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

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
    tails = median_tails(n)
    k = int(np.searchsorted(tails, (1 - CONFIDENCE) / 2, side="right"))
    ordered = np.sort(values)
    return Interval(float(ordered[k - 1]), float(ordered[n - k]), 1 - 2 * float(tails[k - 1]))


def median_tails(n: int) -> Values:
    """How often the k-th smallest of n values is above the true median at most, for k = 1 to n/2.

    The same for the k-th largest, which is below it as often.
    """
    ways = itertools.accumulate(math.comb(n, k) for k in range(n // 2))
    return np.array([each / 2**n for each in ways])


class Evidence(ABC):
    """What two cells differ by, and how far it can be trusted."""

    @abstractmethod
    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """All that is not rejected: that nothing differs, unless `difference_p` is below 1 - confidence."""

    def difference_p(self) -> float:
        """p-value that nothing differs: twice the smaller one of both sides."""
        return self.beyond_p(0.0)

    def equivalence_p(self, margin: float) -> float:
        """p-value that the difference is not within -margin to margin (Schuirmann 1987).

        Of a ratio: not within 1/(1 + margin) to 1 + margin.
        """
        far = self._distance(margin)
        return max(self._above_p(-far), self._below_p(far))

    def beyond_p(self, margin: float) -> float:
        """p-value that the difference is within the margin: twice the smaller one of both sides.

        It is below 0.05 just if the whole interval of 95 % is beyond the margin on one side. A test of a
        least effect (Murphy & Myors 1999): with a margin of 0, that of any difference.
        """
        far = self._distance(margin)
        return min(1.0, 2 * min(self._above_p(far), self._below_p(-far)))

    def _distance(self, margin: float) -> float:
        """How far a margin is from no difference, as the difference is estimated."""
        return margin

    @abstractmethod
    def _above_p(self, limit: float) -> float:
        """p-value that the true one is not above a limit."""

    @abstractmethod
    def _below_p(self, limit: float) -> float:
        """p-value that the true one is not below a limit."""


@dataclass(frozen=True)
class Bootstrap(Evidence):
    """What two means differ by and how far it can be trusted: bootstrap-t, or Student's t.

    Each resample draws both samples anew, with replacement, and takes t = (estimate of the resample -
    estimate) / (standard error of the resample); `t` holds all of them. Their quantiles take the place of
    Student's (Efron & Tibshirani, An Introduction to the Bootstrap, section 12.5), which knows nothing of
    skewed values; but where Student's, with Welch's `freedom` (Biometrika 34, 1947), reaches further, it is
    taken, since resamples of ten values that are nearly the same vary too little (docs/simulations.md).

    The rounding of the tool adds resolution²/12 to the variance of a mean, which does not shrink with n: ten
    equal readings do not make an exact value. `estimate` is in the unit of the values, and 0 if nothing
    differs.
    """

    estimate: float
    standard_error: float
    freedom: float
    t: Values

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """All that is not rejected: 0 is among it unless `difference_p` is below 1 - confidence.

        It may have no bounds, if one value is a thousand times the others.
        """
        tail = (1 - confidence) / 2
        # So many of t on one side are too few for a value there: their share is less than `tail`.
        too_few = math.ceil(round(tail * (1 + len(self.t)), 6)) - 1
        ordered = np.sort(self.t)
        student = stats.t.ppf(1 - tail, self.freedom)
        bounds_t = np.array([max(ordered[-too_few], student), min(ordered[too_few - 1], -student)])
        low, high = self.estimate - bounds_t * self.standard_error
        return Interval(float(low), float(high), confidence)

    def _above_p(self, limit: float) -> float:
        t = (self.estimate - limit) / self.standard_error
        return float(max((1 + np.sum(self.t >= t)) / (1 + len(self.t)), stats.t.sf(t, self.freedom)))

    def _below_p(self, limit: float) -> float:
        t = (self.estimate - limit) / self.standard_error
        return float(max((1 + np.sum(self.t <= t)) / (1 + len(self.t)), stats.t.cdf(t, self.freedom)))


class RatioBootstrap(Bootstrap):
    """The ratio of two means: `estimate` is its logarithm, and what is asked for and told is the ratio.

    The standard error is that of the log of a ratio of means to first order, s²/(n mean²) of both.
    """

    @property
    def ratio(self) -> float:
        """The ratio of the means."""
        return float(np.exp(self.estimate))

    def times(self, factor: float) -> RatioBootstrap:
        """What it would be if all values of the first sample were so many times what they are."""
        return replace(self, estimate=self.estimate + math.log(factor))

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """All ratios that are not rejected."""
        logs = super().interval(confidence)
        with np.errstate(over="ignore"):
            return Interval(float(np.exp(logs.low)), float(np.exp(logs.high)), confidence)

    def _distance(self, margin: float) -> float:
        return math.log1p(margin)


@dataclass(frozen=True)
class Stratum:
    """The values of two samples that were measured under the same circumstances, such as on one computer.

    `name` tells it from the others, and is empty if there is but one.
    """

    a: Values
    b: Values
    name: str = ""

    @property
    def weight(self) -> float:
        """How much it says of what the samples differ by: the inverse of the variance of that."""
        return len(self.a) * len(self.b) / (len(self.a) + len(self.b))

    def seed(self, own: str) -> str:
        """The seed of one of both samples in this stratum."""
        return f"{own} {self.name}" if self.name else own


def weights(strata: Sequence[Stratum]) -> list[float]:
    """Shares of the strata in what the samples differ by; their sum is 1."""
    every = sum(stratum.weight for stratum in strata)
    return [stratum.weight / every for stratum in strata]


def ratio_bootstrap(
    a: Values, b: Values, resolution_a: float, resolution_b: float, seed_a: str, seed_b: str
) -> RatioBootstrap | None:
    """Bootstrap of the ratio of two samples' means; see `ratio_within`."""
    return ratio_within([Stratum(a, b)], resolution_a, resolution_b, seed_a, seed_b)


def ratio_within(
    strata: Sequence[Stratum], resolution_a: float, resolution_b: float, seed_a: str, seed_b: str
) -> RatioBootstrap | None:
    """Bootstrap of the ratio of two samples' means; None if there are too few values, a zero, or no spread.

    With several strata it is the weighted geometric mean of the ratios within them, and resamples are drawn
    within them (Davison & Hinkley, Bootstrap Methods and their Application, section 3.2): what the strata
    themselves differ by is no part of it.

    Values and resolutions in any unit, the same for both; a resolution of 0: it is not known. Without it, and
    without any spread, nothing is known of how far the values can be trusted. A seed is a text and belongs
    to its sample, so that the ratio of b to a is the inverse of that of a to b, with the inverse interval.
    """
    if not _are_enough(strata) or min(min(each.a.min(), each.b.min()) for each in strata) <= 0:
        return None
    if not (resolution_a or resolution_b or _vary(strata)):
        return None
    own = [_log_means(each.a, resolution_a, each.seed(seed_a)) for each in strata]
    other = [_log_means(each.b, resolution_b, each.seed(seed_b)) for each in strata]
    return RatioBootstrap(*_compared(strata, own, other))


def difference_bootstrap(
    a: Values, b: Values, resolution_a: float, resolution_b: float, seed_a: str, seed_b: str
) -> Bootstrap | None:
    """Bootstrap of the difference of two samples' means, a's less b's; see `difference_within`."""
    return difference_within([Stratum(a, b)], resolution_a, resolution_b, seed_a, seed_b)


def difference_within(
    strata: Sequence[Stratum], resolution_a: float, resolution_b: float, seed_a: str, seed_b: str
) -> Bootstrap | None:
    """Bootstrap of the difference of two samples' means, a's less b's; arguments as of `ratio_within`.

    With several strata it is the weighted mean of the differences within them.
    None as well if all values of both are 0. No resample of them is anything else, and of what did not happen
    in any run, no interval says how seldom it does, nor how much it is then: see `seen_in_less_than`.
    """
    if not _are_enough(strata) or not any(each.a.any() or each.b.any() for each in strata):
        return None
    if not (resolution_a or resolution_b or _vary(strata)):
        return None
    own = [_means(each.a, resolution_a, each.seed(seed_a)) for each in strata]
    other = [_means(each.b, resolution_b, each.seed(seed_b)) for each in strata]
    return Bootstrap(*_compared(strata, own, other))


def _are_enough(strata: Sequence[Stratum]) -> bool:
    """Whether there are as many values as an interval needs, of both samples."""
    return min(sum(len(each.a) for each in strata), sum(len(each.b) for each in strata)) >= MIN_VALUES


def _vary(strata: Sequence[Stratum]) -> bool:
    return any(np.ptp(values) > 0 for each in strata for values in (each.a, each.b))


def seen_in_less_than(n: int) -> float:
    """Of what did not happen in n runs: the share of all runs that it happens in is less, with 95 %.

    The exact one-sided interval of a binomial share, which 3/n comes near to (Hanley & Lippman-Hand, If
    nothing goes wrong, is everything all right?, JAMA 249, 1983).
    """
    return float(1 - (1 - CONFIDENCE) ** (1 / n))


@dataclass(frozen=True)
class _Means:
    """A mean, or its logarithm, its variance, the part of it that is no rounding; the same of resamples."""

    value: float
    variance: float
    spread: float
    values: Values
    variances: Values


def _compared(
    strata: Sequence[Stratum], a: Sequence[_Means], b: Sequence[_Means]
) -> tuple[float, float, float, Values]:
    """Fields of a bootstrap of a less b, each by strata."""
    parts = list(zip(strata, weights(strata), a, b, strict=True))
    estimate = float(sum(weight * (own.value - other.value) for _, weight, own, other in parts))
    variance = float(sum(weight**2 * (own.variance + other.variance) for _, weight, own, other in parts))
    deviations = np.sum([w * (own.values - other.values) for _, w, own, other in parts], axis=0) - estimate
    errors = np.sqrt(np.sum([w**2 * (own.variances + other.variances) for _, w, own, other in parts], axis=0))
    # A resample of one value alone, with nothing known of its last digit, is infinitely far off, if it is.
    with np.errstate(divide="ignore"):
        t = np.divide(deviations, errors, out=np.zeros_like(errors), where=(errors > 0) | (deviations != 0))
    # Degrees of freedom of a variance that is a sum of two, and of rounding (Welch 1947).
    spread = sum(
        (weight**2 * part.spread) ** 2 / (len(values) - 1)
        for stratum, weight, own, other in parts
        for part, values in ((own, stratum.a), (other, stratum.b))
    )
    return estimate, float(np.sqrt(variance)), variance**2 / spread if spread else math.inf, t


def _means(values: Values, resolution: float, seed: str) -> _Means:
    """Mean of the values, and of RESAMPLES samples drawn from them with replacement.

    Each is moved as a whole to some place within the tool's last digit, where its true mean may be.
    """
    random = generator(seed)
    shifts = random.uniform(-resolution / 2, resolution / 2, (RESAMPLES, 1))
    rows = max(1, CHUNK_VALUES // len(values))
    parts = [
        _moments(random.choice(values, (len(chunk), len(values))) + chunk, resolution)
        for chunk in np.split(shifts, range(rows, RESAMPLES, rows))
    ]
    mean, variance = _moments(values[None, :], resolution)
    return _Means(
        float(mean[0]),
        float(variance[0]),
        float(values.var(ddof=1)) / len(values),
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
    )


def _log_means(values: Values, resolution: float, seed: str) -> _Means:
    """The same of logarithms of means, whose variance is s²/(n mean²) to first order."""
    plain = _means(values, resolution, seed)
    return _Means(
        float(np.log(plain.value)),
        plain.variance / plain.value**2,
        plain.spread / plain.value**2,
        np.log(plain.values),
        plain.variances / plain.values**2,
    )


def _moments(samples: Values, resolution: float) -> tuple[Values, Values]:
    """Each row's mean, and the variance of that mean."""
    variance = samples.var(axis=1, ddof=1) / samples.shape[1] + resolution**2 / 12
    return samples.mean(axis=1), variance
