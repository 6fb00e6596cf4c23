"""Where a system leaves bare metal's curve: the knee of a sweep.

A system is apart from bare metal at a point if the verdict there is `different`: after the correction for all
points and pairs of the sweep, and by more than the margin of equivalence. The knee is the first point from
which on it is apart, if it was not apart before. What is not told apart is not shown to be equal either, so
it is kept whether all points before were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hvcost.analysis.rows import DIFFERENT, EQUIVALENT, TOO_FEW, WITHIN_MARGIN, PairComparison
from hvcost.model.sweep import Sweep

# Which points are apart: none, those from the knee on, those before it, all, or others. Or nothing is known.
Course = Literal["follows", "leaves", "joins", "apart", "wavers", "unknown"]
Judged = tuple[float, PairComparison]


@dataclass(frozen=True)
class Knee:
    """How a system's curve runs along bare metal's.

    `before` and `after` are the points on both sides of the knee, None where there is none: values of the
    parameter with their comparisons. `apart` are the points at which it is apart, of `points` that have a
    verdict. `is_shown`: wherever it is not apart, it is equivalent. `unknown`: values without a verdict.
    """

    system: str
    course: Course
    before: Judged | None
    after: Judged | None
    apart: tuple[Judged, ...]
    points: tuple[Judged, ...]
    is_shown: bool
    unknown: tuple[float, ...]


def knees(
    comparisons: Iterable[PairComparison], sweep: Sweep, other: str, metric: str, bare_metal: str
) -> list[Knee]:
    """The course of each system's curve beside that of the system `bare_metal`, in their order.

    `other`: the environment in which workloads were swept, or the workload of swept environments.
    """
    values = {(point.environment, point.workload): point.value for point in sweep.points(other)}
    by_system: dict[str, dict[float, PairComparison]] = {}
    for row in comparisons:
        place = (row.environment_a, row.workload)
        is_of_curve = row.metric == metric and row.environment_a == row.environment_b and place in values
        systems = (row.system_a, row.system_b)
        if is_of_curve and bare_metal in systems and not row.same:
            (system,) = {*systems} - {bare_metal}
            by_system.setdefault(system, {})[values[place]] = row
    return [_knee(system, sweep.values, rows) for system, rows in by_system.items()]


def _knee(system: str, values: Sequence[float], rows: Mapping[float, PairComparison]) -> Knee:
    points = tuple(
        (value, rows[value]) for value in values if value in rows and rows[value].verdict != TOO_FEW
    )
    is_apart = [row.verdict == DIFFERENT for _value, row in points]
    changes = [n for n in range(1, len(points)) if is_apart[n] != is_apart[n - 1]]
    knee = changes[0] if len(changes) == 1 else None
    return Knee(
        system=system,
        course=_course(is_apart, len(changes)),
        before=None if knee is None else points[knee - 1],
        after=None if knee is None else points[knee],
        apart=tuple(point for point, apart in zip(points, is_apart, strict=True) if apart),
        points=points,
        is_shown=all(row.verdict in (DIFFERENT, EQUIVALENT, WITHIN_MARGIN) for _value, row in points),
        unknown=tuple(value for value in values if value not in dict(points)),
    )


def _course(is_apart: Sequence[bool], changes: int) -> Course:
    if not is_apart:
        return "unknown"
    if changes > 1:
        return "wavers"
    if changes == 1:
        return "leaves" if is_apart[-1] else "joins"
    return "apart" if is_apart[0] else "follows"
