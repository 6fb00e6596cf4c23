"""Every tool on every link that it tells something of, by the way in which a session measures."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hvcost.analysis.intervals import Interval, median_interval
from hvcost.calibration import lab as labs
from hvcost.calibration.expectations import (
    IMPAIRED,
    RATES,
    REPETITIONS,
    Bare,
    Setting,
    options_for,
    tools_for,
)
from hvcost.calibration.lab import Lab
from hvcost.errors import ParseError
from hvcost.hypervisors import RunningSystem, load_driver
from hvcost.machines import facts
from hvcost.model.metric import Value
from hvcost.model.record import Facts, Order, Record, Session
from hvcost.session import Run, SessionSpec, recorder, runs_of
from hvcost.tools import completed, tool_names, versions_of
from hvcost.tools.verdict import values

log = logging.getLogger(__name__)

# Bare metal: nothing is between the tool and the link.
SYSTEM = "bare-metal"


@dataclass(frozen=True)
class Figures:
    """What the repetitions of a tool said of one metric: a value, or None; `reasons` are of those without.

    `failed` runs count; the others without a value are good ones, of which the tool does not tell it.
    """

    readings: tuple[Value | None, ...]
    reasons: tuple[str, ...] = ()
    failed: int = 0

    @cached_property
    def values(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([each.value for each in self.readings if each])

    @property
    def median(self) -> float | None:
        return float(np.median(self.values)) if len(self.values) else None

    @property
    def interval(self) -> Interval | None:
        return median_interval(self.values)

    @property
    def bare(self) -> Bare | None:
        """What links with a delay are compared with; None without a value."""
        if (median := self.median) is None:
            return None
        reach = self.interval
        low, high = (reach.low, reach.high) if reach else (self.values.min(), self.values.max())
        return Bare(float(low), median, float(high))

    @property
    def resolution(self) -> float:
        """The coarsest last digit, 0 if it is not known."""
        return max((each.resolution or 0.0 for each in self.readings if each), default=0.0)


@dataclass(frozen=True)
class Result:
    """What a run said: figures by name, or why there are none.

    `busy`: the share of all processors' time on the machine that was used meanwhile; None if it is not known.
    """

    said: Mapping[str, Value | str] | str
    busy: float | None = None


@dataclass(frozen=True)
class Measured:
    """A link, where it was, and what each tool's runs said there. `facts`: of the machine and the tools."""

    setting: Setting
    where: str
    workloads: Mapping[str, Mapping[str, Any]]
    runs: Mapping[str, Sequence[Result]]
    facts: Facts

    def figures(self, tool: str, metric: str) -> Figures:
        """What a tool's repetitions said of a metric, in their order; nothing if it was not run here."""
        runs = self.runs.get(tool, ())
        found = [run.said if isinstance(run.said, str) else run.said[metric] for run in runs]
        return Figures(
            tuple(each if isinstance(each, Value) else None for each in found),
            tuple(dict.fromkeys(each for each in found if isinstance(each, str))),
            sum(isinstance(run.said, str) for run in runs),
        )

    def busy(self, tool: str) -> float | None:
        """Median of how busy the machine's processors were during the tool's runs, as a share."""
        shares = [run.busy for run in self.runs[tool] if run.busy is not None]
        return float(np.median(shares)) if shares else None


def measure(state: Path, host_image: Path) -> Iterator[Measured]:
    """Measure all links, one after the other; arguments as of `lab.with_netem`."""
    for setting in RATES:
        with labs.here(setting.rate_mbit, state) as lab:
            yield on_link(setting, lab, tools_for(setting, tool_names()), REPETITIONS)
    with labs.with_netem(IMPAIRED[0].rate_mbit, state, host_image) as lab:
        for setting in IMPAIRED:
            lab.impair(setting)
            yield on_link(setting, lab, tools_for(setting, tool_names()), REPETITIONS)


def on_link(setting: Setting, lab: Lab, tools: Sequence[str], repetitions: int) -> Measured:
    """Measure a link that is in operation with these tools."""
    operation = lab.operation
    workloads = {tool: completed(options_for(tool, setting)) for tool in tools}
    spec = SessionSpec(
        environment=labs.NAME,
        system=SYSTEM,
        boot=1,
        hypervisor=SYSTEM,
        options={},
        workloads=workloads,
        repetitions=repetitions,
        guest=None,
        link={"rate_mbit": lab.link.rate_mbit, "mtu": lab.link.mtu},
        host={"connection": "local"},
        client=labs.CLIENT,
    )
    about = {
        **facts.collect(operation.host, operation.host_interface),
        **facts.versions(operation.host, versions_of(tools)),
    }
    session = Session(
        environment=spec.environment,
        system=spec.system,
        boot=spec.boot,
        spec={"link": spec.link, "host": spec.host},
        proof={},
        facts={"host": about},
    )
    system = RunningSystem(operation.host, operation.host_address, {}, operation.runtime)
    runs: dict[str, list[Result]] = {tool: [] for tool in tools}
    every = _runs(setting, spec)
    log.info("%s, on %s: %d runs", setting, lab.where, len(every))
    with recorder(spec, operation, load_driver(SYSTEM)({}), system, session, lab.journal) as recorded:
        for run in every:
            result = recorded(run, _order(run, every))
            runs[run.workload].append(Result(_said(result), _busy(result, int(about["cpus"]))))
    return Measured(setting, lab.where, workloads, runs, about)


def _runs(setting: Setting, spec: SessionSpec) -> list[Run]:
    """Rounds of one run of each tool where they are compared with each other; else tool by tool.

    A server then stays for all its runs: to start it takes longer than the run on a slow machine.
    """
    every = runs_of(spec)
    if setting.is_impaired:
        every.sort(key=lambda run: run.workload)
    return [replace(run, number=number) for number, run in enumerate(every, start=1)]


def _order(run: Run, every: Sequence[Run]) -> Order:
    return Order(session=1, sessions=1, run=run.number, runs=len(every), seed=0)


def _said(record: Record) -> Mapping[str, Value | str] | str:
    try:
        return values(record)
    except ParseError as error:
        return str(error)


def _busy(record: Record, cpus: int) -> float | None:
    host = (record.witnesses or {}).get("host")
    if host is None or not record.cpu_time_s:
        return None
    passed_s = host.after.asked_s - host.before.answered_s
    return min(1.0, sum(record.cpu_time_s.values()) / (passed_s * cpus))
