"""Sweeps of the configuration: what they are expanded to, and mistakes named by key and allowed values."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hvcost import tools
from hvcost.errors import ConfigError
from hvcost.model import description
from hvcost.model.sweep import Point, Sweep
from hvcost.planning import config, plan, run, sweeps
from hvcost.planning.experiment import Experiment, as_json
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "config/schema.yaml"
ENDS: dict[str, Any] = {"host": {"connection": "emulated"}, "client": {"connection": "local"}}
REAL: dict[str, Any] = {
    "host": {"connection": "ssh", "address": "lab-host", "interface": "eth1"},
    "client": {"connection": "ssh", "address": "lab-client", "interface": "eth1"},
}
PROVIDED: dict[str, Any] = {
    "host": {"connection": "provided", "bare_metal": {"address": "198.18.1.2"}},
    "client": {"connection": "local", "interface": "eth1"},
    "systems": ["bare-metal"],
}


def content(
    workload: dict[str, Any] | None = None, place: dict[str, Any] | None = None, **link: Any
) -> dict[str, Any]:
    """A configuration with one workload and one environment, which hold these as well."""
    return {
        "workloads": {"tcp": {"tool": "iperf", **(workload or {})}},
        "systems": {"bare-metal": {"hypervisor": "bare-metal"}, "kvm": {"hypervisor": "kvm"}},
        "environments": {"env1": {"link": {"network": "198.18.1.0/24", **link}, **ENDS, **(place or {})}},
    }


def experiment(made: dict[str, Any]) -> Experiment:
    return config.experiment(made, SCHEMA)


def complaint(made: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        experiment(made)
    return str(caught.value)


def test_a_workload_is_made_for_each_value_with_all_other_options() -> None:
    made = content({"duration_s": 3, "sweep": {"streams": [4, 1, 16]}}, rate_mbit=1000)
    before = copy.deepcopy(made)
    result = experiment(made)
    assert made == before
    assert result.workloads == {
        f"tcp-streams-{n}": tools.completed({"tool": "iperf", "duration_s": 3, "streams": n})
        for n in (1, 4, 16)
    }
    (sweep,) = result.sweeps
    assert (sweep.values, sweep.names) == ((1, 4, 16), tuple(result.workloads))
    assert list(result.session_spec("env1", "kvm", 1)["workloads"]) == list(result.workloads)
    assert sweep.points("env1")[0] == Point(1, "env1", "tcp-streams-1")


def test_a_size_is_a_number() -> None:
    result = experiment(content({"sweep": {"window": ["1M", "64K", "100000"]}}, rate_mbit=1000))
    (sweep,) = result.sweeps
    assert sweep.values == (65536, 100_000, 1048576)
    assert sweep.names == ("tcp-window-64k", "tcp-window-100000", "tcp-window-1m")
    assert result.workloads["tcp-window-64k"]["window"] == "64K"


def test_an_environment_is_made_for_each_value_and_shares_machines_and_network() -> None:
    place = {"sweep": {"link.mtu": [576, 9000]}}
    result = experiment(content(place=place, rate_mbit=1000))
    assert list(result.environments) == ["env1-mtu-576", "env1-mtu-9000"]
    small, large = result.environments.values()
    assert (small.link["mtu"], large.link["mtu"]) == (576, 9000)
    assert small.link["network"] == large.link["network"]
    assert (small.host, small.client, small.systems) == (large.host, large.client, large.systems)
    assert len(plan.sessions(result)) == 4


def test_a_swept_rate_need_not_be_given_as_well() -> None:
    result = experiment(content(place={"sweep": {"link.rate_mbit": [1000, 100]}}))
    assert [place.link["rate_mbit"] for place in result.environments.values()] == [100, 1000]


def test_a_session_has_the_guest_of_its_environment() -> None:
    result = experiment(
        content(place={"sweep": {"guest.memory_mib": [256, 512]}}, rate_mbit=1000) | {"guest": {"cpus": 2}}
    )
    assert result.session_spec("env1-memory-mib-256", "kvm", 1)["guest"] == {
        "cpus": 2,
        "memory_mib": 256,
        "disk_gib": 10,
    }
    assert result.session_spec("env1-memory-mib-512", "bare-metal", 1)["guest"] is None
    assert result.guest["memory_mib"] == 128


def test_several_keys_make_all_combinations_and_curves_along_the_first() -> None:
    swept = {"streams": [1, 2, 4], "duration_s": [5, 10]}
    result = experiment(content({"sweep": swept}, rate_mbit=1000))
    assert len(result.workloads) == 6
    assert [sweep.values for sweep in result.sweeps] == [(1, 2, 4), (1, 2, 4)]
    assert [sweep.name for sweep in result.sweeps] == [
        "tcp-streams-duration-s-5",
        "tcp-streams-duration-s-10",
    ]
    assert result.sweeps[0].heading == "tcp over streams (duration_s 5)"
    assert sweeps.as_text(result.sweeps) == "  sweep of workload tcp over streams: 6 workloads, 2 curves"
    assert len(plan.sessions(result)) == 2


def test_how_many_points_there_are_is_said_before_anything_starts(tmp_path: Path) -> None:
    result = experiment(content({"sweep": {"streams": [1, 2, 4]}}, rate_mbit=1000))
    jobs = [run.Job("measure_session", {"env": "env1", "system": "kvm", "boot": "1"})]
    text, _watch = run.at_start(result, jobs, 1, tmp_path / "plan.json", tmp_path / "pace.jsonl")
    assert text.startswith("To measure: 1 session, 30 runs, about")
    assert text.endswith("\n  sweep of workload tcp over streams: 3 workloads")


def test_description_says_which_belong_together() -> None:
    place = {"sweep": {"link.mtu": [576, 1500]}}
    made = experiment(content({"sweep": {"streams": [1, 2]}}, place, rate_mbit=1000))
    text = description.as_text(json.loads(as_json(made.description())))
    read = description._description(json.loads(text))
    assert read.sweeps == made.sweeps
    assert [each.is_swept for each in read.environments] == [True, True]
    assert read.environments[0].swept_workloads == {"tcp-streams-1", "tcp-streams-2"}


@pytest.mark.parametrize("sweeps_there", [[{"kind": "workload"}], [7], "ab"])
def test_a_description_with_other_things_in_place_of_sweeps(sweeps_there: Any) -> None:
    made = experiment(content(rate_mbit=1000)).figure_spec("env1") | {"sweeps": sweeps_there}
    with pytest.raises(ConfigError, match="env1: `sweeps` is not a list of sweeps"):
        description.environment_from(made)


def test_descriptions_of_the_time_before_sweeps_have_none() -> None:
    made = experiment(content(rate_mbit=1000)).figure_spec("env1")
    del made["sweeps"]
    assert description.environment_from(made).sweeps == ()


def check_complaint(made: dict[str, Any], key: str, said: str) -> None:
    """One line is about the key, has these words, and says what is allowed."""
    (line,) = [line for line in complaint(made).splitlines() if line.startswith(f"{key}:")]
    assert [word for word in said.split() if word not in line] == []
    assert "allowed" in line


@pytest.mark.parametrize(
    ("workload", "key", "said"),
    [
        ({"sweep": {"stream": [1, 2]}}, "sweep.stream", "numeric iperf duration_s streams window"),
        ({"sweep": {"tool": [1, 2]}}, "sweep.tool", "numeric iperf streams"),
        ({"sweep": {"streams": [1]}}, "sweep.streams", "[1] list 2"),
        ({"sweep": {"streams": 1}}, "sweep.streams", "1 list"),
        ({"sweep": {}}, "sweep", "{} mapping"),
        ({"sweep": {"streams": [1, 129]}}, "sweep.streams", "129 integer 1 to 128"),
        ({"sweep": {"streams": [1, 1.5]}}, "sweep.streams", "1.5 integer"),
        ({"sweep": {"streams": [1, True]}}, "sweep.streams", "True numbers"),
        ({"sweep": {"window": ["1K", None]}}, "sweep.window", "None numbers"),
        ({"sweep": {"window": ["1K", "1024"]}}, "sweep.window", "'1024' '1K' once"),
        ({"sweep": {"streams": [2, 2]}}, "sweep.streams", "2 once"),
        ({"streams": 2, "sweep": {"streams": [1, 2]}}, "streams", "swept value or sweep"),
        ({"window": "x", "sweep": {"streams": [1, 2]}}, "window", "'x' 64K"),
    ],
)
def test_mistakes_in_sweeps_of_workloads(workload: dict[str, Any], key: str, said: str) -> None:
    check_complaint(content(workload, rate_mbit=1000), f"workloads.tcp.{key}", said)


@pytest.mark.parametrize(
    ("sweep", "key", "said"),
    [
        ({"mtu": [576, 1500]}, "sweep.mtu", "unknown link.mtu guest.cpus"),
        ({"link.mtu": [100, 1500]}, "sweep.link.mtu.0", "100 256 9000"),
        ({"link.mtu": [576, 576]}, "sweep.link.mtu", "576 once"),
        ({"guest.cpus": [1]}, "sweep.guest.cpus", "[1] list 2"),
        ({"link.rate_mbit": [10, 100]}, "link.rate_mbit", "swept value or sweep"),
    ],
)
def test_mistakes_in_sweeps_of_environments(sweep: dict[str, Any], key: str, said: str) -> None:
    check_complaint(content(place={"sweep": sweep}, rate_mbit=1000), f"environments.env1.{key}", said)


def test_an_mtu_that_is_given_is_not_swept_as_well() -> None:
    made = content(place={"sweep": {"link.mtu": [576, 1500]}}, rate_mbit=1000, mtu=1500)
    check_complaint(made, "environments.env1.link.mtu", "swept value or sweep")


def test_a_swept_guest_has_less_memory_than_its_host() -> None:
    made = content(place={"sweep": {"guest.memory_mib": [128, 4096]}}, rate_mbit=1000)
    said = "4096 environments.env1-memory-mib-4096.host.memory_mib 3072"
    check_complaint(made, "guest.memory_mib", said)


@pytest.mark.parametrize(
    ("machines", "key", "said"),
    [
        (REAL, "link.rate_mbit", "ssh link.mtu guest.cpus guest.memory_mib"),
        (PROVIDED, "link.mtu", "provided no sweep"),
    ],
)
def test_what_cannot_be_set_on_real_machines(machines: dict[str, Any], key: str, said: str) -> None:
    made = content(place={"sweep": {key: [1000, 2000]}, **machines}, rate_mbit=1000)
    check_complaint(made, f"environments.env1.sweep.{key}", said)


def test_names_that_are_taken() -> None:
    made = content({"sweep": {"streams": [1, 2]}}, {"sweep": {"link.mtu": [576, 1500]}}, rate_mbit=1000)
    made["workloads"]["tcp-streams-2"] = {"tool": "iperf"}
    made["environments"]["env1-mtu-576"] = {"link": {"rate_mbit": 1, "network": "198.18.2.0/24"}, **ENDS}
    found = complaint(made)
    assert "workloads.tcp.sweep: makes a second workload tcp-streams-2; allowed: names of their own" in found
    assert "environments.env1.sweep: makes a second environment env1-mtu-576; allowed:" in found


def test_environments_of_different_sweeps_need_networks_of_their_own() -> None:
    made = content(place={"sweep": {"link.mtu": [576, 1500]}}, rate_mbit=1000)
    made["environments"]["env2"] = copy.deepcopy(made["environments"]["env1"])
    assert "environments.env2-mtu-576.link.network: 198.18.1.0/24 overlaps" in complaint(made)


NUMBERS = st.lists(st.integers(min_value=1, max_value=128), min_size=2, max_size=5, unique=True)


@given(
    streams=NUMBERS,
    durations=NUMBERS,
    mtus=st.lists(st.integers(576, 9000), min_size=2, max_size=4, unique=True),
)
def test_any_sweep_makes_each_combination_once_with_valid_names(
    streams: list[int], durations: list[int], mtus: list[int]
) -> None:
    swept = {"streams": streams, "duration_s": durations}
    result = experiment(content({"sweep": swept}, {"sweep": {"link.mtu": mtus}}, rate_mbit=1000))
    options = [(each["streams"], each["duration_s"]) for each in result.workloads.values()]
    assert sorted(options) == sorted((s, d) for s in streams for d in durations)
    assert sorted(place.link["mtu"] for place in result.environments.values()) == sorted(mtus)
    names = [*result.workloads, *result.environments]
    assert all(re.fullmatch("[a-z][a-z0-9-]*", name) for name in names)
    *along_streams, along_mtu = result.sweeps
    assert sorted(name for curve in along_streams for name in curve.names) == sorted(result.workloads)
    for curve in result.sweeps:
        check_curve(curve, result)
    assert along_mtu.names == tuple(result.environments)


def check_curve(curve: Sweep, result: Experiment) -> None:
    """Along a curve its parameter rises, and nothing else changes."""
    assert list(curve.values) == sorted(curve.values)
    if curve.kind == "environment":
        assert tuple(result.environments[name].link["mtu"] for name in curve.names) == curve.values
        return
    entries = [dict(result.workloads[name]) for name in curve.names]
    assert tuple(entry.pop(curve.parameter) for entry in entries) == curve.values
    assert all(entry == entries[0] for entry in entries)
