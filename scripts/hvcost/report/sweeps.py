"""The sweeps of the page: their charts, and where each system leaves bare metal's curve, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hvcost.analysis.knee import Judged, Knee, knees
from hvcost.analysis.rows import EQUIVALENT, WITHIN_MARGIN, PairComparison
from hvcost.figures.sweep import Curves, all_curves
from hvcost.model.description import BASELINE
from hvcost.model.metric import RATIO
from hvcost.model.sweep import WORKLOAD
from hvcost.report import numbers
from hvcost.report.inputs import Figure, Results
from hvcost.report.numbers import Cell, Number
from hvcost.report.words import Sentence, sentence, start
from hvcost.wording import listed


@dataclass(frozen=True)
class Part:
    """One metric along a sweep. `sources`: what its chart is made of, each with where it is."""

    curves: Curves
    says: tuple[Sentence, ...]
    chart: Figure | None
    sources: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Section:
    """A sweep in an environment, or under a workload, with all of its metrics; the primary one is first."""

    heading: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class _Rows:
    """Rows that sentences are made of: cells by place and system, and the ids of comparisons."""

    cells: Mapping[tuple[str, str, str, str], Cell]
    pairs: Mapping[PairComparison, str]


def sections(results: Results) -> list[Section]:
    """All sweeps of the experiment, of which there is anything."""
    cells = [cell for place in results.places for cell in place.statistics.rows]
    rows = _Rows(
        {(c.row.environment, c.row.workload, c.row.metric, c.row.system): c for c in cells},
        {pair.row: pair.id for pair in results.comparisons.rows},
    )
    systems = results.experiment.systems
    bare_metal = next((name for name, spec in systems.items() if spec["hypervisor"] == BASELINE), "")
    by_heading: dict[str, list[Part]] = {}
    for curves in all_curves([place.environment for place in results.places], [cell.row for cell in cells]):
        found = knees(rows.pairs, curves.sweep, curves.other, curves.metric.name, bare_metal)
        said = tuple(says(knee, curves, rows) for knee in found)
        where = "in" if curves.sweep.kind == WORKLOAD else "under"
        heading = f"{curves.sweep.heading}, {where} {curves.other}"
        places = {point.environment for point in curves.points}
        sources = tuple(
            (table.path, table.path)
            for table in (place.statistics for place in results.places if place.environment.id in places)
        )
        part = Part(curves, said, results.figures.get(curves.name), sources)
        by_heading.setdefault(heading, []).append(part)
    return [
        Section(heading, tuple(sorted(parts, key=lambda part: not part.curves.is_primary)))
        for heading, parts in by_heading.items()
    ]


def point_of(results: Results) -> Callable[[PairComparison], str]:
    """What says at which point of a sweep a pair is compared; nothing of one that is at none."""
    swept = {name for sweep in results.experiment.sweeps for name in sweep.names}

    def point(row: PairComparison) -> str:
        places = {row.environment_a, row.environment_b}
        names = (*(places if len(places) == 1 else ()), row.workload)
        return listed(name for name in names if name in swept)

    return point


def says(knee: Knee, curves: Curves, rows: _Rows) -> Sentence:
    """Where a system leaves bare metal's curve, or how it runs along it."""

    def value(judged: Judged) -> Number:
        return Number(curves.sweep.said(judged[0]), rows.pairs[judged[1]])

    unknown = listed(map(curves.sweep.said, knee.unknown))
    rest = f" There is no verdict at {unknown}." if unknown and knee.points else ""
    return (*_course(knee, value, lambda judged: _beside(judged, knee.system, rows)), *filter(None, (rest,)))


def _course(knee: Knee, value: Callable[[Judged], Number], beside: Callable[[Judged], Sentence]) -> Sentence:
    who = start(knee.system)
    if knee.before and knee.after and knee.course == "leaves":
        text = "{who} follows bare metal" if knee.is_shown else "{who} is not told from bare metal"
        text += " up to {before}, and leaves its curve at {after}, {beside}."
        return sentence(
            text, who=who, before=value(knee.before), after=value(knee.after), beside=beside(knee.after)
        )
    if knee.before and knee.after and knee.course == "joins":
        text = "{who} is apart from bare metal up to {before}, {beside}, and "
        text += "follows it from {after} on." if knee.is_shown else "is not told from it from {after} on."
        return sentence(
            text, who=who, before=value(knee.before), after=value(knee.after), beside=beside(knee.before)
        )
    if knee.course == "apart":
        first, last = knee.apart[0], knee.apart[-1]
        return sentence(
            "{who} is apart from bare metal everywhere: at {first} {low}, at {last} {high}.",
            who=who,
            first=value(first),
            low=beside(first),
            last=value(last),
            high=beside(last),
        )
    if knee.course == "follows":
        if knee.is_shown:
            return sentence("{who} follows bare metal everywhere.", who=who)
        equal = sum(row.verdict in (EQUIVALENT, WITHIN_MARGIN) for _value, row in knee.points)
        return sentence(
            "{who} is nowhere told from bare metal, and shown to be equivalent at {equal} of {all} values.",
            who=who,
            equal=str(equal),
            all=str(len(knee.points)),
        )
    if knee.course == "wavers":
        places: list[str | Number] = []
        for judged in knee.apart:
            places += [value(judged), ", "]
        return sentence(
            "{who} is apart from bare metal at {places}, and not at values between or beyond.",
            who=who,
            places=tuple(places[:-1]),
        )
    return sentence("{who}: there are too few values for a verdict.", who=who)


def _beside(judged: Judged, system: str, rows: _Rows) -> Sentence:
    """A system beside bare metal at a point."""
    row = judged[1]
    cell = rows.cells[row.environment_a, row.workload, row.metric, system]
    text = "with {effect} of it" if row.compared == RATIO else "with a difference of {effect}"
    return sentence(text, effect=Number(numbers.beside(cell.row), cell.id))
