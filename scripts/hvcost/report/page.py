"""The page: results and words, put into the template."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup

from hvcost.analysis.measurements import as_measured
from hvcost.analysis.metrics import PRIMARY, known
from hvcost.figures import Subject
from hvcost.model.link import tcp_limit_bps
from hvcost.model.metric import HOST_CPU, Metric
from hvcost.model.record import Record, accelerator_of
from hvcost.report import numbers, sweeps, words
from hvcost.report.inputs import Figure, Place, Results, Session
from hvcost.report.numbers import Cell, Number
from hvcost.wording import sentence_case

T = TypeVar("T")

FOLDER = Path(__file__).parent
MACHINES = ("controller", "emulator", "host", "client", "guest", "software")
# Boots are counted in the tables; names of computers say nothing about a figure.
UNTOLD_FACTS = ("boot_id", "hostname")
FIRST_FACTS = ("cpu_model", "system", "kernel", "commit")
NOT_RECORDED = "not recorded"
# What the study's link may have been.
STUDY_LINK = {"rate_mbit": 100, "mtu": 1500}
# Charts in the order in which they are shown, by the beginning of their names, and how to read them.
CAPTIONS = {
    "ratios": "Each system beside bare metal, with its 95 % interval.",
    "means": "Mean of each system in each environment, among the repetitions that it is the mean of.",
    "environments": "Each system in one environment against itself in the other.",
    "repetitions": "Every repetition of every hypervisor; a failed one is an ✕ below the axis.",
    "repetitions-with-bare-metal": "The same beside bare metal: the gap is the cost.",
    "order": "The same values in the order in which they were measured: a slope or a step is drift.",
}


@dataclass(frozen=True)
class Group:
    """What can be compared directly: the cells of one environment and one workload, by their cost.

    `cells` are of one metric, mostly the workload's primary one, `spent` of the processor time of the host.
    """

    place: Place
    workload: str
    cells: tuple[Cell, ...]
    spent: tuple[Cell, ...] = ()

    @property
    def baseline(self) -> Cell | None:
        """The group's bare metal."""
        return words.baseline(self.cells)

    def says(self, cell: Cell) -> words.Sentence:
        """What a system costs; where the link hides that, what it costs the host's processors."""
        said = words.answer(cell, self.baseline)
        if not words.is_held(cell, self.baseline):
            return said
        own = next((each for each in self.spent if each.row.system == cell.row.system), None)
        return (*said, *words.processor_time(own, words.baseline(self.spent)))

    @property
    def unmeasured(self) -> list[str]:
        """Systems of the plan of which there is nothing."""
        return words.unmeasured(list(self.place.environment.hypervisors), self.cells)


@dataclass(frozen=True)
class Section:
    """A metric that is looked at beside the primary ones of an environment; a group for each workload."""

    metric: Metric
    groups: tuple[Group, ...]
    charts: tuple[tuple[str, Figure], ...]

    @property
    def cells(self) -> list[Cell]:
        """Cells of all workloads."""
        return [cell for group in self.groups for cell in group.cells]


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
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["unit_of"] = numbers.unit
    environment.filters["beside_of"] = numbers.beside_of
    environment.filters["sentence_case"] = sentence_case
    environment.tests["number"] = lambda part: isinstance(part, Number)
    groups = [group for place in results.places for group in _groups(place)]
    cells = [cell for group in groups for cell in group.cells]
    # Where all is swept, the sweeps are the answer.
    cells = cells or [cell for place in results.places for cell in primary(place)]
    titles = dict.fromkeys(words.title(cell.row) for cell in cells)
    sessions = [session for place in results.places for session in place.sessions]
    return environment.get_template("template.html.j2").render(
        style=Markup((FOLDER / "style.css").read_text(encoding="utf-8")),
        words=words,
        numbers=numbers,
        results=results,
        groups=groups,
        cells=cells,
        workloads=_workloads(results),
        several_workloads=len(_workloads(results)) > 1,
        configuration=_pretty(results.experiment.content),
        first_charts=_first_charts(results, groups),
        titles=words.listed(list(titles)),
        primary=primary,
        sections=sections,
        sweeps=sweeps.sections(results),
        point=sweeps.point_of(results),
        subjects=_names(results),
        same=[pair for pair in results.comparisons.rows if pair.row.same and pair.row.role == PRIMARY],
        families=_by(
            (pair for pair in results.comparisons.rows if not pair.row.same), lambda pair: pair.row.family
        ),
        claims=_by(results.claims.rows, lambda claim: claim.row.claim),
        study_limit=numbers.mbit(tcp_limit_bps(**STUDY_LINK)),
        charts=_charts,
        progress=progress,
        failures=[failure for place in results.places for failure in failures(place)],
        commits=commits(sessions),
        dates=_dates(sessions),
        order=_as_measured(results),
        machines=machines,
        accelerators=accelerators,
        played=played,
        command_line=command_line,
        proof=proof,
        pretty=_pretty,
        not_recorded=NOT_RECORDED,
    )


def _groups(place: Place) -> list[Group]:
    """Groups of the workloads that are not swept; one without cells if nothing was measured."""
    rows = [cell for cell in place.statistics.rows if not _is_swept(place, cell)]
    found = [
        Group(
            place,
            workload,
            tuple(words.by_cost(cell for cell in cells if cell.row.role == PRIMARY)),
            tuple(cell for cell in cells if cell.row.metric == HOST_CPU.name),
        )
        for workload, cells in _by(rows, lambda cell: cell.row.workload).items()
    ]
    return found if found or place.statistics.rows else [Group(place, "", ())]


def _is_swept(place: Place, cell: Cell) -> bool:
    """Whether it is a point of a curve, which says more than it does."""
    return cell.row.workload in place.environment.swept_workloads


def primary(place: Place) -> list[Cell]:
    """Cells of the metrics that verdicts are about."""
    return [cell for cell in place.statistics.rows if cell.row.role == PRIMARY]


def sections(place: Place) -> list[Section]:
    """The metrics that are looked at beside them, each with its workloads that are not swept."""
    others = [
        cell for cell in place.statistics.rows if cell.row.role != PRIMARY and not _is_swept(place, cell)
    ]
    found = []
    for name, cells in _by(others, lambda cell: cell.row.metric).items():
        by_workload = _by(cells, lambda cell: cell.row.workload)
        subjects = [Subject(workload, known()[name], is_primary=False) for workload in by_workload]
        groups = [Group(place, workload, tuple(words.by_cost(own))) for workload, own in by_workload.items()]
        charts = _charts(place.figures, [subject.name for subject in subjects])
        found.append(Section(known()[name], tuple(groups), tuple(charts)))
    return found


def _names(results: Results) -> list[str]:
    """What charts are called after: each workload, then its secondary metrics."""
    measured = {
        (cell.row.workload, cell.row.metric): Subject(
            cell.row.workload, known()[cell.row.metric], cell.row.role == PRIMARY
        )
        for place in results.places
        for cell in place.statistics.rows
    }
    return [
        name
        for workload in _workloads(results)
        for name in dict.fromkeys(
            (workload, *(each.name for each in measured.values() if each.workload == workload))
        )
    ]


def _workloads(results: Results) -> list[str]:
    return list(
        dict.fromkeys(
            name for environment in results.experiment.environments for name in environment.workloads
        )
    )


def _first_charts(results: Results, groups: Sequence[Group]) -> list[Figure]:
    """The charts of the first screen: per workload the ratios, or the means where there are none.

    Where the link hides what systems cost, the chart of their processor time tells them apart.
    """
    hidden = {
        group.workload for group in groups if any(words.is_held(cell, group.baseline) for cell in group.cells)
    }
    found: list[Figure | None] = []
    for workload in _workloads(results):
        processor_time = Subject(workload, HOST_CPU, is_primary=False).name
        names = [workload, *([processor_time] if workload in hidden else [])]
        figures = results.figures
        found += [figures.get(f"ratios-{name}", figures.get(f"means-{name}")) for name in names]
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
    by_reason = _by(failed, lambda each: each.reason)
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
    found = [_machine(name, measured, len({session.boot for session in measured}) > 1) for name in MACHINES]
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
    return words.played(place.environment, accelerators(place), next(iter(reasons), ""))


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
            if name not in UNTOLD_FACTS:
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


def _by(items: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    """Items by a key, both in the order in which they come."""
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found
