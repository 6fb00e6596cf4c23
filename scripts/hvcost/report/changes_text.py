"""Two results compared, as a text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hvcost.analysis.rows import NEW, OLD, Change
from hvcost.model.metric import RATIO
from hvcost.report import numbers
from hvcost.report.changes import Cell, Comparison, Group, answer, cautions, left_out, mark
from hvcost.report.circumstances import sentences
from hvcost.report.words import plain

HEADER = ("system", OLD, NEW, f"{NEW} beside {OLD} [95 %]", "verdict")
INDENT = "  "


def as_text(found: Comparison) -> str:
    """What differs in facts, the answer, every cell, and what was left out."""
    parts = [
        "\n".join(map(str, found.sides)),
        _part("What differs beside the figures:", sentences(found.circumstances)),
        _part("What changed:", map(plain, answer(found))),
        _part("Beware:", cautions(found)),
        *(_group(group) for group in found.groups),
        _part(
            "Not compared:",
            (f"{each.what}: {each.reason or each.verdict}" for each in left_out(found.cells)),
        ),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _part(title: str, lines: Iterable[str]) -> str:
    """A title with its lines; nothing if there are none."""
    every = [INDENT + line for line in lines]
    return "\n".join([title, *every]) if every else ""


def _group(group: Group) -> str:
    lines = [HEADER, *(_line(cell) for cell in group.cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines
    )
    return _part(f"{group.title}:", (line.rstrip() for line in padded))


def _line(cell: Cell) -> Sequence[str]:
    row = cell.row
    said = mark(row)
    note = f" ({row.note})" if row.note else ""
    return (
        row.system,
        _amount(row, row.old),
        _amount(row, row.new),
        numbers.effect(row) + (" ×" if row.compared == RATIO and row.effect is not None else ""),
        f"{said.shape} {said.words}{note}",
    )


def _amount(row: Change, value: float | None) -> str:
    return "none" if value is None else numbers.amount(row, value)
