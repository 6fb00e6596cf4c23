"""What stands together in the report: metrics of an environment, each with all workloads that have it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from hvcost.analysis.metrics import PRIMARY, PROCESSOR_TIMES
from hvcost.figures import Distribution, Subject
from hvcost.model.metric import Metric
from hvcost.report import costs, trust, words
from hvcost.report.inputs import Place
from hvcost.report.numbers import Cell
from hvcost.report.trust import Flag

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """What can be compared directly: one metric of a workload in an environment, its cells by their cost."""

    workload: str
    metric: Metric
    cells: tuple[Cell, ...]

    @property
    def is_primary(self) -> bool:
        """Whether it is what the workload's verdicts are about."""
        return self.cells[0].row.role == PRIMARY

    @property
    def baseline(self) -> Cell | None:
        """The group's bare metal."""
        return costs.baseline(self.cells)

    def of(self, system: str) -> Cell | None:
        """The cell of a system."""
        return next((cell for cell in self.cells if cell.row.system == system), None)


@dataclass(frozen=True)
class Section:
    """A metric with all workloads that have it, or percentiles of one distribution, the lowest first.

    `names`: what its figures are called after.
    """

    id: str
    title: str
    metrics: tuple[Metric, ...]
    groups: tuple[Group, ...]
    names: tuple[str, ...]

    @property
    def first(self) -> list[Group]:
        """Groups of each workload's first metric, which sentences are about."""
        return [next(iter(own)) for own in by(self.groups, lambda group: group.workload).values()]

    @property
    def cells(self) -> list[Cell]:
        """Cells of all workloads and metrics."""
        return [cell for group in self.groups for cell in group.cells]

    @property
    def rows(self) -> list[tuple[Cell, list[Cell | None]]]:
        """Cells of the first metric, each with those of all metrics: what a table of percentiles shows."""
        places = {(g.workload, g.metric): g for g in self.groups}
        return [
            (
                cell,
                [
                    group.of(cell.row.system) if (group := places.get((first.workload, metric))) else None
                    for metric in self.metrics
                ],
            )
            for first in self.first
            for cell in first.cells
        ]

    def flags(self, cells: Iterable[Cell | None]) -> list[tuple[str, Flag]]:
        """What the diagnostics have to say against cells of a row, each with its percentile."""
        return [
            (f"{words.metric(cell.row).percentile:g}", flag)
            for cell in cells
            if cell
            for flag in trust.flags(cell)
        ]

    @property
    def role(self) -> str:
        """Which workloads' verdicts it is about, in a sentence."""
        primary = [group for group in self.groups if group.is_primary]
        if not primary:
            return "This is looked at beside the primary metrics: it suggests, and confirms nothing."
        noun = "workload" if len(primary) == 1 else "workloads"
        workloads = words.listed([group.workload for group in primary])
        return f"Verdicts on {noun} {workloads} are about {primary[0].metric.title}."


def groups(place: Place) -> list[Group]:
    """All that was analysed in an environment: by workloads as they are configured, primary metrics first.

    Swept ones are left out: their curves say more than each of their points; and so are metrics that nobody
    can have here.
    """
    had = {
        (each.row.workload, each.row.metric) for each in place.statistics.rows if not _is_unavailable(each)
    }
    rows = (each for each in place.statistics.rows if (each.row.workload, each.row.metric) in had)
    by_workload = by(rows, lambda cell: cell.row.workload)
    every = dict.fromkeys([*place.environment.workloads, *by_workload])
    order = [workload for workload in every if workload not in place.environment.swept_workloads]
    return [
        Group(workload, words.metric(own[0].row), tuple(costs.by_cost(own)))
        for workload in order
        for own in sorted(
            by(by_workload.get(workload, ()), lambda cell: cell.row.metric).values(),
            key=lambda own: own[0].row.role != PRIMARY,
        )
    ]


def _is_unavailable(cell: Cell) -> bool:
    return cell.row.role != PRIMARY and cell.row.unavailable == cell.row.planned - cell.row.failed > 0


def headlines(place: Place) -> list[Group]:
    """What is said first of an environment.

    That is each primary metric, in the first workload that has it, and the first processor time of the
    host: it tells systems apart where the link is full.
    """
    every = groups(place)
    primary: dict[Metric, Group] = {}
    for group in every:
        if group.is_primary:
            primary.setdefault(group.metric, group)
    spent = next((group for group in every if group.metric in PROCESSOR_TIMES), None)
    return [*primary.values(), *([spent] if spent else [])]


def sections(place: Place) -> list[Section]:
    """An environment's metrics: those that verdicts are about, then the others."""
    every = sorted(groups(place), key=lambda group: not group.is_primary)
    return [_section(place, own) for own in by(every, lambda group: _key(group.metric)).values()]


def section_id(place: Place, metric: Metric) -> str:
    """Where the page tells of a metric."""
    return f"metric-{place.environment.id}-{_key(metric).replace(' ', '-').replace('_', '-')}"


def _key(metric: Metric) -> str:
    """What metrics of one section have in common."""
    return metric.distribution or metric.name


def _section(place: Place, own: list[Group]) -> Section:
    found = sorted(own, key=lambda group: group.metric.percentile or 0.0)
    metrics = tuple(dict.fromkeys(group.metric for group in found))
    names: list[str] = []
    for workload, of_workload in by(found, lambda group: group.workload).items():
        measured = {group.metric: group.is_primary for group in of_workload}
        names += [each.name for each in Distribution.all_of(workload, measured)]
        names += [Subject(workload, *each).name for each in measured.items()]
    return Section(
        id=section_id(place, metrics[0]),
        title=metrics[0].title if len(metrics) == 1 else metrics[0].distribution,
        metrics=metrics,
        groups=tuple(found),
        names=tuple(dict.fromkeys(names)),
    )


def by(items: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    """Items by a key, both in the order in which they come."""
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found
