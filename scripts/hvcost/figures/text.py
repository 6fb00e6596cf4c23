"""Text in figures: how wide it is, where it breaks, and how paragraphs are set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

INK = "#1a1a1a"
MUTED = "#555555"
FAINT = "#d9d9d9"
LINK = "#777777"
TITLE_PT = 11.0
TEXT_PT = 8.5
SMALL_PT = 7.5
LINE_SPACING = 1.3


@cache
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
