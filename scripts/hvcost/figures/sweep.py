"""A metric over the parameter of a sweep: a line for each system, which shows where one leaves another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from hvcost.analysis.metrics import PRIMARY, known
from hvcost.analysis.rows import CellStatistics
from hvcost.figures import Picture, emulated_note, environment_notes, limit_note, style, systems_shown
from hvcost.figures.environments import interval_text
from hvcost.figures.rates import (
    Level,
    Unit,
    draw_level,
    label_levels,
    value_axis,
    value_text,
)
from hvcost.figures.text import (
    LINK,
    MUTED,
    SMALL_PT,
    TEXT_PT,
    TITLE_PT,
    Paragraph,
    paragraphs_height,
    text_width,
    write_paragraphs,
)
from hvcost.model.description import Environment
from hvcost.model.metric import Metric
from hvcost.model.sweep import ENVIRONMENT, WORKLOAD, Point, Sweep
from hvcost.model.sweep import value_text as parameter_text
from hvcost.wording import sentence_case

EDGE_IN = 0.12
LEFT_IN = 0.75
PLOT_IN = 3.2
PLOT_WIDTH_IN = 5.6
BELOW_PLOT_IN = 0.55
# So far systems stand apart at one value, that intervals do not hide each other.
ASIDE_IN = 0.06
LIMIT_DASHES = (1.0, 1.5)


@dataclass(frozen=True)
class Curves:
    """What a figure is of: one metric along a sweep. `other`: the environment, or workload, that stays."""

    sweep: Sweep
    other: str
    metric: Metric
    is_primary: bool

    @property
    def name(self) -> str:
        """Name of the figure's files."""
        about = (self.sweep.name, self.other)
        stem = "-".join(("sweep", *(reversed(about) if self.sweep.kind == WORKLOAD else about)))
        return stem if self.is_primary else f"{stem}-{self.metric.name.replace('_', '-')}"

    @property
    def points(self) -> tuple[Point, ...]:
        return self.sweep.points(self.other)

    def cells(self, cells: Sequence[CellStatistics]) -> dict[tuple[str, float], CellStatistics]:
        """Those that are of it, by system and value of the parameter."""
        values = {(point.environment, point.workload): point.value for point in self.points}
        return {
            (cell.system, values[cell.environment, cell.workload]): cell
            for cell in cells
            if cell.metric == self.metric.name and (cell.environment, cell.workload) in values
        }


def all_curves(environments: Sequence[Environment], cells: Sequence[CellStatistics]) -> list[Curves]:
    """What there are figures of: each sweep with each of its metrics.

    A sweep of environments has figures of the workloads that are not swept themselves. A metric that nobody
    can have has none.
    """
    measured = dict.fromkeys(
        (c.environment, c.workload, c.metric, c.role)
        for c in cells
        if c.role == PRIMARY or c.ok or not c.unavailable
    )
    found: dict[Curves, None] = {}
    for environment in environments:
        for sweep in environment.sweeps:
            for where, workload, metric, role in measured:
                if where != environment.id:
                    continue
                is_of_workload = sweep.kind == WORKLOAD and workload in sweep.names
                is_of_place = sweep.kind == ENVIRONMENT and workload not in environment.swept_workloads
                if is_of_workload or is_of_place:
                    other = where if is_of_workload else workload
                    found[Curves(sweep, other, known()[metric], role == PRIMARY)] = None
    return list(found)


def draw(environments: Sequence[Environment], cells: Sequence[CellStatistics], curves: Curves) -> Picture:
    """Medians with their intervals over the parameter, and what the link lets them be."""
    sweep, metric = curves.sweep, curves.metric
    places = {environment.id: environment for environment in environments}
    shown = [
        places[each] for each in dict.fromkeys(point.environment for point in curves.points) if each in places
    ]
    own = curves.cells(cells)
    systems = systems_shown(shown, list(own.values()))
    styles = {name: style.system_style(name, kind) for name, kind in systems.items()}
    limits = _limits(curves, places)
    levels = [Level(max(limits.values()), "", LIMIT_DASHES)] if limits else []
    values = [
        value
        for cell in own.values()
        for value in (cell.median, cell.median_low, cell.median_high)
        if value is not None
    ]
    level = _level(limits, metric)
    right_in = 0.2 + (text_width(level.text, SMALL_PT) if level else 0.0) + EDGE_IN
    text_in = LEFT_IN + PLOT_WIDTH_IN + right_in - 2 * EDGE_IN
    title = f"{sentence_case(metric.title)} over {sweep.title}{emulated_note(shown)}"
    header = [
        Paragraph.fit(title, text_in, TITLE_PT, weight="bold"),
        Paragraph.fit(_subtitle(curves, list(own.values())), text_in, colour=MUTED),
    ]
    notes = environment_notes(shown) if sweep.kind == WORKLOAD else environment_notes(shown)[len(shown) :]
    footer = [
        Paragraph.fit(text, text_in, SMALL_PT, MUTED)
        for text in (*notes, *([limit_note(shown)] if limits else []))
    ]
    legend = style.legend_rows([style.LegendEntry(look, name) for name, look in styles.items()], text_in)
    bottom = EDGE_IN + paragraphs_height(footer) + BELOW_PLOT_IN
    legend_in = style.LEGEND_ROW_IN * len(legend)
    height = bottom + PLOT_IN + 0.16 + legend_in + paragraphs_height(header) + EDGE_IN

    figure = Figure(figsize=(text_in + 2 * EDGE_IN, height))
    top = write_paragraphs(figure, EDGE_IN, height - EDGE_IN, header)
    style.draw_legend(figure, EDGE_IN, top - 0.02, legend)
    write_paragraphs(figure, EDGE_IN, EDGE_IN + paragraphs_height(footer), footer)
    axes = style.add_axes(figure, LEFT_IN, bottom, PLOT_WIDTH_IN, PLOT_IN)
    _parameter_axis(axes, sweep)
    unit = value_axis(axes, values, levels, metric)
    _draw_limits(axes, unit, limits)
    if level:
        label_levels(figure, axes, unit, [level])
    for place, (name, look) in enumerate(styles.items()):
        aside_in = (place - (len(styles) - 1) / 2) * ASIDE_IN
        line = {value: cell for (system, value), cell in own.items() if system == name}
        _draw_line(figure, axes, unit, line, look, aside_in)
    if not values:
        said = "No repetition succeeded." if own else "There are no measurements."
        axes.text(0.5, 0.45, said, transform=axes.transAxes, ha="center", va="center")
    return Picture(
        name=curves.name,
        title=f"{title}; {sweep.origin} in {curves.other}"
        if sweep.kind == WORKLOAD
        else f"{title}; {sweep.origin}, {curves.other}",
        description=" ".join(_spoken(name, own, curves) for name in systems) or "No systems.",
        figure=figure,
    )


def _subtitle(curves: Curves, cells: Sequence[CellStatistics]) -> str:
    sweep = curves.sweep
    about = (
        f"Workload {sweep.origin}" if sweep.kind == WORKLOAD else f"{sweep.origin}, workload {curves.other}"
    )
    others = f", {sweep.others}" if sweep.others else ""
    return (
        f"{about}{others}; {curves.metric.better} is better. Point: median; bar: {interval_text(cells)}; "
        "✕: no repetition succeeded. At one value systems stand beside each other. Lines guide the eye."
    )


def _limits(curves: Curves, places: Mapping[str, Environment]) -> dict[float, float]:
    """What the link lets the metric be, by value of the parameter."""
    found = {
        point.value: curves.metric.limit(places[point.environment].link)
        for point in curves.points
        if point.environment in places
    }
    return {value: limit for value, limit in found.items() if limit is not None}


def _level(limits: Mapping[float, float], metric: Metric) -> Level | None:
    """Where the line of the limit ends at the right, with its text."""
    if not limits:
        return None
    last = limits[max(limits)]
    return Level(last, f"TCP limit {value_text(last, metric)}", LIMIT_DASHES)


def _draw_limits(axes: Axes, unit: Unit, limits: Mapping[float, float]) -> None:
    if len(set(limits.values())) == 1:
        draw_level(axes, unit, Level(next(iter(limits.values())), "", LIMIT_DASHES))
        return
    axes.plot(
        list(limits),
        [limit / unit.size for limit in limits.values()],
        color=LINK,
        linestyle=(0, LIMIT_DASHES),
        linewidth=1,
        zorder=2,
    )


def _parameter_axis(axes: Axes, sweep: Sweep) -> None:
    """The x axis, with a mark at each value, and as many numbers as there is room for."""
    low, high = sweep.values[0], sweep.values[-1]
    if sweep.is_logarithmic:
        axes.set_xscale("log")
        room = (high / low) ** 0.06
        axes.set_xlim(low / room, high * room)
    else:
        room = (high - low) * 0.06
        axes.set_xlim(low - room, high + room)
    axes.xaxis.set_major_locator(FixedLocator(list(sweep.values)))
    axes.xaxis.set_minor_locator(NullLocator())
    labelled = _labelled(axes, sweep)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda _value, place: labelled[place or 0]))
    axes.set_xlabel(f"{sweep.axis} (logarithmic)" if sweep.is_logarithmic else sweep.axis)


def _labelled(axes: Axes, sweep: Sweep) -> list[str]:
    """Texts of the values; one that would touch the text before it is empty."""
    texts = []
    end_in = -EDGE_IN
    for value in sweep.values:
        text = parameter_text(value)
        share, _y = axes.transAxes.inverted().transform(axes.transData.transform((value, 0.5)))
        half_in = text_width(text, TEXT_PT) / 2
        is_free = share * PLOT_WIDTH_IN - half_in > end_in + 0.05
        texts.append(text if is_free else "")
        end_in = share * PLOT_WIDTH_IN + half_in if is_free else end_in
    return texts


def _draw_line(
    figure: Figure,
    axes: Axes,
    unit: Unit,
    line: Mapping[float, CellStatistics],
    look: style.SystemStyle,
    aside_in: float,
) -> None:
    """A system's points, joined where there is none missing between them."""
    aside = ScaledTranslation(aside_in, 0, figure.dpi_scale_trans)
    values = sorted(line)
    medians = [line[value].median for value in values]
    axes.plot(
        values,
        [float("nan") if median is None else median / unit.size for median in medians],
        color=look.light,
        linewidth=1.0,
        transform=axes.transData + aside,
        zorder=3,
        **look.point(6.0),
    )
    for value in values:
        low, high = line[value].median_low, line[value].median_high
        if low is not None and high is not None:
            axes.plot(
                [value, value],
                [low / unit.size, high / unit.size],
                color=look.colour,
                linewidth=1.3,
                solid_capstyle="butt",
                transform=axes.transData + aside,
                zorder=3.5,
            )
    failed = [value for value in values if line[value].median is None and line[value].failed]
    axes.plot(
        failed,
        [0.0] * len(failed),
        color=look.colour,
        transform=axes.get_xaxis_transform() + aside,
        zorder=5,
        **style.CROSS,
    )


def _spoken(system: str, cells: Mapping[tuple[str, float], CellStatistics], curves: Curves) -> str:
    """A system's curve in words."""
    said = []
    for value in curves.sweep.values:
        cell = cells.get((system, value))
        median = "no value" if cell is None or cell.median is None else value_text(cell.median, curves.metric)
        said.append(f"{median} at {curves.sweep.said(value)}")
    return f"{system}: median {', '.join(said)}."
