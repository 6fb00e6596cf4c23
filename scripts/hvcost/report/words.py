"""What the rows say, in words: sentences whose numbers lead to the row that they were rounded from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

from hvcost.analysis.metrics import known
from hvcost.analysis.rows import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    LAG1_FOUND,
    REFUTED,
    SIGNIFICANCE,
    SUPPORTED,
    WITHIN_MARGIN,
    CellStatistics,
    ClaimVerdict,
    PairComparison,
)
from hvcost.model.description import BASELINE, PLAYERS, UNDER_XEN, Environment
from hvcost.model.link import FRAMING_BYTES, HEADER_BYTES, IMPOSSIBLE_SHARE
from hvcost.model.metric import DIFFERENCE, Metric
from hvcost.report import numbers
from hvcost.report.numbers import (
    CONFIGURATION,
    PLANNED,
    Cell,
    Number,
    Pair,
    Share,
    amount,
    median,
    unit,
)
from hvcost.wording import counted, difference_unit, sentence_case

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


def metric(row: CellStatistics) -> Metric:
    """A row's metric."""
    return known()[row.metric]


def title(row: CellStatistics) -> str:
    """What people call a row's metric."""
    return metric(row).title


def listed(items: Sequence[str]) -> str:
    """Items as one would say them: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


# The answer


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


def processor_time(cell: Cell | None, bare_metal: Cell | None) -> Sentence:
    """What a system costs in processor time of the host; nothing if that is not known of both."""
    known_of_both = (
        cell and bare_metal and cell.row.effect is not None and cell.row.mean and bare_metal.row.mean
    )
    return (" ", *_times(cell, bare_metal)) if cell and bare_metal and known_of_both else ()


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
        own=_runs_at_limit(cell),
        reference=_runs_at_limit(bare_metal),
    )


def _runs_at_limit(cell: Cell) -> Number:
    return Number(f"{cell.row.runs_at_limit} of {cell.row.ok}", cell.id)


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


def unmeasured(systems: Sequence[str], cells: Iterable[Cell]) -> list[str]:
    """Systems of the plan of which there is no row."""
    measured = {cell.row.system for cell in cells}
    return [system for system in systems if system not in measured]


# What limits it


def limit(environment: Environment, cells: Sequence[Cell]) -> Sentence:
    """What the link carries, and whether it was the link that was measured."""
    if cells and cells[0].row.limit is None:
        return sentence(
            "The link of {where} sets no limit to {title}.", where=environment.id, title=title(cells[0].row)
        )
    mtu = int(environment.link["mtu"])
    return sentence(
        "The link of {where} runs at {rate} Mbit/s and carries at most {limit} Mbit/s of TCP: of the {taken} "
        "bytes that a full packet takes of it, {data} are data. {reached}",
        where=environment.id,
        rate=Number(f"{environment.link_bps / 1e6:g}", CONFIGURATION),
        limit=Number(numbers.mbit(environment.tcp_limit_bps), cells[0].id if cells else CONFIGURATION),
        taken=Number(str(mtu + FRAMING_BYTES), CONFIGURATION),
        data=Number(str(mtu - HEADER_BYTES), CONFIGURATION),
        reached=_reached(cells),
    )


def _reached(cells: Sequence[Cell]) -> Sentence:
    impossible = [cell for cell in cells if (cell.row.limit_share or 0.0) > IMPOSSIBLE_SHARE]
    if impossible:
        fastest = max(impossible, key=lambda cell: cell.row.limit_share or 0.0)
        return sentence(
            "Warning: {who} reached {share} of that, which cannot be. This link’s rate is not what the "
            "configuration says (link.rate_mbit), so nothing can be said of what the link limits.",
            who=start(fastest.row.system),
            share=Number(f"{100 * (fastest.row.limit_share or 0.0):.0f} %", fastest.id),
        )
    bare_metal = baseline(cells)
    near = listed(
        [start(cell.row.system) for cell in cells if cell.row.runs_at_limit and cell is not bare_metal]
    )
    if bare_metal is None or bare_metal.row.limit_share is None:
        text = "{near} came near it: there, this link cannot tell systems apart."
        return sentence(text if near else "No system came near it.", near=near)
    reached = numbers.median_alone(bare_metal)
    if bare_metal.row.at_limit:
        return sentence(
            "Bare metal reached a median of {reached}, so hypervisors that come near cannot be told apart by "
            "this link, and every cost there is a lower bound.",
            reached=reached,
        )
    if bare_metal.row.runs_at_limit:
        return sentence(
            "Bare metal reached a median of {reached}, but {runs} runs came near all of it: the link may "
            "have held these back, so every cost there is a lower bound.",
            reached=reached,
            runs=_runs_at_limit(bare_metal),
        )
    return sentence(
        "Bare metal reached a median of {reached}, {share} of that: the machines set this figure, not the "
        "link.{others}",
        reached=reached,
        share=Number(f"{100 * bare_metal.row.limit_share:.0f} %", bare_metal.id),
        others=f" {near} came near it all the same." if near else "",
    )


def caveat(environment: Environment) -> str:
    """What these numbers are not; it belongs right beside them."""
    if environment.emulated:
        under = {"tcg": " under translation", "kvm": " under nested virtualisation"}
        accelerator = str(environment.host.get("accelerator"))
        return (
            f"Emulated machines: the figures compare the hypervisors’ paths{under.get(accelerator, '')}. "
            "They are not the speed of hardware."
        )
    return environment.caveat


def played(environment: Environment, sessions: Mapping[str, Sequence[str]], reason: str) -> str:
    """Who played the host in which sessions, by accelerator, and why; nothing if nobody did."""
    if len(sessions) > 1:
        each = "; ".join(f"{accelerator} in {listed(own)}" for accelerator, own in sessions.items())
        return (
            f"Warning: the host of {environment.id} was not played in the same way in all sessions: {each}. "
            "They cannot be compared with each other. The next start of snakemake measures again what is out "
            "of date."
        )
    return "".join(
        f"The host was played by {PLAYERS.get(accelerator, accelerator)}{f': {reason}' if reason else ''}."
        for accelerator in sessions
    ).replace("'", "’")


# How sure


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


# Diagnostics

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
}


def reason(row: ClaimVerdict) -> str:
    """Why a comparison of a claim has its verdict."""
    why = "there is no interval" if row.effect_low is None else REASONS.get(row.verdict, "")
    if row.bound and row.verdict == INCONCLUSIVE:
        why = "the link leaves the interval open"
    return "; ".join(filter(None, (why, row.note)))
