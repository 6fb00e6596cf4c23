"""Samples: the values of one cell (a metric of a system in an environment under a workload).

Repetitions of one boot share everything that the boot decided (memory layout, placement of processors,
state of caches). They are independent witnesses of that boot at best, and of no other (Kalibera & Jones,
ISMM 2013). What booted is taken from the ids that the machines' kernels gave to their boots, not from the
plan: a real host stays up while its guests boot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from hvcost.analysis import measurements
from hvcost.analysis.intervals import MIN_VALUES, Values
from hvcost.analysis.metrics import PRIMARY, known
from hvcost.model.metric import Metric

Level = Literal["repetition", "session", "boot"]


@dataclass(frozen=True)
class Session:
    """One session: its number in the plan, and the boots that host and guest were in (empty: unknown).

    `computer`: the one that played them (empty: none did, or it is not known).
    """

    boot: int
    host_boot: str = ""
    guest_boot: str = ""
    computer: str = ""


@dataclass(frozen=True)
class Run:
    """One repetition that has a value, in its metric's unit."""

    session: Session
    repetition: int
    value: float


@dataclass(frozen=True)
class Sample:
    """All repetitions of one cell. `runs` are those with a value, in the order of measuring.

    `planned` repetitions and `sessions` count failed ones as well, `unavailable` those of which nobody can
    have the value; `planned_sessions` are those of the experiment, measured or not. `role`: of the metric in
    the workload. `resolution`: the coarsest last digit of any of them, 0 if it is not known.
    """

    environment: str
    system: str
    hypervisor: str
    workload: str
    metric: Metric
    role: str
    planned: int
    unavailable: int
    planned_sessions: int
    sessions: tuple[Session, ...]
    runs: tuple[Run, ...]
    resolution: float

    def seed(self, experiment: int) -> str:
        """Seed of the random numbers that belong to this cell, from that of the experiment."""
        line = f"{experiment} {self.environment} {self.system} {self.workload}"
        return line if self.role == PRIMARY else f"{line} {self.metric.name}"

    @property
    def host_boots(self) -> int | None:
        """How many boots of the host the sessions were in; None if that is not known of all."""
        return _count(session.host_boot for session in self.sessions)

    @property
    def guest_boots(self) -> int | None:
        """How many boots of the guest there were; None if that is not known, or there is no other kernel."""
        boots = [session.guest_boot for session in self.sessions if session.guest_boot != session.host_boot]
        return _count(boots) if len(boots) == len(self.sessions) else None

    @property
    def level(self) -> Level:
        """What a value is: a repetition, or the mean of a session or of a boot of the host.

        Boots are values if there are enough of them for an interval, or if there is but one session in each.
        Otherwise sessions are, and their intervals speak of the boots that they were in and of no other: so
        it is with a real host, which is booted now and then. One session has no values but its repetitions,
        unless more of them were planned: then it is one value, and not ten.
        """
        if max(self.planned_sessions, len(self.sessions)) == 1:
            return "repetition"
        boots = self.host_boots or 0
        is_enough = boots >= MIN_VALUES or boots == len(self.sessions) > 1
        return "boot" if is_enough else "session"

    @cached_property
    def by_value(self) -> tuple[Values, ...]:
        """Values of the runs of one session, or of one boot of the host (`level`), in order."""
        return tuple(np.array([run.value for run in runs]) for runs in self._groups)

    @cached_property
    def _groups(self) -> tuple[list[Run], ...]:
        groups: dict[object, list[Run]] = {}
        for run in self.runs:
            group = run.session.host_boot if self.level == "boot" else run.session
            groups.setdefault(group, []).append(run)
        return tuple(groups.values())

    @cached_property
    def values(self) -> Values:
        """What statistics are made of (`level`), in the metric's unit."""
        if self.level == "repetition":
            return self.by_value[0] if self.by_value else np.array([])
        return np.array([values.mean() for values in self.by_value])

    @cached_property
    def by_computer(self) -> dict[str, Values]:
        """The values by the computer that played the machines they were measured on; empty: none did."""
        if self.level == "repetition":
            return {runs[0].session.computer: self.values for runs in self._groups}
        found: dict[str, list[float]] = {}
        for runs, value in zip(self._groups, self.values, strict=True):
            found.setdefault(runs[0].session.computer, []).append(value)
        return {computer: np.array(values) for computer, values in sorted(found.items())}


def samples(table: measurements.Table, systems: Iterable[str], boots: int) -> tuple[Sample, ...]:
    """Samples of a tidy table by environment, workload, metric and system.

    `systems` gives the systems' order, `boots` the planned sessions of each.
    """
    rank = {system: place for place, system in enumerate(systems)}
    metric_rank = {name: place for place, name in enumerate(known())}
    cells: dict[tuple[str, str, str, str], list[measurements.Repetition]] = {}
    for each in measurements.as_measured(measurements.repetitions(table)):
        cells.setdefault((each.environment, each.workload, each.metric, each.system), []).append(each)

    def place(name: tuple[str, str, str, str]) -> tuple[object, ...]:
        environment, workload, metric, system = name
        return environment, workload, metric_rank[metric], rank.get(system, len(rank)), system

    return tuple(_sample(cells[name], boots) for name in sorted(cells, key=place))


def _count(boots: Iterable[str]) -> int | None:
    """How many different boots these are; None if one of them is not known, or there is none."""
    ids = set(boots)
    return len(ids) if ids and "" not in ids else None


def _sample(repetitions: Sequence[measurements.Repetition], planned_sessions: int) -> Sample:
    first = repetitions[0]
    sessions = [Session(each.boot, each.host_boot, each.guest_boot, each.computer) for each in repetitions]
    return Sample(
        environment=first.environment,
        system=first.system,
        hypervisor=first.hypervisor,
        workload=first.workload,
        metric=known()[first.metric],
        role=first.role,
        planned=len(repetitions),
        unavailable=sum(each.status == measurements.UNAVAILABLE for each in repetitions),
        planned_sessions=planned_sessions,
        sessions=tuple(dict.fromkeys(sessions)),
        runs=tuple(
            Run(session, each.repetition, each.value)
            for session, each in zip(sessions, repetitions, strict=True)
            if each.value is not None
        ),
        resolution=max((each.resolution for each in repetitions if each.resolution is not None), default=0.0),
    )
