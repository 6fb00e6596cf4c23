"""What the statistics do where the truth is known: error rates and power, from simulated repetitions.

An interval of 95 % is a promise about many experiments. Here they are made, from distributions that
throughput is known to have, and from two that break what the intervals rely on, since that is where a reader
must be warned. docs/simulations.md holds the results; scripts/simulate_statistics.py makes it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hvcost.statistics.differences import SIGNIFICANCE, holm
from hvcost.statistics.intervals import RatioBootstrap, Values, median_interval, ratio_bootstrap

VALUES = 10
SYSTEMS = 5
MARGIN = 0.05
DIFFERENCE = 1.05


@dataclass(frozen=True)
class Scenario:
    """Values of one cell around a mean of 1: how they are drawn, their true median, their resolution."""

    name: str
    median: float
    draw: Callable[[np.random.Generator], Values]
    resolution: float = 0.001


@dataclass(frozen=True)
class ErrorRates:
    """Shares of the trials, of 1. The first two promise 0.95 or more, the others 0.05 or less.

    `false_alarms`: a pair of equal systems is found different, of one comparison alone; `any_false_alarm`:
    any pair among five equal systems after Holm's correction; `false_equivalence`: two systems that differ
    by just the margin are found equivalent.
    """

    scenario: str
    median_covered: float
    ratio_covered: float
    false_alarms: float
    any_false_alarm: float
    false_equivalence: float


@dataclass(frozen=True)
class Power:
    """Shares of the trials in which ten values of normal spread, against ten, tell what is true."""

    coefficient_of_variation: float
    difference_found: float
    equivalence_found: float


def _one_boot(random: np.random.Generator) -> Values:
    return random.normal(1, 0.02) + random.normal(0, 0.01, VALUES)


def _ten_boots(random: np.random.Generator) -> Values:
    return np.asarray(random.normal(1, 0.02, VALUES) + random.normal(0, 0.01, VALUES))


def _autocorrelated(random: np.random.Generator) -> Values:
    """Each value keeps 0.6 of the one before; standard deviation 0.03."""
    steps = random.normal(0, 0.03, VALUES)
    for place in range(1, VALUES):
        steps[place] = 0.6 * steps[place - 1] + 0.8 * steps[place]
    return 1 + steps


SCENARIOS = (
    Scenario("normal, CV 3 %", 1.0, lambda random: random.normal(1, 0.03, VALUES)),
    Scenario(
        "left-skewed under a ceiling (exponential), CV 3 %",
        1.03 - 0.03 * float(np.log(2)),
        lambda random: 1.03 - random.exponential(0.03, VALUES),
    ),
    Scenario(
        "right-skewed (lognormal), CV 20 %",
        float(np.exp(-0.02)),
        lambda random: random.lognormal(-0.02, 0.2, VALUES),
    ),
    Scenario(
        "one run in ten 30 % slower",
        1.02930,
        lambda random: np.where(random.random(VALUES) < 0.1, 0.73, 1.03) + random.normal(0, 0.005, VALUES),
    ),
    Scenario(
        "nearly constant, rounded to three digits",
        1.0,
        lambda random: np.round(random.normal(1, 0.0005, VALUES), 3),
    ),
    Scenario("ten boots of one run each, boots differ by 2 %, runs by 1 %", 1.0, _ten_boots),
    Scenario("BROKEN: neighbours correlated by 0.6, CV 3 %", 1.0, _autocorrelated),
    Scenario("BROKEN: one boot of ten runs, boots differ by 2 %, runs by 1 %", 1.0, _one_boot),
)
SPREADS = (0.01, 0.02, 0.03, 0.05, 0.1)


def error_rates(scenario: Scenario, trials: int, seed: int) -> ErrorRates:
    """Error rates of one scenario; the same for the same seed."""
    random = np.random.default_rng(seed)
    median_covered = ratio_covered = false_alarms = any_false_alarm = false_equivalence = 0
    for trial in range(trials):
        systems = [scenario.draw(random) for _ in range(SYSTEMS)]
        a, b = systems[:2]
        interval = median_interval(a)
        median_covered += interval is not None and interval.low <= scenario.median <= interval.high
        low, high = _ends(_bootstrap(a, b, scenario.resolution, trial))
        ratio_covered += low <= 1 <= high
        p_values = [
            _bootstrap(*pair, scenario.resolution, trial).difference_p()
            for pair in itertools.combinations(systems, 2)
        ]
        false_alarms += p_values[0] < SIGNIFICANCE
        any_false_alarm += min(holm(p_values)) < SIGNIFICANCE
        off_by_margin = _bootstrap(a * (1 + MARGIN), b, scenario.resolution, trial)
        false_equivalence += off_by_margin.equivalence_p(MARGIN) < SIGNIFICANCE
    return ErrorRates(
        scenario.name,
        *(
            count / trials
            for count in (median_covered, ratio_covered, false_alarms, any_false_alarm, false_equivalence)
        ),
    )


def power(spread: float, trials: int, seed: int) -> Power:
    """Power of one comparison of ten normal values with ten, of this coefficient of variation."""
    random = np.random.default_rng(seed)
    different = equivalent = 0
    for trial in range(trials):
        a, b = random.normal(1, spread, (2, VALUES))
        different += _bootstrap(a * DIFFERENCE, b, 0.001, trial).difference_p() < SIGNIFICANCE
        equivalent += _bootstrap(a, b, 0.001, trial).equivalence_p(MARGIN) < SIGNIFICANCE
    return Power(spread, different / trials, equivalent / trials)


def _bootstrap(a: Values, b: Values, resolution: float, trial: int) -> RatioBootstrap:
    bootstrap = ratio_bootstrap(a, b, resolution, resolution, f"{trial} a", f"{trial} b")
    if bootstrap is None:
        raise ValueError(f"{len(a)} and {len(b)} values are too few for a simulation of intervals")
    return bootstrap


def _ends(bootstrap: RatioBootstrap) -> tuple[float, float]:
    interval = bootstrap.interval()
    return interval.low, interval.high
