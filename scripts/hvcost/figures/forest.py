"""Points with their intervals in rows under each other, the rows in groups.

A sheet has columns: the group, the row, the plot, and the row's numbers. Values are in the scale's unit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from hvcost.figures import style
from hvcost.figures.rates import log_ticks
from hvcost.figures.text import (
    FAINT,
    LINK,
    MUTED,
    SMALL_PT,
    TEXT_PT,
    TITLE_PT,
    Paragraph,
    line_height,
    paragraphs_height,
    write_paragraphs,
)

EDGE_IN = 0.12
PLOT_IN = 4.2
MAX_TITLE_IN = 1.3
MAX_LABEL_IN = 1.7
MAX_NUMBERS_IN = 2.3
COLUMN_GAP_IN = 0.14
MIN_ROW_IN = 0.25
TEXT_GAP_IN = 0.07
GROUP_GAP_IN = 0.14
BELOW_PLOT_IN = 0.52
POINT_PT = 5.0
CAP_PT = 9.0
ARROW_PT = 22.0
ARROW_SHARE = 1.2 * ARROW_PT / 72 / PLOT_IN
"""Share of the plot's width that an open side needs between its point and the edge."""


@dataclass(frozen=True)
class Row:
    """A point with its interval and its numbers, or what is said instead of them.

    `open_side`: -1 or 1 if the true value may be lower or higher, whatever the interval says.
    """

    label: str
    look: style.SystemStyle
    value: float | None = None
    interval: tuple[float, float] | None = None
    numbers: str = ""
    instead: str = ""
    open_side: int = 0


@dataclass(frozen=True)
class Group:
    """Rows that belong together."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Scale:
    """The axis of the values, from its left to its right end."""

    label: str
    low: float
    high: float
    logarithmic: bool

    def share(self, value: float) -> float:
        """Where a value is, as a share of the axis."""
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Line:
    """A value that rows are compared with; its text is above the plot, if it has one."""

    value: float
    text: str = ""
    dashes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Words:
    """What is written around the plot; `numbers` is above the column of that name."""

    title: str
    header: str
    numbers: str
    footer: tuple[str, ...]


def spoken(row: Row, *names: str) -> str:
    """The row in a sentence, for those who cannot see it."""
    return f"{' in '.join(name for name in names if name)}: {row.numbers or row.instead}."


class _Cells:
    """A row of the sheet: its texts, wrapped to their columns, and the height that they need."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.label = Paragraph.fit(row.label, MAX_LABEL_IN)
        self.numbers = Paragraph.fit(row.numbers, MAX_NUMBERS_IN, SMALL_PT)
        self.instead = Paragraph.fit(row.instead, PLOT_IN - 2 * COLUMN_GAP_IN, SMALL_PT, MUTED)
        text_in = max(self.label.height, self.numbers.height, self.instead.height)
        self.height = max(MIN_ROW_IN, text_in + TEXT_GAP_IN)


def draw(words: Words, groups: Sequence[Group], scale: Scale, lines: Sequence[Line]) -> Figure:
    """Figure of all rows in their order."""
    titles = [Paragraph.fit(group.title, MAX_TITLE_IN, weight="bold") for group in groups]
    cells = [[_Cells(row) for row in group.rows] for group in groups]
    every = [each for group in cells for each in group]
    heights = [
        max(sum(each.height for each in group), title.height + TEXT_GAP_IN)
        for title, group in zip(titles, cells, strict=True)
    ]
    plot_height = sum(heights) + GROUP_GAP_IN * (len(groups) - 1)

    label_right = EDGE_IN + max(title.width for title in titles) + COLUMN_GAP_IN
    label_right += max(each.label.width for each in every)
    left = label_right + COLUMN_GAP_IN
    numbers_left = left + PLOT_IN + COLUMN_GAP_IN
    numbers_title = Paragraph.fit(words.numbers, MAX_NUMBERS_IN, SMALL_PT, MUTED)
    width = numbers_left + max([numbers_title.width, *(each.numbers.width for each in every)]) + EDGE_IN
    text_in = width - 2 * EDGE_IN
    header = [
        Paragraph.fit(words.title, text_in, TITLE_PT, weight="bold"),
        Paragraph.fit(words.header, text_in, colour=MUTED),
    ]
    footer = [Paragraph.fit(text, text_in, SMALL_PT, MUTED) for text in words.footer]
    # The text of a line ends at it, over those of the lines to its left: so no line crosses a text.
    ends = [left + scale.share(line.value) * PLOT_IN for line in lines]
    texts = [
        Paragraph.fit(line.text, end - EDGE_IN, SMALL_PT, MUTED)
        for line, end in zip(lines, ends, strict=True)
    ]
    above = max(paragraphs_height(texts), numbers_title.height) + 2 * TEXT_GAP_IN
    bottom = EDGE_IN + paragraphs_height(footer) + BELOW_PLOT_IN
    plot_top = bottom + plot_height
    height = plot_top + above + paragraphs_height(header) + EDGE_IN

    figure = Figure(figsize=(width, height))
    write_paragraphs(figure, EDGE_IN, height - EDGE_IN, header)
    write_paragraphs(figure, EDGE_IN, EDGE_IN + paragraphs_height(footer), footer)
    numbers_title.write(figure, numbers_left, plot_top + TEXT_GAP_IN + numbers_title.height)
    axes = _axes(figure, scale, left, bottom, plot_height)
    text_bottom = plot_top + TEXT_GAP_IN
    for index in sorted(range(len(lines)), key=lambda index: lines[index].value):
        line, text = lines[index], texts[index]
        axes.plot(
            [line.value] * 2,
            [plot_height, plot_top - text_bottom + 0.03 if text.lines else 0.0],
            color=LINK,
            linestyle=(0, line.dashes),
            linewidth=1,
            zorder=2,
            clip_on=False,
        )
        text_bottom += text.height
        text.write(figure, ends[index], text_bottom, align="right")

    group_top = plot_top
    for title, group, group_height in zip(titles, cells, heights, strict=True):
        if group_top < plot_top:
            _separate(figure, group_top + GROUP_GAP_IN / 2, width)
        first_line = group[0].height / 2 - line_height(TEXT_PT) / 2
        title.write(figure, EDGE_IN, group_top - min(first_line, group_height - title.height))
        top = group_top
        for each in group:
            middle = top - each.height / 2
            each.label.write(figure, label_right, middle + each.label.height / 2, align="right")
            each.numbers.write(figure, numbers_left, middle + each.numbers.height / 2)
            if each.row.value is None:
                _write_instead(figure, left + COLUMN_GAP_IN, middle, each.instead)
            else:
                _draw_point(axes, each.row, each.row.value, plot_top - middle)
            top -= each.height
        group_top -= group_height + GROUP_GAP_IN
    return figure


def _axes(figure: Figure, scale: Scale, left: float, bottom: float, height: float) -> Axes:
    """The plot; its y axis is in inches below its top."""
    axes = style.add_axes(figure, left, bottom, PLOT_IN, height)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.patch.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    if scale.logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(log_ticks(scale.low, scale.high)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlim(scale.low, scale.high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}".replace("-", "−")))
    axes.set_xlabel(f"{scale.label} (logarithmic)" if scale.logarithmic else scale.label)
    return axes


def _write_instead(figure: Figure, left: float, middle: float, said: Paragraph) -> None:
    """Write over the plot, on a ground that keeps its lines away from the text."""
    bottom = middle - said.height / 2
    figure.add_artist(
        Rectangle(
            (left - 0.03, bottom),
            said.width + 0.06,
            said.height,
            facecolor="white",
            linewidth=0,
            transform=figure.dpi_scale_trans,
        )
    )
    said.write(figure, left, bottom + said.height)


def _separate(figure: Figure, y: float, width: float) -> None:
    figure.add_artist(
        Line2D(
            [EDGE_IN, width - EDGE_IN],
            [y, y],
            color=FAINT,
            linewidth=0.6,
            transform=figure.dpi_scale_trans,
            zorder=-1,
        )
    )


def _draw_point(axes: Axes, row: Row, value: float, y: float) -> None:
    low, high = row.interval or (value, value)
    if row.interval:
        # Higher than the point, so that an interval that is shorter than the point is seen too.
        axes.plot(
            [low, high],
            [y, y],
            color=row.look.colour,
            linewidth=1.4,
            marker="|",
            markersize=CAP_PT,
            markeredgewidth=1.0,
            zorder=3,
        )
    if row.open_side:
        axes.annotate(
            "",
            (low if row.open_side < 0 else high, y),
            xytext=(row.open_side * ARROW_PT, 0),
            textcoords="offset points",
            arrowprops={
                "arrowstyle": "<-",
                "color": row.look.colour,
                "linestyle": (0, (2.5, 1.5)),
                "shrinkA": 0,
                "shrinkB": 0 if row.interval else POINT_PT / 2,
            },
            zorder=3,
        )
    point = row.look.point(POINT_PT) | {"markeredgecolor": row.look.colour}
    axes.plot([value], [y], linestyle="none", zorder=4, **point)
