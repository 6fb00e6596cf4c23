"""Values in figures: their unit, their axis, and the levels that a link sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from hvcost.figures.text import LINK, MUTED, SMALL_PT, line_height, write_line
from hvcost.model.description import Environment
from hvcost.model.metric import THROUGHPUT, Metric
from hvcost.wording import shown_unit

LOG_FROM_RATIO = 10.0


@dataclass(frozen=True)
class Unit:
    """What values are shown in; `size` is in the metric's own unit."""

    name: str
    size: float


UNITS = (
    (1e13, Unit("Tbit/s", 1e12)),
    (1e10, Unit("Gbit/s", 1e9)),
    (1e6, Unit("Mbit/s", 1e6)),
    (1e3, Unit("kbit/s", 1e3)),
    (0.0, Unit("bit/s", 1.0)),
)


def unit_for(largest: float, metric: Metric) -> Unit:
    """Unit of an axis that ends at this value; a gigabit link is 1000 Mbit/s, as is customary."""
    if metric.unit != THROUGHPUT.unit:
        return Unit(shown_unit(metric.unit), 1.0)
    return next(unit for least_bps, unit in UNITS if largest >= least_bps)


def number_text(value: float) -> str:
    """Three significant digits, never as a power of ten; whole numbers in full. No value is below 0."""
    if value >= 1000 or value == int(value):
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".") if value >= 1e-4 else f"{value:.7f}"


def value_text(value: float, metric: Metric) -> str:
    """A value with its unit."""
    unit = unit_for(value, metric)
    return f"{number_text(value / unit.size)} {unit.name}"


def rate_text(bps: float) -> str:
    """A rate with its unit."""
    return value_text(bps, THROUGHPUT)


def value_axis(axes: Axes, values: Sequence[float], levels: Sequence[Level], metric: Metric) -> Unit:
    """Set up the y axis for values and for what the links set, both of which it always shows.

    It starts at zero, unless the lowest value would lie flat on it: then it is logarithmic. It reaches at
    least so far as what counts as a difference: zeros have an axis then, and next to nothing has no height.
    """
    shown = [*values, *(level.value for level in levels), metric.margin or 0.0]
    shown = shown if max(shown) > 0 else [1.0]
    unit = unit_for(max(shown), metric)
    top = max(shown) / unit.size
    bottom = min(values, default=max(shown)) / unit.size
    name = f"{metric.title}, {unit.name}"
    axes.yaxis.set_minor_locator(NullLocator())
    if 0 < bottom < top / LOG_FROM_RATIO:
        low, high = bottom * 0.8, top * 1.25
        ticks = log_ticks(low, high)
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylabel(f"{name} (logarithmic)")
    else:
        axes.set_ylim(0, top * 1.06)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
        axes.set_ylabel(name)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    return unit


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis, few enough to be labelled."""
    every = [mantissa * 10.0**exponent for exponent in range(-9, 10) for mantissa in (1, 2, 5)]
    ticks = [tick for tick in every if low <= tick <= high]
    return ticks if len(ticks) <= 13 else [tick for tick in ticks if f"{tick:e}"[0] == "1"]


@dataclass(frozen=True)
class Level:
    """A value that the link sets, drawn as a line with its text beside the plot."""

    value: float
    text: str
    dashes: tuple[float, float]


def link_levels(environment: Environment, metric: Metric, name: str = "") -> list[Level]:
    """Rate of an environment's link, and what TCP can have of it; none if it sets no limit to the metric."""
    if metric.limit(environment.link) is None:
        return []
    link, limit = environment.link_bps, environment.tcp_limit_bps
    return [
        Level(link, f"{name}link {rate_text(link)}", (6.0, 2.0)),
        Level(limit, f"{name}TCP limit {rate_text(limit)}", (1.0, 1.5)),
    ]


def draw_level(axes: Axes, unit: Unit, level: Level) -> None:
    """Draw the line of a level across the axes."""
    axes.axhline(level.value / unit.size, color=LINK, linestyle=(0, level.dashes), linewidth=1, zorder=2)


def label_levels(figure: Figure, axes: Axes, unit: Unit, labels: Sequence[Level]) -> None:
    """Write labels to the right of the axes, moved apart where they would touch."""
    box = axes.get_position()
    width, height = figure.get_size_inches()
    left = box.x1 * width
    step = line_height(SMALL_PT)
    centres = []
    for label in labels:
        _x, fraction = axes.transAxes.inverted().transform(
            axes.transData.transform((0.0, label.value / unit.size))
        )
        centres.append((box.y0 + fraction * box.height) * height)
    order = sorted(range(len(labels)), key=lambda index: centres[index])
    places = _apart([centres[index] for index in order], step)
    for index, place in zip(order, places, strict=True):
        figure.add_artist(
            Line2D(
                [left, left + 0.12],
                [centres[index], place],
                color=LINK,
                linewidth=0.6,
                transform=figure.dpi_scale_trans,
            )
        )
        write_line(
            figure,
            left + 0.15,
            place - 0.36 * SMALL_PT / 72,
            labels[index].text,
            SMALL_PT,
            colour=MUTED,
        )


def _apart(centres: Sequence[float], step: float) -> list[float]:
    """Rising places at least `step` apart, as near to their centres as groups can be."""
    groups: list[list[float]] = []
    for centre in centres:
        groups.append([centre])
        while len(groups) > 1 and _group_start(groups[-1], step) < (
            _group_start(groups[-2], step) + len(groups[-2]) * step
        ):
            last = groups.pop()
            groups[-1] += last
    return [_group_start(group, step) + position * step for group in groups for position in range(len(group))]


def _group_start(group: Sequence[float], step: float) -> float:
    return sum(group) / len(group) - (len(group) - 1) * step / 2
