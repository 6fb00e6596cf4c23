"""Samples: the values of one cell (a system in an environment under a workload) that statistics are made of.

Repetitions of one boot share everything that the boot decided (memory layout, placement of processors,
state of caches). They are independent witnesses of that boot at best, and of no other. So a cell that was
booted several times has its boots' means as values, and a cell that was booted once has its repetitions,
whose intervals then speak of this boot alone (Kalibera & Jones, ISMM 2013).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One repetition that has a throughput, in bit/s."""

    boot: int
    repetition: int
    throughput_bps: float


@dataclass(frozen=True)
class Sample:
    """All repetitions of one cell. `runs` are those with a value, in the order in which they were run.

    `planned` repetitions and `boots` count failed ones as well. `resolution_bps`: the last digit that the
    tool printed of any of them.
    """

    environment: str
    system: str
    hypervisor: str
    workload: str
    planned: int
    boots: int
    runs: tuple[Run, ...]
    resolution_bps: float

    @cached_property
    def by_boot(self) -> tuple[Values, ...]:
        """Throughputs of each boot that has any, in bit/s, in order."""
        boots: dict[int, list[float]] = {}
        for run in self.runs:
            boots.setdefault(run.boot, []).append(run.throughput_bps)
        return tuple(np.array(values) for values in boots.values())

    @property
    def level(self) -> Literal["repetition", "boot"]:
        """What a value is: a repetition, or a boot's mean."""
        return "boot" if self.boots > 1 else "repetition"

    @cached_property
    def values_bps(self) -> Values:
        """What statistics are made of: repetitions or means of boots (`level`), in bit/s."""
        if self.level == "boot":
            return np.array([values.mean() for values in self.by_boot])
        return self.by_boot[0] if self.by_boot else np.array([])


def samples(frame: pd.DataFrame, systems: Iterable[str] = ()) -> tuple[Sample, ...]:
    """Samples of a tidy table by environment, workload and system; `systems` gives the systems' order."""
    rank = {system: place for place, system in enumerate(systems)}
    names = ["environment", "workload", "system"]
    cells = {
        (str(environment), str(workload), str(system)): cell
        for (environment, workload, system), cell in frame.groupby(names)
    }
    return tuple(
        _sample(environment, workload, system, cells[environment, workload, system])
        for environment, workload, system in sorted(
            cells, key=lambda cell: (*cell[:2], rank.get(cell[2], len(rank)), cell[2])
        )
    )


def _sample(environment: str, workload: str, system: str, cell: pd.DataFrame) -> Sample:
    rows = cell[cell["metric"] == "throughput"].sort_values(["session_order", "run_order"])
    ok = rows[rows["status"] == "ok"]
    resolutions = cell[(cell["metric"] == "throughput_resolution") & (cell["status"] == "ok")]["value"]
    return Sample(
        environment=environment,
        system=system,
        hypervisor=str(rows["hypervisor"].iloc[0]),
        workload=workload,
        planned=len(rows),
        boots=rows["boot"].nunique(),
        runs=tuple(
            Run(int(boot), int(repetition), float(value))
            for boot, repetition, value in zip(ok["boot"], ok["repetition"], ok["value"], strict=True)
        ),
        resolution_bps=float(resolutions.max()) if len(resolutions) else 0.0,
    )
