"""Samples: the values of one cell (a system in an environment under a workload) that statistics are made of.

Repetitions of one boot share everything that the boot decided (memory layout, placement of processors,
state of caches). They are independent witnesses of that boot at best, and of no other. So a cell that was
booted several times has its boots' means as values, and a cell that was booted once has its repetitions,
whose intervals then speak of this boot alone (Kalibera & Jones, ISMM 2013).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hvcost import tables

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One repetition that has a throughput, in bit/s."""

    boot: int
    repetition: int
    throughput_bps: float


@dataclass(frozen=True)
class Sample:
    """All repetitions of one cell. `runs` are those with a value, in the order of measuring.

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
    resolutions = frame[(frame["metric"] == "throughput_resolution") & (frame["status"] == "ok")]
    coarsest = resolutions.groupby(["environment", "workload", "system"])["value"].max().to_dict()
    cells: dict[tuple[str, str, str], list[tables.Repetition]] = {}
    for repetition in tables.as_measured(tables.repetitions(frame)):
        name = (repetition.environment, repetition.workload, repetition.system)
        cells.setdefault(name, []).append(repetition)
    return tuple(
        _sample(cells[name], float(coarsest.get(name, 0.0)))
        for name in sorted(cells, key=lambda name: (*name[:2], rank.get(name[2], len(rank)), name[2]))
    )


def _sample(repetitions: Sequence[tables.Repetition], resolution_bps: float) -> Sample:
    first = repetitions[0]
    return Sample(
        environment=first.environment,
        system=first.system,
        hypervisor=first.hypervisor,
        workload=first.workload,
        planned=len(repetitions),
        boots=len({each.boot for each in repetitions}),
        runs=tuple(
            Run(each.boot, each.repetition, each.throughput_bps)
            for each in repetitions
            if each.throughput_bps is not None
        ),
        resolution_bps=resolution_bps,
    )
