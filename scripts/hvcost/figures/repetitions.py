"""Every repetition of every system of one environment (the study's figures 5.1 to 5.4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hvcost.figures import Picture, Subject, limit_note, style, systems_shown
from hvcost.figures.rates import Level, Unit, draw_level, label_levels, link_levels, value_axis, value_text
from hvcost.figures.text import (
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
from hvcost.model.description import BASELINE, Environment
from hvcost.model.metric import Metric
from hvcost.wording import sentence_case

if TYPE_CHECKING:
    from hvcost.analysis.measurements import Repetition

LEFT_IN = 0.75
PLOT_IN = 3.2
PLOT_WIDTHS_IN = (5.2, 11.0)
POINT_IN = 0.12
STRIP_ROW_IN = 0.2
EDGE_IN = 0.12
BOOT_GAP = 0.8


def draw(
    environment: Environment,
    repetitions: Sequence[Repetition],
    subject: Subject,
    *,
    with_bare_metal: bool,
) -> Picture:
    """Throughput over the repetition number, failed repetitions as crosses below the plot."""
    metric = subject.metric
    points = [point for point in subject.points(repetitions) if point.environment == environment.id]
    systems = {
        name: hypervisor
        for name, hypervisor in systems_shown([environment], points).items()
        if with_bare_metal or hypervisor != BASELINE
    }
    series = {name: [point for point in points if point.system == name] for name in systems}
    columns = _Columns.of([point for own in series.values() for point in own])
    styles = {name: style.system_style(name, kind) for name, kind in systems.items()}
    failing = [name for name in systems if any(p.value is None for p in series[name])]

    entries = [style.LegendEntry(styles[name], _legend_text(name, series[name])) for name in systems]
    levels = link_levels(environment, metric)
    beside = [level.text for level in levels] + [_failed_text(n, series[n]) for n in failing]
    plot_width_in = min(max(PLOT_WIDTHS_IN[0], columns.count * POINT_IN), PLOT_WIDTHS_IN[1])
    right_in = 0.2 + max((text_width(text, SMALL_PT) for text in beside), default=0.0) + EDGE_IN
    text_in = max([LEFT_IN + plot_width_in + right_in - 2 * EDGE_IN, *(e.width for e in entries)])
    width = text_in + 2 * EDGE_IN
    header = _header(environment, subject, text_in)
    legend = style.legend_rows(entries, text_in)
    footer = [Paragraph.fit(limit_note([environment]), text_in, SMALL_PT, MUTED)] if levels else []

    strip_in = STRIP_ROW_IN * len(failing)
    bottom = EDGE_IN + paragraphs_height(footer) + 0.52
    legend_in = style.LEGEND_ROW_IN * len(legend)
    height = (
        bottom
        + strip_in
        + PLOT_IN
        + (0.3 if columns.named else 0.16)
        + legend_in
        + paragraphs_height(header)
        + EDGE_IN
    )

    figure = Figure(figsize=(width, height))
    top = write_paragraphs(figure, EDGE_IN, height - EDGE_IN, header)
    style.draw_legend(figure, EDGE_IN, top - 0.02, legend)
    write_paragraphs(figure, EDGE_IN, EDGE_IN + paragraphs_height(footer), footer)

    axes = style.add_axes(figure, LEFT_IN, bottom + strip_in, plot_width_in, PLOT_IN)
    lowest = axes
    if failing:
        lowest = style.add_axes(figure, LEFT_IN, bottom, plot_width_in, strip_in)
        _draw_failures(figure, lowest, columns, {name: series[name] for name in failing}, styles)
        axes.tick_params(axis="x", labelbottom=False, length=0)
    values = [p.value for own in series.values() for p in own if p.value is not None]
    unit = value_axis(axes, values, levels, metric)
    _draw_points(axes, unit, columns, series, styles)
    for level in levels:
        draw_level(axes, unit, level)
    label_levels(figure, axes, unit, levels)
    columns.label(axes, lowest, plot_width_in)
    _say_if_empty(axes, [point for own in series.values() for point in own])

    stem = "repetitions-with-bare-metal" if with_bare_metal else "repetitions"
    what = "hypervisors and bare metal" if with_bare_metal else "hypervisors"
    return Picture(
        name=f"{stem}-{subject.name}",
        title=f"{environment.title}; {subject.workload}, repetitions of {what}",
        description=_description(environment, series, metric, levels),
        figure=figure,
    )


class _Columns:
    """Places on the x axis: the repetitions of one session after those of the other."""

    def __init__(self, boots: Sequence[int], repetitions: int) -> None:
        self.boots = tuple(boots)
        self.repetitions = repetitions
        self._pitch = repetitions + (BOOT_GAP if repetitions > 1 and len(boots) > 1 else 0)

    @classmethod
    def of(cls, points: Sequence[Repetition]) -> _Columns:
        boots = sorted({point.boot for point in points}) or [1]
        return cls(boots, max((point.repetition for point in points), default=1))

    def x(self, boot: int, repetition: int) -> float:
        return self.boots.index(boot) * self._pitch + repetition

    @property
    def count(self) -> int:
        return len(self.boots) * self.repetitions

    @property
    def named(self) -> bool:
        """Whether sessions have their names above the plot."""
        return len(self.boots) > 1 and self.repetitions > 1

    @property
    def limits(self) -> tuple[float, float]:
        return 0.4, self.x(self.boots[-1], self.repetitions) + 0.6

    def label(self, axes: Axes, lowest: Axes, width_in: float) -> None:
        """Limits, ticks and names of sessions; `lowest` bears the numbers."""
        per_in = width_in / (self.limits[1] - self.limits[0])
        if len(self.boots) > 1 and not self.named:
            chosen = _thinned(len(self.boots), per_in)
            ticks = [(self.x(self.boots[n - 1], 1), str(self.boots[n - 1])) for n in chosen]
            lowest.set_xlabel("session (one repetition each)")
        else:
            ticks = [
                (self.x(boot, repetition), str(repetition))
                for boot in self.boots
                for repetition in _thinned(self.repetitions, per_in)
            ]
            several = len(self.boots) > 1
            lowest.set_xlabel("repetition, counted within each session" if several else "repetition")
        for each in (axes, lowest):
            each.set_xlim(*self.limits)
        axes.set_xticks([])
        lowest.set_xticks([x for x, _text in ticks], [text for _x, text in ticks])
        if self.named:
            self._name_boots(axes, per_in)

    def _name_boots(self, axes: Axes, per_in: float) -> None:
        names = [f"session {boot}" for boot in self.boots]
        room = self._pitch * per_in - 0.08
        if max(text_width(name, SMALL_PT) for name in names) > room:
            names = [str(boot) for boot in self.boots]
            shown = set(_thinned(len(names), self._pitch * per_in))
            names = [name if n in shown else "" for n, name in enumerate(names, start=1)]
            axes.annotate(
                "session",
                (0, 1),
                xytext=(-4, 4),
                xycoords="axes fraction",
                textcoords="offset points",
                ha="right",
                fontsize=SMALL_PT,
                color=MUTED,
            )
        for number, (boot, name) in enumerate(zip(self.boots, names, strict=True)):
            left = self.x(boot, 1) - 0.5 - BOOT_GAP / 2
            right = self.x(boot, self.repetitions) + 0.5 + BOOT_GAP / 2
            if number % 2:
                axes.axvspan(left, right, color="#f2f2f2", linewidth=0, zorder=0)
            axes.annotate(
                name,
                ((left + right) / 2, 1),
                xytext=(0, 4),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                fontsize=SMALL_PT,
                color=MUTED,
            )


def _thinned(count: int, per_in: float) -> list[int]:
    """Numbers from 1 whose labels have room, `per_in` inches apart each."""
    room = 0.1 + text_width(str(count), TEXT_PT)
    step = next(
        step for step in (1, 2, 5, 10, 20, 50, 100, 1000, count) if step * per_in >= room or step >= count
    )
    if step == 1:
        return list(range(1, count + 1))
    return [n for n in range(1, count + 1) if n % step == 0 or (n == 1 and step > 2)] or [1]


def _header(environment: Environment, subject: Subject, width_in: float) -> list[Paragraph]:
    says = (
        f"Workload {subject.workload}: {subject.metric.title}, {subject.metric.better} is better; "
        "in brackets: successful / planned repetitions."
    )
    return [
        Paragraph.fit(environment.title, width_in, TITLE_PT, weight="bold"),
        Paragraph.fit(f"{says} {environment.caveat}", width_in, colour=MUTED),
    ]


def _legend_text(system: str, points: Sequence[Repetition]) -> str:
    if not points:
        return f"{system} (no measurements)"
    succeeded = sum(point.value is not None for point in points)
    return f"{system} ({succeeded}/{len(points)})"


def _failed_text(system: str, points: Sequence[Repetition]) -> str:
    failed = sum(point.value is None for point in points)
    return f"{system}: {failed} of {len(points)} failed"


def _draw_points(
    axes: Axes,
    unit: Unit,
    columns: _Columns,
    series: Mapping[str, Sequence[Repetition]],
    styles: Mapping[str, style.SystemStyle],
) -> None:
    crowd = max((len(points) for points in series.values()), default=0)
    size = 6.0 if crowd <= 30 else 4.0
    for index, (name, points) in enumerate(series.items()):
        own = styles[name]
        shift = (index - (len(series) - 1) / 2) * min(0.12, 0.6 / len(series))
        for boot in columns.boots:
            values = {p.repetition: p.value for p in points if p.boot == boot}
            repetitions = range(1, columns.repetitions + 1)
            # A gap in the line, not a line across it, where a repetition failed.
            y = [_scaled(values.get(repetition), unit) for repetition in repetitions]
            axes.plot(
                [columns.x(boot, repetition) + shift for repetition in repetitions],
                y,
                color=own.light,
                linewidth=0.9,
                zorder=3,
                clip_on=False,
                **own.point(size),
            )


def _scaled(value: float | None, unit: Unit) -> float:
    return math.nan if value is None else value / unit.size


def _draw_failures(
    figure: Figure,
    axes: Axes,
    columns: _Columns,
    series: Mapping[str, Sequence[Repetition]],
    styles: Mapping[str, style.SystemStyle],
) -> None:
    """One row of crosses for each system with failed repetitions."""
    axes.set_ylim(len(series) - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_facecolor("#f7f7f7")
    box = axes.get_position()
    width, height = figure.get_size_inches()
    for row, (name, points) in enumerate(series.items()):
        failed = [point for point in points if point.value is None]
        axes.plot(
            [columns.x(point.boot, point.repetition) for point in failed],
            [row] * len(failed),
            color=styles[name].colour,
            **style.CROSS,
        )
        middle = box.y1 * height - (row + 0.5) * STRIP_ROW_IN
        write_line(
            figure,
            box.x1 * width + 0.08,
            middle - 0.036,
            _failed_text(name, points),
            SMALL_PT,
        )


def _say_if_empty(axes: Axes, points: Sequence[Repetition]) -> None:
    if any(point.value is not None for point in points):
        return
    if points:
        reasons = sorted({point.reason for point in points})
        said = wrapped(reasons[0], 4.2, TEXT_PT)
        shown = said[:3] + (["…"] if len(said) > 3 else [])
        more = [f"and {len(reasons) - 1} more reasons"] if len(reasons) > 1 else []
        lines = [f"No repetition succeeded: {len(points)} of {len(points)} failed.", *shown, *more]
    else:
        lines = ["There are no measurements."]
    axes.text(
        0.5,
        0.45,
        "\n".join(lines),
        transform=axes.transAxes,
        ha="center",
        va="center",
        linespacing=1.4,
        bbox={"facecolor": "white", "edgecolor": MUTED, "linewidth": 0.6, "pad": 8},
        zorder=5,
    )


def _description(
    environment: Environment,
    series: Mapping[str, Sequence[Repetition]],
    metric: Metric,
    levels: Sequence[Level],
) -> str:
    parts = [spoken(name, points, metric) for name, points in series.items()]
    if levels:
        parts.append(f"{sentence_case(', '.join(level.text for level in levels))}.")
    return " ".join([*parts, environment.caveat]).strip()


def spoken(name: str, points: Sequence[Repetition], metric: Metric, mean: float | None = None) -> str:
    """The series in a sentence, for those who cannot see it; with its `mean`, if that is shown."""
    values = [point.value for point in points if point.value is not None]
    if not points:
        return f"{name}: no measurements."
    count = f"{name}: {len(values)} of {len(points)} repetitions succeeded"
    if not values:
        return f"{count}."
    middle = "" if mean is None else f", mean {value_text(mean, metric)}"
    return f"{count}, {value_text(min(values), metric)} to {value_text(max(values), metric)}{middle}."
