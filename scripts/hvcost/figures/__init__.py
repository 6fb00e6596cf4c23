"""The figures, each a pure function of the configuration, the host's facts and the tables.

A figure module has `draw(...) -> Picture`; `style.rendered` makes a picture's files. Both are
called within `style.house_style()`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hvcost import files
from hvcost.analysis.measurements import UNAVAILABLE
from hvcost.analysis.metrics import PRIMARY, known
from hvcost.model.description import Environment
from hvcost.model.metric import THROUGHPUT, Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hvcost.analysis.measurements import Repetition
    from hvcost.analysis.rows import CellStatistics


@dataclass(frozen=True)
class Picture:
    """A figure with the stem of its files and what is said to those who cannot see it."""

    name: str
    title: str
    description: str
    figure: Figure


@dataclass(frozen=True)
class Subject:
    """What a figure is of: one metric of a workload. `is_percentile`: it is of a `Distribution` as well."""

    workload: str
    metric: Metric
    is_primary: bool = True
    is_percentile: bool = False

    @property
    def name(self) -> str:
        """Part of the figure's file name."""
        return self.workload if self.is_primary else f"{self.workload}-{self.metric.name.replace('_', '-')}"

    def points(self, repetitions: Iterable[Repetition]) -> list[Repetition]:
        """Those that are of it."""
        return [p for p in repetitions if (p.workload, p.metric) == (self.workload, self.metric.name)]

    def cells(self, cells: Iterable[CellStatistics]) -> list[CellStatistics]:
        """Those that are of it."""
        return [c for c in cells if (c.workload, c.metric) == (self.workload, self.metric.name)]


@dataclass(frozen=True)
class Distribution:
    """What a figure of percentiles is of: those that a workload has of one distribution, the lowest first."""

    workload: str
    metrics: tuple[Metric, ...]
    is_primary: bool

    @property
    def title(self) -> str:
        """What people call it."""
        return self.metrics[0].distribution

    @property
    def name(self) -> str:
        """Part of the figure's file name."""
        slug = re.sub("[^a-z0-9]+", "-", self.title.lower())
        return self.workload if self.is_primary else f"{self.workload}-{slug}"

    @classmethod
    def all_of(cls, workload: str, metrics: Mapping[Metric, bool]) -> list[Distribution]:
        """Distributions of which these metrics are two percentiles or more; the primary one is True."""
        titles = dict.fromkeys(metric.distribution for metric in metrics if metric.distribution)
        found = []
        for title in titles:
            own = sorted((m for m in metrics if m.distribution == title), key=lambda m: m.percentile or 0.0)
            if len(own) > 1:
                found.append(cls(workload, tuple(own), any(metrics[metric] for metric in own)))
        return found


def emulated_note(environments: Sequence[Environment]) -> str:
    """What the title of a figure of these environments ends with if some of them are emulated."""
    emulated = [environment.id for environment in environments if environment.emulated]
    if not emulated:
        return ""
    if len(emulated) == len(environments):
        return " (emulated machines)"
    return f" ({', '.join(emulated)}: emulated machines)"


def environment_notes(environments: Sequence[Environment]) -> list[str]:
    """What the environments' names stand for, and what must be known before their numbers are used."""
    caveats = dict.fromkeys(environment.caveat for environment in environments)
    return [
        *(f"{environment.title}." for environment in environments),
        *(caveat for caveat in caveats if caveat),
    ]


def limit_note(environments: Sequence[Environment]) -> str:
    """How the TCP limit comes from the link's rate."""
    mtus = sorted({int(environment.link["mtu"]) for environment in environments})
    return (
        "TCP limit: link rate × (MTU − 52) / (MTU + 38), with MTU "
        f"{' or '.join(map(str, mtus))}. 52 bytes of each packet are IPv4 and TCP headers with "
        "timestamps, 38 bytes are Ethernet's framing around it."
    )


def alike_links(environments: Sequence[Environment]) -> list[list[Environment]]:
    """Environments by their links, in the order of the first of each."""
    links: dict[tuple[float, float], list[Environment]] = {}
    for environment in environments:
        links.setdefault((environment.link_bps, environment.tcp_limit_bps), []).append(environment)
    return list(links.values())


def systems_shown(
    environments: Sequence[Environment], measurements: Sequence[Repetition | CellStatistics]
) -> dict[str, str]:
    """Systems and their hypervisors: in the configuration's order, then those only measured."""
    measured = {each.system: each.hypervisor for each in measurements}
    shown: dict[str, str] = {}
    for environment in environments:
        shown |= environment.hypervisors
    return shown | {name: measured[name] for name in sorted(measured.keys() - shown)}


def subjects(environments: Sequence[Environment], repetitions: Sequence[Repetition]) -> list[Subject]:
    """What there are figures of: each workload's primary metric, then the others.

    Of percentiles of one distribution, only the primary one has figures of its own.
    """
    found = []
    for workload, measured in _measured(environments, repetitions).items():
        together = {m for each in Distribution.all_of(workload, measured) for m in each.metrics}
        # Of what was not measured there is an empty figure.
        found += [
            Subject(workload, metric, is_primary, metric in together)
            for metric, is_primary in (measured or {THROUGHPUT: True}).items()
            if is_primary or metric not in together
        ]
    return found


def distributions(
    environments: Sequence[Environment], repetitions: Sequence[Repetition]
) -> list[Distribution]:
    """What there are figures of percentiles of, in the order of `subjects`."""
    return [
        distribution
        for workload, measured in _measured(environments, repetitions).items()
        for distribution in Distribution.all_of(workload, measured)
    ]


def _measured(
    environments: Sequence[Environment], repetitions: Sequence[Repetition]
) -> dict[str, dict[Metric, bool]]:
    """Metrics of each workload, and whether each is the primary one, which is the first.

    Workloads are in the configuration's order, then come those only measured. Those that are swept are points
    of other figures; a metric that nobody can have has none.
    """
    swept = {name for environment in environments for name in environment.swept_workloads}
    configured = [name for environment in environments for name in environment.workloads]
    every = dict.fromkeys([*configured, *sorted({point.workload for point in repetitions})])
    found: dict[str, dict[Metric, bool]] = {name: {} for name in every if name not in swept}
    rows = dict.fromkeys(
        (point.workload, point.metric, point.role)
        for point in repetitions
        if point.role == PRIMARY or point.status != UNAVAILABLE
    )
    for workload, name, role in sorted(rows, key=lambda row: row[2] != PRIMARY):
        if workload in found:
            found[workload][known()[name]] = role == PRIMARY
    return found


def replace_files(folder: Path, stems: Sequence[str], pictures: Mapping[str, bytes]) -> None:
    """Write pictures to a folder and remove older ones of these stems, and nothing else.

    If there is no room for all of them, the older ones stay.
    """
    with contextlib.ExitStack() as stack:
        for name, content in pictures.items():
            stack.enter_context(files.replaced(folder / name)).write_bytes(content)
        older = [old for stem in stems for suffix in (".svg", ".png") for old in folder.glob(stem + suffix)]
    for old in older:
        if old.name not in pictures:
            old.unlink()
