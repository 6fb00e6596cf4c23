"""The systems' medians in every environment: what changes with the environment, and what the link stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hvcost.analysis.rows import CellStatistics
from hvcost.figures import (
    Picture,
    Subject,
    alike_links,
    emulated_note,
    environment_notes,
    forest,
    limit_note,
    style,
    systems_shown,
)
from hvcost.figures.rates import Unit, number_text, unit_for, value_text
from hvcost.figures.text import INK
from hvcost.model.description import Environment
from hvcost.model.metric import DIFFERENCE, RATIO, Metric
from hvcost.wording import listed

# Colours stand for systems, so environments have none.
LOOKS = tuple(
    style.SystemStyle(INK, marker, filled)
    for marker, filled in (("o", True), ("s", False), ("^", True), ("D", False), ("v", True), ("P", False))
)
ROOM = 1.25


def draw(environments: Sequence[Environment], cells: Sequence[CellStatistics], subject: Subject) -> Picture:
    """A group of rows for each system: its median in each environment, on one axis."""
    ids = {environment.id for environment in environments}
    metric = subject.metric
    own = {(c.system, c.environment): c for c in subject.cells(cells) if c.environment in ids}
    links = [(alike, metric.limit(alike[0].link)) for alike in alike_links(environments)]
    limits = [limit for _alike, limit in links if limit is not None]
    seen = [
        value
        for cell in own.values()
        for value in (cell.median, cell.median_low, cell.median_high)
        if value is not None and (value or metric.compared == DIFFERENCE)
    ]
    unit = unit_for(max([*seen, *limits], default=1.0), metric)
    groups = [
        _group(system, environments, own, (unit, metric))
        for system in systems_shown(environments, list(own.values()))
    ] or [
        forest.Group("", tuple(forest.Row(each.id, LOOKS[0], instead="no systems") for each in environments))
    ]
    title = f"Median {metric.title}, environments side by side{emulated_note(environments)}"
    figure = forest.draw(
        forest.Words(
            title,
            f"Workload {subject.workload}; {metric.better} is better. Point: median; "
            f"bar: {interval_text(list(own.values()))}."
            + (" Dotted line: the most that TCP carries over the link." if limits else ""),
            f"median [interval], {unit.name}",
            (*environment_notes(environments), *([limit_note(environments)] if limits else [])),
        ),
        groups,
        _scale([*seen, *limits], metric, unit),
        [
            forest.Line(
                limit / unit.size,
                f"{listed(environment.id for environment in alike)}: TCP limit {value_text(limit, metric)}",
                (1.0, 1.5),
            )
            for alike, limit in links
            if limit is not None
        ],
    )
    return Picture(
        name=f"environments-{subject.name}",
        title=f"{title}; {subject.workload}",
        description=" ".join(
            forest.spoken(row, group.title, row.label) for group in groups for row in group.rows
        ),
        figure=figure,
    )


def _group(
    system: str,
    environments: Sequence[Environment],
    cells: Mapping[tuple[str, str], CellStatistics],
    shown_in: tuple[Unit, Metric],
) -> forest.Group:
    """Rows of the environments that have the system, each with the look of its place among all."""
    return forest.Group(
        system,
        tuple(
            _row(environment, LOOKS[place % len(LOOKS)], cells.get((system, environment.id)), *shown_in)
            for place, environment in enumerate(environments)
            if system in environment.hypervisors or (system, environment.id) in cells
        ),
    )


def _row(
    environment: Environment,
    look: style.SystemStyle,
    cell: CellStatistics | None,
    unit: Unit,
    metric: Metric,
) -> forest.Row:
    if cell is None:
        return forest.Row(environment.id, look, instead="no measurements")
    if cell.median is None:
        return forest.Row(environment.id, look, instead=f"none of {cell.planned} repetitions succeeded")
    is_logarithmic = metric.compared == RATIO
    if is_logarithmic and not cell.median:
        return forest.Row(environment.id, look, instead="median 0")
    at_limit = f", {cell.limit_said}" if cell.limit_said else ""
    median = number_text(cell.median / unit.size)
    if cell.median_low is None or cell.median_high is None or (is_logarithmic and not cell.median_low):
        return forest.Row(
            environment.id, look, cell.median / unit.size, numbers=f"{median}, no interval{at_limit}"
        )
    low, high = cell.median_low / unit.size, cell.median_high / unit.size
    return forest.Row(
        environment.id,
        look,
        cell.median / unit.size,
        (low, high),
        f"{median} [{number_text(low)}, {number_text(high)}]{at_limit}",
    )


def interval_text(cells: Sequence[CellStatistics]) -> str:
    """The intervals' confidences: exact ones have what the number of values allows."""
    confidences = [cell.median_confidence for cell in cells if cell.median_confidence is not None]
    if not confidences:
        return "its interval"
    ends = dict.fromkeys(f"{100 * end:.1f}" for end in (min(confidences), max(confidences)))
    return f"its exact interval ({' to '.join(ends)} % confidence)"


def _scale(shown: Sequence[float], metric: Metric, unit: Unit) -> forest.Scale:
    """Logarithmic, ten to one at least: a shorter one has hardly a round number to be labelled.

    Where 0 is possible, it is linear and just shows 0.
    """
    if metric.compared == DIFFERENCE:
        high = max([*shown, metric.margin or 0.0]) / unit.size
        return forest.Scale(f"{metric.title}, {unit.name}", -high * 0.03, high * ROOM, logarithmic=False)
    low, high = min(shown, default=1.0) / unit.size, max(shown, default=1.0) / unit.size
    return forest.Scale(
        f"{metric.title}, {unit.name}", min(low, high / 10) / ROOM, high * ROOM, logarithmic=True
    )
