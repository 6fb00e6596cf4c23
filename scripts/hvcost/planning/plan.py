"""The plan: sessions in their seeded random order, all steps that are to be done now, and how far they are.

The workflow writes the plan when it starts, beside the results and outside of what it tracks: a
session that is finished stays finished when others are added, although its place in the order
changes. It writes it again whenever a step begins or ends. How long that takes is in `progress`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hvcost import files
from hvcost.errors import ConfigError
from hvcost.hypervisors import load_driver
from hvcost.model.sweep import ENVIRONMENT, origins
from hvcost.planning import usual
from hvcost.planning.experiment import THIS_COMPUTER, Experiment
from hvcost.planning.usual import Part

FORMAT = 2
# Of everything, this is done in this order (see the priorities of the rules); then comes the analysis.
STAGES = (tuple(usual.BUILD_S), (usual.PREPARE,), (usual.MEASURE,))


@dataclass(frozen=True)
class Session:
    """One boot of one system in one environment."""

    environment: str
    system: str
    boot: int


@dataclass(frozen=True)
class Step:
    """A job of the run: its rule with its wildcards, the computers it keeps busy, and the parts it has.

    `runs`: repetitions, of a session.
    """

    rule: str
    about: tuple[str, ...]
    computers: tuple[str, ...]
    parts: tuple[Part, ...]
    runs: int = 0

    @property
    def name(self) -> str:
        """How people are told of it, and what tells it from all others."""
        return " ".join((self.rule, *self.about))

    @property
    def stage(self) -> int:
        """Whether it builds, prepares, measures or analyses, as a number from 0."""
        return next((n for n, rules in enumerate(STAGES) if self.rule in rules), len(STAGES))

    @property
    def session(self) -> Session:
        """What is measured by a step of the rule `measure_session`."""
        environment, system, boot = self.about
        return Session(environment, system, int(boot))


@dataclass(frozen=True)
class Plan:
    """All sessions of the experiment in their order; the steps of this run in theirs, and how far they are.

    `running`: when the steps that are under way began, Unix time by name. `ended`: names of those that are
    over, well or not.
    """

    seed: int
    cores: int
    sessions: tuple[Session, ...]
    steps: tuple[Step, ...]
    running: Mapping[str, float] = field(default_factory=dict)
    ended: tuple[str, ...] = ()

    @property
    def todo(self) -> tuple[Step, ...]:
        """The sessions that are run now."""
        return tuple(step for step in self.steps if step.rule == usual.MEASURE)

    def begun(self, name: str, at_s: float) -> Plan:
        """The plan when a step has begun, at a Unix time; it may have ended before, and be tried again."""
        ended = tuple(other for other in self.ended if other != name)
        return replace(self, running={**self.running, name: at_s}, ended=ended)

    def done(self, name: str) -> Plan:
        """The plan when a step is over, well or not."""
        running = {other: at_s for other, at_s in self.running.items() if other != name}
        return replace(self, running=running, ended=(*self.ended, name))

    def step(self, name: str) -> Step | None:
        """A step by its name."""
        return next((step for step in self.steps if step.name == name), None)


def sessions(experiment: Experiment) -> tuple[Session, ...]:
    """All sessions in random order; that of two of an environment depends on them and the seed alone.

    Those of a real host are grouped by what it has to be booted as, so that it is rebooted once, not often.
    Environments of a sweep are one host.
    """
    origin = origins(experiment.sweeps, ENVIRONMENT)

    def host(session: Session) -> str:
        return origin.get(session.environment, session.environment)

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
        return _hash(f"{experiment.seed}/{host(session)}/{boot_mode}")

    order = sorted(every, key=lambda session: _lot(experiment.seed, session))
    # Each host's sessions keep its places in the order of all.
    grouped = {
        name: iter(sorted((session for session in order if host(session) == name), key=group))
        for name in {host(session) for session in order}
    }
    return tuple(next(grouped[host(session)]) for session in order)


def make(experiment: Experiment, jobs: Iterable[tuple[str, tuple[str, ...]]], cores: int) -> Plan:
    """Plan of an experiment, up to `cores` steps at once; `jobs` are rules with their wildcards."""
    every = sessions(experiment)
    places = {_about(session): place for place, session in enumerate(every)}
    steps = [_step(experiment, rule, about) for rule, about in jobs]
    steps.sort(key=lambda step: (step.stage, places.get(step.about, 0), step.name))
    return Plan(experiment.seed, min(max(cores, 1), max(len(steps), 1)), every, tuple(steps))


def whole(experiment: Experiment, cores: int) -> Plan:
    """Plan of measuring all sessions, without what comes before and after that."""
    jobs = [(usual.MEASURE, _about(session)) for session in sessions(experiment)]
    return make(experiment, jobs, cores)


def order(plan: Plan, environment: str, system: str, boot: int) -> tuple[int, int]:
    """Place of a session among all sessions of the experiment, from 1, and their number."""
    session = Session(environment, system, boot)
    if session not in plan.sessions:
        raise ConfigError(
            f"{environment} {system} boot {boot} is not in the plan; "
            "start the session with snakemake, which makes the plan"
        )
    return plan.sessions.index(session) + 1, len(plan.sessions)


def write(plan: Plan, path: Path) -> None:
    """Write a plan so that the file is either complete or the one before."""
    text = json.dumps({"format": FORMAT} | asdict(plan), indent=1, sort_keys=True)
    files.write_text(path, text + "\n")


def load_plan(path: Path) -> Plan:
    """Plan from its file; ParseError if there is none."""

    def content(data: dict[str, Any]) -> Plan:
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']}")
        return Plan(
            seed=data["seed"],
            cores=data["cores"],
            sessions=tuple(Session(**session) for session in data["sessions"]),
            steps=tuple(_step_from(step) for step in data["steps"]),
            running=dict(data["running"]),
            ended=tuple(data["ended"]),
        )

    remedy = "start the session with snakemake, which makes the plan"
    return files.read_json(path, "a plan", content, remedy)


def _about(session: Session) -> tuple[str, ...]:
    return (session.environment, session.system, str(session.boot))


def _step(experiment: Experiment, rule: str, about: tuple[str, ...]) -> Step:
    computers: tuple[str, ...] = (THIS_COMPUTER,)
    if rule in (usual.PREPARE, usual.MEASURE):
        computers = experiment.environment(about[0]).computers
    runs = experiment.repetitions * len(experiment.workloads) if rule == usual.MEASURE else 0
    return Step(rule, about, computers, usual.parts(experiment, rule, about), runs)


def _step_from(data: dict[str, Any]) -> Step:
    parts = tuple(Part(tuple(part["kind"]), part["usual_s"], part["fixed_s"]) for part in data["parts"])
    return Step(data["rule"], tuple(data["about"]), tuple(data["computers"]), parts, data["runs"])


def _lot(seed: int, session: Session) -> bytes:
    return _hash(f"{seed}/{session.environment}/{session.system}/{session.boot}")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
