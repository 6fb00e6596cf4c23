"""What comparisons of latencies do where the truth is known: simulated round trips, and percentiles of runs.

A percentile is a figure of one run, and runs are what is compared. Its values are skewed and heavy-tailed
where the percentile is near the share of round trips that stall: a stall more or less decides a run's figure.
See `simulation` for everything else that is simulated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hvcost.analysis.intervals import Evidence, Values, ratio_bootstrap
from hvcost.analysis.medians import median_ratio
from hvcost.analysis.rows import SIGNIFICANCE
from hvcost.analysis.seeds import generator
from hvcost.model.metric import MEDIAN, ROUND_TRIP, ROUND_TRIP_P99, Metric

MARGIN = 0.05
RESOLUTION_MS = 0.001
# Runs from which the true median and mean of a run's figure are taken.
TRUTH_RUNS = 10_000
TRUTH_VALUES = 1_000_000

# Round trips in ms: a row for each run.
Draw = Callable[[np.random.Generator, int, int], Values]


@dataclass(frozen=True)
class Latencies:
    """Two systems, of as many runs: the second has the same distribution, or is a steady one."""

    name: str
    draw: Draw
    metric: Metric
    runs: int
    round_trips: int
    beside_steady: bool

    @property
    def percentile(self) -> int:
        return 99 if self.metric == ROUND_TRIP_P99 else 50

    def figures(self, draw: Draw, random: np.random.Generator, runs: int) -> Values:
        """The percentile of each of so many runs."""
        at_once = max(1, TRUTH_VALUES // self.round_trips)
        parts = [
            np.percentile(draw(random, min(at_once, runs - done), self.round_trips), self.percentile, axis=1)
            for done in range(0, runs, at_once)
        ]
        return np.round(np.concatenate(parts), 3).astype(np.float64)


@dataclass(frozen=True)
class LatencyRates:
    """Shares of the trials, of 1; the first promises 0.95 or more, the last 0.05 or less.

    `covered`: the interval, as the metric is compared, holds the truth; `of_means`: that of the ratio of
    means does. `false_equivalence`: two that differ by just the margin are called equivalent.
    """

    covered: float
    of_means: float
    false_equivalence: float

    def kept(self, error: float) -> bool:
        """Whether the promises are kept, but for an error of the simulation."""
        return self.covered >= 0.95 - error and self.false_equivalence <= SIGNIFICANCE + error


def _quick(random: np.random.Generator, runs: int, n: int) -> Values:
    return 0.5 * random.lognormal(0, 0.3, (runs, n))


def steady(random: np.random.Generator, runs: int, n: int) -> Values:
    """Round trips that vary by a tenth, and runs by a hundredth."""
    return 0.5 * random.lognormal(0, 0.1, (runs, n)) * random.lognormal(0, 0.01, (runs, 1))


def stalls(random: np.random.Generator, runs: int, n: int) -> Values:
    """One round trip in a hundred waits for ten more milliseconds in the mean (exponential)."""
    waits = np.where(random.random((runs, n)) < 0.01, random.exponential(10, (runs, n)), 0)
    return _quick(random, runs, n) + waits


def two_peaks(random: np.random.Generator, runs: int, n: int) -> Values:
    """One round trip in a hundred takes ten times as long."""
    return np.where(random.random((runs, n)) < 0.01, 5, 0.5) * random.lognormal(0, 0.05, (runs, n))


def halves(random: np.random.Generator, runs: int, n: int) -> Values:
    """About half of the round trips take twice as long, how many differs from run to run."""
    share = np.clip(random.normal(0.5, 0.1, (runs, 1)), 0, 1)
    return np.where(random.random((runs, n)) < share, 1.0, 0.5) * random.lognormal(0, 0.05, (runs, n))


def phases(random: np.random.Generator, runs: int, n: int) -> Values:
    """One run in three has a phase, a twentieth of it, in which all takes ten times as long."""
    since_start = np.arange(n) - random.integers(0, n - n // 20, (runs, 1))
    is_slow = (random.random((runs, 1)) < 1 / 3) & (since_start >= 0) & (since_start < n // 20)
    return np.where(is_slow, 10, 1) * _quick(random, runs, n)


def following(random: np.random.Generator, runs: int, n: int) -> Values:
    """Logarithms keep 0.9 of the round trip before."""
    steps = random.normal(0, 0.5, (runs, n))
    for place in range(1, n):
        steps[:, place] = 0.9 * steps[:, place - 1] + np.sqrt(1 - 0.9**2) * steps[:, place]
    return np.asarray(0.5 * np.exp(steps))


_P99: tuple[tuple[str, Draw], ...] = (
    ("one round trip in 100 stalls", stalls),
    ("one in 100 takes ten times as long", two_peaks),
    ("one run in three has a slow phase", phases),
    ("neighbours correlated by 0.9", following),
)
_P50: tuple[tuple[str, Draw], ...] = (
    ("neighbours correlated by 0.9", following),
    ("half of them, by and large, take twice as long", halves),
)
LATENCIES = (
    *(
        Latencies(name, draw, ROUND_TRIP_P99, runs, 1_000, beside_steady)
        for name, draw in _P99
        for beside_steady in (False, True)
        for runs in (6, 10, 30)
    ),
    *(
        Latencies("one round trip in 100 stalls", stalls, ROUND_TRIP_P99, 10, 10_000, beside_steady)
        for beside_steady in (False, True)
    ),
    *(
        Latencies(name, draw, ROUND_TRIP, 10, 100, beside_steady)
        for name, draw in _P50
        for beside_steady in (False, True)
    ),
)


def latency_rates(scenario: Latencies, trials: int, seed: int) -> LatencyRates:
    """Error rates of one scenario; the same for the same seed."""
    kind = f"{scenario.metric.name} of {scenario.round_trips} {scenario.beside_steady}"
    line = f"{seed} {scenario.name} {scenario.runs} {kind}"
    random = generator(line)
    draws = scenario.draw, steady if scenario.beside_steady else scenario.draw
    true_medians = true_means = 1.0
    if scenario.beside_steady:
        a, b = (scenario.figures(draw, random, TRUTH_RUNS) for draw in draws)
        true_medians, true_means = float(np.median(a) / np.median(b)), float(a.mean() / b.mean())
    covered = of_means = equivalent = 0
    for trial in range(trials):
        a, b = (scenario.figures(draw, random, scenario.runs) for draw in draws)
        means = ratio_bootstrap(a, b, RESOLUTION_MS, RESOLUTION_MS, f"{line} {trial} a", f"{line} {trial} b")
        medians = median_ratio(a, b, RESOLUTION_MS, RESOLUTION_MS)
        if means is None or medians is None:
            raise ValueError(f"{scenario.runs} runs are too few for a simulation of intervals")
        holds_means = _holds(means, true_means)
        of_means += holds_means
        if scenario.metric.centre == MEDIAN:
            covered += _holds(medians, true_medians)
            off_by_margin: Evidence = medians.times((1 + MARGIN) / true_medians)
        else:
            covered += holds_means
            off_by_margin = means.times((1 + MARGIN) / true_means)
        equivalent += off_by_margin.equivalence_p(MARGIN) < SIGNIFICANCE
    return LatencyRates(covered / trials, of_means / trials, equivalent / trials)


def _holds(evidence: Evidence, truth: float) -> bool:
    interval = evidence.interval()
    return interval.low <= truth <= interval.high
