"""Where several computers played the machines, a slow one does not look like a slow system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import factories
import make_report
import numpy as np
import pytest
from hvcost.analysis import measurements
from hvcost.analysis.effects import effect
from hvcost.analysis.samples import Run, Sample, Session
from hvcost.model.metric import LOSS, ROUND_TRIP_P99, THROUGHPUT, Metric
from hvcost.model.record import Record

NODES = ("fast", "slow", "slower")


def sample(
    by_computer: Mapping[str, Sequence[float]], metric: Metric = THROUGHPUT, system: str = "kvm"
) -> Sample:
    """A sample of one boot of the host for each value, on these computers."""
    placed = [(computer, value) for computer, values in by_computer.items() for value in values]
    sessions = tuple(Session(n, f"host {n}", f"guest {n}", c) for n, (c, _) in enumerate(placed, 1))
    runs = tuple(Run(session, 1, value) for session, (_, value) in zip(sessions, placed, strict=True))
    return factories.sample(
        metric,
        [value for _, value in placed],
        1.0 if metric.compared == "ratio" else 0.001,
        system=system,
        planned_sessions=len(placed),
        sessions=sessions,
        runs=runs,
    )


def around(middle: float, n: int) -> list[float]:
    return [middle * (1 + 0.01 * (place - (n - 1) / 2)) for place in range(n)]


@pytest.mark.parametrize("metric", [THROUGHPUT, ROUND_TRIP_P99], ids=lambda metric: metric.name)
def test_a_ratio_is_that_of_each_computer(metric: Metric) -> None:
    """Half of bare metal on each; of all values together it would be a quarter or nearly as much."""
    bare_metal = sample({"fast": around(900e6, 12), "slow": around(300e6, 6)}, metric, "bare-metal")
    kvm = sample({"fast": around(450e6, 6), "slow": around(150e6, 12)}, metric)
    found = effect(kvm, bare_metal, 2010)
    assert found.value == pytest.approx(0.5) and found.note == ""
    assert found.interval and 0.47 < found.interval.low < 0.5 < found.interval.high < 0.53
    back = effect(bare_metal, kvm, 2010)
    assert back.interval and back.interval.low == pytest.approx(1 / found.interval.high)


def test_a_difference_is_that_of_each_computer() -> None:
    bare_metal = sample({"fast": [0.1, 0.2, 0.3] * 2, "slow": [5.1, 5.2, 5.3]}, LOSS, "bare-metal")
    kvm = sample({"fast": [1.1, 1.2, 1.3], "slow": [6.1, 6.2, 6.3] * 2}, LOSS)
    found = effect(kvm, bare_metal, 2010)
    assert found.value == pytest.approx(1.0)
    assert found.interval and 0.8 < found.interval.low < found.interval.high < 1.2


def test_what_only_one_of_both_was_measured_on_is_left_out_and_named() -> None:
    bare_metal = sample({"fast": around(900e6, 8), "slow": around(300e6, 8)}, system="bare-metal")
    kvm = sample({"fast": around(450e6, 8), "slow": [1e6], "slower": around(1e6, 8)})
    found = effect(kvm, bare_metal, 2010)
    assert found.value == pytest.approx(0.5)
    assert found.note.startswith("left out is what was measured on slow, slower")


def test_without_a_computer_of_both_there_is_no_ratio() -> None:
    found = effect(sample({"slow": around(1e6, 8)}), sample({"fast": around(1e6, 8)}, system="bare-metal"), 1)
    assert (found.value, found.interval) == (None, None)
    assert found.note.startswith("kvm in env1 on slow and bare-metal in env1 on fast: no computer played")


def test_environments_may_have_computers_of_their_own() -> None:
    one, other = sample({"a": around(2e6, 8)}), sample({"b": around(1e6, 8)})
    assert effect(one, replace(other, environment="env2"), 1).value == pytest.approx(2)


def test_medians_need_as_many_values_on_each_computer() -> None:
    few = {"fast": around(9, 5), "slow": around(3, 9)}
    found = effect(sample(few, ROUND_TRIP_P99), sample(few, ROUND_TRIP_P99, "bare-metal"), 1)
    assert (found.value, found.interval) == (1, None)
    assert "5 boots with a value on one computer, an interval of medians needs 6" in found.note


@pytest.mark.parametrize("boots", [3, 5])
def test_the_interval_covers_the_truth_as_often_as_it_says(boots: int) -> None:
    """Three computers, of which one is a third of another, and boots that differ by 5 %: 400 experiments."""
    random = np.random.default_rng(boots)
    speeds = dict(zip(NODES, (900.0, 300.0, 200.0), strict=True))
    covered = 0
    for seed in range(400):
        kvm, bare_metal = (
            {name: list(share * speed * random.lognormal(0, 0.05, boots)) for name, speed in speeds.items()}
            for share in (0.5, 1.0)
        )
        found = effect(sample(kvm), sample(bare_metal, system="bare-metal"), seed)
        assert found.interval
        covered += found.interval.low <= 0.5 <= found.interval.high
    # Three standard errors of 400 experiments below 95 %.
    assert covered / 400 >= 0.95 - 3 * (0.95 * 0.05 / 400) ** 0.5


def records() -> list[Record]:
    """Six boots of two systems, the even ones on a slow computer."""
    made = factories.raw_records({"bare-metal": 8e8, "kvm": 4e8}, boots=6, repetitions=2)
    nodes = [
        {"hostname": "node1", "cpu_model": "Quick 9", "kernel": "6.12"},
        {"hostname": "node2", "cpu_model": "Slow 1", "kernel": "6.12"},
    ]
    return [replace(one, facts={**one.facts, "controller": nodes[one.boot % 2]}) for one in made]


def test_the_table_marks_the_computers_and_names_none(tmp_path: Path) -> None:
    table = measurements.from_records(records())
    odd, even = ({row.computer for row in table if row.boot % 2 == rest} for rest in (1, 0))
    assert len(odd) == len(even) == 1 and odd != even
    path = tmp_path / "measurements.csv"
    measurements.write_csv(table, path)
    assert measurements.read_csv(path) == table
    assert "node" not in path.read_text()


def test_real_machines_are_played_by_nobody() -> None:
    (one, *_) = records()
    real = replace(one, spec={**one.spec, "host": {"connection": "ssh"}})
    assert measurements.computer_of(real) == ""


def test_the_report_says_what_the_computers_are_unlike_in(tmp_path: Path) -> None:
    environments = [factories.environment_config("bare-metal", "kvm")]
    factories.write_results(records(), tmp_path, environments=environments)
    output = tmp_path / "report.html"
    make_report.make(tmp_path / "experiment.json", tmp_path, output)
    html = output.read_text()
    assert "2 computers played the machines of env1" in html
    assert "They differ in processor (Quick 9 and Slow 1)." in html
    assert "kernel (" not in html
    assert "node1" not in html
