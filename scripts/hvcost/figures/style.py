"""The look that all figures share: systems' colours, text that fits, rates, files.

Sheets are laid out in inches from the bottom left corner, since text has a size in inches: what
is measured to fit does fit, whatever the figure's size.
"""

from __future__ import annotations

import colorsys
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from hvcost.figures import BASELINE, Environment, Picture

INK = "#1a1a1a"
MUTED = "#555555"
FAINT = "#d9d9d9"
LINK = "#777777"

TITLE_PT = 11.0
TEXT_PT = 8.5
SMALL_PT = 7.5
LINE_SPACING = 1.3
PNG_DPI = 200
LOG_FROM_RATIO = 10.0
"""A system below a tenth of the axis is a flat line on a linear axis: its spread is not seen."""

_RC: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": TEXT_PT,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.labelsize": TEXT_PT,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": TEXT_PT,
    "ytick.labelsize": TEXT_PT,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Hinted text is wider than measured, by a different share at each resolution.
    "text.hinting": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "hvcost",
}


@dataclass(frozen=True)
class SystemStyle:
    """How a system looks in every figure; colour and marker each tell it from the others."""

    colour: str
    marker: str
    filled: bool

    @property
    def face(self) -> str:
        """Colour inside the marker."""
        return self.colour if self.filled else "white"

    @property
    def light(self) -> str:
        """Colour of lines that only guide the eye."""
        red, green, blue = to_rgb(self.colour)
        return to_hex((0.5 + red / 2, 0.5 + green / 2, 0.5 + blue / 2))

    def point(self, size: float) -> dict[str, Any]:
        """Marker of this size, as Axes.plot takes it; a thin edge keeps close points apart."""
        return {
            "marker": self.marker,
            "markersize": size,
            "markerfacecolor": self.face,
            "markeredgecolor": "white" if self.filled else self.colour,
            "markeredgewidth": 0.5 if self.filled else 1.0,
        }


CROSS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "x",
    "markersize": 5,
    "markeredgewidth": 1.5,
    "clip_on": False,
}
"""A failed repetition, as Axes.plot takes it."""


# Okabe and Ito's palette, which colour-blind readers can tell apart.
_KNOWN = {
    BASELINE: SystemStyle("#000000", "s", True),
    "kvm": SystemStyle("#0072B2", "o", True),
    "qemu": SystemStyle("#D55E00", "^", True),
    "xen": SystemStyle("#009E73", "D", True),
    "virtualbox": SystemStyle("#E69F00", "v", True),
    "nspawn": SystemStyle("#CC79A7", "P", True),
}
_OTHERS = SystemStyle("#56B4E9", "h", True)
_VARIANT_MARKERS = "oD^svp<>h8"
_VARIANT_PLACES = {
    "e1000": 0,
    "rtl8139": 1,
    "vhost": 2,
    "virtio": 3,
    "pvh": 4,
    "pv": 5,
    "hvm": 6,
    "e1000e": 7,
}


def system_style(system: str, hypervisor: str = "") -> SystemStyle:
    """Style of a system by its name alone where the name says enough, whichever others there are.

    A variant (`kvm-e1000`, or any system with a known hypervisor) has its hypervisor's hue and an
    open marker of its own.
    """
    if system in _KNOWN:
        return _KNOWN[system]
    family = next((name for name in _KNOWN if system.startswith(name + "-")), hypervisor)
    base = _KNOWN.get(family, _OTHERS)
    suffix = system.removeprefix(family + "-")
    digest = int.from_bytes(hashlib.sha256(suffix.encode()).digest()[:4], "big")
    shade, place = divmod(digest % (2 * len(_VARIANT_MARKERS)), len(_VARIANT_MARKERS))
    if suffix in _VARIANT_PLACES:
        shade, place = 0, _VARIANT_PLACES[suffix]
    colour = _shaded(base.colour) if shade else base.colour
    return SystemStyle(colour, _VARIANT_MARKERS[place], filled=False)


def _shaded(colour: str) -> str:
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(colour))
    return to_hex(colorsys.hls_to_rgb(hue, lightness * 0.6 if lightness else 0.45, saturation))


@contextmanager
def house_style() -> Iterator[None]:
    """Settings of all figures, whatever the user's matplotlibrc; draw and save within it."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def rendered(picture: Picture) -> dict[str, bytes]:
    """Files of a picture by name: the same bytes for the same picture."""
    svg = io.BytesIO()
    picture.figure.savefig(
        svg, format="svg", metadata={"Title": picture.title, "Date": None, "Creator": None}
    )
    png = io.BytesIO()
    picture.figure.savefig(
        png,
        format="png",
        dpi=PNG_DPI,
        metadata={
            "Title": picture.title,
            "Description": picture.description,
            "Software": None,
        },
    )
    return {
        f"{picture.name}.svg": _accessible(svg.getvalue(), picture.description),
        f"{picture.name}.png": png.getvalue(),
    }


def _accessible(svg: bytes, description: str) -> bytes:
    """SVG with the description where screen readers look for it: `desc` after `title`."""
    text = svg.decode("utf-8")
    text = re.sub(r"<svg ", '<svg role="img" ', text, count=1)
    return text.replace("</title>", f"</title>\n <desc>{escape(description)}</desc>", 1).encode("utf-8")


def add_axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place and of a size in inches."""
    whole_width, whole_height = figure.get_size_inches()
    return figure.add_axes(
        (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    )


# Text


def text_width(text: str, size_pt: float, weight: str = "normal") -> float:
    """Width of one line of text, in inches."""
    font = FontProperties(family="DejaVu Sans", size=size_pt, weight=weight)
    width, _height, _descent = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return float(width) / 72


def line_height(size_pt: float) -> float:
    """Distance between the baselines of two lines, in inches."""
    return size_pt * LINE_SPACING / 72


def wrapped(text: str, width_in: float, size_pt: float, weight: str = "normal") -> list[str]:
    """Lines that are not wider than `width_in`; wider words are broken, at a hyphen if possible."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        candidate = f"{line} {word}" if line else word
        if text_width(candidate, size_pt, weight) <= width_in:
            line = candidate
            continue
        if line:
            lines.append(line)
        while text_width(word, size_pt, weight) > width_in and len(word) > 1:
            fits = max(
                (n for n in range(1, len(word)) if text_width(word[:n], size_pt, weight) <= width_in),
                default=1,
            )
            fits = word.rfind("-", 1, fits) + 1 or fits
            lines.append(word[:fits])
            word = word[fits:]
        line = word
    return [*lines, line] if line else lines


def write_line(
    figure: Figure,
    x: float,
    y: float,
    text: str,
    size_pt: float = TEXT_PT,
    *,
    colour: str = INK,
    weight: str = "normal",
    align: str = "left",
) -> Text:
    """Write one line with its baseline at (x, y), in inches."""
    return figure.text(
        x,
        y,
        text,
        fontsize=size_pt,
        color=colour,
        fontweight=weight,
        ha=align,
        va="baseline",
        transform=figure.dpi_scale_trans,
    )


@dataclass(frozen=True)
class Paragraph:
    """Lines of one look."""

    lines: tuple[str, ...]
    size_pt: float = TEXT_PT
    colour: str = INK
    weight: str = "normal"

    @classmethod
    def fit(
        cls,
        text: str,
        width_in: float,
        size_pt: float = TEXT_PT,
        colour: str = INK,
        weight: str = "normal",
    ) -> Paragraph:
        """Paragraph of a text, wrapped to a width."""
        return cls(tuple(wrapped(text, width_in, size_pt, weight)), size_pt, colour, weight)

    @property
    def height(self) -> float:
        """Height in inches."""
        return len(self.lines) * line_height(self.size_pt)

    @property
    def width(self) -> float:
        """Width of the longest line in inches."""
        return max((text_width(line, self.size_pt, self.weight) for line in self.lines), default=0.0)

    def write(self, figure: Figure, x: float, top: float, align: str = "left") -> float:
        """Write the lines below `top` (inches); returns where the paragraph ends."""
        y = top
        for line in self.lines:
            y -= line_height(self.size_pt)
            baseline = y + 0.3 * self.size_pt / 72
            write_line(
                figure,
                x,
                baseline,
                line,
                self.size_pt,
                colour=self.colour,
                weight=self.weight,
                align=align,
            )
        return y


def paragraphs_height(paragraphs: Sequence[Paragraph]) -> float:
    """Height of paragraphs under each other, in inches."""
    return sum(paragraph.height for paragraph in paragraphs)


def write_paragraphs(
    figure: Figure, x: float, top: float, paragraphs: Sequence[Paragraph], align: str = "left"
) -> float:
    """Write paragraphs under each other; returns where they end."""
    for paragraph in paragraphs:
        top = paragraph.write(figure, x, top, align)
    return top


# Legend: in rows above the plot, wrapped to the width.


@dataclass(frozen=True)
class LegendEntry:
    """A system's mark and what is said beside it."""

    style: SystemStyle
    text: str

    @property
    def width(self) -> float:
        """Width in inches, with the space after it."""
        return 0.2 + text_width(self.text, TEXT_PT) + 0.25


def legend_rows(entries: Sequence[LegendEntry], width_in: float) -> list[list[LegendEntry]]:
    """Entries in rows that are not wider than `width_in`."""
    rows: list[list[LegendEntry]] = []
    for entry in entries:
        if rows and sum(other.width for other in rows[-1]) + entry.width <= width_in:
            rows[-1].append(entry)
        else:
            rows.append([entry])
    return rows


LEGEND_ROW_IN = 0.2


def draw_legend(figure: Figure, x: float, top: float, rows: list[list[LegendEntry]]) -> None:
    """Draw rows of a legend below `top` (inches)."""
    for number, row in enumerate(rows, start=1):
        left, y = x, top - number * LEGEND_ROW_IN
        for entry in row:
            draw_mark(figure, left + 0.07, y + 0.045, entry.style)
            write_line(figure, left + 0.2, y, entry.text)
            left += entry.width


def draw_mark(figure: Figure, x: float, y: float, style: SystemStyle) -> None:
    """Draw a system's marker at a place in inches."""
    figure.add_artist(
        Line2D(
            [x],
            [y],
            marker=style.marker,
            markersize=6,
            color=style.colour,
            markerfacecolor=style.face,
            markeredgewidth=1.2,
            linestyle="none",
            transform=figure.dpi_scale_trans,
        )
    )


# Rates


@dataclass(frozen=True)
class Unit:
    """A decimal unit of rate."""

    name: str
    bps: float


_UNITS = (
    (1e13, Unit("Tbit/s", 1e12)),
    (1e10, Unit("Gbit/s", 1e9)),
    (1e6, Unit("Mbit/s", 1e6)),
    (1e3, Unit("kbit/s", 1e3)),
    (0.0, Unit("bit/s", 1.0)),
)


def unit_for(largest_bps: float) -> Unit:
    """Unit of an axis that ends at this rate; a gigabit link is 1000 Mbit/s, as is customary."""
    return next(unit for least_bps, unit in _UNITS if largest_bps >= least_bps)


def number_text(value: float) -> str:
    """Three significant digits, never as a power of ten; whole numbers in full."""
    if value >= 1000 or value == int(value):
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".") if value >= 1e-4 else f"{value:.7f}"


def rate_text(bps: float) -> str:
    """A rate with its unit."""
    unit = unit_for(bps)
    return f"{number_text(bps / unit.bps)} {unit.name}"


def rate_axis(axes: Axes, values_bps: Sequence[float], limits_bps: Sequence[float]) -> Unit:
    """Set up the y axis for values and for the links' rates, both of which it always shows.

    It starts at zero, unless the slowest system would lie flat on it: then it is logarithmic.
    """
    shown = [*values_bps, *limits_bps]
    unit = unit_for(max(shown))
    top = max(shown) / unit.bps
    bottom = min(values_bps, default=max(shown)) / unit.bps
    axes.yaxis.set_minor_locator(NullLocator())
    if 0 < bottom < top / LOG_FROM_RATIO:
        low, high = bottom * 0.8, top * 1.25
        ticks = log_ticks(low, high)
        axes.set_yscale("log")
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(FixedLocator(ticks))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylabel(f"TCP throughput, {unit.name} (logarithmic)")
    else:
        axes.set_ylim(0, top * 1.06)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 2.5, 5, 10]))
        axes.set_ylabel(f"TCP throughput, {unit.name}")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    return unit


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers on a logarithmic axis, few enough to be labelled."""
    every = [mantissa * 10.0**exponent for exponent in range(-9, 10) for mantissa in (1, 2, 5)]
    ticks = [tick for tick in every if low <= tick <= high]
    return ticks if len(ticks) <= 13 else [tick for tick in ticks if f"{tick:e}"[0] == "1"]


@dataclass(frozen=True)
class Level:
    """A rate that the link sets, drawn as a line with its text beside the plot."""

    bps: float
    text: str
    dashes: tuple[float, float]


def link_levels(environment: Environment, name: str = "") -> list[Level]:
    """Rate of an environment's link, and what TCP can have of it."""
    link, limit = environment.link_bps, environment.tcp_limit_bps
    return [
        Level(link, f"{name}link {rate_text(link)}", (6.0, 2.0)),
        Level(limit, f"{name}TCP limit {rate_text(limit)}", (1.0, 1.5)),
    ]


def draw_level(axes: Axes, unit: Unit, level: Level) -> None:
    """Draw the line of a level across the axes."""
    axes.axhline(level.bps / unit.bps, color=LINK, linestyle=(0, level.dashes), linewidth=1, zorder=2)


def label_levels(figure: Figure, axes: Axes, unit: Unit, labels: Sequence[Level]) -> None:
    """Write labels to the right of the axes, moved apart where they would touch."""
    box = axes.get_position()
    width, height = figure.get_size_inches()
    left = box.x1 * width
    step = line_height(SMALL_PT)
    centres = []
    for label in labels:
        _x, fraction = axes.transAxes.inverted().transform(
            axes.transData.transform((0.0, label.bps / unit.bps))
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
