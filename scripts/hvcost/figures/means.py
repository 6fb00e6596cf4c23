"""Arithmetic means of systems across environments (the study's figure 5.5), with all points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hvcost.analysis.measurements import FAILED, UNAVAILABLE, Repetition, as_measured
from hvcost.analysis.rows import CellStatistics
from hvcost.figures import (
    Picture,
    Subject,
    alike_links,
    emulated_note,
    environment_notes,
    limit_note,
    style,
    systems_shown,
)
from hvcost.figures.rates import (
    Level,
    Unit,
    draw_level,
    label_levels,
    link_levels,
    number_text,
    unit_for,
    value_axis,
)
from hvcost.figures.repetitions import spoken
from hvcost.figures.text import (
    INK,
    MUTED,
    SMALL_PT,
    TEXT_PT,
    TITLE_PT,
    Paragraph,
    paragraphs_height,
    text_width,
    wrapped,
    write_line,
    write_paragraphs,
)
from hvcost.model.description import Environment
from hvcost.model.metric import Metric

PLOT_IN = 3.4
MIN_PLOT_WIDTH_IN = 4.8
EDGE_IN = 0.12
SYSTEM_GAP_IN = 0.3
MIN_COLUMN_IN = 0.7
MAX_ID_IN = 0.9
MEAN_IN = 0.13
ROW_IN = 0.19


@dataclass(frozen=True)
class _Column:
    """One system in one environment: a place on the x axis, in inches of the plot. Points as measured."""

    system: str
    environment: Environment
    points: tuple[Repetition, ...]
    mean: float | None
    x: float
    width: float

    @property
    def values(self) -> list[float]:
        return [p.value for p in self.points if p.value is not None]

    @property
    def count_text(self) -> str:
        if any(p.status == UNAVAILABLE for p in self.points):
            return "not available"
        return f"{len(self.values)}/{len(self.points)}" if self.points else "no data"


@dataclass(frozen=True)
class _Places:
    """Where the table is: left edge of the axes, x of the columns' origin, its top, in inches."""

    left: float
    origin: float
    top: float
    id_lines: int


def draw(
    environments: Sequence[Environment],
    repetitions: Sequence[Repetition],
    cells: Sequence[CellStatistics],
    subject: Subject,
) -> Picture:
    """A column of points and their mean, that of `cells`, for each system in each environment."""
    ids = {environment.id for environment in environments}
    workload, metric = subject.workload, subject.metric
    points = [p for p in subject.points(as_measured(repetitions)) if p.environment in ids]
    means = {(cell.environment, cell.system): cell.mean for cell in subject.cells(cells)}
    systems = systems_shown(environments, points)
    styles = {name: style.system_style(name, kind) for name, kind in systems.items()}
    columns = _columns(environments, points, list(systems), means)
    shown_in = max((c.x + c.width / 2 for c in columns), default=0.0) + SYSTEM_GAP_IN / 2
    plot_width_in = max(MIN_PLOT_WIDTH_IN, shown_in)

    levels = _levels(environments, metric)
    shown = [v for c in columns for v in c.values] + [level.value for level in levels]
    unit = unit_for(max(shown, default=0.0), metric)
    rows = ("environment", f"mean, {unit.name}", "ok / planned")
    left_in = EDGE_IN + max(0.7, *(text_width(row, SMALL_PT) + 0.1 for row in rows))
    beside_in = max((text_width(level.text, SMALL_PT) for level in levels), default=0.0)
    text_in = left_in + plot_width_in + 0.2 + beside_in - EDGE_IN
    title = f"Mean {metric.title} per system and environment{emulated_note(environments)}"
    header = [
        Paragraph.fit(
            title,
            text_in,
            TITLE_PT,
            weight="bold",
        ),
        Paragraph.fit(
            f"Workload {workload}. Points: repetitions in their order, from left to right; line beside them: "
            f"the arithmetic mean. {metric.better.capitalize()} is better.",
            text_in,
            colour=MUTED,
        ),
    ]
    footer = [
        Paragraph.fit(text, text_in, SMALL_PT, MUTED)
        for text in (*environment_notes(environments), *([limit_note(environments)] if levels else []))
    ]
    id_lines = max(len(_id_lines(environment)) for environment in environments)
    table_in = ROW_IN * (id_lines + len(rows)) + 0.12
    bottom = EDGE_IN + paragraphs_height(footer) + 0.08 + table_in
    width = text_in + 2 * EDGE_IN
    height = bottom + PLOT_IN + 0.15 + paragraphs_height(header) + EDGE_IN

    figure = Figure(figsize=(width, height))
    write_paragraphs(figure, EDGE_IN, height - EDGE_IN, header)
    write_paragraphs(figure, EDGE_IN, EDGE_IN + paragraphs_height(footer), footer)
    axes = style.add_axes(figure, left_in, bottom, plot_width_in, PLOT_IN)
    # Columns keep their size when there are few of them, and stand in the middle.
    shift = (plot_width_in - shown_in) / 2
    axes.set_xlim(-shift, plot_width_in - shift)
    axes.set_xticks([])
    unit = value_axis(axes, [v for c in columns for v in c.values], levels, metric)
    for level in levels:
        draw_level(axes, unit, level)
    label_levels(figure, axes, unit, levels)
    for column in columns:
        _draw_column(axes, column, styles[column.system], unit)
    _write_table(figure, columns, rows, unit, _Places(left_in, left_in + shift, bottom, id_lines))
    if not any(column.values for column in columns):
        said = "No repetition succeeded." if points else "There are no measurements."
        axes.text(0.5, 0.45, said, transform=axes.transAxes, ha="center", va="center")

    return Picture(
        name=f"means-{subject.name}",
        title=f"{title}; {workload}",
        description=" ".join(
            spoken(f"{column.system} in {column.environment.id}", column.points, metric, column.mean)
            for column in columns
        ),
        figure=figure,
    )


def _id_lines(environment: Environment) -> list[str]:
    return wrapped(environment.id, MAX_ID_IN, SMALL_PT)


def _columns(
    environments: Sequence[Environment],
    points: Sequence[Repetition],
    systems: Sequence[str],
    means: Mapping[tuple[str, str], float | None],
) -> list[_Column]:
    columns: list[_Column] = []
    x = 0.0
    for system in systems:
        own = {
            environment.id: tuple(p for p in points if p.system == system and p.environment == environment.id)
            for environment in environments
        }
        present = [
            environment
            for environment in environments
            if own[environment.id] or system in environment.hypervisors
        ]
        widths = [
            max(
                MIN_COLUMN_IN,
                *(text_width(line, SMALL_PT) + 0.12 for line in _id_lines(environment)),
            )
            for environment in present
        ]
        # The system's name stands under its columns.
        missing = text_width(system, TEXT_PT, "bold") + 0.3 - sum(widths)
        widths = [width + max(0.0, missing) / len(widths) for width in widths]
        x += SYSTEM_GAP_IN / 2
        for environment, width in zip(present, widths, strict=True):
            mean = means.get((environment.id, system))
            columns.append(_Column(system, environment, own[environment.id], mean, x + width / 2, width))
            x += width
        x += SYSTEM_GAP_IN / 2
    return columns


def _levels(environments: Sequence[Environment], metric: Metric) -> list[Level]:
    """Lines of the links; environments with the same link share them."""
    links = alike_links(environments)
    return [
        level
        for alike in links
        for level in link_levels(
            alike[0],
            metric,
            f"{', '.join(environment.id for environment in alike)}: " if len(links) > 1 else "",
        )
    ]


def _draw_column(axes: Axes, column: _Column, own: style.SystemStyle, unit: Unit) -> None:
    usable = min(column.width, 0.8) * 0.55
    left = column.x - (usable + 0.06 + MEAN_IN) / 2
    right = left + usable
    last = max(len(column.points) - 1, 1)
    # Repetitions in their order across the column: drift shows, and no point hides another.
    places = [
        left + usable * (position / last if len(column.points) > 1 else 0.5)
        for position in range(len(column.points))
    ]
    drawn = [
        (x, point.value / unit.size)
        for x, point in zip(places, column.points, strict=True)
        if point.value is not None
    ]
    failed = [x for x, point in zip(places, column.points, strict=True) if point.status == FAILED]
    mean = column.mean
    axes.plot(
        [x for x, _y in drawn],
        [y for _x, y in drawn],
        linestyle="none",
        zorder=4,
        clip_on=False,
        **own.point(5.0 if len(drawn) <= 30 else 3.5),
    )
    if mean is not None:
        axes.plot(
            [right + 0.06, right + 0.06 + MEAN_IN],
            [mean / unit.size] * 2,
            color=INK,
            linewidth=2.2,
            solid_capstyle="butt",
            zorder=4,
        )
    axes.plot(
        failed,
        [0.0] * len(failed),
        color=own.colour,
        transform=axes.get_xaxis_transform(),
        zorder=5,
        **style.CROSS,
    )


def _write_table(
    figure: Figure,
    columns: Sequence[_Column],
    rows: Sequence[str],
    unit: Unit,
    places: _Places,
) -> None:
    """The columns' numbers under them, and the systems' names."""
    first = places.top - 0.08 - ROW_IN * 0.8
    numbers = first - ROW_IN * (places.id_lines - 1)
    baselines = [first, *(numbers - ROW_IN * row for row in range(1, len(rows)))]
    for name, y in zip(rows, baselines, strict=True):
        write_line(figure, places.left - 0.1, y, name, SMALL_PT, colour=MUTED, align="right")
    for column in columns:
        mean = column.mean
        x = places.origin + column.x
        for row, line in enumerate(_id_lines(column.environment)):
            write_line(figure, x, first - ROW_IN * row, line, SMALL_PT, align="center")
        mean_text = number_text(mean / unit.size) if mean is not None else "none"
        for text, y in zip((mean_text, column.count_text), baselines[1:], strict=True):
            write_line(figure, x, y, text, SMALL_PT, align="center")
    for system in dict.fromkeys(column.system for column in columns):
        edges = [
            edge
            for column in columns
            if column.system == system
            for edge in (column.x - column.width / 2, column.x + column.width / 2)
        ]
        write_line(
            figure,
            places.origin + (min(edges) + max(edges)) / 2,
            baselines[-1] - ROW_IN - 0.04,
            system,
            weight="bold",
            align="center",
        )
