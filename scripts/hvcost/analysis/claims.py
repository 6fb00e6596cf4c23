"""Claims put to the test: what somebody said about effects, against the intervals that were measured.

Every claim takes one form, so that the study's and a user's own are data: the ratio of two systems' means,
or of one system's in two environments, is from `at_least` to `at_most`; or their difference, in the unit of a
metric that is compared so. It is supported if the whole
interval lies there, refuted if none of it does. A run at the limit might have been faster on another link,
so with a single one the interval is open on that side: a link can refute a claim, but not feign its truth.
(Without any, the values are what they would have been on an endless link. With some, the mean is too low if
anything, and the end of the interval that still counts is the one for which that is the safe side.)

A published ratio that is 1 because the link set both values says nothing of systems that no link limits. A
claim that says so of itself (`link_limited`) is put to the test only where a link set the second value here
as well; where it set both, they are compared as they are, as they were then. Elsewhere it is not comparable.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hvcost.analysis.cells import Held, Links, held
from hvcost.analysis.effects import effect
from hvcost.analysis.metrics import PRIMARY
from hvcost.analysis.rows import INCONCLUSIVE, NOT_COMPARABLE, REFUTED, SUPPORTED, ClaimVerdict
from hvcost.analysis.samples import Sample
from hvcost.model.description import Claim
from hvcost.model.metric import RATIO, Metric

# What a claim is if one of its comparisons is.
FROM_WORST = (REFUTED, INCONCLUSIVE, SUPPORTED, NOT_COMPARABLE)


def verdicts(
    claims: Iterable[Claim], samples: Sequence[Sample], links: Links, seed: int
) -> list[ClaimVerdict]:
    """One row per comparison of each claim; a claim is as good as the worst of its comparisons.

    Those that are not comparable say nothing, unless there are no others.
    """
    found = {
        (sample.environment, sample.system, sample.workload, name): sample
        for sample in samples
        for name in (sample.metric.name, *([None] if sample.role == PRIMARY else []))
    }
    rows = []
    for claim in claims:
        compared = [
            _compared(claim, workload, a, b, found, links, seed)
            for workload, (a, b) in itertools.product(claim.workloads, claim.pairs())
        ]
        said = [row.verdict for row in compared]
        worst = next((verdict for verdict in FROM_WORST if verdict in said), SUPPORTED)
        rows += [replace(row, claim_verdict=worst) for row in compared]
    return rows


def _compared(
    claim: Claim,
    workload: str,
    a: tuple[str, str],
    b: tuple[str, str],
    samples: Mapping[tuple[str, str, str, str | None], Sample],
    links: Links,
    seed: int,
) -> ClaimVerdict:
    one, other = samples.get((*a, workload, claim.metric)), samples.get((*b, workload, claim.metric))
    row = ClaimVerdict(
        claim=claim.name,
        text=claim.text,
        workload=workload,
        metric=claim.metric or (one.metric.name if one else ""),
        unit=one.metric.unit if one else "",
        compared=claim.compared,
        environment_a=a[0],
        system_a=a[1],
        environment_b=b[0],
        system_b=b[1],
        at_least=claim.at_least,
        at_most=claim.at_most,
        published=claim.published,
        analogue=claim.analogue,
        link_limited=claim.link_limited,
        effect=None,
        effect_low=None,
        effect_high=None,
        bound="",
        verdict=INCONCLUSIVE,
        claim_verdict="",
        note="",
    )
    if one is None or other is None:
        environment, system = a if one is None else b
        return replace(row, note=f"{system} in {environment} was not measured")
    measured = effect(one, other, seed)
    by_link = held(one, links), held(other, links)
    row = replace(row, effect=measured.value, note=measured.note)
    if measured.interval:
        row = replace(row, effect_low=measured.interval.low, effect_high=measured.interval.high)
    if claim.link_limited and measured.value is not None and not by_link[1].median:
        note = "the link set both values when this was published, and not the second here"
        return replace(row, verdict=NOT_COMPARABLE, note="; ".join(filter(None, (row.note, note))))
    if measured.interval is None:
        return row
    low, high = measured.interval.low, measured.interval.high
    if claim.link_limited and by_link[0].median:
        bound, note = "", "the link set both values, as when this was published"
    else:
        bound, note = _opened(*by_link, one.metric)
    return replace(
        row,
        bound=bound,
        verdict=_verdict(
            _lowest(claim) if bound in ("low", "both") else low,
            math.inf if bound in ("high", "both") else high,
            claim,
        ),
        note=note,
    )


def _opened(a: Held, b: Held, metric: Metric) -> tuple[str, str]:
    """Which side of the ratio's interval the link leaves open, and what that means."""
    more, less = ("high", "higher"), ("low", "lower")
    if metric.better == "lower":
        more, less = less, more
    if a.runs and b.runs:
        is_set = a.median and b.median
        note = "the link set both values" if is_set else "the link may have held runs of both back"
        return "both", f"{note}: the ratio may be any"
    if a.runs:
        return more[0], f"{_held_back('the first', a)}: the ratio may be {more[1]}"
    if b.runs:
        return less[0], f"{_held_back('the second', b)}: the ratio may be {less[1]}"
    return "", ""


def _held_back(which: str, side: Held) -> str:
    if side.median:
        return f"the link held {which} back"
    return f"the link may have held {which} back in {side.runs} run{'s' if side.runs > 1 else ''}"


def _lowest(claim: Claim) -> float:
    return 0.0 if claim.compared == RATIO else -math.inf


def _verdict(low: float, high: float, claim: Claim) -> str:
    at_least = _lowest(claim) if claim.at_least is None else claim.at_least
    at_most = math.inf if claim.at_most is None else claim.at_most
    if at_least <= low and high <= at_most:
        return SUPPORTED
    return REFUTED if high < at_least or low > at_most else INCONCLUSIVE
