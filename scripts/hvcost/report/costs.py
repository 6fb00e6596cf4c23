"""What systems cost, in words: what each delivers or takes beside bare metal."""

from __future__ import annotations

from collections.abc import Iterable

from hvcost.analysis.rows import CellStatistics
from hvcost.model.description import BASELINE
from hvcost.model.metric import DIFFERENCE
from hvcost.report import numbers
from hvcost.report.numbers import Cell, Number, Share, amount, median, unit
from hvcost.report.words import Sentence, metric, sentence, start, title
from hvcost.wording import difference_unit, sentence_case


def baseline(cells: Iterable[Cell]) -> Cell | None:
    """Bare metal among the cells of an environment and a workload, if it has a figure."""
    found = (cell for cell in cells if cell.row.hypervisor == BASELINE and cell.row.mean is not None)
    return next(found, None)


def by_cost(cells: Iterable[Cell]) -> list[Cell]:
    """Cells of an environment and a workload: bare metal, the cheapest, the dearest, those without figure."""

    def rank(cell: Cell) -> tuple[bool, bool, float]:
        row = cell.row
        value = row.mean or 0.0
        is_lower_better = metric(row).better == "lower"
        return row.hypervisor != BASELINE, row.mean is None, value if is_lower_better else -value

    return sorted(cells, key=rank)


def answer(cell: Cell, bare_metal: Cell | None) -> Sentence:
    """What a system costs, or what is known of it if that is not."""
    row = cell.row
    failed: Sentence = ()
    if row.failed:
        count = Number(f"{row.failed} of {row.planned}", cell.id)
        failed = sentence(" {count} repetitions failed.", count=count)
    return (*_cost(cell, bare_metal), *failed)


def _cost(cell: Cell, bare_metal: Cell | None) -> Sentence:
    row = cell.row
    who = start(row.system)
    if row.mean is None:
        is_unavailable = row.unavailable == row.planned
        text = "{who}: nobody can have this figure." if is_unavailable else "{who}: there is no figure."
        return sentence(text, who=who)
    mean = Number(amount(row, row.mean), cell.id)
    if cell == bare_metal:
        if row.compared == DIFFERENCE:
            text = "Bare metal, with no hypervisor at all: {mean} {unit} of {title}."
            return sentence(text, title=title(row), mean=mean, unit=unit(row))
        text = "Bare metal, with no hypervisor at all, reaches {mean} {unit}."
        return sentence(text, mean=mean, unit=unit(row))
    note = f" (no interval: {row.note})" if row.note else ""
    if bare_metal is None or bare_metal.row.mean is None or row.effect is None:
        text = "{who} reaches a median of {median} {unit}{note}."
        note = "" if row.median_low else note
        return sentence(text, who=who, median=median(cell), unit=unit(row), note=note)
    if row.compared == DIFFERENCE:
        return _difference(cell, bare_metal, note)
    if row.runs_at_limit and bare_metal.row.runs_at_limit:
        return sentence(
            "{who}: this link cannot show its cost. Its median is {median} {unit}, that of bare metal "
            "{reference}, and the link carries no more than {limit}{held}.",
            who=who,
            median=numbers.median_alone(cell),
            unit=unit(row),
            reference=numbers.median_alone(bare_metal),
            limit=Number(amount(row, row.limit or 0.0), cell.id),
            held=_held_runs(cell, bare_metal),
        )
    reference = Number(amount(bare_metal.row, bare_metal.row.mean), bare_metal.id)
    if metric(row).better == "lower":
        return _times(cell, bare_metal)
    share = Share(row.effect, row.effect_low, row.effect_high)
    return sentence(
        "{verdict}: it delivers {share} of bare metal’s {title}, {mean} of {reference} {unit}{note}.",
        verdict=_verdict(cell, share, is_bound=bare_metal.row.runs_at_limit > 0),
        share=Number(str(share), cell.id),
        title=title(row),
        mean=mean,
        reference=reference,
        unit=unit(row),
        note=note,
    )


def is_held(cell: Cell, bare_metal: Cell | None) -> bool:
    """Whether the link may have held back a cell and bare metal both, so that it cannot show the cost."""
    return (
        bare_metal is not None
        and cell is not bare_metal
        and bool(cell.row.runs_at_limit and bare_metal.row.runs_at_limit)
    )


def further(cell: Cell, bare_metal: Cell | None, is_named: bool = False) -> Sentence:
    """The same in short, of another metric of a system that was named; nothing if nobody can have it.

    `is_named`: whether repetitions that failed are named; those of the same workload were named before.
    """
    row = cell.row
    if row.unavailable == row.planned:
        return ()
    said = sentence("{what}: {figure}.", what=sentence_case(title(row)), figure=_short(cell, bare_metal))
    if not (is_named and row.failed):
        return said
    count = Number(f"{row.failed} of {row.planned}", cell.id)
    text = " {count} repetitions of workload {workload} failed."
    return (*said, *sentence(text, count=count, workload=row.workload))


def _short(cell: Cell, bare_metal: Cell | None) -> Sentence:
    row = cell.row
    if row.mean is None:
        return ("there is no figure",)
    value = sentence("{mean} {unit}", mean=Number(amount(row, row.mean), cell.id), unit=unit(row))
    if cell is bare_metal or bare_metal is None or row.effect is None:
        return value
    if is_held(cell, bare_metal):
        return ("this link cannot show the cost, ", *value)
    of = _of(row)
    return sentence(
        "{bound}{beside} {of} bare metal’s{chance}, {value}",
        bound=f"{bound(cell, bare_metal)} ".lstrip(),
        beside=Number(numbers.effect(row) if of == "times" else numbers.beside(row), cell.id),
        of=of,
        chance=_chance(cell),
        value=value,
    )


def bound(cell: Cell, bare_metal: Cell) -> str:
    """“at most” or “at least”, if the link held one of both back: elsewhere it might have been better."""
    if bool(cell.row.runs_at_limit) == bool(bare_metal.row.runs_at_limit):
        return ""
    may_be_more = bool(cell.row.runs_at_limit) == (metric(cell.row).better == "higher")
    return "at least" if may_be_more else "at most"


def _of(row: CellStatistics) -> str:
    """What stands between an effect and what it is beside."""
    if row.compared == DIFFERENCE:
        return "against"
    return "of" if metric(row).better == "higher" else "times"


def _chance(cell: Cell) -> str:
    """That an interval does not tell a system from bare metal."""
    row = cell.row
    if row.effect_low is None or row.effect_high is None:
        return " (no interval)"
    is_none = row.effect_low <= metric(row).no_effect <= row.effect_high
    return " (not told from chance)" if is_none else ""


def _times(cell: Cell, bare_metal: Cell) -> Sentence:
    """A metric of which less is better, beside that of bare metal."""
    row = cell.row
    low, high = row.effect_low, row.effect_high
    if low is None or high is None:
        verdict = "about {ratio} times"
    elif low <= 1 <= high:
        verdict = "{ratio} times, which could not be told from chance,"
    else:
        verdict = "{ratio} times"
    return sentence(
        "{who} takes " + verdict + " bare metal’s {title}, {mean} against {reference} {unit}.",
        who=start(row.system),
        ratio=Number(numbers.bracketed(row.effect or 0.0, low, high), cell.id),
        title=title(row),
        mean=Number(amount(row, row.mean or 0.0), cell.id),
        reference=Number(amount(row, bare_metal.row.mean or 0.0), bare_metal.id),
        unit=unit(row),
    )


def _difference(cell: Cell, bare_metal: Cell, note: str) -> Sentence:
    """A metric where 0 is possible, beside that of bare metal: by how much it is worse."""
    row = cell.row
    by_cost = 1 if metric(row).better == "lower" else -1
    effect, low, high = row.effect or 0.0, row.effect_low, row.effect_high
    is_told_apart = low is not None and high is not None and not low <= 0 <= high
    about = "" if is_told_apart else "about "
    sign = by_cost
    if low is not None and not is_told_apart:
        text = "{who} shows no difference that could be told from chance: {difference} {of} of {title}"
    elif not effect:
        text = "{who} shows no difference in {title}"
    elif effect * by_cost > 0:
        text = f"{{who}} is worse than bare metal by {about}{{difference}} {{of}} of {{title}}"
    else:
        text = f"{{who}} is better than bare metal by {about}{{difference}} {{of}} of {{title}}"
        sign = -by_cost
    return sentence(
        text + ", {mean} against {reference} {unit}{note}.",
        who=start(row.system),
        difference=Number(numbers.difference(row, sign), cell.id),
        of=difference_unit(unit(row)),
        title=title(row),
        mean=Number(amount(row, row.mean or 0.0), cell.id),
        reference=Number(amount(row, bare_metal.row.mean or 0.0), bare_metal.id),
        unit=unit(row),
        note=note,
    )


def _verdict(cell: Cell, share: Share, is_bound: bool) -> Sentence:
    """What the share says of the cost; `is_bound`: bare metal might have been faster on another link."""
    who, cost = start(cell.row.system), Number(f"{share.cost} %", cell.id)
    bound = " or more" if is_bound else " or less" if cell.row.runs_at_limit else ""
    if share.low is None or share.high is None:
        text = f"{{who}} costs about {{cost}}{bound}" if share.ratio < 1 else "{who} shows no cost"
    elif share.low > 1:
        text = "{who} shows no cost over this link" if is_bound else "{who} costs nothing here"
    elif share.high >= 1:
        text = "{who} shows no cost that could be told from chance"
    else:
        text = f"{{who}} costs {{cost}}{bound}"
    return sentence(text, who=who, cost=cost)


def _held_runs(cell: Cell, bare_metal: Cell) -> Sentence:
    """How many runs the link may have held back, unless it set both medians anyway."""
    if cell.row.at_limit and bare_metal.row.at_limit:
        return ()
    return sentence(
        ": {own} of its runs came near that, and {reference} of bare metal’s",
        own=numbers.runs_at_limit(cell),
        reference=numbers.runs_at_limit(bare_metal),
    )
