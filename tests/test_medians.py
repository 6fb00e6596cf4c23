"""Figures that are compared by their medians: intervals, verdicts, and error rates under known truth."""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import factories
import numpy as np
import pytest
from hvcost.analysis import simulated_latencies
from hvcost.analysis.comparisons import Question, comparisons
from hvcost.analysis.effects import effect
from hvcost.analysis.intervals import MIN_VALUES, Values, median_interval
from hvcost.analysis.medians import MedianRatio, median_ratio
from hvcost.analysis.metrics import known
from hvcost.analysis.rows import DIFFERENT, EQUIVALENT, INCONCLUSIVE, PairComparison
from hvcost.analysis.samples import Sample
from hvcost.analysis.simulated_latencies import LATENCIES, Latencies, latency_rates
from hvcost.errors import ConfigError
from hvcost.model.metric import (
    DIFFERENCE,
    MEAN,
    MEDIAN,
    ROUND_TRIP,
    ROUND_TRIP_P90,
    ROUND_TRIP_P99,
    ROUND_TRIP_P999,
    Metric,
)
from hypothesis import given, settings
from hypothesis import strategies as st

LINKS = {"env1": {"rate_mbit": 1000, "mtu": 1500}}
STEADY = [0.620, 0.621, 0.621, 0.622, 0.622, 0.623, 0.623, 0.624, 0.624, 0.625]
SLOW = [1.9, 1.95, 2.0, 2.0, 2.05, 2.1, 2.1, 2.15, 2.2, 60.0]

latencies = st.lists(st.floats(0.01, 1000), min_size=MIN_VALUES, max_size=40)
uneven = st.lists(st.sampled_from([0.5, 0.55, 0.6, 0.9, 30.0]), min_size=MIN_VALUES, max_size=14)


def sample(values: Sequence[float], system: str = "kvm", **changes: Any) -> Sample:
    return factories.sample(ROUND_TRIP_P99, values, 0.001, system=system, hypervisor=system, **changes)


def ratio(a: Sequence[float] | Values, b: Sequence[float], resolution: float = 0.001) -> MedianRatio:
    made = median_ratio(np.array(a), np.array(b), resolution, resolution)
    assert made
    return made


def compared(*samples: Sample) -> list[PairComparison]:
    definitions = {each.system: each.system for each in samples}
    return comparisons(samples, Question(LINKS, definitions, margin=0.05, seed=1))


def test_the_effect_is_the_ratio_of_medians_and_one_run_does_not_move_it() -> None:
    found = effect(sample(SLOW), sample(STEADY, "bare-metal"), 1)
    usual = effect(sample([*SLOW[:-1], 2.25]), sample(STEADY, "bare-metal"), 1)
    assert found.value and found.value == pytest.approx(np.median(SLOW) / np.median(STEADY))
    assert found.interval and found.interval == usual.interval
    assert found.interval.low < found.value < found.interval.high < 4


def test_beside_a_value_that_is_known_the_interval_is_that_of_the_median() -> None:
    found, alone = ratio(SLOW, [1.0] * 10, 1e-12).interval(), median_interval(np.array(SLOW))
    assert alone and (found.low, found.high) == pytest.approx((alone.low, alone.high))


@given(latencies, latencies)
@settings(max_examples=60)
def test_turned_round_it_is_the_inverse(one: list[float], other: list[float]) -> None:
    there, back = ratio(one, other), ratio(other, one)
    assert there.estimate == pytest.approx(-back.estimate)
    assert there.interval().low == pytest.approx(1 / back.interval().high)
    assert there.difference_p() == back.difference_p()
    assert there.equivalence_p(0.05) == back.equivalence_p(0.05)


@given(uneven, uneven, st.floats(0.5, 2))
@settings(max_examples=60)
def test_different_is_an_interval_without_one(one: list[float], other: list[float], factor: float) -> None:
    found = ratio(np.array(one) * factor, other)
    interval = found.interval()
    assert interval.low <= np.exp(found.estimate) <= interval.high
    assert (found.difference_p() < 0.05) == (not interval.low <= 1 <= interval.high)


@given(uneven, uneven)
@settings(max_examples=60)
def test_equivalent_is_an_interval_within_the_margin(one: list[float], other: list[float]) -> None:
    found = ratio(one, other)
    interval = found.interval(0.9)
    assert (found.equivalence_p(1.0) < 0.05) == (interval.low > 0.5 and interval.high < 2)


def test_no_p_value_is_less_than_so_many_values_can_tell() -> None:
    assert ratio(SLOW[:6], STEADY[:6]).difference_p() == 2 / 2**6
    assert ratio(SLOW, STEADY).difference_p() == 2 / 2**10
    assert ratio(SLOW, STEADY[:6]).difference_p() == 2 / 2**6
    assert ratio(SLOW, STEADY).interval(0.999).low == 0


def test_equal_readings_are_known_to_the_last_digit() -> None:
    found = ratio([0.5] * 10, [0.5] * 10, 0.1)
    interval = found.interval()
    assert interval.low < 0.9 < 1 < 1.1 < interval.high
    assert median_ratio(np.array([0.5] * 10), np.array([0.5] * 10), 0, 0) is None


def test_too_few_values_and_zeros_have_no_interval() -> None:
    few = effect(sample(SLOW[:5]), sample(STEADY, "bare-metal"), 1)
    assert few.interval is None and "5 repetitions with a value" in few.note
    zero = effect(sample([0.0, *SLOW[1:]]), sample(STEADY, "bare-metal"), 1)
    assert zero.interval is None and "a value is 0" in zero.note
    none = effect(sample(SLOW), sample([0.0] * 10, "bare-metal"), 1)
    assert none.value is None and "a median of 0 has no ratio" in none.note


def test_verdicts_of_a_family() -> None:
    rows = compared(
        sample(SLOW), sample(STEADY, "xen"), sample(STEADY[::-1], "bare-metal"), sample(STEADY[:6], "qemu")
    )
    verdicts = {(row.system_a, row.system_b): row.verdict for row in rows}
    assert verdicts["kvm", "xen"] == verdicts["kvm", "bare-metal"] == DIFFERENT
    assert verdicts["xen", "bare-metal"] == EQUIVALENT
    assert verdicts["kvm", "qemu"] == INCONCLUSIVE


def test_medians_are_compared_by_ratio_only() -> None:
    with pytest.raises(ConfigError, match="medians are compared by ratio"):
        Metric("late", "%", "late", "lower", compared=DIFFERENCE, centre=MEDIAN, margin=1.0)


def test_high_percentiles_are_compared_by_medians() -> None:
    high = [metric for name, metric in known().items() if re.search("_p[0-9]+$", name)]
    assert all(metric.centre == MEDIAN for metric in [*high, ROUND_TRIP_P90, ROUND_TRIP_P99, ROUND_TRIP_P999])
    assert ROUND_TRIP.centre == MEAN


TRIALS = 100
# Off once in ten thousand.
ERROR = 3.9 * float(np.sqrt(0.05 * 0.95 / TRIALS))


@pytest.mark.parametrize(
    "scenario",
    [each for each in LATENCIES if each.runs <= 10 and each.round_trips <= 1000],
    ids=lambda each: f"{each.name}, {each.metric.name}, {each.runs}, {each.beside_steady}",
)
def test_error_rates_under_known_truth(scenario: Latencies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_latencies, "TRUTH_RUNS", 3000)
    assert latency_rates(scenario, TRIALS, seed=1).kept(ERROR)


def test_a_scenario_is_the_same_in_another_process() -> None:
    for each in LATENCIES:
        assert pickle.loads(pickle.dumps(each)).percentile == each.percentile


def test_means_of_stalls_would_fall_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_latencies, "TRUTH_RUNS", 2000)
    stalls = next(each for each in LATENCIES if each.beside_steady and each.round_trips == 10_000)
    found = latency_rates(replace(stalls, runs=6), TRIALS, seed=1)
    assert found.of_means < 0.95 - ERROR < found.covered
