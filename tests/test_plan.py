"""The plan: order of the sessions, and its file."""

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
    return plan.whole(_experiment(**changes), cores)


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


@given(seed=st.integers(min_value=0))
def test_environments_of_a_sweep_share_the_boots_of_their_host(seed: int) -> None:
    ends = {"host": _machine("a.example"), "client": _machine("b.example")}
    modes = _boot_modes_in_order(seed, **ends, sweep={"link.mtu": [576, 1500, 9000]})
    assert len(modes) == 24
    assert len(list(itertools.groupby(modes))) == 2


def test_either_boot_mode_comes_first_and_emulated_machines_are_not_grouped() -> None:
    ends = {"host": _machine("a.example"), "client": _machine("b.example")}
    assert {_boot_modes_in_order(seed, **ends)[0] for seed in range(20)} == {"native", "xen"}
    assert any(len(list(itertools.groupby(_boot_modes_in_order(seed)))) > 2 for seed in range(20))


def test_every_system_comes_first_about_equally_often() -> None:
    first = [plan.sessions(_experiment(seed=seed))[0].system for seed in range(300)]
    assert all(70 < first.count(system) < 130 for system in ("bare-metal", "qemu", "kvm"))


def test_order_is_the_place_among_all_sessions() -> None:
    experiment = _experiment()
    sessions = plan.sessions(experiment)
    about = [(one.environment, one.system, str(one.boot)) for one in (sessions[4], sessions[1])]
    current = plan.make(experiment, [("measure_session", one) for one in about], 1)
    assert [step.session for step in current.todo] == [sessions[1], sessions[4]]
    later = sessions[4]
    assert plan.order(current, later.environment, later.system, later.boot) == (5, 6)


def test_session_that_is_not_in_the_plan() -> None:
    with pytest.raises(ConfigError, match="env1 xen boot 1 is not in the plan"):
        plan.order(_plan(), "env1", "xen", 1)


def test_a_step_that_is_tried_again_is_one_step() -> None:
    first, other = "measure_session env1 kvm 1", "measure_session env1 qemu 1"
    current = _plan().begun(first, 1e9).begun(other, 1e9).done(first).begun(first, 2e9)
    assert current.running == {first: 2e9, other: 1e9}
    assert current.ended == ()
    assert current.done(first).ended == (first,)


def test_file(tmp_path: Path) -> None:
    current = _plan(cores=2).begun("measure_session env1 kvm 1", 1e9).done("measure_session env1 qemu 1")
    file = tmp_path / "results/plan.json"
    plan.write(current, file)
    assert plan.load_plan(file) == current
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"format": 0}', '{"format": 2}'])
def test_file_that_is_no_plan(text: str | None, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ParseError, match=r"plan\.json: not a plan: .*; start the session with snake"):
        plan.load_plan(file)


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")],
)
def test_minutes(duration_s: float, expected: str) -> None:
    assert minutes(duration_s) == expected
