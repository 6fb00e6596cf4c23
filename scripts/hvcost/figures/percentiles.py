"""Percentiles of what was measured, such as of round-trip times: a line for each system of an environment.

A mean or a median says nothing of the few that take long, and these are what people wait for. So the axis of
percentiles is logarithmic in the share that took longer: 10 %, 1 % and 0.1 % of all are equally far apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from hvcost.analysis.rows import CellStatistics
from hvcost.figures import Distribution, Picture, style, systems_shown
from hvcost.figures.environments import interval_text
from hvcost.figures.rates import log_ticks, number_text
from hvcost.figures.text import (
    MUTED,
    SMALL_PT,
    TITLE_PT,
    Paragraph,
    paragraphs_height,
    write_paragraphs,
)
from hvcost.model.description import Environment
from hvcost.model.metric import Metric
from hvcost.wording import sentence_case, shown_unit

EDGE_IN = 0.12
LEFT_IN = 0.8
PLOT_IN = (5.6, 3.4)
BELOW_PLOT_IN = 0.52
# Systems stand beside each other at a percentile, so that no interval hides another, but near to it.
SHIFT = 0.035
MAX_WIDTH = 0.2
ROOM = 1.25
# A shorter logarithmic axis may have hardly a round number to be labelled.
MIN_SPAN = 5.0
CAP_PT = 7.0


@dataclass(frozen=True)
class _Series:
    """One system: its cell of each percentile, those without a figure left out."""

    look: style.SystemStyle
    name: str
    cells: Mapping[float, CellStatistics]

    @property
    def drawn(self) -> Iterator[tuple[float, float, tuple[float, float] | None]]:
        """Percentile, median and its interval of what has a place on a logarithmic axis."""
        for percentile, cell in self.cells.items():
            if cell.median:
                has_interval = cell.median_low and cell.median_high
                ends = (cell.median_low or 0.0, cell.median_high or 0.0) if has_interval else None
                yield percentile, cell.median, ends

    @property
    def legend(self) -> str:
        """Its name, and how many repetitions succeeded."""
        if not self.cells:
            return f"{self.name} (no measurements)"
        ok, planned = max((cell.ok, cell.planned) for cell in self.cells.values())
        return f"{self.name} ({ok}/{planned})"

    def spoken(self, unit: str) -> str:
        """It in a sentence, for those who cannot see it."""
        if not self.cells:
            return f"{self.name}: no measurements."
        said = [f"{percentile:g} %: {_numbers(cell)} {unit}" for percentile, cell in self.cells.items()]
        return f"{self.name}: {'; '.join(said)}."


def _numbers(cell: CellStatistics) -> str:
    if cell.median is None:
        return "none"
    if cell.median_low is None or cell.median_high is None:
        return number_text(cell.median)
    return f"{number_text(cell.median)} [{number_text(cell.median_low)}, {number_text(cell.median_high)}]"


def place(percentile: float) -> float:
    """Where a percentile is: 1 further for each tenth of what is above it."""
    return -math.log10(1 - percentile / 100)


def draw(environment: Environment, cells: Sequence[CellStatistics], distribution: Distribution) -> Picture:
    """A line for each system over the percentiles: the median of its repetitions, with its interval."""
    names = {metric.name: metric.percentile or 0.0 for metric in distribution.metrics}
    own = [c for c in cells if c.workload == distribution.workload and c.metric in names]
    metric = distribution.metrics[0]
    series = [
        _Series(
            style.system_style(name, kind),
            name,
            {names[c.metric]: c for c in sorted(own, key=lambda c: names[c.metric]) if c.system == name},
        )
        for name, kind in systems_shown([environment], own).items()
    ]
    entries = [style.LegendEntry(each.look, each.legend) for each in series]
    text_in = max([LEFT_IN + PLOT_IN[0], *(entry.width for entry in entries)])
    header = [
        Paragraph.fit(environment.title, text_in, TITLE_PT, weight="bold"),
        Paragraph.fit(
            f"Workload {distribution.workload}: percentiles of the {distribution.title}, {metric.better} is "
            "better; in brackets: successful / planned repetitions. Point: the median of the repetitions’ "
            f"percentiles; bar: {interval_text(own)}. {environment.caveat}",
            text_in,
            colour=MUTED,
        ),
    ]
    legend = style.legend_rows(entries, text_in)
    footer = _footer(series, distribution, text_in)
    bottom = EDGE_IN + paragraphs_height(footer) + BELOW_PLOT_IN
    height = (
        bottom + PLOT_IN[1] + 0.16 + style.LEGEND_ROW_IN * len(legend) + paragraphs_height(header) + EDGE_IN
    )

    figure = Figure(figsize=(text_in + 2 * EDGE_IN, height))
    top = write_paragraphs(figure, EDGE_IN, height - EDGE_IN, header)
    style.draw_legend(figure, EDGE_IN, top - 0.02, legend)
    write_paragraphs(figure, EDGE_IN, EDGE_IN + paragraphs_height(footer), footer)
    axes = style.add_axes(figure, LEFT_IN, bottom, *PLOT_IN)
    _set_up(axes, distribution, [value for each in series for value in _values(each)])
    shift = min(SHIFT, MAX_WIDTH / max(1, len(series)))
    for number, each in enumerate(series):
        _draw_line(axes, each, (number - (len(series) - 1) / 2) * shift)
    if not any(_values(each) for each in series):
        said = "No repetition succeeded." if own else "There are no measurements."
        axes.text(0.5, 0.45, said, transform=axes.transAxes, ha="center", va="center")
    return Picture(
        name=f"percentiles-{distribution.name}",
        title=f"{environment.title}; {distribution.workload}, percentiles of the {distribution.title}",
        description=" ".join(
            [*(each.spoken(shown_unit(metric.unit)) for each in series), environment.caveat]
        ).strip(),
        figure=figure,
    )


def _values(series: _Series) -> list[float]:
    return [value for _place, median, ends in series.drawn for value in (median, *(ends or ()))]


def _footer(series: Sequence[_Series], distribution: Distribution, width_in: float) -> list[Paragraph]:
    """What has no point, though its system was measured."""
    missing = [
        f"{each.name} {percentile:g} %"
        for each in series
        for percentile in ((metric.percentile or 0.0) for metric in distribution.metrics)
        if each.cells and percentile not in {drawn for drawn, _median, _ends in each.drawn}
    ]
    text = f"Without a figure: {', '.join(missing)}." if missing else ""
    return [Paragraph.fit(text, width_in, SMALL_PT, MUTED)]


def _set_up(axes: Axes, distribution: Distribution, values: Sequence[float]) -> None:
    """The axes: percentiles from left to right, and the values."""
    percentiles = [metric.percentile or 0.0 for metric in distribution.metrics]
    metric: Metric = distribution.metrics[0]
    first, last = place(percentiles[0]), place(percentiles[-1])
    axes.set_xlim(first - 0.25, last + 0.25)
    axes.set_xticks([place(each) for each in percentiles], [f"{each:g} %" for each in percentiles])
    axes.set_xlabel("share that took no longer (logarithmic in the rest)")
    low, high = min(values, default=1.0) / ROOM, max(values, default=1.0) * ROOM
    more = math.sqrt(max(1.0, MIN_SPAN * low / high))
    low, high = low / more, high * more
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.set_ylabel(f"{sentence_case(distribution.title)}, {shown_unit(metric.unit)} (logarithmic)")


def _draw_line(axes: Axes, series: _Series, shift: float) -> None:
    drawn = list(series.drawn)
    for percentile, _median, ends in drawn:
        if ends:
            axes.plot(
                [place(percentile) + shift] * 2,
                ends,
                color=series.look.colour,
                linewidth=1.2,
                marker="_",
                markersize=CAP_PT,
                markeredgewidth=1.0,
                zorder=3,
            )
    axes.plot(
        [place(percentile) + shift for percentile, _median, _ends in drawn],
        [median for _percentile, median, _ends in drawn],
        color=series.look.light,
        linewidth=1.1,
        zorder=4,
        **series.look.point(6.0),
    )
