"""How often an interval holds the truth: each kind of comparison, for few and many values of several shapes.

Everything else that is simulated, and the distributions, are in `simulation`. Here is one question alone,
which takes one interval in an experiment, so that there can be enough of these to tell 94 % from 95.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from hvcost.analysis import simulation
from hvcost.analysis.intervals import Evidence, Values, difference_bootstrap, ratio_bootstrap
from hvcost.analysis.seeds import generator
from hvcost.analysis.simulation import NOT_INDEPENDENT, RESOLUTION, SIZES, STEADY, Draw

Kind = Literal["ratio", "difference", "bounded by the link"]

# Below this share, a line is named as falling short.
LEAST = 0.94
# Values from which the true mean of what a link lets pass is taken.
TRUTH_VALUES = 1_000_000
TRUTH_SEED = "truth"


@dataclass(frozen=True)
class Shape:
    """A distribution of values whose true mean is 1. `fault`: why a line of it may fall short."""

    name: str
    draw: Draw
    fault: str = ""


@dataclass(frozen=True)
class Case:
    """Two systems of as many values, compared in one way. The second has the same shape, or is a steady one.

    Bounded by the link, values are cut off at 1, and the steady system is at 0.8: the ratio is that of what
    arrives.
    """

    kind: Kind
    shape: Shape
    values: int
    beside_steady: bool

    @property
    def name(self) -> str:
        """What tells its draws from those of all others."""
        return f"coverage {self.kind} {self.shape.name} {self.values} {self.beside_steady}"

    def draws(self) -> tuple[Draw, Draw]:
        """How the values of both come about."""
        first: Draw = self.shape.draw
        steady: Draw = partial(simulation.normal, cv=0.01)
        if self.kind == "bounded by the link":
            first, steady = partial(_cut_off, draw=first), partial(_below_the_limit, draw=steady)
        return first, steady if self.beside_steady else first

    def truth(self) -> float:
        """The true ratio or difference."""
        if self.kind == "difference":
            return 0.0
        means = [_mean(draw, self.kind) for draw in self.draws()] if self.beside_steady else [1.0, 1.0]
        return means[0] / means[1]


def _cut_off(random: np.random.Generator, n: int, draw: Draw) -> Values:
    return np.minimum(draw(random, n), 1.0)


def _below_the_limit(random: np.random.Generator, n: int, draw: Draw) -> Values:
    return STEADY * draw(random, n)


def _mean(draw: Draw, kind: Kind) -> float:
    if kind == "ratio":
        return 1.0
    return float(draw(generator(TRUTH_SEED), TRUTH_VALUES).mean())


def _two_peaks(random: np.random.Generator, n: int) -> Values:
    return simulation.two_peaks(random, n) / simulation.TWO_PEAKS_MEAN


SHAPES = (
    Shape("normal, CV 3 %", partial(simulation.normal, cv=0.03)),
    Shape("right-skewed (lognormal), CV 20 %", partial(simulation.lognormal, cv=0.2)),
    Shape("two peaks, the higher one of 45 % and 1.76 times the lower", _two_peaks),
    Shape("neighbours correlated by 0.6", partial(simulation.following, keep=0.6), NOT_INDEPENDENT),
)
KINDS: tuple[Kind, ...] = ("ratio", "difference", "bounded by the link")
CASES = tuple(itertools.starmap(Case, itertools.product(KINDS, SHAPES, SIZES, (False, True))))


def coverage(case: Case, trials: int, seed: int) -> float:
    """Share of the experiments whose interval holds the truth, of 1; promised: 0.95 or more."""
    line = f"{seed} {case.name}"
    random, truth = generator(line), case.truth()
    draw_a, draw_b = case.draws()
    compare: Callable[..., Evidence | None] = (
        difference_bootstrap if case.kind == "difference" else ratio_bootstrap
    )
    covered = 0
    for trial in range(trials):
        a, b = draw_a(random, case.values), draw_b(random, case.values)
        found = compare(a, b, RESOLUTION, RESOLUTION, f"{line} {trial} a", f"{line} {trial} b")
        if found is None:
            raise ValueError(f"{case.name}: there is no interval")
        interval = found.interval()
        covered += interval.low <= truth <= interval.high
    return covered / trials
