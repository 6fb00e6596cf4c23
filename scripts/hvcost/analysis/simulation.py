"""What the statistics do where the truth is known: error rates and power, from simulated repetitions.

An interval of 95 % is a promise about many experiments. Here they are made, from distributions that
throughput is known to have, and from some that break what the intervals rely on, since that is where a reader
must be warned. docs/simulations.md holds the results; scripts/simulate_statistics.py makes it.

Each line of its tables has random numbers of its own, from the seed and the line's name: lines that share
their draws would tell the same thing twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hvcost.analysis.claims import verdicts
from hvcost.analysis.diagnostics import autocorrelation
from hvcost.analysis.differences import holm
from hvcost.analysis.intervals import (
    RatioBootstrap,
    Values,
    difference_bootstrap,
    median_interval,
    ratio_bootstrap,
)
from hvcost.analysis.metrics import PRIMARY
from hvcost.analysis.rows import SIGNIFICANCE, SUPPORTED
from hvcost.analysis.samples import Run, Sample, Session
from hvcost.analysis.seeds import generator
from hvcost.model.description import Claim
from hvcost.model.link import tcp_limit_bps
from hvcost.model.metric import THROUGHPUT

VALUES = 10
SIZES = (6, 10, 30)
SYSTEMS = 5
MARGIN = 0.05
# Of differences, where the mean is 1.
DIFFERENCE_MARGIN = 0.5
DIFFERENCE = 1.05
RESOLUTION = 0.001
LINK = {"rate_mbit": 1000.0, "mtu": 1500.0}
# What the second system of a claim has, as a share of the link's limit, and how far off the claim is.
STEADY = 0.8
OFF_BY = 1.03
# The true mean of `two_peaks`.
TWO_PEAKS_MEAN = 0.45 * 1.5 + 0.55 * 0.85

# So many values of one cell.
Draw = Callable[[np.random.Generator, int], Values]


@dataclass(frozen=True)
class Scenario:
    """Two cells whose true means are both 1, and how their values come about.

    `median_a`: true median of the first, None where nobody asks for it. `fault`: what no statistics of so few
    values can mend, hence why the line may fall short of the promise; empty: the promise has to be kept.
    """

    name: str
    draw_a: Draw
    draw_b: Draw
    values_a: int = VALUES
    values_b: int = VALUES
    median_a: float | None = None
    fault: str = ""


@dataclass(frozen=True)
class ErrorRates:
    """Shares of the trials, of 1. The first two promise 0.95 or more, the others 0.05 or less.

    `different`: the two are called different, in one comparison alone. `false_equivalence`: two that differ
    by just the margin are called equivalent.
    """

    median_covered: float | None
    ratio_covered: float
    different: float
    false_equivalence: float

    def kept(self, error: float) -> bool:
        """Whether all promises are kept, but for an error of the simulation."""
        covered = [share for share in (self.median_covered, self.ratio_covered) if share is not None]
        return all(share >= 0.95 - error for share in covered) and all(
            share <= SIGNIFICANCE + error for share in (self.different, self.false_equivalence)
        )


@dataclass(frozen=True)
class Zeros:
    """Two cells of a metric where 0 is possible: the true mean of the first is 1, of the second 1 or 0."""

    name: str
    draw_a: Draw
    draw_b: Draw
    difference: float
    values: int = VALUES


@dataclass(frozen=True)
class DifferenceRates:
    """Shares, of 1. `without`: of the trials, those whose values are all 0, so that there is no interval.

    `covered`: of the others, those whose interval holds the true difference; promised: 0.95 or more.
    `false_equivalence`: of all, those called equivalent though they differ by just the margin; 0.05 or less.
    """

    without: float
    covered: float
    false_equivalence: float

    def kept(self, error: float) -> bool:
        """Whether the promises are kept, but for an error of the simulation."""
        return self.covered >= 0.95 - error and self.false_equivalence <= SIGNIFICANCE + error


@dataclass(frozen=True)
class Family:
    """Five systems with the same distribution, of ten values each: all ten pairs are compared."""

    name: str
    draw: Draw
    fault: str = ""


@dataclass(frozen=True)
class NearLimit:
    """A claim that is false by 3 %, of a system that the link cuts off, to one that is steady at 0.8 of it.

    `draw` are values on an endless link, as shares of this link's limit, of this true `mean`.
    """

    name: str
    draw: Draw
    mean: float
    values: int


@dataclass(frozen=True)
class Power:
    """Shares of the trials in which ten values of normal spread, against ten, tell what is true."""

    difference_found: float
    equivalence_found: float


def normal(random: np.random.Generator, n: int, cv: float) -> Values:
    """Normal values of a mean of 1."""
    return random.normal(1, cv, n)


def lognormal(random: np.random.Generator, n: int, cv: float, mean: float = 1.0) -> Values:
    """Right-skewed values."""
    sigma = np.sqrt(np.log1p(cv**2))
    return np.asarray(mean * random.lognormal(-(sigma**2) / 2, sigma, n))


def under_ceiling(random: np.random.Generator, n: int, cv: float) -> Values:
    """Left-skewed values: an exponential distribution turned round."""
    return 1 + cv - random.exponential(cv, n)


def one_in_ten_slow(random: np.random.Generator, n: int) -> Values:
    """One run in ten is slower by 0.3; all vary by 0.005."""
    return np.where(random.random(n) < 0.1, 0.73, 1.03) + random.normal(0, 0.005, n)


def two_peaks(random: np.random.Generator, n: int) -> Values:
    """45 % of the runs are at 1.5, the others at 0.85."""
    return np.where(random.random(n) < 0.45, 1.5, 0.85) + random.normal(0, 0.005, n)


def rounded(random: np.random.Generator, n: int) -> Values:
    """Nearly constant values, of three digits."""
    return np.round(random.normal(1, 0.0005, n), 3)


def boots(random: np.random.Generator, n: int) -> Values:
    """One run in each boot: boots differ by 0.02, runs by 0.01."""
    return random.normal(1, 0.02, n) + random.normal(0, 0.01, n)


def one_boot(random: np.random.Generator, n: int) -> Values:
    """All runs in one boot: boots differ by 0.02, runs by 0.01."""
    return random.normal(1, 0.02) + random.normal(0, 0.01, n)


def following(random: np.random.Generator, n: int, keep: float) -> Values:
    """Each value keeps a share of the one before, AR(1); standard deviation 0.03."""
    steps = random.normal(0, 0.03, n)
    for place in range(1, n):
        steps[place] = keep * steps[place - 1] + np.sqrt(1 - keep**2) * steps[place]
    return 1 + steps


def none(_random: np.random.Generator, n: int) -> Values:
    """Nothing is ever lost."""
    return np.zeros(n)


def some(random: np.random.Generator, n: int, share: float) -> Values:
    """So many of the runs have a loss (exponential), the others 0; the mean is 1."""
    return np.where(random.random(n) < share, random.exponential(1 / share, n), 0.0)


def counted(random: np.random.Generator, n: int, step: float) -> Values:
    """Losses that come by themselves (Poisson), of which one is so much; the mean is 1."""
    return np.asarray(random.poisson(1 / step, n) * step, dtype=np.float64)


def lost_together(random: np.random.Generator, n: int) -> Values:
    """Datagrams that are lost in bursts: one in a run (Poisson), of a geometric length; the mean is 1."""
    return np.array([random.geometric(0.1, bursts).sum() / 10 for bursts in random.poisson(1, n)])


def transactions(random: np.random.Generator, n: int) -> Values:
    """Transactions per second of 500 round trips, of which one in a hundred stalls."""
    round_trips = random.lognormal(0, 0.3, (n, 500))
    stalls = np.where(random.random((n, 500)) < 0.01, random.exponential(20, (n, 500)), 0)
    return np.asarray(1 / (round_trips + stalls).mean(axis=1))


def at_ceiling(random: np.random.Generator, n: int) -> Values:
    """Packets per second, of which the link carries no more than 1: half of the runs are there."""
    return np.minimum(normal(random, n, 0.03), 1.0)


NOT_INDEPENDENT = "the values are not independent"
ONE_BOOT = "one boot is one value"
RARE = "what is rare was seen too seldom: of {n} runs, none is slow in {share:.0%} of the experiments"


def _alike(name: str, draw: Draw, n: int = VALUES, median: float | None = None, fault: str = "") -> Scenario:
    return Scenario(name, draw, draw, n, n, median, fault)


def _rare(n: int) -> str:
    return RARE.format(n=n, share=0.9**n)


EQUAL = (
    _alike("normal, CV 3 %", partial(normal, cv=0.03), median=1.0),
    _alike(
        "left-skewed under a ceiling (exponential), CV 3 %",
        partial(under_ceiling, cv=0.03),
        median=1.03 - 0.03 * float(np.log(2)),
    ),
    _alike("right-skewed (lognormal), CV 20 %", partial(lognormal, cv=0.2), median=float(1 / np.sqrt(1.04))),
    _alike("one run in ten 30 % slower", one_in_ten_slow, median=1.02930),
    _alike("nearly constant, rounded to three digits", rounded, median=1.0),
    *(
        _alike(name, draw, n)
        for name, draw in (
            ("transactions per second, one round trip in 100 stalls", transactions),
            ("packets per second, half of the runs at the link's limit", at_ceiling),
        )
        for n in SIZES
    ),
    _alike("ten boots of one run each, boots differ by 2 %, runs by 1 %", boots, median=1.0),
    _alike("one run in ten 30 % slower", one_in_ten_slow, 30, 1.02930, _rare(30)),
    *(
        _alike(f"neighbours correlated by {keep}", partial(following, keep=keep), n, 1.0, NOT_INDEPENDENT)
        for keep in (0.3, 0.6)
        for n in (6, 10, 30)
    ),
    _alike("one boot of ten runs, boots differ by 2 %, runs by 1 %", one_boot, median=1.0, fault=ONE_BOOT),
)
UNEQUAL = (
    Scenario("normal, CV 10 %, and CV 2 %", partial(normal, cv=0.1), partial(normal, cv=0.02), 6, 10),
    Scenario("lognormal, CV 20 %, and normal, CV 2 %", partial(lognormal, cv=0.2), partial(normal, cv=0.02)),
    Scenario(
        "lognormal, CV 20 %, and normal, CV 2 %", partial(lognormal, cv=0.2), partial(normal, cv=0.02), 6, 30
    ),
    *(
        Scenario(
            "one run in ten 30 % slower, and normal, CV 1 %",
            one_in_ten_slow,
            partial(normal, cv=0.01),
            n,
            n,
            fault=_rare(n),
        )
        for n in (6, 10, 30)
    ),
)
SCENARIOS = EQUAL + UNEQUAL
DIFFERENCES = tuple(
    Zeros(f"{name}, beside {beside}", draw, none if beside == "none" else draw, float(beside == "none"), n)
    for name, draw in (
        ("datagrams lost one by one, five in a run", partial(counted, step=0.2)),
        ("datagrams lost in bursts, none in one run of three", lost_together),
        ("one run in two has a loss", partial(some, share=0.5)),
        ("one run in ten has a loss", partial(some, share=0.1)),
    )
    for beside in ("the same", "none")
    for n in (VALUES, 30)
)
FAMILIES = (
    Family("normal, CV 3 %", partial(normal, cv=0.03)),
    Family("right-skewed (lognormal), CV 20 %", partial(lognormal, cv=0.2)),
    Family("one run in ten 30 % slower", one_in_ten_slow),
    Family("neighbours correlated by 0.6", partial(following, keep=0.6), NOT_INDEPENDENT),
)
NEAR_LIMIT = tuple(
    NearLimit(name, draw, mean, n)
    for name, draw, mean in (
        ("lognormal, CV 20 %, mean 0.93", partial(lognormal, cv=0.2, mean=0.93), 0.93),
        ("lognormal, CV 20 %, mean 0.95", partial(lognormal, cv=0.2, mean=0.95), 0.95),
        ("45 % at 1.5, the others at 0.85", two_peaks, TWO_PEAKS_MEAN),
    )
    for n in SIZES
)
SPREADS = (0.01, 0.02, 0.03, 0.05, 0.1)
CORRELATIONS = (0.0, 0.3, 0.6)


def error_rates(scenario: Scenario, trials: int, seed: int) -> ErrorRates:
    """Error rates of one scenario; the same for the same seed.

    Values that are all larger by some factor have a ratio that is, and the same bootstrap otherwise.
    """
    line = f"{seed} {scenario.name} {scenario.values_a} {scenario.values_b}"
    random = generator(line)
    median = ratio = different = equivalent = 0
    for trial in range(trials):
        a, b = scenario.draw_a(random, scenario.values_a), scenario.draw_b(random, scenario.values_b)
        middle = median_interval(a)
        if scenario.median_a is not None and middle is not None:
            median += middle.low <= scenario.median_a <= middle.high
        found = _bootstrap(a, b, f"{line} {trial}")
        interval = found.interval()
        ratio += interval.low <= 1 <= interval.high
        different += found.difference_p() < SIGNIFICANCE
        off_by_margin = found.times(1 + MARGIN)
        equivalent += off_by_margin.equivalence_p(MARGIN) < SIGNIFICANCE
    return ErrorRates(
        None if scenario.median_a is None else median / trials,
        ratio / trials,
        different / trials,
        equivalent / trials,
    )


def difference_rates(scenario: Zeros, trials: int, seed: int) -> DifferenceRates:
    """Error rates of differences in one scenario; the same for the same seed."""
    line = f"{seed} {scenario.name} {scenario.values}"
    random = generator(line)
    without = covered = equivalent = 0
    for trial in range(trials):
        a, b = scenario.draw_a(random, scenario.values), scenario.draw_b(random, scenario.values)
        seeds = f"{line} {trial} a", f"{line} {trial} b"
        found = difference_bootstrap(a, b, RESOLUTION, RESOLUTION, *seeds)
        if found is None:
            without += 1
            continue
        interval = found.interval()
        covered += interval.low <= scenario.difference <= interval.high
        off_by_margin = replace(found, estimate=found.estimate - scenario.difference + DIFFERENCE_MARGIN)
        equivalent += off_by_margin.equivalence_p(DIFFERENCE_MARGIN) < SIGNIFICANCE
    return DifferenceRates(without / trials, covered / (trials - without), equivalent / trials)


def any_false_alarm(family: Family, trials: int, seed: int) -> float:
    """Share of trials in which any two of the family are called different, after Holm's correction."""
    line = f"{seed} five times {family.name}"
    random = generator(line)
    alarms = 0
    for trial in range(trials):
        systems = [family.draw(random, VALUES) for _ in range(SYSTEMS)]
        pairs = itertools.combinations(systems, 2)
        p_values = [_bootstrap(*pair, f"{line} {trial}").difference_p() for pair in pairs]
        alarms += min(holm(p_values)) < SIGNIFICANCE
    return alarms / trials


def false_support(case: NearLimit, trials: int, seed: int) -> float:
    """Share of trials in which the false claim, that the ratio is at most so much, is called supported."""
    line = f"{seed} near the limit {case.name} {case.values}"
    random = generator(line)
    claim = Claim("C", "", ("a",), "b", ("simulated",), (), None, case.mean / STEADY / OFF_BY, (line,))
    supported = 0
    for trial in range(trials):
        a = np.minimum(case.draw(random, case.values), 1.0)
        b = STEADY * normal(random, case.values, 0.002)
        (row,) = verdicts([claim], [_sample("a", line, a), _sample("b", line, b)], {"simulated": LINK}, trial)
        supported += row.verdict == SUPPORTED
    return supported / trials


def power(spread: float, trials: int, seed: int) -> Power:
    """Power of one comparison of ten normal values with ten, of this coefficient of variation."""
    line = f"{seed} power {spread}"
    random = generator(line)
    different = equivalent = 0
    for trial in range(trials):
        a, b = normal(random, VALUES, spread), normal(random, VALUES, spread)
        found = _bootstrap(a, b, f"{line} {trial}")
        different += found.times(DIFFERENCE).difference_p() < SIGNIFICANCE
        equivalent += found.equivalence_p(MARGIN) < SIGNIFICANCE
    return Power(different / trials, equivalent / trials)


def flagged(correlation: float, values: int, trials: int, seed: int) -> float:
    """Share of trials in which the lag-1 test calls values dependent that keep so much of the one before."""
    line = f"{seed} flags {correlation} {values}"
    random = generator(line)
    flags = 0
    for trial in range(trials):
        _, p = autocorrelation(following(random, values, correlation), f"{line} {trial}")
        flags += p < SIGNIFICANCE
    return flags / trials


def _bootstrap(a: Values, b: Values, seed: str) -> RatioBootstrap:
    bootstrap = ratio_bootstrap(a, b, RESOLUTION, RESOLUTION, f"{seed} a", f"{seed} b")
    if bootstrap is None:
        raise ValueError(f"{len(a)} and {len(b)} values are too few for a simulation of intervals")
    return bootstrap


def _sample(system: str, workload: str, shares: Values) -> Sample:
    """A cell of one session whose values are these shares of the link's limit."""
    limit = tcp_limit_bps(LINK["rate_mbit"], LINK["mtu"])
    return Sample(
        environment="simulated",
        system=system,
        hypervisor=system,
        workload=workload,
        metric=THROUGHPUT,
        role=PRIMARY,
        planned=len(shares),
        unavailable=0,
        planned_sessions=1,
        sessions=(Session(1),),
        runs=tuple(Run(Session(1), n, float(share) * limit) for n, share in enumerate(shares, 1)),
        resolution=RESOLUTION * limit,
    )
