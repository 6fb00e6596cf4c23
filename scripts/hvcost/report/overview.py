"""The overview: systems by metrics, each beside bare metal, with a mark that says better or worse.

A mark is a shape and a word, so that it is understood in black and white and by those who are read to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hvcost.analysis.metrics import PRIMARY
from hvcost.analysis.rows import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    NOT_BY_THIS_LINK,
    TOO_FEW,
    WITHIN_MARGIN,
)
from hvcost.model.metric import Metric
from hvcost.report import costs, numbers, sections
from hvcost.report.inputs import Place
from hvcost.report.numbers import Cell, Pair
from hvcost.report.sections import Group


@dataclass(frozen=True)
class Mark:
    """A shape, the words beside it, and what they mean."""

    shape: str
    words: str
    meaning: str


_DIFFERENT = "the means differ by more than chance would have it"
_SUGGESTS = f"{_DIFFERENT}, in a metric that suggests and confirms nothing"
_HARDLY = f"{_DIFFERENT}, but for certain by less than the margin"
# By whether the metric is a primary one, and whether the system is better.
_DIFFER = {
    (True, True): Mark("▲", "better", _DIFFERENT),
    (True, False): Mark("▼", "worse", _DIFFERENT),
    (False, True): Mark("△", "seems better", _SUGGESTS),
    (False, False): Mark("▽", "seems worse", _SUGGESTS),
}
WITHIN = {
    True: Mark("≈", "hardly better", _HARDLY),
    False: Mark("≈", "hardly worse", _HARDLY),
}
OTHERS = {
    EQUIVALENT: Mark("=", "no difference", "surely within the margin"),
    INCONCLUSIVE: Mark("?", "not told apart", "these values do not tell whether there is a difference"),
    NOT_BY_THIS_LINK: Mark(
        "▮", "at the link’s limit", "the link held values back, so it hides the difference"
    ),
    TOO_FEW: Mark("…", "too few values", "there is no test of so few"),
}
MARKS = (*_DIFFER.values(), *WITHIN.values(), *OTHERS.values())


@dataclass(frozen=True)
class Column:
    """A metric of a workload, and where the page tells of it."""

    group: Group
    target: str


@dataclass(frozen=True)
class Entry:
    """A system in a column: its value beside bare metal's, or its own if it is bare metal.

    `bound`: "at most" or "at least", where the link held one of both back. `pair`: where the mark comes from.
    """

    cell: Cell
    value: str
    interval: str = ""
    unit: str = ""
    bound: str = ""
    mark: Mark | None = None
    pair: str = ""


@dataclass(frozen=True)
class Overview:
    """The table of an environment: rows are systems, the cheapest first; an entry None was not measured."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Entry | None, ...]], ...]

    @property
    def workloads(self) -> dict[str, list[Column]]:
        """Columns by workload."""
        return sections.by(self.columns, lambda column: column.group.workload)


def marks(overviews: Iterable[Overview]) -> list[Mark]:
    """The marks that are in some of these, to be explained."""
    used = {entry.mark for each in overviews for _system, entries in each.rows for entry in entries if entry}
    return [mark for mark in MARKS if mark in used]


def overview(place: Place, pairs: Iterable[Pair]) -> Overview:
    """The overview of an environment; `pairs` are all comparisons that there are."""
    groups = sections.groups(place)
    columns = tuple(Column(group, sections.section_id(place, group.metric)) for group in groups)
    verdicts = {
        (pair.row.workload, pair.row.metric, frozenset((pair.row.system_a, pair.row.system_b))): pair
        for pair in pairs
        if pair.row.environment_a == pair.row.environment_b == place.environment.id
    }
    systems = dict.fromkeys([cell.row.system for group in groups[:1] for cell in group.cells])
    systems |= dict.fromkeys(place.environment.hypervisors)
    return Overview(
        columns,
        tuple((system, tuple(_entry(system, group, verdicts) for group in groups)) for system in systems),
    )


def _entry(
    system: str, group: Group, verdicts: Mapping[tuple[str, str, frozenset[str]], Pair]
) -> Entry | None:
    cell, bare_metal = group.of(system), group.baseline
    if cell is None:
        return None
    row = cell.row
    if row.mean is None:
        return Entry(cell, "not available" if row.unavailable == row.planned else "no figure")
    if bare_metal is None or cell is bare_metal or row.effect is None:
        return Entry(cell, numbers.amount(row, row.mean), unit=numbers.unit(row))
    pair = verdicts.get((row.workload, row.metric, frozenset((system, bare_metal.row.system))))
    mark = _mark(cell, pair, group.metric) if pair else None
    target = pair.id if pair else ""
    if costs.is_held(cell, bare_metal):
        return Entry(cell, numbers.amount(row, row.mean), unit=numbers.unit(row), mark=mark, pair=target)
    value, interval, unit = numbers.beside_parts(row)
    return Entry(cell, value, interval, unit, costs.bound(cell, bare_metal), mark, target)


def _mark(cell: Cell, pair: Pair, metric: Metric) -> Mark:
    is_better = metric.is_better(cell.row.effect or 0.0)
    if pair.row.verdict == DIFFERENT:
        return _DIFFER[pair.row.role == PRIMARY, is_better]
    if pair.row.verdict == WITHIN_MARGIN:
        return WITHIN[is_better]
    return OTHERS[pair.row.verdict]
