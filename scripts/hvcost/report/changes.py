"""What NEW results say beside OLD results, in words: the answer, what it is worth, what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hvcost.analysis.changes import changes, shared_runs
from hvcost.analysis.measured import Measured
from hvcost.analysis.measurements import FAILED
from hvcost.analysis.metrics import PRIMARY
from hvcost.analysis.rows import (
    BETTER,
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    NEW,
    NOT_BY_THIS_LINK,
    OLD,
    TOO_FEW,
    UNCOMPARED,
    WITHIN_MARGIN,
    WORSE,
    Change,
)
from hvcost.model.metric import RATIO, Metric
from hvcost.report import numbers, words
from hvcost.report.circumstances import COMPUTER, Circumstances, circumstances
from hvcost.report.numbers import Number, Placed
from hvcost.report.overview import OTHERS, WITHIN, Mark
from hvcost.report.sections import by
from hvcost.report.words import Sentence, sentence
from hvcost.wording import counted, listed, sentence_case

Cell = Placed[Change]

_BEYOND = "by more than the margin: the whole interval is beyond it, corrected for all that was compared"
_OPEN = "they differ by more than chance would have it; whether by more than the margin, is not shown"
# By whether it is for the better.
BEYOND = {True: Mark("▲", BETTER, _BEYOND), False: Mark("▼", WORSE, _BEYOND)}
OPEN = {
    True: Mark("△", "better, perhaps within the margin", _OPEN),
    False: Mark("▽", "worse, perhaps within the margin", _OPEN),
}
MARKS = (*BEYOND.values(), *OPEN.values(), *WITHIN.values(), *OTHERS.values())
# What is counted, in this order.
COUNTED = {
    WORSE: "worse by more than the margin",
    BETTER: "better by more than the margin",
    EQUIVALENT: "equivalent",
    WITHIN_MARGIN: "different within the margin",
    DIFFERENT: "different, perhaps within the margin",
    INCONCLUSIVE: "not told apart",
    NOT_BY_THIS_LINK: "hidden by the link",
    TOO_FEW: "of too few values",
}


@dataclass(frozen=True)
class Side:
    """What one of both results consists of. `dates`: when its first and its last session began, UTC."""

    name: str
    sessions: int
    runs: int
    failed: int
    dates: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.name}: {counted(self.runs, 'repetition')} in {counted(self.sessions, 'session')}, "
            f"{self.failed} failed; sessions began {' to '.join(dict.fromkeys(self.dates))} (UTC)"
        )


@dataclass(frozen=True)
class Group:
    """What stands in one table: a metric of a workload in an environment, each system once."""

    environment: str
    workload: str
    metric: Metric
    cells: tuple[Cell, ...]

    @property
    def title(self) -> str:
        """What it is about, with its unit, and which way is better."""
        row = self.cells[0].row
        point = f" ({row.point})" if row.point else ""
        role = "" if row.role == PRIMARY else ", secondary"
        return (
            f"{self.environment}, workload {self.workload}{point}: {self.metric.title}{role}, "
            f"in {numbers.unit(row)}, {self.metric.better} is better"
        )


@dataclass(frozen=True)
class LeftOut:
    """Cells that were not compared for one reason."""

    what: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Everything that is said of two results. `cells`: all rows, each with its place on the page."""

    sides: tuple[Side, Side]
    circumstances: Circumstances
    cells: tuple[Cell, ...]
    shared_runs: int
    margin: float

    @property
    def compared(self) -> list[Cell]:
        """Cells that both have, and that could be compared."""
        return [cell for cell in self.cells if cell.row.verdict not in UNCOMPARED]

    @property
    def tested(self) -> list[Cell]:
        """Those of them with values enough to say anything."""
        return [cell for cell in self.compared if cell.row.is_tested]

    def beyond(self, which: str) -> list[Cell]:
        """Cells that are worse, or better, by more than the margin; those of primary metrics first."""
        cells = (cell for cell in self.compared if cell.row.beyond == which)
        return sorted(cells, key=lambda cell: cell.row.role != PRIMARY)

    @property
    def groups(self) -> list[Group]:
        """What was compared, table by table."""
        every = by(self.compared, lambda cell: " ".join(_table(cell.row)))
        return [
            Group(own[0].row.environment, own[0].row.workload, words.metric(own[0].row), tuple(own))
            for own in every.values()
        ]

    @property
    def marks(self) -> list[Mark]:
        """The marks that are needed, to be explained."""
        used = {mark(cell.row) for cell in self.compared}
        return [each for each in MARKS if each in used]


def comparison(old: Measured, new: Measured) -> Comparison:
    """NEW results beside OLD results."""
    rows = changes(old, new)
    return Comparison(
        (_side(OLD, old), _side(NEW, new)),
        circumstances(old, new),
        tuple(Placed(row, f"change-{number}") for number, row in enumerate(rows, start=1)),
        shared_runs(old, new),
        old.experiment.equivalence_margin,
    )


def _table(row: Change) -> tuple[str, str, str]:
    return row.environment, row.workload, row.metric


def mark(row: Change) -> Mark:
    """The verdict of a cell that was compared, as a shape and words."""
    is_better = words.metric(row).is_better(row.effect or 0.0)
    if row.beyond:
        return BEYOND[is_better]
    if row.verdict == DIFFERENT:
        return OPEN[is_better]
    return WITHIN[is_better] if row.verdict == WITHIN_MARGIN else OTHERS[row.verdict]


def answer(found: Comparison) -> list[Sentence]:
    """What is said first: what got worse, what better, and how sure the rest is."""
    every = len(found.compared)
    if not found.tested:
        return [("There is no cell of which both have values enough to compare.",)]
    said = [_changed(cell, which) for which in (WORSE, BETTER) for cell in found.beyond(which)]
    verdicts = Counter(cell.row.beyond or cell.row.verdict for cell in found.compared)
    if verdicts[EQUIVALENT] == every:
        return [sentence("Nothing differs: {all} equivalent.", all=_all(every))]
    if not verdicts[WORSE]:
        is_same = not (verdicts[BETTER] or verdicts[DIFFERENT] or verdicts[WITHIN_MARGIN])
        text = "Nothing is shown to have got worse by more than the margin of {margin}."
        if is_same:
            text = "No difference was found."
        said.insert(0, sentence(text, margin=numbers.margin(found.margin)))
    parts = listed(f"{verdicts[each]} {called}" for each, called in COUNTED.items() if verdicts[each])
    said.append(sentence("Of {all}: {parts}.", all=counted(every, "cell"), parts=parts))
    unseen = sum(_may_be_worse(cell.row) for cell in found.compared)
    if unseen:
        text = (
            "In {cells} {new} may be worse by more than the margin without these values showing it. That "
            "does not count as worse: more values would tell."
        )
        said.append(sentence(text, cells=counted(unseen, "cell"), new=NEW))
    return said


def _all(count: int) -> str:
    return "the only cell is" if count == 1 else f"all {count} cells are"


def _changed(cell: Cell, which: str) -> Sentence:
    """A cell that is worse or better by more than the margin, and by what."""
    row = cell.row
    beside = "{effect} times {old}" if row.compared == RATIO else "{effect} from {old}"
    return sentence(
        "{which} by more than the margin: {title}{role} of {system} in {environment}, workload {workload}, "
        + beside,
        which=sentence_case(which),
        title=words.title(row),
        role="" if row.role == PRIMARY else " (secondary)",
        system=row.system,
        environment=row.environment,
        workload=row.workload,
        effect=Number(numbers.effect(row), cell.id),
        old=OLD,
    )


def _may_be_worse(row: Change) -> bool:
    """Whether neither the verdict nor the direction rules out that it got worse by more than the margin."""
    if row.verdict == DIFFERENT:
        return not row.beyond and not words.metric(row).is_better(row.effect or 0.0)
    return row.verdict in (INCONCLUSIVE, NOT_BY_THIS_LINK, TOO_FEW)


def cautions(found: Comparison) -> list[str]:
    """What a reader has to know before believing it."""
    rows = [cell.row for cell in found.compared]
    said = []
    if found.shared_runs:
        said.append(
            f"{counted(found.shared_runs, 'run')} of {NEW} are runs of {OLD}: what they say is no second "
            "witness, and intervals are not those of independent results."
        )
    if any(row.level_old == "repetition" for row in rows):
        said.append(
            f"Each system was in one boot in {OLD} and in one in {NEW}: what differs may be these boots, and "
            "would differ without any change. Six boots or more of each (“boots: 6”) tell the two apart."
        )
    if any(row.level_old == "session" or row.level_new == "session" for row in rows):
        said.append(
            "Sessions shared boots of the host, or these are not known: what differs may be these boots."
        )
    if any(each.name == COMPUTER for each in found.circumstances.differences):
        said.append(
            "Other computers played the machines: where both results have none in common, what differs may "
            "be the computers."
        )
    failed = [side for side in found.sides if side.failed]
    if failed:
        shares = listed(f"{side.failed} of {side.runs} in {side.name}" for side in failed)
        said.append(f"Repetitions failed, {shares}: the others alone are compared.")
    return said


def left_out(cells: Iterable[Cell]) -> list[LeftOut]:
    """What was not compared, and why; a workload of several systems that share the reason is one line."""
    rows = [cell.row for cell in cells]
    places = Counter(map(_place, rows))
    reasons = by(
        (row for row in rows if row.verdict in UNCOMPARED),
        lambda row: f"{row.environment} {row.workload} {row.verdict} {row.note}",
    )
    return [_left_out(own, places) for own in reasons.values()]


def _left_out(own: Sequence[Change], places: Mapping[tuple[str, str, str], int]) -> LeftOut:
    """`places`: how many cells there are of each system under each workload; metrics are told if not all."""
    first = own[0]
    systems = listed(dict.fromkeys(row.system for row in own))
    what = f"{systems} in {first.environment}, workload {first.workload}"
    if len(own) < sum(places[place] for place in dict.fromkeys(map(_place, own))):
        what += f": {listed(dict.fromkeys(words.title(row) for row in own))}"
    return LeftOut(what, first.verdict, first.note)


def _place(row: Change) -> tuple[str, str, str]:
    return row.environment, row.system, row.workload


def _side(name: str, measured: Measured) -> Side:
    primary = [row for row in measured.table if row.role == PRIMARY]
    sessions = {(row.environment, row.system, row.boot) for row in primary}
    started = sorted(record.started_at for record in measured.firsts)
    return Side(
        name,
        len(sessions),
        len(primary),
        sum(row.status == FAILED for row in primary),
        tuple(time[:16].replace("T", " ") for time in (started[0], started[-1])),
    )
