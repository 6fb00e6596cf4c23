"""How consistently two samples differ, by ranks: shown beside their means, which verdicts go by.

Ranks and means are different questions. A system that is faster in nine runs of ten and slow in the tenth
has the higher ranks, and may have the lower mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from hvcost.analysis.intervals import CHUNK_VALUES, Values
from hvcost.analysis.seeds import generator

# U is compared with all orders of the values up to this product of sizes; beyond it, the normal
# distribution is as good.
EXACT_UP_TO = 2500
PERMUTATIONS = 9999


@dataclass(frozen=True)
class Difference:
    """Mann-Whitney's U of the first sample, its two-sided p-value, and Cliff's delta (-1 to 1)."""

    u: float
    p: float
    cliffs_delta: float


def difference(a: Values, b: Values, seed: str) -> Difference:
    """Mann-Whitney test of two samples (Mann & Whitney 1947), and Cliff's delta (Cliff 1993).

    Two values or more of each. Exact where there are no ties; with ties by permutations, all of them if there
    are no more than PERMUTATIONS, else so many. Delta is how much more often a value of `a` exceeds one of
    `b` than the other way round.
    """
    has_ties = len(np.unique(np.concatenate((a, b)))) < len(a) + len(b)
    method: Literal["exact", "asymptotic"] | stats.PermutationMethod = "exact"
    if len(a) * len(b) > EXACT_UP_TO:
        method = "asymptotic"
    elif has_ties and math.comb(len(a) + len(b), len(a)) > PERMUTATIONS:
        return _by_permutations(a, b, seed)
    elif has_ties:
        method = stats.PermutationMethod(n_resamples=PERMUTATIONS)
    result = stats.mannwhitneyu(a, b, alternative="two-sided", method=method)
    # All values the same: SciPy's variance is 0 and its p not a number, though nothing differs.
    p = 1.0 if np.isnan(result.pvalue) else float(result.pvalue)
    return _difference(a, b, float(result.statistic), p)


def _difference(a: Values, b: Values, u: float, p: float) -> Difference:
    return Difference(u, p, 2 * u / (len(a) * len(b)) - 1)


def _by_permutations(a: Values, b: Values, seed: str) -> Difference:
    """The test by so many random orders of the values, all at once: SciPy makes one after the other.

    The same p as of its `PermutationMethod`.
    """
    ranks = stats.rankdata(np.concatenate((a, b)))
    least = len(a) * (len(a) + 1) / 2
    u = float(ranks[: len(a)].sum()) - least
    random = generator(seed)
    above = below = 1
    rows = max(1, CHUNK_VALUES // len(ranks))
    for first in range(0, PERMUTATIONS, rows):
        orders = np.tile(ranks, (min(rows, PERMUTATIONS - first), 1))
        random.permuted(orders, axis=1, out=orders)
        others = orders[:, : len(a)].sum(axis=1) - least
        above += int(np.sum(others >= u))
        below += int(np.sum(others <= u))
    return _difference(a, b, u, min(1.0, 2 * min(above, below) / (1 + PERMUTATIONS)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected together, so that one wrong rejection among all is as rare as one alone was.

    Holm, Scandinavian Journal of Statistics 6 (1979): the smallest times their number, the next times one
    less, never falling.
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - place)))
        corrected[index] = largest
    return corrected


def holm_within(p_values: Sequence[float | None], families: Sequence[str]) -> list[float | None]:
    """The same of several families, each corrected by itself; what has no p-value counts for none."""
    corrected: list[float | None] = [None] * len(p_values)
    for family in set(families):
        tested = {
            place: p
            for place, (p, of) in enumerate(zip(p_values, families, strict=True))
            if of == family and p is not None
        }
        for place, p in zip(tested, holm(list(tested.values())), strict=True):
            corrected[place] = p
    return corrected
