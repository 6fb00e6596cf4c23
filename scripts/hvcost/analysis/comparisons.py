"""Rows of comparisons.csv: every pair of cells that a reader would compare, with a verdict.

A large p-value is no evidence that two systems are alike: that has a test of its own, of which the margin is
set in the configuration before anything is measured.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hvcost.analysis.cells import Links, held
from hvcost.analysis.differences import difference, holm_within
from hvcost.analysis.effects import effect
from hvcost.analysis.intervals import MIN_VALUES, Evidence
from hvcost.analysis.metrics import PRIMARY, known
from hvcost.analysis.rows import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    NOT_BY_THIS_LINK,
    SIGNIFICANCE,
    TOO_FEW,
    WITHIN_MARGIN,
    PairComparison,
)
from hvcost.analysis.samples import Sample
from hvcost.model.sweep import ENVIRONMENT, WORKLOAD, Sweep, origins

BETWEEN = "between environments"


@dataclass(frozen=True)
class Question:
    """What comparisons depend on beside the samples.

    `definitions`: what each system is (hypervisor and options), so that one system under two names is
    recognised. `margin`: relative difference up to which two systems count as equivalent, where they are
    compared by ratio; metrics that are compared by difference have one of their own. `sweeps`: which
    environments and workloads are points of one curve.
    """

    links: Links
    definitions: Mapping[str, Any]
    margin: float
    seed: int
    sweeps: Sequence[Sweep] = ()


def comparisons(samples: Sequence[Sample], question: Question) -> list[PairComparison]:
    """All pairs of systems within an environment, then each system against itself in other environments.

    Environments of a sweep are compared with each other, and not with those of another.

    p-values are corrected together (Holm) within an environment, workload and metric, and within all pairs of
    environments, a workload and a metric. All points of a sweep are corrected together, as if they were one
    environment, or workload.
    """
    families = _Families(origins(question.sweeps, ENVIRONMENT), origins(question.sweeps, WORKLOAD))
    rows = [
        compared(a, b, question, families.of(a, b)).row
        for a, b in itertools.combinations(samples, 2)
        if (a.workload, a.metric) == (b.workload, b.metric)
        and (a.environment == b.environment) != (a.system == b.system)
        and families.compares(a, b)
    ]
    names = list(dict.fromkeys(row.family for row in rows))
    names.sort(key=lambda family: family.startswith(BETWEEN))
    return judged(sorted(rows, key=lambda row: names.index(row.family)))


@dataclass(frozen=True)
class _Families:
    """Which comparisons are corrected together. `environments` and `workloads`: of what they are points."""

    environments: Mapping[str, str]
    workloads: Mapping[str, str]

    def compares(self, a: Sample, b: Sample) -> bool:
        """Whether anybody would compare their environments."""
        return self.environments.get(a.environment) == self.environments.get(b.environment)

    def of(self, a: Sample, b: Sample) -> str:
        """Name of the comparisons that are corrected together: of one metric."""
        place = _named(a.environment, self.environments)
        if a.environment == b.environment:
            where = f"within {place}"
        else:
            where = f"{BETWEEN} of {place}" if a.environment in self.environments else BETWEEN
        family = f"{where}, {_named(a.workload, self.workloads)}"
        return family if a.role == PRIMARY else f"{family}, {a.metric.name}"


def _named(name: str, origins: Mapping[str, str]) -> str:
    return f"sweep {origins[name]}" if name in origins else name


@dataclass(frozen=True)
class Compared:
    """Two cells beside each other, not yet corrected for the others: without a verdict.

    `evidence` is what the numbers of the row are made of, None if there is none.
    """

    row: PairComparison
    evidence: Evidence | None


def compared(a: Sample, b: Sample, question: Question, family: str) -> Compared:
    """Comparison of two cells, to be corrected together with those of the same family (`judged`)."""
    is_within = a.environment == b.environment
    found = effect(a, b, question.seed)
    margin = question.margin if a.metric.margin is None else a.metric.margin
    held_a, held_b = held(a, question.links), held(b, question.links)
    ranks = None
    # Of values on several computers, ranks would be those of the computers.
    if found.evidence and len({*a.by_computer, *b.by_computer}) == 1:
        ranks = difference(a.values, b.values, f"{a.seed(question.seed)} {b.seed(question.seed)}")
    row = PairComparison(
        family=family,
        workload=a.workload,
        metric=a.metric.name,
        unit=a.metric.unit,
        compared=a.metric.compared,
        role=a.role,
        environment_a=a.environment,
        system_a=a.system,
        environment_b=b.environment,
        system_b=b.system,
        same=is_within and question.definitions[a.system] == question.definitions[b.system],
        values_a=len(a.values),
        values_b=len(b.values),
        effect=found.value,
        effect_low=found.interval.low if found.interval else None,
        effect_high=found.interval.high if found.interval else None,
        difference_p=found.evidence.difference_p() if found.evidence else None,
        difference_p_holm=None,
        margin=margin,
        equivalence_p=found.evidence.equivalence_p(margin) if found.evidence else None,
        equivalence_p_holm=None,
        mann_whitney_u=ranks.u if ranks else None,
        mann_whitney_p=ranks.p if ranks else None,
        cliffs_delta=ranks.cliffs_delta if ranks else None,
        runs_at_limit_a=held_a.runs,
        runs_at_limit_b=held_b.runs,
        at_limit_a=held_a.median,
        at_limit_b=held_b.median,
        verdict="",
        note=found.note,
    )
    return Compared(row, found.evidence)


def judged(rows: Sequence[PairComparison]) -> list[PairComparison]:
    """Rows in their order, with their p-values corrected together within each family, and their verdicts."""
    families = [row.family for row in rows]
    differences = holm_within([row.difference_p for row in rows], families)
    equivalences = holm_within([row.equivalence_p for row in rows], families)
    return [
        _judged(replace(row, difference_p_holm=p, equivalence_p_holm=equivalence_p))
        for row, p, equivalence_p in zip(rows, differences, equivalences, strict=True)
    ]


def _judged(row: PairComparison) -> PairComparison:
    if row.difference_p_holm is None or row.equivalence_p_holm is None:
        has_few = min(row.values_a, row.values_b) < MIN_VALUES
        return replace(row, verdict=TOO_FEW if has_few else INCONCLUSIVE)
    differs = row.difference_p_holm < SIGNIFICANCE
    is_equivalent = row.equivalence_p_holm < SIGNIFICANCE
    if row.runs_at_limit_a and row.runs_at_limit_b:
        is_set = row.at_limit_a and row.at_limit_b
        note = "the link set both values" if is_set else "the link may have held runs of both back"
        return _noted(row, NOT_BY_THIS_LINK, note)
    if row.runs_at_limit_a or row.runs_at_limit_b:
        note = _held_back(row)
        if differs and not is_equivalent and _leads(row):
            return _noted(row, DIFFERENT, f"{note}: they differ by this or more")
        return _noted(row, NOT_BY_THIS_LINK, note)
    if differs and is_equivalent:
        return replace(row, verdict=WITHIN_MARGIN)
    if is_equivalent:
        return replace(row, verdict=EQUIVALENT)
    return replace(row, verdict=DIFFERENT if differs else INCONCLUSIVE)


def _noted(row: PairComparison, verdict: str, note: str) -> PairComparison:
    return replace(row, verdict=verdict, note="; ".join(filter(None, (row.note, note))))


def _held_back(row: PairComparison) -> str:
    """Whom of both the link held back, and if in some runs only, in how many."""
    if row.at_limit_a or row.at_limit_b:
        return f"the link held {row.system_a if row.at_limit_a else row.system_b} back"
    runs = row.runs_at_limit_a or row.runs_at_limit_b
    system = row.system_a if row.runs_at_limit_a else row.system_b
    return f"the link may have held {system} back in {runs} run{'s' if runs > 1 else ''}"


def _leads(row: PairComparison) -> bool:
    """Whether the one that the link held back is the better one all the same."""
    if row.effect is None:
        return False
    return known()[row.metric].is_better(row.effect) == (row.runs_at_limit_a > 0)
