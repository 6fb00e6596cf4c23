"""Numbers and lists as one says them to people."""

from __future__ import annotations

from collections.abc import Iterable


def minutes(duration_s: float) -> str:
    """A duration for people, such as `12 min` or `2 h 05 min`."""
    if duration_s < 60:
        return f"{duration_s:.0f} s"
    whole = round(duration_s / 60)
    return f"{whole} min" if whole < 60 else f"{whole // 60} h {whole % 60:02d} min"


def sentence_case(text: str) -> str:
    """A text with its first letter as a sentence begins."""
    return text[:1].upper() + text[1:]


def shown_unit(unit: str) -> str:
    """A unit as it is shown; tables have letters that every keyboard has."""
    return "µs" if unit == "us" else unit


def difference_unit(unit: str) -> str:
    """The unit of a difference: 3 % is no 2 % more than 1 %."""
    return "percentage points" if unit == "%" else unit


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as `1 run` or `2 runs`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def listed(names: Iterable[object]) -> str:
    """Names one after the other."""
    return ", ".join(str(name) for name in names)
