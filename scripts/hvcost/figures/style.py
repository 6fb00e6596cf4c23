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
from matplotlib.lines import Line2D

from hvcost.figures import Picture
from hvcost.figures.text import FAINT, INK, MUTED, TEXT_PT, text_width, write_line
from hvcost.model.description import BASELINE

PNG_DPI = 200
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
    # This order, since texts keep what drew them last: the pixels of a picture are some ten megabytes.
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
    svg = io.BytesIO()
    picture.figure.savefig(
        svg, format="svg", metadata={"Title": picture.title, "Date": None, "Creator": None}
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
