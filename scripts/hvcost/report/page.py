"""The page: results and words, put into the template."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hvcost.analysis.measurements import as_measured
from hvcost.analysis.metrics import PRIMARY
from hvcost.figures import Subject
from hvcost.model import link
from hvcost.model.record import Record, accelerator_of
from hvcost.report import computers, costs, limits, numbers, sweeps, templates, trust, words
from hvcost.report.inputs import Figure, Place, Results, Session
from hvcost.report.numbers import Cell, Claim
from hvcost.report.overview import marks, overview
from hvcost.report.sections import Group, by, groups, headlines, sections
from hvcost.report.words import Sentence

FIRST_FACTS = ("cpu_model", "system", "kernel", "commit")
NOT_RECORDED = "not recorded"
# Charts in the order in which they are shown, by the beginning of their names, and how to read them.
CAPTIONS = {
    "ratios": "Each system beside bare metal, with its 95 % interval.",
    "means": "Mean of each system in each environment, among the repetitions that it is the mean of.",
    "environments": "Each system in one environment against itself in the other.",
    "percentiles": "How long most took, and how long the few that took longest: to the right are fewer.",
    "repetitions": "Every repetition of every hypervisor; a failed one is an ✕ below the axis.",
    "repetitions-with-bare-metal": "The same beside bare metal: the gap is the cost.",
    "order": "The same values in the order in which they were measured: a slope or a step is drift.",
}


@dataclass(frozen=True)
class Answer:
    """What is said first of an environment: each system beside bare metal in each of the headlines."""

    place: Place
    headlines: tuple[Group, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Cells of the first headline, by their cost; there are none if nothing was measured."""
        return self.headlines[0].cells if self.headlines else ()

    @property
    def limited(self) -> tuple[Cell, ...]:
        """Cells of the first headline that the link sets a limit to, or else of the first."""
        limited = (group.cells for group in self.headlines if group.cells[0].row.limit is not None)
        return next(limited, self.cells)

    @property
    def baseline(self) -> Cell | None:
        """Bare metal."""
        return costs.baseline(self.cells)

    def says(self, cell: Cell) -> list[Sentence]:
        """What a system costs: in the first headline, and in short in the others."""
        others = [(group, group.of(cell.row.system)) for group in self.headlines[1:]]
        return [
            costs.answer(cell, self.baseline),
            *(
                costs.further(own, group.baseline, group.workload != cell.row.workload)
                for group, own in others
                if own
            ),
        ]

    @property
    def unmeasured(self) -> list[str]:
        """Systems of the plan of which there is nothing."""
        return words.unmeasured(list(self.place.environment.hypervisors), self.cells)

    @property
    def told(self) -> list[Group]:
        """Headlines of which other workloads have figures too."""
        every = Counter(group.metric for group in groups(self.place))
        return [group for group in self.headlines if every[group.metric] > 1]


@dataclass(frozen=True)
class Progress:
    """What became of a system's planned repetitions in an environment, all workloads together."""

    system: str
    planned: int
    ok: int
    failed: int
    unmeasured_boots: tuple[int, ...]
    target: str

    @property
    def missing(self) -> int:
        """Planned repetitions of which there is no record."""
        return self.planned - self.ok - self.failed


@dataclass(frozen=True)
class Failure:
    """A reason why repetitions failed, with how many and where."""

    environment: str
    reason: str
    repetitions: tuple[str, ...]


@dataclass(frozen=True)
class Machine:
    """A machine in the sessions of an environment; `summary` is what one wants to know of it first."""

    name: str
    summary: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Fact:
    """A fact of a machine: each value, and in which sessions it was found (empty: in all)."""

    name: str
    values: tuple[tuple[str, str], ...]


def render(results: Results) -> str:
    """The page as HTML, the same text for the same results."""
    said = [Answer(place, tuple(headlines(place))) for place in results.places]
    # Where all is swept, the sweeps are the answer.
    answers = [each for each in said if each.headlines or not each.place.statistics.rows]
    overviews = [(place, overview(place, results.comparisons.rows)) for place in results.places]
    cells = [cell for place in results.places for cell in primary(place)]
    titles = dict.fromkeys(g.metric.title for each in answers for g in each.headlines if g.is_primary)
    sessions = [session for place in results.places for session in place.sessions]
    return templates.template("template.html.j2").render(
        style=templates.style(),
        words=words,
        costs=costs,
        limits=limits,
        trust=trust,
        link=link,
        numbers=numbers,
        results=results,
        answers=answers,
        overviews=overviews,
        marks=marks(each for _place, each in overviews),
        cells=cells,
        workloads=_workloads(results),
        several_workloads=len(_workloads(results)) > 1,
        configuration=_pretty(results.experiment.content),
        first_charts=_first_charts(results, answers),
        titles=words.listed(list(titles)),
        primary=primary,
        sections=sections,
        sweeps=sweeps.sections(results),
        point=sweeps.point_of(results),
        subjects=_names(results),
        same=[pair for pair in results.comparisons.rows if pair.row.same and pair.row.role == PRIMARY],
        families=by(
            (pair for pair in results.comparisons.rows if not pair.row.same), lambda pair: pair.row.family
        ),
        claims=by(results.claims.rows, lambda claim: claim.row.claim),
        repeated=_repeated(results),
        charts=_charts,
        progress=progress,
        failures=[failure for place in results.places for failure in failures(place)],
        commits=commits(sessions),
        dates=_dates(sessions),
        order=_as_measured(results),
        machines=machines,
        accelerators=accelerators,
        played=played,
        several_computers=computers.several,
        command_line=command_line,
        proof=proof,
        pretty=_pretty,
        not_recorded=NOT_RECORDED,
    )


def primary(place: Place) -> list[Cell]:
    """Cells of the metrics that verdicts are about."""
    return [cell for cell in place.statistics.rows if cell.row.role == PRIMARY]


def _repeated(results: Results) -> Sequence[Claim]:
    """Comparisons of claims, if any of them has a value that was published."""
    every = results.claims.rows
    return every if any(claim.row.published is not None for claim in every) else ()


def _names(results: Results) -> list[str]:
    """What charts of several environments are called after: each workload, then its other metrics."""
    every = (name for place in results.places for section in sections(place) for name in section.names)
    return list(dict.fromkeys([*_workloads(results), *every]))


def _workloads(results: Results) -> list[str]:
    return list(
        dict.fromkeys(
            name for environment in results.experiment.environments for name in environment.workloads
        )
    )


def _first_charts(results: Results, answers: Iterable[Answer]) -> list[Figure]:
    """The charts of the first screen: of each headline the ratios, or the means where there are none."""
    groups = [group for answer in answers for group in answer.headlines]
    subjects = [Subject(group.workload, group.metric, group.is_primary).name for group in groups]
    figures = results.figures
    found = (figures.get(f"ratios-{name}", figures.get(f"means-{name}")) for name in dict.fromkeys(subjects))
    return [figure for figure in found if figure]


def _charts(
    figures: Mapping[str, Figure], names: Iterable[str], but: Sequence[Figure] = ()
) -> list[tuple[str, Figure]]:
    """Charts that are called after these, each with how to read it, but those that are shown elsewhere."""
    found = [
        (caption, figures[f"{kind}-{name}"])
        for name in names
        for kind, caption in CAPTIONS.items()
        if f"{kind}-{name}" in figures
    ]
    return [(caption, figure) for caption, figure in found if figure not in but]


def progress(place: Place, repetitions: int) -> list[Progress]:
    """What became of the plan, system by system."""
    runs_of_session = repetitions * len(place.environment.workloads)
    return [_progress(place, system, runs_of_session) for system in place.environment.hypervisors]


def _progress(place: Place, system: str, runs_of_session: int) -> Progress:
    own = [each for each in place.repetitions if each.system == system]
    ok = sum(each.value is not None for each in own)
    sessions = [session for session in place.sessions if session.system == system]
    rows = [cell.id for cell in place.statistics.rows if cell.row.system == system]
    return Progress(
        system=system,
        planned=runs_of_session * len(sessions),
        ok=ok,
        failed=len(own) - ok,
        unmeasured_boots=tuple(session.boot for session in sessions if session.record is None),
        target=rows[0] if rows else numbers.CONFIGURATION,
    )


def failures(place: Place) -> list[Failure]:
    """Every distinct reason why repetitions failed, the most frequent first."""
    failed = [each for each in place.repetitions if each.value is None]
    by_reason = by(failed, lambda each: each.reason)
    found = [
        Failure(
            place.environment.id,
            reason,
            tuple(f"{each.system} boot {each.boot}, {each.workload} {each.repetition}" for each in own),
        )
        for reason, own in by_reason.items()
    ]
    return sorted(found, key=lambda failure: -len(failure.repetitions))


def commits(sessions: Iterable[Session]) -> list[str]:
    """The versions of this software that measured, each once; files from before they were recorded count."""
    recorded = [session.record.facts.get("software") for session in sessions if session.record]
    return list(dict.fromkeys(str((facts or {}).get("commit", NOT_RECORDED)) for facts in recorded))


def _as_measured(results: Results) -> list[str]:
    """Sessions in the order of measuring."""
    every = as_measured(each for place in results.places for each in place.repetitions)
    return list(dict.fromkeys(f"{each.environment} {each.system} boot {each.boot}" for each in every))


def _dates(sessions: Iterable[Session]) -> list[str]:
    """When the first and the last session began."""
    started = sorted(session.record.started_at for session in sessions if session.record)
    return [time[:16].replace("T", " ") for time in (started[:1] + started[-1:])]


def machines(place: Place) -> list[Machine]:
    """Machines of an environment; of a fact that is not the same in all sessions, it is said where."""
    measured = [session for session in place.sessions if session.record]
    has_several_boots = len({session.boot for session in measured}) > 1
    found = [_machine(name, measured, has_several_boots) for name in computers.MACHINES]
    return [machine for machine in found if machine.facts]


def accelerators(place: Place) -> dict[str, list[str]]:
    """Sessions by what played their host; none if nothing did."""
    found: dict[str, list[str]] = {}
    for session in place.sessions:
        accelerator = accelerator_of(session.record.spec, session.record.facts) if session.record else None
        if accelerator:
            found.setdefault(accelerator, []).append(f"{session.system} boot {session.boot}")
    return found


def played(place: Place) -> str:
    """Who played the host and why, as it was found when it was prepared."""
    emulators = (session.record.facts.get("emulator") or {} for session in place.sessions if session.record)
    reasons = [str(facts["accelerator_reason"]) for facts in emulators if "accelerator_reason" in facts]
    return limits.played(place.environment, accelerators(place), next(iter(reasons), ""))


def _machine(machine: str, sessions: Iterable[Session], several_boots: bool) -> Machine:
    values: dict[str, dict[str, list[str]]] = {}
    present = []
    for session in sessions:
        facts = session.record.facts.get(machine) if session.record else None
        if not facts:
            continue
        label = f"{session.system} boot {session.boot}" if several_boots else session.system
        present.append(label)
        for name, value in facts.items():
            if name not in computers.UNTOLD_FACTS:
                values.setdefault(name, {}).setdefault(str(value), []).append(label)
    facts_told = tuple(
        Fact(
            name.replace("_", " "),
            tuple((value, "" if where == present else ", ".join(where)) for value, where in found.items()),
        )
        for name, found in sorted(values.items())
    )
    summary = [value for name in FIRST_FACTS for value in list(values.get(name, ()))[:1]]
    return Machine(machine, ", ".join(summary), facts_told)


def command_line(argv: Iterable[str]) -> str:
    """A command line as a shell would take it; of a script, its first words."""
    return shlex.join(_first_words(word) for word in argv)


def _first_words(word: str) -> str:
    lines = [line for line in word.splitlines() if line.strip()]
    return word if len(lines) <= 1 else f"{lines[0].strip()} … ({len(lines)} lines)"


def _pretty(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)


def proof(record: Record) -> dict[str, Any]:
    """What proves the hypervisor, without the guest's facts, which have a table of their own."""
    return {name: value for name, value in record.proof.items() if name != "guest"}
