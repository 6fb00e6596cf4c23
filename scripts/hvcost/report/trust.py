"""How far the figures can be trusted, in words: what a value is, and what the diagnostics found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hvcost.analysis.rows import LAG1_FOUND, SIGNIFICANCE, CellStatistics
from hvcost.report.numbers import PLANNED, Cell, Number
from hvcost.report.words import Sentence, listed, name, plain, sentence, start
from hvcost.wording import counted


def certainty(cells: Sequence[Cell]) -> list[Sentence]:
    """How far the figures can be trusted, for somebody who does not read on."""
    measured = [cell for cell in cells if cell.row.values]
    said = _units(measured)
    failed = sum(cell.row.failed for cell in cells)
    if failed:
        planned = sum(cell.row.planned for cell in cells)
        count = Number(f"{failed} of {planned}", PLANNED)
        said.append(sentence("{count} repetitions failed and have no value.", count=count))
    fewest = min(measured, key=lambda cell: cell.row.values, default=None)
    if fewest:
        said += _unseen(fewest)
    if fewest and fewest.row.values < max(cell.row.values for cell in measured):
        where = f"{start(fewest.row.system)} in {fewest.row.environment}"
        count = Number(str(fewest.row.values), fewest.id)
        said.append(sentence("{where} has the fewest values: {count}.", where=where, count=count))
    troubled = [
        _where(cell) for cell in cells if any(flag.word in (DRIFT, DEPENDENT) for flag in flags(cell))
    ]
    if troubled:
        text = "Values drifted or followed each other: the interval is too narrow for {where}."
        said.append(sentence(text, where=listed(troubled)))
    return said


def _unseen(cell: Cell) -> list[Sentence]:
    """What so few values cannot know, however small their interval is; `cell` is the one with the fewest."""
    row = cell.row
    noun = "run" if row.level == "repetition" else row.level
    said = [
        sentence(
            "What happens in one {noun} of ten is missing from {count} in {share} of the experiments, and "
            "then no interval knows of it.",
            noun=noun,
            count=Number(counted(row.values, noun), cell.id),
            share=Number(f"{100 * 0.9**row.values:.2g} %", cell.id),
        )
    ]
    size = max((size for size in LAG1_FOUND if size <= row.values), default=None)
    if size is not None:
        said.append(
            sentence(
                "Without a flag values may still follow each other: where neighbours are correlated by "
                "{correlation}, {size} values show it in about {share} of the experiments.",
                correlation=Number("0.6", cell.id),
                size=Number(str(size), cell.id),
                share=Number(f"{100 * LAG1_FOUND[size]:.0f} %", cell.id),
            )
        )
    return said


def _units(cells: Sequence[Cell]) -> list[Sentence]:
    """What a value is, and of which boots the intervals speak: one sentence for cells that have the same."""
    alike: dict[str, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(plain(_unit(cell)), []).append(cell)
    if len(alike) == 1:
        return [sentence("A value is {unit}", unit=_unit(cells[0]))]
    return [
        sentence(
            "{where}: a value is {unit}",
            where=listed([start(own[0].row.system) + f" in {own[0].row.environment}", *map(_where, own[1:])]),
            unit=_unit(own[0]),
        )
        for own in alike.values()
    ]


def _unit(cell: Cell) -> Sentence:
    row = cell.row
    if row.level == "repetition":
        return sentence(
            "a repetition, and all of a system’s are of one session: the intervals speak of this one boot, "
            "and another may well give other figures."
        )
    if row.level == "boot":
        return sentence(
            "the mean of all repetitions in one boot of the host, since these are no independent witnesses "
            "of other boots."
        )
    host: Sentence = ("boots of the host that are not known",)
    if row.host_boots is not None:
        host = (_boots(row.host_boots, cell), " of the host")
    guest: Sentence = ()
    if row.guest_boots is not None and row.guest_boots < row.sessions:
        guest = (" and ", _boots(row.guest_boots, cell), " of the guest")
    return sentence(
        "the mean of a session, and all sessions were in {host}{guest}: the intervals speak of {these} "
        "alone.",
        host=host,
        guest=guest,
        these="this boot" if row.host_boots == 1 and not guest else "these boots",
    )


def _boots(count: int, cell: Cell) -> Number:
    return Number("one boot" if count == 1 else counted(count, "boot"), cell.id)


def _where(cell: Cell) -> str:
    return f"{name(cell.row.system)} in {cell.row.environment}"


DRIFT = "drift"
DEPENDENT = "dependent"
ALTERNATING = "alternating"
SKEWED = "not normal"
OUTLIERS = "outliers"

MEANINGS = {
    DRIFT: (
        f"The values rose or fell in the course of the measurement (Kendall’s τ, p < {SIGNIFICANCE}): "
        "the mean depends on when one looked."
    ),
    DEPENDENT: (
        f"Each value resembles the one before it (lag-1 autocorrelation, p < {SIGNIFICANCE}): the values are "
        "not independent, they say less than their number suggests, and the interval is too narrow."
    ),
    ALTERNATING: (
        f"Each value is unlike the one before it (lag-1 autocorrelation, p < {SIGNIFICANCE}): the values are "
        "not independent, and the interval is wider than it need be."
    ),
    OUTLIERS: (
        "Some repetitions lie further from the median than 3.5 robust standard deviations. They are part of "
        "every figure: nothing is discarded. The diagnostics give the mean without them."
    ),
    SKEWED: (
        f"The values do not look normally distributed (Shapiro-Wilk, p < {SIGNIFICANCE}). No interval here "
        "assumes that they are, but look at the chart before you trust a mean."
    ),
}


@dataclass(frozen=True)
class Flag:
    """A short word beside a cell's figures; MEANINGS says what it means for the reader."""

    word: str
    detail: str = ""


def flags(cell: Cell) -> list[Flag]:
    """What the diagnostics of a cell have to say against it."""
    row = cell.row
    found = []
    if row.drift_p is not None and row.drift_p < SIGNIFICANCE:
        found.append(Flag(DRIFT, " upwards" if (row.drift_tau or 0) > 0 else " downwards"))
    if row.lag1_p is not None and row.lag1_p < SIGNIFICANCE:
        found.append(Flag(DEPENDENT if (row.lag1_autocorrelation or 0) > 0 else ALTERNATING))
    if row.outliers:
        found.append(Flag(OUTLIERS, f": {len(row.outliers.split())}"))
    if row.shapiro_p is not None and row.shapiro_p < SIGNIFICANCE:
        found.append(Flag(SKEWED))
    return found


def meanings(cells: Iterable[Cell]) -> dict[str, str]:
    """The flags that these cells have, with what each means."""
    words = {flag.word for cell in cells for flag in flags(cell)}
    return {word: meaning for word, meaning in MEANINGS.items() if word in words}


def chance(cells: Sequence[Cell]) -> str:
    """How many flags are to be expected of nothing at all."""
    tests = [
        value
        for cell in cells
        for value in (cell.row.drift_p, cell.row.lag1_p, cell.row.shapiro_p)
        if value is not None
    ]
    return (
        f"{counted(len(tests), 'test')} at a level of {SIGNIFICANCE}: about {len(tests) * SIGNIFICANCE:.1f} "
        "of these flags would be there if nothing at all were wrong."
    )


def confidence(cells: Iterable[Cell]) -> str:
    """What the intervals of the medians cover: it depends on the number of values alone."""
    covered = [cell.row.median_confidence for cell in cells if cell.row.median_confidence is not None]
    if not covered:
        return ""
    ends = dict.fromkeys(f"{100 * each:.1f}" for each in (min(covered), max(covered)))
    return f"Its confidence is {' to '.join(ends)} %."


def values(row: CellStatistics) -> str:
    """How many values a cell has, and what a value is."""
    one, several = {
        "boot": ("mean of a boot", "means of boots"),
        "session": ("mean of a session", "means of sessions"),
        "repetition": ("repetition", "repetitions"),
    }[row.level]
    return f"{row.values} {one if row.values == 1 else several}"
