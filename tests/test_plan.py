"""The plan: order of the sessions, estimates of time, and its file."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hvcost.errors import ConfigError, ParseError
from hvcost.planning import config, plan
from hvcost.planning.experiment import Experiment
from hvcost.wording import minutes
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "config/schema.yaml"


def _environment(number: int, **ends: Any) -> dict[str, Any]:
    link = {"rate_mbit": 1000, "network": f"198.18.{number}.0/24"}
    return {
        "link": link,
        "host": {"connection": "emulated"},
        "client": {"connection": "local"},
    } | ends


def _machine(address: str) -> dict[str, str]:
    return {"connection": "ssh", "address": address, "interface": "eth1"}


def _experiment(**changes: Any) -> Experiment:
    content = {
        "repetitions": 10,
        "systems": {name: {"hypervisor": name} for name in ("bare-metal", "qemu", "kvm")},
        "environments": {"env1": _environment(1), "env2": _environment(2)},
    }
    return config.experiment(content | changes, SCHEMA)


def _plan(cores: int = 1, **changes: Any) -> plan.Plan:
    experiment = _experiment(**changes)
    return plan.make(experiment, plan.sessions(experiment), cores)


@given(seed=st.integers(min_value=0), boots=st.integers(min_value=1, max_value=4))
def test_order_is_a_permutation_of_all_sessions(seed: int, boots: int) -> None:
    sessions = plan.sessions(_experiment(seed=seed, boots=boots))
    assert len(sessions) == len(set(sessions)) == 6 * boots
    assert {session.boot for session in sessions} == set(range(1, boots + 1))


def test_order_depends_on_the_seed_alone() -> None:
    assert plan.sessions(_experiment(seed=1)) == plan.sessions(_experiment(seed=1))
    assert len({plan.sessions(_experiment(seed=seed)) for seed in range(20)}) > 15


def test_order_of_sessions_stays_when_others_are_added() -> None:
    few = plan.sessions(_experiment())
    many = plan.sessions(_experiment(boots=3))
    assert [session for session in many if session in few] == list(few)


def _boot_modes_in_order(seed: int, **ends: Any) -> list[str]:
    systems = {name: {"hypervisor": name} for name in ("bare-metal", "xen", "virtualbox", "kvm")}
    content = _experiment(seed=seed, boots=2, systems=systems, environments={"lab": _environment(1, **ends)})
    return ["xen" if session.system == "xen" else "native" for session in plan.sessions(content)]


@given(seed=st.integers(min_value=0))
def test_sessions_of_a_real_host_are_grouped_by_what_it_is_booted_as(seed: int) -> None:
    modes = _boot_modes_in_order(seed, host=_machine("a.example"), client=_machine("b.example"))
    assert len(list(itertools.groupby(modes))) == 2


def test_either_boot_mode_comes_first_and_emulated_machines_are_not_grouped() -> None:
    ends = {"host": _machine("a.example"), "client": _machine("b.example")}
    assert {_boot_modes_in_order(seed, **ends)[0] for seed in range(20)} == {"native", "xen"}
    assert any(len(list(itertools.groupby(_boot_modes_in_order(seed)))) > 2 for seed in range(20))


def test_every_system_comes_first_about_equally_often() -> None:
    first = [plan.sessions(_experiment(seed=seed))[0].system for seed in range(300)]
    assert all(70 < first.count(system) < 130 for system in ("bare-metal", "qemu", "kvm"))


@pytest.mark.parametrize(
    ("system", "expected_s"), [("bare-metal", 35 + 120), ("kvm", 55 + 120), ("qemu", 175 + 120)]
)
def test_estimate_of_an_emulated_session(system: str, expected_s: float) -> None:
    assert plan.estimate_s(_experiment(), plan.Session("env1", system, 1)) == expected_s


@pytest.mark.parametrize(("system", "expected_s"), [("bare-metal", 120), ("qemu", 15 + 120)])
def test_estimate_of_a_local_session(system: str, expected_s: float) -> None:
    here = _environment(1, host={"connection": "local"})
    experiment = _experiment(environments={"here": here})
    assert plan.estimate_s(experiment, plan.Session("here", system, 1)) == expected_s


def test_estimate_counts_every_workload() -> None:
    workloads = {name: {"tool": "iperf", "duration_s": 3} for name in ("one", "two")}
    experiment = _experiment(workloads=workloads)
    assert plan.estimate_s(experiment, plan.Session("env1", "bare-metal", 1)) == 35 + 100


def test_position_and_order() -> None:
    experiment = _experiment()
    sessions = plan.sessions(experiment)
    todo = [sessions[4], sessions[1]]
    current = plan.make(experiment, todo, 1)
    assert [planned.session for planned in current.todo] == [sessions[1], sessions[4]]
    later = sessions[4]
    assert plan.position(current, later.environment, later.system, later.boot) == (2, 2)
    assert plan.order(current, later.environment, later.system, later.boot) == (5, 6)
    by_hand = sessions[0]
    assert plan.position(current, by_hand.environment, by_hand.system, by_hand.boot) == (1, 6)
    assert plan.remaining_s(current, by_hand.environment, by_hand.system, by_hand.boot) == 0


def test_session_that_is_not_in_the_plan() -> None:
    with pytest.raises(ConfigError, match="env1 xen boot 1 is not in the plan"):
        plan.order(_plan(), "env1", "xen", 1)


def test_time_left_shrinks_by_what_is_done() -> None:
    current = _plan()
    total_s = sum(planned.estimate_s for planned in current.todo)
    assert plan.total_s(current) == total_s == 2 * (155 + 175 + 295)
    done_s = 0.0
    for planned in current.todo:
        session = planned.session
        left_s = plan.remaining_s(current, session.environment, session.system, session.boot)
        assert left_s == total_s - done_s
        done_s += planned.estimate_s


def test_one_computer_gains_nothing_from_cores() -> None:
    assert plan.total_s(_plan(cores=8)) == plan.total_s(_plan(cores=1))


def test_computers_of_their_own_work_at_the_same_time() -> None:
    environments = {
        name: _environment(number, host=_machine(f"{name}-host"), client=_machine(f"{name}-client"))
        for number, name in enumerate(("lab1", "lab2"), 1)
    }
    one = plan.total_s(_plan(cores=1, environments=environments))
    assert plan.total_s(_plan(cores=2, environments=environments)) < 0.8 * one
    assert plan.total_s(_plan(cores=10**18, environments=environments)) < 0.8 * one


def test_file(tmp_path: Path) -> None:
    current = _plan(cores=2)
    file = tmp_path / "results/plan.json"
    plan.write(current, file)
    assert plan.load_plan(file) == current
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"format": 0}', '{"format": 1}'])
def test_file_that_is_no_plan(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ParseError, match=r"plan\.json: not a plan: .*; start the session with snake"):
        plan.load_plan(file)


def test_text() -> None:
    text = plan.as_text(_plan(), ["build_guest_image", "prepare_host env1"])
    lines = text.splitlines()
    assert lines[0] == "To measure: 6 sessions, 60 runs, about 21 min"
    assert lines[1].endswith(": build_guest_image, prepare_host env1")
    assert len(lines) == 8
    assert "env1 kvm boot 1: 10 runs, about 3 min" in text


def test_text_with_nothing_to_do() -> None:
    assert "nothing to measure" in plan.as_text(plan.make(_experiment(), [], 1))


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_minutes(duration_s: float, expected: str) -> None:
    assert minutes(duration_s) == expected
