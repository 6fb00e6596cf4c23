"""The plan: sessions in their seeded random order, what is to be done now, and how long that takes.

The workflow writes the plan when it starts, beside the results and outside of what it tracks: a
session that is finished stays finished when others are added, although its place in the order
changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from hvcost import files
from hvcost.errors import ConfigError
from hvcost.hypervisors import load_driver
from hvcost.planning.experiment import Experiment
from hvcost.tools import load_tool, options_of
from hvcost.wording import counted, minutes

FORMAT = 1

MACHINE_READY_S = {"emulated": 35.0}
GUEST_READY_S = 15.0
BETWEEN_RUNS_S = 2.0


@dataclass(frozen=True)
class Session:
    """One boot of one system in one environment."""

    environment: str
    system: str
    boot: int


@dataclass(frozen=True)
class Planned:
    """A session that is to be run: how many runs, how long, and which computers it keeps busy."""

    session: Session
    runs: int
    estimate_s: float
    computers: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """All sessions of the experiment in their order, and those of them that are to be run now."""

    seed: int
    cores: int
    sessions: tuple[Session, ...]
    todo: tuple[Planned, ...]


def sessions(experiment: Experiment) -> tuple[Session, ...]:
    """All sessions in random order; that of two of an environment depends on them and the seed alone.

    Those of a real host are grouped by what it has to be booted as, so that it is rebooted once, not often.
    """
    every = [
        Session(environment.name, system, boot)
        for environment in experiment.environments.values()
        for system in environment.systems
        for boot in range(1, experiment.boots + 1)
    ]

    def group(session: Session) -> bytes:
        """Lot of the sessions that share a boot of their host."""
        if experiment.environment(session.environment).is_emulated:
            return b""
        system = experiment.system(session.environment, session.system)
        boot_mode = load_driver(system.hypervisor).boot_mode
        return _hash(f"{experiment.seed}/{session.environment}/{boot_mode}")

    order = sorted(every, key=lambda session: _lot(experiment.seed, session))
    # Each environment's sessions keep its places in the order of all.
    grouped = {
        name: iter(sorted((session for session in order if session.environment == name), key=group))
        for name in experiment.environments
    }
    return tuple(next(grouped[session.environment]) for session in order)


def estimate_s(experiment: Experiment, session: Session) -> float:
    """Expected duration of a session, from power-on to power-off."""
    host = experiment.environment(session.environment).host
    hypervisor = experiment.system(session.environment, session.system).hypervisor
    driver = load_driver(hypervisor)
    is_nested = host.get("accelerator") in ("auto", "tcg")
    guest_s = driver.ready_nested_s if is_nested else min(GUEST_READY_S, driver.ready_nested_s)
    runs_s = experiment.repetitions * sum(
        load_tool(workload["tool"]).expected_s(options_of(workload)) + BETWEEN_RUNS_S
        for workload in experiment.workloads.values()
    )
    return MACHINE_READY_S.get(host["connection"], 0.0) + guest_s + float(runs_s)


def make(experiment: Experiment, todo: Collection[Session], cores: int) -> Plan:
    """Plan of an experiment of which `todo` is to be run, up to `cores` sessions at once."""
    every = sessions(experiment)
    planned = tuple(
        Planned(
            session,
            experiment.repetitions * len(experiment.workloads),
            estimate_s(experiment, session),
            experiment.environment(session.environment).computers,
        )
        for session in every
        if session in todo
    )
    return Plan(experiment.seed, min(max(cores, 1), max(len(planned), 1)), every, planned)


def order(plan: Plan, environment: str, system: str, boot: int) -> tuple[int, int]:
    """Place of a session among all sessions of the experiment, from 1, and their number."""
    session = Session(environment, system, boot)
    if session not in plan.sessions:
        raise ConfigError(
            f"{environment} {system} boot {boot} is not in the plan; "
            "start the session with snakemake, which makes the plan"
        )
    return plan.sessions.index(session) + 1, len(plan.sessions)


def position(plan: Plan, environment: str, system: str, boot: int) -> tuple[int, int]:
    """Place of a session among those that are run now, from 1, and their number.

    A session that is run by hand is not among them: then its place among all sessions.
    """
    todo = [planned.session for planned in plan.todo]
    session = Session(environment, system, boot)
    if session not in todo:
        return order(plan, environment, system, boot)
    return todo.index(session) + 1, len(todo)


def total_s(plan: Plan) -> float:
    """Expected duration of all sessions that are to be run."""
    return _duration_s(plan.todo, plan.cores)


def remaining_s(plan: Plan, environment: str, system: str, boot: int) -> float:
    """Expected time from a session's start to the last one's end; 0 if it is run by hand."""
    session = Session(environment, system, boot)
    todo = [planned.session for planned in plan.todo]
    if session not in todo:
        return 0.0
    return _duration_s(plan.todo[todo.index(session) :], plan.cores)


def as_text(plan: Plan, before: Iterable[str] = ()) -> str:
    """What is printed before anything starts; `before` are the preparations that come first."""
    if not plan.todo:
        return "Nothing to measure: all sessions are there."
    runs = sum(planned.runs for planned in plan.todo)
    counts = f"{counted(len(plan.todo), 'session')}, {counted(runs, 'run')}"
    lines = [f"To measure: {counts}, about {minutes(total_s(plan))}"]
    preparations = list(before)
    if preparations:
        lines.append(f"  first, and not in this time: {', '.join(preparations)}")
    for number, planned in enumerate(plan.todo, 1):
        session = planned.session
        lines.append(
            f"  {number}. {session.environment} {session.system} boot {session.boot}: "
            f"{counted(planned.runs, 'run')}, about {minutes(planned.estimate_s)}"
        )
    return "\n".join(lines)


def write(plan: Plan, path: Path) -> None:
    """Write a plan so that the file is either complete or the one before."""
    text = json.dumps({"format": FORMAT} | asdict(plan), indent=1, sort_keys=True)
    files.write_text(path, text + "\n")


def load_plan(path: Path) -> Plan:
    """Plan from its file; ConfigError if there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}")
        return Plan(
            seed=data["seed"],
            cores=data["cores"],
            sessions=tuple(Session(**session) for session in data["sessions"]),
            todo=tuple(
                Planned(
                    **planned
                    | {
                        "session": Session(**planned["session"]),
                        "computers": tuple(planned["computers"]),
                    }
                )
                for planned in data["todo"]
            ),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not a plan ({error}); start the session with snakemake, which makes the plan"
        ) from error


def _lot(seed: int, session: Session) -> bytes:
    return _hash(f"{seed}/{session.environment}/{session.system}/{session.boot}")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _duration_s(todo: Iterable[Planned], cores: int) -> float:
    """Duration of sessions that start in this order once a core and their computers are free."""
    core_free_s = [0.0] * cores
    computer_free_s: dict[str, float] = {}
    for planned in todo:
        core = core_free_s.index(min(core_free_s))
        start_s = max(core_free_s[core], *(computer_free_s.get(c, 0.0) for c in planned.computers))
        end_s = start_s + planned.estimate_s
        core_free_s[core] = end_s
        computer_free_s.update(dict.fromkeys(planned.computers, end_s))
    return max([*core_free_s, *computer_free_s.values()])
