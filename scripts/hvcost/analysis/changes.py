"""NEW results beside OLD results: what became better or worse, cell by cell.

Both are samples of their own: a run of one has no partner in the other. Each cell is compared as any two are,
and there is one question more, which decides: is it worse by more than the margin? Who asks whether
anything got worse asks that of all cells at once, so they are corrected together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hvcost.analysis.comparable import incomparable
from hvcost.analysis.comparisons import Compared, Question, compared, judged
from hvcost.analysis.differences import holm_within
from hvcost.analysis.effects import centre
from hvcost.analysis.measured import Measured
from hvcost.analysis.metrics import PRIMARY, known
from hvcost.analysis.rows import (
    BETTER,
    DIFFERENT,
    NEW,
    NOT_COMPARED,
    OLD,
    ONLY_NEW,
    ONLY_OLD,
    SIGNIFICANCE,
    WORSE,
    Change,
    PairComparison,
)
from hvcost.analysis.samples import Sample
from hvcost.model.record import Record
from hvcost.model.sweep import Sweep
from hvcost.wording import counted

# What was asked of a system in an environment: environment, system, workload.
Place = tuple[str, str, str]
# One metric of it.
Cell = tuple[Place, str]


def changes(old: Measured, new: Measured) -> list[Change]:
    """All cells of either, those of OLD first, in their order.

    The margin, and the seed of all resampling, are those of OLD: who sets them has not seen NEW yet.
    """
    cells_old, cells_new = _cells(old.samples), _cells(new.samples)
    reasons = _reasons(old.firsts, new.firsts)
    both: dict[Cell, tuple[Sample, Sample]] = {}
    rows: dict[Cell, Change] = {}
    for cell in dict.fromkeys([*cells_old, *cells_new]):
        before, after = _alike(cells_old.get(cell), cells_new.get(cell))
        verdict, reason = _left_out(before, after, reasons.get(cell[0]))
        if not any(each and (each.runs or each.role == PRIMARY) for each in (before, after)):
            continue
        rows[cell] = _row(before, after, verdict, reason, (*old.experiment.sweeps, *new.experiment.sweeps))
        if before and after and not verdict:
            both[cell] = before, after
    return list((rows | _compared(rows, both, _question(old, new))).values())


def shared_runs(old: Measured, new: Measured) -> int:
    """How many runs are in both: these are no independent witnesses of a change."""
    runs = [
        {
            (row.environment, row.system, row.workload, row.repetition, row.host_boot, row.started_at)
            for row in each.table
        }
        for each in (old, new)
    ]
    return len(runs[0] & runs[1])


def _cells(samples: Iterable[Sample]) -> dict[Cell, Sample]:
    """Cells of which anybody can have a figure."""
    return {
        ((each.environment, each.system, each.workload), each.metric.name): each
        for each in samples
        if each.runs or not each.unavailable
    }


def _reasons(old: Sequence[Record], new: Sequence[Record]) -> dict[Place, str]:
    """Of each place that both have, why it cannot be compared; empty if it can."""
    places = [_by_place(firsts) for firsts in (old, new)]
    return {place: incomparable(places[0][place], places[1][place]) for place in places[0].keys() & places[1]}


def _by_place(firsts: Iterable[Record]) -> dict[Place, list[Record]]:
    found: dict[Place, list[Record]] = {}
    for each in firsts:
        found.setdefault((each.environment, each.system, each.workload), []).append(each)
    return found


def _left_out(before: Sample | None, after: Sample | None, reason: str | None) -> tuple[str, str]:
    """Verdict and reason of a cell that is not compared, both empty otherwise; `reason` None: one has it."""
    if reason:
        return NOT_COMPARED, reason
    if before and after:
        return "", ""
    if reason is None:
        return ONLY_OLD if before else ONLY_NEW, ""
    return NOT_COMPARED, f"not available in {NEW if before else OLD}"


def _question(old: Measured, new: Measured) -> Question:
    links = {
        _called(environment, name): link
        for name, each in ((OLD, old), (NEW, new))
        for environment, link in each.experiment.links.items()
    }
    return Question(links, {}, old.experiment.equivalence_margin, old.experiment.seed)


def _called(environment: str, name: str) -> str:
    """An environment as one of OLD or NEW: two of them, so that their resamples have nothing in common."""
    return f"{environment} of {name}"


def _of(name: str, sample: Sample) -> Sample:
    return replace(sample, environment=_called(sample.environment, name))


def _compared(
    rows: Mapping[Cell, Change], both: Mapping[Cell, tuple[Sample, Sample]], question: Question
) -> dict[Cell, Change]:
    """Rows of the cells that are compared, corrected and judged."""
    pairs = {
        cell: compared(_of(NEW, after), _of(OLD, before), question, _family(after))
        for cell, (before, after) in both.items()
    }
    beyond = [_beyond_p(each) for each in pairs.values()]
    families = [each.row.family for each in pairs.values()]
    made = zip(
        pairs,
        judged([each.row for each in pairs.values()]),
        beyond,
        holm_within(beyond, families),
        strict=True,
    )
    return {
        cell: replace(
            rows[cell],
            family=row.family,
            effect=row.effect,
            effect_low=row.effect_low,
            effect_high=row.effect_high,
            margin=row.margin,
            difference_p=row.difference_p,
            difference_p_holm=row.difference_p_holm,
            equivalence_p=row.equivalence_p,
            equivalence_p_holm=row.equivalence_p_holm,
            beyond_p=p,
            beyond_p_holm=p_holm,
            runs_at_limit_old=row.runs_at_limit_b,
            runs_at_limit_new=row.runs_at_limit_a,
            verdict=row.verdict,
            beyond=_beyond(row, p_holm),
            note="; ".join(filter(None, (pairs[cell].row.note, _held(row)))),
        )
        for cell, row, p, p_holm in made
    }


def _alike(old: Sample | None, new: Sample | None) -> tuple[Sample | None, Sample | None]:
    """Both with values of one kind: a session is one value as soon as there are several of the other."""
    if old is None or new is None:
        return old, new
    planned = max(max(each.planned_sessions, len(each.sessions)) for each in (old, new))
    return replace(old, planned_sessions=planned), replace(new, planned_sessions=planned)


def _family(sample: Sample) -> str:
    """Primary metrics are corrected together, whatever they are, each of the others by itself."""
    return "primary metrics" if sample.role == PRIMARY else sample.metric.name


def _beyond_p(pair: Compared) -> float | None:
    return pair.evidence.beyond_p(pair.row.margin) if pair.evidence else None


def _beyond(row: PairComparison, p_holm: float | None) -> str:
    """Which way a cell has changed by more than the margin; empty if that is not shown."""
    if row.verdict != DIFFERENT or row.effect is None or p_holm is None or p_holm >= SIGNIFICANCE:
        return ""
    return BETTER if known()[row.metric].is_better(row.effect) else WORSE


def _held(row: PairComparison) -> str:
    """How far the link held one or both back, in words; empty if it did not."""
    held = [
        f"{name} back in {counted(runs, 'run')}"
        for name, runs in ((OLD, row.runs_at_limit_b), (NEW, row.runs_at_limit_a))
        if runs
    ]
    return f"the link may have held {' and '.join(held)}" if held else ""


def _row(
    before: Sample | None, after: Sample | None, verdict: str, reason: str, sweeps: Sequence[Sweep]
) -> Change:
    """A cell without what is said of both together."""
    sample = next(each for each in (after, before) if each)
    names = (sample.environment, sample.workload)
    points = (
        sweep.said(value)
        for sweep in sweeps
        for value, name in zip(sweep.values, sweep.names, strict=True)
        if name in names
    )
    return Change(
        environment=sample.environment,
        system=sample.system,
        workload=sample.workload,
        point=", ".join(dict.fromkeys(points)),
        metric=sample.metric.name,
        unit=sample.metric.unit,
        compared=sample.metric.compared,
        better=sample.metric.better,
        role=sample.role,
        family="",
        level_old=before.level if before else "",
        level_new=after.level if after else "",
        ok_old=len(before.runs) if before else None,
        failed_old=_failed(before),
        values_old=len(before.values) if before else None,
        ok_new=len(after.runs) if after else None,
        failed_new=_failed(after),
        values_new=len(after.values) if after else None,
        old=_centre(before),
        new=_centre(after),
        effect=None,
        effect_low=None,
        effect_high=None,
        margin=None,
        difference_p=None,
        difference_p_holm=None,
        equivalence_p=None,
        equivalence_p_holm=None,
        beyond_p=None,
        beyond_p_holm=None,
        runs_at_limit_old=None,
        runs_at_limit_new=None,
        verdict=verdict,
        beyond="",
        note=reason,
    )


def _failed(sample: Sample | None) -> int | None:
    return sample.planned - len(sample.runs) - sample.unavailable if sample else None


def _centre(sample: Sample | None) -> float | None:
    return centre(sample, sample.values) if sample and len(sample.values) else None
