"""What the rows say, in words: sentences whose numbers lead to the row that they were rounded from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from string import Formatter

from hvcost.analysis.metrics import known
from hvcost.analysis.rows import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    NOT_COMPARABLE,
    REFUTED,
    SUPPORTED,
    WITHIN_MARGIN,
    ClaimVerdict,
    PairComparison,
)
from hvcost.model.description import BASELINE, UNDER_XEN, Study
from hvcost.model.metric import Metric
from hvcost.report import numbers
from hvcost.report.numbers import Cell, Number, Pair
from hvcost.wording import sentence_case

NAMES = {
    BASELINE: "bare metal",
    UNDER_XEN: "bare metal under Xen",
    "kvm": "KVM",
    "nspawn": "system container (nspawn)",
    "qemu": "QEMU",
    "virtualbox": "VirtualBox",
    "xen": "Xen",
}


Sentence = tuple[str | Number, ...]


def sentence(text: str, **values: str | Number | Sentence) -> Sentence:
    """A text with its `{names}` replaced by values."""
    parts: list[str | Number] = []
    for literal, field, _format, _conversion in Formatter().parse(text):
        value = values[field] if field else ()
        parts += [literal, *(value if isinstance(value, tuple) else (value,))]
    return tuple(part for part in parts if part)


def plain(sentence: Sentence) -> str:
    """A sentence without its links."""
    return "".join(part if isinstance(part, str) else part.text for part in sentence)


# Names


def name(system: str) -> str:
    """A system as one would say it."""
    return NAMES.get(system, system)


def start(system: str) -> str:
    """The name of a system at the start of a sentence; the name of a variant stays as it is."""
    said = name(system)
    return sentence_case(said) if system in NAMES else said


def metric(row: numbers.Row) -> Metric:
    """A row's metric."""
    return known()[row.metric]


def title(row: numbers.Row) -> str:
    """What people call a row's metric."""
    return metric(row).title


def listed(items: Sequence[str]) -> str:
    """Items as one would say them: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def unmeasured(systems: Sequence[str], cells: Iterable[Cell]) -> list[str]:
    """Systems of the plan of which there is no row."""
    measured = {cell.row.system for cell in cells}
    return [system for system in systems if system not in measured]


# Pairs and claims


def sides(row: PairComparison) -> tuple[str, str]:
    """The two cells of a pair, with their environments only if these differ."""
    if row.environment_a == row.environment_b:
        return name(row.system_a), name(row.system_b)
    return claim_sides(row)


def claim_sides(row: PairComparison | ClaimVerdict) -> tuple[str, str]:
    """The two cells that are compared, with their environments."""
    return f"{name(row.system_a)} in {row.environment_a}", f"{name(row.system_b)} in {row.environment_b}"


def differs(pair: Pair) -> bool:
    """Whether the test found a difference, however small."""
    return pair.row.verdict in (DIFFERENT, WITHIN_MARGIN)


def same_system(pair: Pair) -> Sentence:
    """What a comparison of a system with itself says about the measurement."""
    row = pair.row
    if differs(pair):
        text = (
            "Warning: {one} and {other} in {where} are one system under two names. They must not differ, but "
            "they do, {compared} {effect}: something else has changed between their sessions, and may have "
            "changed other figures of this page as much."
        )
    elif row.verdict == EQUIVALENT:
        text = "{one} and {other} in {where}: no difference, as it must be, {compared} {effect}."
    else:
        text = (
            "{one} and {other} in {where}: no difference found, as it must be, {compared} {effect}; but "
            "these values do not show either that there is none ({verdict})."
        )
    return sentence(
        text,
        one=row.system_a,
        other=row.system_b,
        where=row.environment_a,
        compared=row.compared,
        effect=Number(numbers.effect(row), pair.id),
        verdict=row.verdict,
    )


REASONS = {
    SUPPORTED: "the whole interval lies in the allowed range",
    REFUTED: "the whole interval lies outside of the allowed range",
    INCONCLUSIVE: "the interval lies on both sides of an end of the allowed range",
    NOT_COMPARABLE: "",
}


def reason(row: ClaimVerdict) -> str:
    """Why a comparison of a claim has its verdict."""
    why = REASONS.get(row.verdict, "")
    if row.effect_low is None and row.verdict != NOT_COMPARABLE:
        why = "there is no interval"
    if row.bound and row.verdict == INCONCLUSIVE:
        why = "the link leaves the interval open"
    return "; ".join(filter(None, (why, row.note)))


def repeated_verdict(verdict: str, study: Study | None) -> str:
    """A verdict on what was published of another time's software: whatever holds now is another statement."""
    is_told = verdict in (SUPPORTED, REFUTED) and study is not None and bool(study.software)
    return f"{verdict} on today’s systems" if is_told else verdict


def remarks(row: ClaimVerdict) -> str:
    """What has to be known of a comparison with what was published: stand-ins, and why it has its verdict."""
    stands = f"an analogue: {row.analogue}" if row.analogue else ""
    return "; ".join(filter(None, (stands, reason(row))))
