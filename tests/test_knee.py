"""Where a system leaves bare metal's curve, and which comparisons of a sweep are corrected together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import factories
import numpy as np
import pytest
from hvcost.analysis.comparisons import Question, comparisons
from hvcost.analysis.differences import holm
from hvcost.analysis.knee import Knee, knees
from hvcost.analysis.rows import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    NOT_BY_THIS_LINK,
    TOO_FEW,
    WITHIN_MARGIN,
    PairComparison,
)
from hvcost.analysis.samples import Sample
from hvcost.model.metric import THROUGHPUT
from hvcost.model.sweep import Sweep
from hypothesis import given
from hypothesis import strategies as st

LINK = {"rate_mbit": 1000.0, "mtu": 1500.0}
VALUES = (1.0, 2.0, 5.0, 10.0, 20.0)
LETTERS = {
    "D": DIFFERENT,
    "E": EQUIVALENT,
    "W": WITHIN_MARGIN,
    "I": INCONCLUSIVE,
    "L": NOT_BY_THIS_LINK,
    "T": TOO_FEW,
}


def sweep(kind: Any = "workload", values: tuple[float, ...] = VALUES, origin: str = "udp") -> Sweep:
    names = tuple(f"{origin}-rate-{value:g}" for value in values)
    return Sweep(kind, origin, f"{origin}-rate", "rate", "rate", "", "", values, names)


def sample_at(workload: str, system: str, mean: float, environment: str = "env1") -> Sample:
    """Ten values around a mean, others for each cell."""
    noise = np.random.default_rng([*f"{environment} {workload} {system}".encode()])
    values = mean * noise.normal(1, 0.01, 10)
    changes = {"workload": workload, "system": system, "hypervisor": system, "environment": environment}
    return factories.sample(THROUGHPUT, list(values), 1e3, **changes)


TEMPLATE = comparisons(
    [sample_at("udp-rate-1", "bare-metal", 1e8), sample_at("udp-rate-1", "kvm", 1e8)],
    Question({"env1": LINK}, {"bare-metal": 1, "kvm": 2}, 0.05, 1),
)[0]


def rows(verdicts: str, system: str = "kvm") -> list[PairComparison]:
    """A comparison with bare metal at each value; a blank is one that there is not."""
    return [
        replace(TEMPLATE, workload=name, system_b=system, verdict=LETTERS[letter])
        for name, letter in zip(sweep().names, verdicts, strict=True)
        if letter != " "
    ]


def knee(verdicts: str) -> Knee:
    (found,) = knees(rows(verdicts), sweep(), "env1", "throughput", "bare-metal")
    return found


def place(found: Knee) -> tuple[float | None, float | None]:
    return found.before and found.before[0], found.after and found.after[0]


@pytest.mark.parametrize(
    ("verdicts", "course", "before", "after", "is_shown"),
    [
        ("EEDDD", "leaves", 2, 5, True),
        ("EEEED", "leaves", 10, 20, True),
        ("DDEEE", "joins", 2, 5, True),
        ("DDDDD", "apart", None, None, True),
        ("EEEEE", "follows", None, None, True),
        # A difference within the margin is none that matters.
        ("EWWDD", "leaves", 5, 10, True),
        # What is not shown is not said.
        ("EIEDD", "leaves", 5, 10, False),
        ("LLLLL", "follows", None, None, False),
        ("EELDD", "leaves", 5, 10, False),
        # No single point from which on.
        ("EDEDD", "wavers", None, None, True),
        ("EEDDI", "wavers", None, None, False),
    ],
)
def test_course(verdicts: str, course: str, before: float, after: float, is_shown: bool) -> None:
    found = knee(verdicts)
    assert (found.course, *place(found), found.is_shown) == (course, before, after, is_shown)


def test_points_without_a_verdict_are_named_and_passed_over() -> None:
    found = knee("ET DD")
    assert (found.course, *place(found)) == ("leaves", 1, 10)
    assert found.unknown == (2, 5)


@pytest.mark.parametrize("verdicts", ["TTTTT", "T    "])
def test_nothing_is_known_without_verdicts(verdicts: str) -> None:
    found = knee(verdicts)
    assert (found.course, found.points, found.unknown) == ("unknown", (), VALUES)


def test_each_system_has_a_knee_whichever_side_bare_metal_is_on() -> None:
    turned = [replace(row, system_a="qemu", system_b="bare-metal") for row in rows("DDDDD")]
    others = [replace(row, system_a="qemu", system_b="kvm") for row in rows("EEEEE")]
    found = knees([*rows("EEEED"), *turned, *others], sweep(), "env1", "throughput", "bare-metal")
    assert [(each.system, each.course) for each in found] == [("kvm", "leaves"), ("qemu", "apart")]


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "host_cpu"},
        {"environment_a": "env2", "environment_b": "env2"},
        {"workload": "tcp"},
        {"environment_b": "env2", "system_b": "bare-metal"},
        {"same": True},
    ],
)
def test_what_is_not_of_the_curve_is_left_out(changes: dict[str, Any]) -> None:
    others = [replace(row, **changes) for row in rows("DDDDD")]
    assert knees(others, sweep(), "env1", "throughput", "bare-metal") == []


@given(st.text(alphabet="DEWILT ", min_size=5, max_size=5))
def test_a_knee_parts_the_points_that_are_apart_from_those_that_are_not(verdicts: str) -> None:
    found = knees(rows(verdicts), sweep(), "env1", "throughput", "bare-metal")
    if not verdicts.strip():
        assert found == []
        return
    (one,) = found
    apart = {value for value, _row in one.apart}
    assert apart == {value for value, letter in zip(VALUES, verdicts, strict=True) if letter == "D"}
    assert sorted([*(value for value, _row in one.points), *one.unknown]) == list(VALUES)
    before, after = place(one)
    if one.course == "leaves":
        assert before is not None
        assert apart == {value for value, _row in one.points if value > before}
    if one.course == "joins":
        assert after is not None
        assert apart == {value for value, _row in one.points if value < after}
    assert ((before, after) == (None, None)) == (one.course not in ("leaves", "joins"))


# Synthetic curves, from values to the knee.

SYSTEMS = ("bare-metal", "kvm", "qemu")


def swept(environment: str = "env1") -> list[Sample]:
    """KVM follows bare metal up to 5 and saturates; QEMU is slower everywhere."""
    means = {"bare-metal": lambda rate: rate, "kvm": lambda rate: min(rate, 6), "qemu": lambda rate: rate / 2}
    return [
        sample_at(name, system, 1e6 * means[system](value), environment)
        for value, name in zip(VALUES, sweep().names, strict=True)
        for system in SYSTEMS
    ]


def question(*sweeps: Sweep, environments: tuple[str, ...] = ("env1",)) -> Question:
    links = {name: LINK for name in environments}
    return Question(links, {system: {"hypervisor": system} for system in SYSTEMS}, 0.05, 1, sweeps)


def test_the_knee_of_a_synthetic_curve() -> None:
    pairs = comparisons(swept(), question(sweep()))
    kvm, qemu = knees(pairs, sweep(), "env1", "throughput", "bare-metal")
    assert (kvm.course, *place(kvm), kvm.is_shown) == ("leaves", 5, 10, True)
    assert qemu.course == "apart"


def test_all_points_and_pairs_of_a_sweep_are_corrected_together() -> None:
    alone = sample_at("tcp", "bare-metal", 1e6), sample_at("tcp", "kvm", 1e6)
    pairs = comparisons([*swept(), *alone], question(sweep()))
    assert Counter(row.family for row in pairs) == {"within env1, sweep udp": 15, "within env1, tcp": 1}
    own = [row for row in pairs if row.workload != "tcp"]
    expected = holm([row.difference_p for row in own if row.difference_p is not None])
    assert [row.difference_p_holm for row in own] == list(expected)
    separate = comparisons(swept(), question())
    assert len({row.family for row in separate}) == 5
    assert [row.difference_p for row in separate] == [row.difference_p for row in own]


def test_environments_of_a_sweep_are_one_family_and_are_compared_with_each_other_alone() -> None:
    mtus = Sweep("environment", "lan", "lan-mtu", "link.mtu", "MTU", "byte", "", (1, 2), ("lan-1", "lan-2"))
    places = ("env1", "env2", "lan-1", "lan-2")
    every = [sample_at("tcp", system, 1e6, name) for name in places for system in SYSTEMS[:2]]
    pairs = comparisons(every, question(mtus, environments=places))
    assert Counter(row.family for row in pairs) == {
        "within env1, tcp": 1,
        "within env2, tcp": 1,
        "within sweep lan, tcp": 2,
        "between environments, tcp": 2,
        "between environments of sweep lan, tcp": 2,
    }
    between = [row for row in pairs if row.environment_a != row.environment_b]
    assert {(row.environment_a, row.environment_b) for row in between} == {
        ("env1", "env2"),
        ("lan-1", "lan-2"),
    }
