"""What each step of a run takes on a usual computer: the one that README's figures are from.

It is the measure for what other computers are seen to do (`pace`), so it has to be right in its proportions
only. A step has parts, because a slower computer starts machines more slowly, but lets ten seconds be ten
seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hvcost.hypervisors import load_driver
from hvcost.model.record import is_played
from hvcost.planning.experiment import THIS_COMPUTER, Experiment
from hvcost.tools import tool_s

BUILD_S = {"build_guest_image": 60.0, "build_host_image": 180.0}
PREPARE = "prepare_host"
PREPARATIONS = (*BUILD_S, PREPARE)
MEASURE = "measure_session"

# By how a host is connected; any other one is there already.
PREPARE_S = {"emulated": 20.0}
MACHINE_READY_S = {"emulated": 10.0}
THERE_ALREADY_S = 5.0
GUEST_READY_S = 15.0
BETWEEN_RUNS_S = 0.5
# Of the default experiment; drawing is most of it.
ANALYSIS_S = {
    "describe_experiment": 0.5,
    "parse_repetitions": 0.5,
    "analyse_environment": 8.0,
    "make_report": 8.0,
}


@dataclass(frozen=True)
class Part:
    """Part of a step. `kind`: what it is like, from the general to the particular. Durations in s.

    `usual_s` is what a slower computer takes longer for, `fixed_s` what takes the same on any.
    """

    kind: tuple[str, ...]
    usual_s: float
    fixed_s: float = 0.0


def run_s(workload: Mapping[str, Any]) -> float:
    """Usual duration of a repetition of a workload, with what comes between it and the next, in s."""
    return tool_s(workload) + BETWEEN_RUNS_S


def session_parts(spec: Mapping[str, Any]) -> tuple[Part, Part]:
    """What a session consists of: its start, from power-on to the first run, and its runs.

    `spec` as of `Experiment.session_spec`.
    """
    driver = load_driver(spec["hypervisor"])
    host = spec["host"]
    is_nested = host.get("accelerator") in ("auto", "tcg")
    guest_s = driver.ready_nested_s if is_nested else min(GUEST_READY_S, driver.ready_nested_s)
    start_s = MACHINE_READY_S.get(host["connection"], THERE_ALREADY_S) + guest_s
    repetitions, workloads = spec["repetitions"], spec["workloads"].values()
    between_s = repetitions * len(workloads) * BETWEEN_RUNS_S
    tools_s = repetitions * sum(map(tool_s, workloads))
    which = (spec["hypervisor"], spec["environment"], spec["system"])
    where = _where(spec["environment"], host)
    return Part((where, "start", *which), start_s), Part(("runs", where, *which), between_s, tools_s)


def parts(experiment: Experiment, rule: str, about: tuple[str, ...]) -> tuple[Part, ...]:
    """What a step consists of: a job of `rule` with these wildcards."""
    if rule in BUILD_S:
        # Not like anything else: most of it is done by the network.
        return (Part(("build", rule), BUILD_S[rule]),)
    if rule == PREPARE:
        (environment,) = about
        host = experiment.environment(environment).host
        prepare_s = PREPARE_S.get(host["connection"], THERE_ALREADY_S)
        return (Part((_where(environment, host), "prepare", environment), prepare_s),)
    if rule == MEASURE:
        environment, system, boot = about
        return session_parts(experiment.session_spec(environment, system, int(boot)))
    return (Part((THIS_COMPUTER, "analysis", rule), ANALYSIS_S[rule]),)


def _where(environment: str, host: Mapping[str, Any]) -> str:
    """Whose speed matters: that of this computer, or that of an environment's own machines."""
    return THIS_COMPUTER if is_played(host) else environment
