"""Every repetition in the order in which they were run: whether anything drifted meanwhile."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hvcost.analysis.measurements import Repetition, as_measured
from hvcost.figures import Picture, Subject, style, systems_shown
from hvcost.figures.rates import value_text
from hvcost.figures.repetitions import spoken
from hvcost.figures.text import (
    LINK,
    MUTED,
    SMALL_PT,
    TEXT_PT,
    TITLE_PT,
    Paragraph,
    paragraphs_height,
    text_width,
    write_line,
    write_paragraphs,
)
from hvcost.model.description import Environment
from hvcost.model.metric import DIFFERENCE, Metric
from hvcost.wording import difference_unit

EDGE_IN = 0.12
LEFT_IN = 0.75
RIGHT_IN = 0.25
PLOT_WIDTHS_IN = (6.2, 9.0)
RUN_IN = 0.06
PANEL_IN = 0.75
HEADING_IN = 0.27
BELOW_PLOT_IN = 0.52
BANDS = ("#f4f4f4", "#eaeaea")
# What a tool's three digits cannot tell apart is not blown up to fill a panel.
MIN_DEVIATION_PERCENT = 1.0


@dataclass(frozen=True)
class _Panel:
    """One system: its repetitions, each with its place among all runs of the environment."""

    system: str
    look: style.SystemStyle
    metric: Metric
    runs: tuple[tuple[int, Repetition], ...]

    @cached_property
    def median(self) -> float | None:
        values = [run.value for _place, run in self.runs if run.value is not None]
        return statistics.median(values) if values else None

    @cached_property
    def failed(self) -> list[int]:
        return [place for place, run in self.runs if run.value is None]

    @property
    def sessions(self) -> Iterator[list[tuple[int, Repetition]]]:
        for _boot, runs in groupby(self.runs, key=lambda placed: placed[1].boot):
            yield list(runs)

    @property
    def says(self) -> str:
        if not self.runs:
            return "no measurements"
        count = f"{len(self.runs) - len(self.failed)} of {len(self.runs)} succeeded"
        if self.median is None:
            return count
        unit = f" in {difference_unit(self.metric.unit)}" if self.metric.compared == DIFFERENCE else ""
        return f"deviation{unit} from its median of {value_text(self.median, self.metric)}; {count}"

    def deviation(self, value: float | None) -> float:
        """How far a value is from the median: in percent of it, or in the unit where 0 is possible."""
        if value is None or self.median is None:
            return math.nan
        far = value - self.median
        return far if self.metric.compared == DIFFERENCE else 100 * far / self.median

    @property
    def least_reach(self) -> float:
        """How far the axis reaches at least: a percent, or what does not count as a difference."""
        return self.metric.margin or MIN_DEVIATION_PERCENT

    def deviation_text(self, deviation: float) -> str:
        """A deviation, in percent with its unit; that of a difference is in the heading."""
        unit = "" if self.metric.compared == DIFFERENCE else " %"
        return f"{deviation:+g}{unit}".replace("-", "−") if deviation else f"0{unit}"


def _of(placed: Sequence[tuple[int, Repetition]], system: str) -> tuple[tuple[int, Repetition], ...]:
    return tuple(each for each in placed if each[1].system == system)


def draw(environment: Environment, repetitions: Sequence[Repetition], subject: Subject) -> Picture:
    """A panel for each system, in all of which a place from left to right is the same time."""
    own = [p for p in as_measured(repetitions) if p.environment == environment.id]
    points = subject.points(own)
    placed = list(enumerate(points, start=1))
    panels = [
        _Panel(name, style.system_style(name, kind), subject.metric, _of(placed, name))
        for name, kind in systems_shown([environment], points).items()
    ]
    plot_in = min(max(PLOT_WIDTHS_IN[0], len(placed) * RUN_IN), PLOT_WIDTHS_IN[1])
    heading_in = max(
        (
            0.2 + text_width(panel.system, TEXT_PT, "bold") + 0.1 + text_width(panel.says, SMALL_PT)
            for panel in panels
        ),
        default=0.0,
    )
    width = LEFT_IN + max(plot_in, heading_in) + RIGHT_IN
    text_in = width - 2 * EDGE_IN
    header = [
        Paragraph.fit(f"Order of runs, {environment.title}", text_in, TITLE_PT, weight="bold"),
        Paragraph.fit(
            f"Workload {subject.workload}: {subject.metric.title} of every run, in the order in which the "
            "runs were made; each panel has a scale of its own. Points that stay around the line, with no "
            f"trend: no drift. {environment.caveat}",
            text_in,
            colour=MUTED,
        ),
    ]
    boots = {(point.system, point.boot) for point in points}
    several_boots = len({boot for _system, boot in boots}) > 1
    with_bands = several_boots and len(boots) < len(points)
    notes = [
        "" if points else "There are no measurements.",
        "Grey bands: sessions." if with_bands else "",
        "Each point is a session of its own." if several_boots and not with_bands else "",
        "Cross: a failed repetition, which has no value." if any(panel.failed for panel in panels) else "",
    ]
    footer = [Paragraph.fit(note, text_in, SMALL_PT, MUTED) for note in notes]
    bottom = EDGE_IN + paragraphs_height(footer) + BELOW_PLOT_IN
    pitch = PANEL_IN + HEADING_IN
    height = bottom + pitch * len(panels) + paragraphs_height(header) + EDGE_IN

    figure = Figure(figsize=(width, height))
    write_paragraphs(figure, EDGE_IN, height - EDGE_IN, header)
    write_paragraphs(figure, EDGE_IN, EDGE_IN + paragraphs_height(footer), footer)
    for row, panel in enumerate(reversed(panels)):
        lowest = bottom + pitch * row
        axes = style.add_axes(figure, LEFT_IN, lowest, plot_in, PANEL_IN)
        last = max(len(placed), 1)
        margin = 0.6 + 0.01 * last
        axes.set_xlim(1 - margin, last + margin)
        ticks = MaxNLocator(nbins=10, steps=[1, 2, 5, 10], integer=True).tick_values(1, last)
        axes.set_xticks([tick for tick in ticks if 1 <= tick <= last])
        if row:
            axes.tick_params(axis="x", labelbottom=False, length=0)
        else:
            axes.set_xlabel("place of the run among those of this workload in this environment")
        _write_heading(figure, lowest + PANEL_IN + 0.08, panel)
        _draw_panel(axes, panel, with_bands)
    return Picture(
        name=f"order-{subject.name}",
        title=f"{environment.title}; {subject.workload}, runs in their order",
        description=" ".join(
            [spoken(panel.system, [run for _place, run in panel.runs], panel.metric) for panel in panels]
            + [environment.caveat]
        ).strip(),
        figure=figure,
    )


def _write_heading(figure: Figure, y: float, panel: _Panel) -> None:
    style.draw_mark(figure, LEFT_IN + 0.05, y + 0.045, panel.look)
    write_line(figure, LEFT_IN + 0.2, y, panel.system, weight="bold")
    beside = LEFT_IN + 0.2 + text_width(panel.system, TEXT_PT, "bold") + 0.1
    write_line(figure, beside, y, panel.says, SMALL_PT, colour=MUTED)


def _draw_panel(axes: Axes, panel: _Panel, with_bands: bool) -> None:
    is_placed = panel.median is not None and (panel.metric.compared == DIFFERENCE or panel.median > 0)
    reach = panel.least_reach
    for number, runs in enumerate(panel.sessions):
        places = [place for place, _run in runs]
        if with_bands:
            colour = BANDS[number % len(BANDS)]
            axes.axvspan(places[0] - 0.5, places[-1] + 0.5, color=colour, linewidth=0, zorder=0)
        if is_placed:
            deviations = [panel.deviation(run.value) for _place, run in runs]
            reach = max([reach, *(abs(each) for each in deviations if not math.isnan(each))])
            # A gap in the line, not a line across it, where a repetition failed.
            axes.plot(
                places,
                deviations,
                color=panel.look.light,
                linewidth=0.9,
                zorder=3,
                **panel.look.point(4.5 if len(panel.runs) <= 60 else 3.6),
            )
    axes.plot(
        panel.failed,
        [0.0] * len(panel.failed),
        color=panel.look.colour,
        transform=axes.get_xaxis_transform(),
        zorder=5,
        **style.CROSS,
    )
    if not is_placed:
        axes.set_yticks([])
        return
    axes.axhline(0, color=LINK, linewidth=0.8, zorder=2)
    axes.set_ylim(-1.2 * reach, 1.2 * reach)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], symmetric=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: panel.deviation_text(value)))
