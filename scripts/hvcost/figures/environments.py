"""The systems' medians in every environment: what changes with the environment, and what the link stops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hvcost.analysis.rows import CellStatistics
from hvcost.figures import (
    Picture,
    alike_links,
    emulated_note,
    environment_notes,
    forest,
    limit_note,
    style,
    systems_shown,
)
from hvcost.figures.rates import Unit, number_text, rate_text, unit_for
from hvcost.figures.text import INK
from hvcost.model.description import Environment

# Colours stand for systems, so environments have none.
LOOKS = tuple(
    style.SystemStyle(INK, marker, filled)
    for marker, filled in (("o", True), ("s", False), ("^", True), ("D", False), ("v", True), ("P", False))
)
ROOM = 1.25


def draw(environments: Sequence[Environment], cells: Sequence[CellStatistics], workload: str) -> Picture:
    """A group of rows for each system: its median in each environment, on one axis."""
    ids = {environment.id for environment in environments}
    own = {(c.system, c.environment): c for c in cells if c.workload == workload and c.environment in ids}
    limits = [environment.tcp_limit_bps for environment in environments]
    seen = [
        bps
        for cell in own.values()
        for bps in (cell.median_bps, cell.median_low_bps, cell.median_high_bps)
        if bps
    ]
    unit = unit_for(max([*seen, *limits]))
    groups = [
        _group(system, environments, own, unit) for system in systems_shown(environments, list(own.values()))
    ] or [
        forest.Group("", tuple(forest.Row(each.id, LOOKS[0], instead="no systems") for each in environments))
    ]
    title = f"Median throughput, environments side by side{emulated_note(environments)}"
    figure = forest.draw(
        forest.Words(
            title,
            f"Workload {workload}: throughput reported by the client. Point: median; "
            f"bar: {_interval_text(list(own.values()))}. Dotted line: the most that TCP carries over "
            "the link.",
            f"median [interval], {unit.name}",
            (*environment_notes(environments), limit_note(environments)),
        ),
        groups,
        _scale(seen, limits, unit),
        [
            forest.Line(
                alike[0].tcp_limit_bps / unit.bps,
                f"{', '.join(environment.id for environment in alike)}: "
                f"TCP limit {rate_text(alike[0].tcp_limit_bps)}",
                (1.0, 1.5),
            )
            for alike in alike_links(environments)
        ],
    )
    return Picture(
        name=f"environments-{workload}",
        title=f"{title}; {workload}",
        description=" ".join(
            forest.spoken(row, group.title, row.label) for group in groups for row in group.rows
        ),
        figure=figure,
    )


def _group(
    system: str,
    environments: Sequence[Environment],
    cells: Mapping[tuple[str, str], CellStatistics],
    unit: Unit,
) -> forest.Group:
    """Rows of the environments that have the system, each with the look of its place among all."""
    return forest.Group(
        system,
        tuple(
            _row(environment, LOOKS[place % len(LOOKS)], cells.get((system, environment.id)), unit)
            for place, environment in enumerate(environments)
            if system in environment.hypervisors or (system, environment.id) in cells
        ),
    )


def _row(
    environment: Environment, look: style.SystemStyle, cell: CellStatistics | None, unit: Unit
) -> forest.Row:
    if cell is None:
        return forest.Row(environment.id, look, instead="no measurements")
    if not cell.median_bps:
        # A logarithmic axis has no place for zero.
        said = "median 0" if cell.ok else f"none of {cell.planned} repetitions succeeded"
        return forest.Row(environment.id, look, instead=said)
    at_limit = f", {cell.limit_said}" if cell.limit_said else ""
    median = number_text(cell.median_bps / unit.bps)
    if not cell.median_low_bps or not cell.median_high_bps:
        return forest.Row(
            environment.id, look, cell.median_bps / unit.bps, numbers=f"{median}, no interval{at_limit}"
        )
    low, high = cell.median_low_bps / unit.bps, cell.median_high_bps / unit.bps
    return forest.Row(
        environment.id,
        look,
        cell.median_bps / unit.bps,
        (low, high),
        f"{median} [{number_text(low)}, {number_text(high)}]{at_limit}",
    )


def _interval_text(cells: Sequence[CellStatistics]) -> str:
    """The intervals' confidences: exact ones have what the number of values allows."""
    confidences = [cell.median_confidence for cell in cells if cell.median_confidence is not None]
    if not confidences:
        return "its interval"
    ends = dict.fromkeys(f"{100 * end:.1f}" for end in (min(confidences), max(confidences)))
    return f"its exact interval ({' to '.join(ends)} % confidence)"


def _scale(seen_bps: Sequence[float], limits_bps: Sequence[float], unit: Unit) -> forest.Scale:
    """Ten to one at least: a shorter logarithmic axis has hardly a round number to be labelled."""
    low, high = min([*seen_bps, *limits_bps]) / unit.bps, max([*seen_bps, *limits_bps]) / unit.bps
    return forest.Scale(
        f"TCP throughput, {unit.name}", min(low, high / 10) / ROOM, high * ROOM, logarithmic=True
    )
