"""What was published beside what came out here: each value with its range, and ours with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hvcost.analysis.rows import ClaimVerdict
from hvcost.figures import Picture, emulated_note, environment_notes, forest, ratios, style
from hvcost.figures.text import LINK
from hvcost.model.description import Environment, Study
from hvcost.model.metric import RATIO

NAME = "published-and-repeated"
LEGEND = (
    "Diamond: the published ratio; its bar: the range that counts as the same, which is ours. Below it, the "
    "ratio that was measured here; its bar: 95 % interval."
)
PUBLISHED = style.SystemStyle(LINK, "D", filled=False)
OPEN_SIDES = {"low": -1, "high": 1}


def shown(claims: Sequence[ClaimVerdict]) -> list[ClaimVerdict]:
    """Comparisons that the figure shows: of published ratios, since differences have axes of their own."""
    return [row for row in claims if row.published is not None and row.compared == RATIO]


def draw(environments: Sequence[Environment], claims: Sequence[ClaimVerdict], study: Study | None) -> Picture:
    """Two rows for each comparison of which a ratio was published; `claims` as of `shown`."""
    hypervisors = {name: kind for place in environments for name, kind in place.hypervisors.items()}
    groups = [_group(row, hypervisors) for row in claims]
    title = f"Published and repeated{emulated_note(environments)}"
    today = f" It measured {study.software}; here are systems of today." if study and study.software else ""
    analogues = dict.fromkeys(f"{row.claim}: {row.analogue}." for row in claims if row.analogue)
    figure = forest.draw(
        forest.Words(
            title,
            (f"{study.citation}.{today} " if study else "") + LEGEND,
            "ratio [95 % interval], verdict",
            (*analogues, *environment_notes(environments)),
        ),
        groups,
        replace(ratios.scale_of([row for group in groups for row in group.rows]), label="ratio"),
        [forest.Line(1.0)],
    )
    return Picture(
        name=NAME,
        title=title,
        description=" ".join(
            forest.spoken(row, row.label, group.title) for group in groups for row in group.rows
        ),
        figure=figure,
    )


def _group(row: ClaimVerdict, hypervisors: dict[str, str]) -> forest.Group:
    """What was published of a comparison, and what came of it."""
    places = dict.fromkeys((row.environment_a, row.environment_b))
    where = " to ".join(places)
    second = row.system_b if row.system_b != row.system_a else ""
    published = forest.Row(
        f"{row.claim}, published",
        PUBLISHED,
        row.published,
        None if row.at_least is None or row.at_most is None else (row.at_least, row.at_most),
        _published(row),
    )
    systems = " to ".join(filter(None, (row.system_a, second)))
    return forest.Group(f"{row.workload}, {where}", (published, _here(row, systems, hypervisors)))


def _published(row: ClaimVerdict) -> str:
    ends = [
        f"{word} {end:g}" for word, end in (("from", row.at_least), ("to", row.at_most)) if end is not None
    ]
    return " ".join([f"{row.published:g}", *ends])


def _here(row: ClaimVerdict, systems: str, hypervisors: dict[str, str]) -> forest.Row:
    look = style.system_style(row.system_a, hypervisors.get(row.system_a, ""))
    if row.effect is None:
        return forest.Row(systems, look, instead=row.note or "no ratio")
    if row.effect_low is None or row.effect_high is None:
        effect = ratios.ratio_text(row.effect, row.effect / 10)
        return forest.Row(systems, look, row.effect, None, f"{effect}, no interval: {row.verdict}")
    ends = (row.effect_low, row.effect_high)
    finest = (row.effect_high - row.effect_low) / 2 or row.effect / 10
    effect, low, high = (ratios.ratio_text(value, finest) for value in (row.effect, *ends))
    side = OPEN_SIDES.get(row.bound, 0)
    return forest.Row(
        systems, look, row.effect, ends, f"{effect} [{low}, {high}]: {row.verdict}", open_side=side
    )
