"""What each system has of bare metal's value, or differs from it by, with the interval of that effect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from hvcost.analysis.rows import NOT_BY_THIS_LINK, CellStatistics
from hvcost.figures import Picture, Subject, emulated_note, environment_notes, forest, style, systems_shown
from hvcost.figures.rates import LOG_FROM_RATIO
from hvcost.figures.text import LINK
from hvcost.model.description import BASELINE, Environment
from hvcost.model.metric import DIFFERENCE, RATIO, Metric
from hvcost.wording import difference_unit, sentence_case

VAGUE = style.SystemStyle(LINK, "o", filled=False)
BOUNDS = {
    -1: "“At most”, arrow to the left: bare metal is at the link's limit and may be faster than was seen, "
    "so the true ratio may be lower.",
    1: "“At least”, arrow to the right: the system is at the link's limit and may be faster than was seen, "
    "so the true ratio may be higher.",
}
VAGUE_NOTE = (
    "Hollow grey point: bare metal and the system are both at the link's limit, which was measured then "
    "and not their difference."
)
MAX_DECIMALS = 5


def draw(environments: Sequence[Environment], cells: Sequence[CellStatistics], subject: Subject) -> Picture:
    """A row for each system in each environment; a reference line where bare metal is."""
    metric = subject.metric
    is_ratio = metric.compared == RATIO
    unit = difference_unit(metric.unit)
    groups = [_group(environment, subject.cells(cells), metric) for environment in environments]
    rows = [row for group in groups for row in group.rows]
    what = "as a ratio to" if is_ratio else "as a difference from"
    title = f"{sentence_case(metric.title)} {what} bare metal{emulated_note(environments)}"
    bounds = [text for side, text in BOUNDS.items() if any(row.open_side == side for row in rows)]
    if any(row.numbers == NOT_BY_THIS_LINK for row in rows):
        bounds.append(VAGUE_NOTE)
    figure = forest.draw(
        forest.Words(
            title,
            f"Workload {subject.workload}: {metric.centre} {metric.title} of a system, "
            f"{'divided by' if is_ratio else 'less'} that of bare metal in the same environment; "
            f"{metric.better} is better. Bar: 95 % interval of the {metric.compared}. Solid line: "
            f"{metric.no_effect:g}, the same as bare metal.",
            "ratio [95 % interval]" if is_ratio else f"difference [95 % interval], {unit}",
            (*bounds, *environment_notes(environments)),
        ),
        groups,
        scale_of(rows) if is_ratio else _differences(rows, metric),
        [forest.Line(metric.no_effect)],
    )
    return Picture(
        name=f"ratios-{subject.name}",
        title=f"{title}; {subject.workload}",
        description=" ".join(
            forest.spoken(row, row.label, group.title) for group in groups for row in group.rows
        ),
        figure=figure,
    )


def _group(environment: Environment, cells: Sequence[CellStatistics], metric: Metric) -> forest.Group:
    own = {c.system: c for c in cells if c.environment == environment.id}
    systems = systems_shown([environment], list(own.values()))
    baseline = _baseline(list(own.values()))
    rows = [
        _row(own[name], style.system_style(name, kind), baseline, metric)
        if name in own
        else forest.Row(name, style.system_style(name, kind), instead="no measurements")
        for name, kind in systems.items()
    ]
    return forest.Group(environment.id, tuple(rows) or (forest.Row("", VAGUE, instead="no systems"),))


def _baseline(cells: Sequence[CellStatistics]) -> CellStatistics | None:
    """What the ratios are to. Bare metal may be there under two names: then one has an interval."""
    candidates = [cell for cell in cells if cell.hypervisor == BASELINE]
    return min(candidates, key=lambda cell: cell.effect_low is not None, default=None)


def _row(
    cell: CellStatistics, look: style.SystemStyle, baseline: CellStatistics | None, metric: Metric
) -> forest.Row:
    if cell.effect is None:
        return forest.Row(cell.system, look, instead=cell.note or f"no {metric.compared}")
    row = forest.Row(cell.system, look, cell.effect)
    if cell is baseline:
        return replace(row, numbers=", ".join(filter(None, (f"{cell.effect:g}", cell.limit_said))))
    held_back = baseline is not None and baseline.runs_at_limit > 0
    if held_back and cell.runs_at_limit:
        return replace(row, look=VAGUE, numbers=NOT_BY_THIS_LINK)
    side, bound = (-1, "at most ") if held_back else (1, "at least ") if cell.runs_at_limit else (0, "")
    if cell.effect_low is None or cell.effect_high is None:
        numbers = f"{bound}{_text(cell.effect, abs(cell.effect) / 10, metric)}, no interval"
        if cell.note:
            numbers += f": {cell.note}"
        return replace(row, numbers=numbers, open_side=side)
    ends = (cell.effect_low, cell.effect_high)
    finest = (cell.effect_high - cell.effect_low) / 2 or abs(cell.effect) / 10
    if metric.compared == DIFFERENCE:
        # An end that is near zero is not zero.
        finest = min([finest / 10, *(abs(end) for end in ends if end)])
    effect, low, high = (_text(value, finest, metric) for value in (cell.effect, *ends))
    return replace(
        row,
        interval=ends,
        numbers=f"{bound}{effect} [{low}, {high}]",
        open_side=side,
    )


def ratio_text(value: float, finest: float) -> str:
    """A ratio with the decimals that a difference of `finest` needs, so that no interval looks empty."""
    return f"{value:.{min(max(_needed(finest), 2), MAX_DECIMALS)}f}"


def _needed(finest: float) -> int:
    return math.ceil(-math.log10(finest)) if finest > 0 else 2


def _text(value: float, finest: float, metric: Metric) -> str:
    """An effect with the decimals that a difference of `finest` needs."""
    if metric.compared == RATIO:
        return ratio_text(value, finest)
    text = f"{value:+.{min(max(_needed(finest), 0), MAX_DECIMALS)}f}" if value else "0"
    return text.replace("-", "−")


def _differences(rows: Sequence[forest.Row], metric: Metric) -> forest.Scale:
    """Zero and all that is shown, and as far as what counts as a difference."""
    shown = [metric.margin or 0.0, -(metric.margin or 0.0)]
    for row in rows:
        shown += [value for value in (row.value, *(row.interval or ())) if value is not None]
    low, high = min(shown), max(shown)
    room = (high - low) * 0.05
    label = f"difference from bare metal, {difference_unit(metric.unit)}"
    return forest.Scale(label, low - room, high + room, logarithmic=False)


def scale_of(rows: Sequence[forest.Row]) -> forest.Scale:
    """From zero, unless the lowest ratios would lie on each other there; with room for open sides."""
    shown = [1.0]
    for row in rows:
        shown += [value for value in (row.value, *(row.interval or ())) if value is not None]
    low, high = min(shown), max(shown)
    label = "ratio to bare metal"
    room = forest.ARROW_SHARE
    if 0 < low < high / LOG_FROM_RATIO:
        margin = (high / low) ** (room / (1 - 2 * room))
        return forest.Scale(label, low / margin, high * margin, logarithmic=True)
    return forest.Scale(label, 0.0, high / (1 - room), logarithmic=False)
