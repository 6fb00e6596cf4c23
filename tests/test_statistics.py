"""Statistics: textbook cases, properties that must hold for any values, and error rates under known truth."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import factories
import numpy as np
import pytest
from factories import boots_of, cell_statistics, failed_record, raw_record, raw_records
from hvcost.analysis import measurements, rows, simulated_coverage, simulation
from hvcost.analysis.cells import cells
from hvcost.analysis.claims import verdicts
from hvcost.analysis.comparisons import Question, comparisons
from hvcost.analysis.diagnostics import diagnose
from hvcost.analysis.differences import PERMUTATIONS, difference, holm
from hvcost.analysis.effects import effect
from hvcost.analysis.intervals import MIN_VALUES, RatioBootstrap, Values, median_interval, ratio_bootstrap
from hvcost.analysis.rows import SIGNIFICANCE, CellStatistics, ClaimVerdict, PairComparison
from hvcost.analysis.samples import Sample, samples
from hvcost.analysis.seeds import generator
from hvcost.errors import ParseError
from hvcost.model.description import Claim
from hvcost.model.link import tcp_limit_bps
from hvcost.model.metric import THROUGHPUT
from hvcost.model.record import Order, Record
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

SYSTEMS = ("bare-metal", "xen", "virtualbox", "kvm", "qemu")
GIGABIT = {"rate_mbit": 1000, "mtu": 1500}
FAST = {"rate_mbit": 100, "mtu": 1500}
LINKS = {"env1": GIGABIT, "env2": FAST}
QUESTION = Question(LINKS, {name: {"hypervisor": name} for name in SYSTEMS}, margin=0.05, seed=2010)

throughputs = st.lists(st.floats(1e6, 1e9), min_size=MIN_VALUES, max_size=30)


def sample(values_mbit: Sequence[float], **changes: object) -> Sample:
    """A sample of one session; `changes` replace its fields."""
    values = [value * 1e6 for value in values_mbit]
    return factories.sample(THROUGHPUT, values, 1e5, **changes)


def samples_of(records: list[Record], boots: int = 1) -> tuple[Sample, ...]:
    every = samples(measurements.from_records(records), SYSTEMS, boots)
    return tuple(one for one in every if one.role == "primary")


def around(median_mbit: float, n: int = 10, spread: float = 0.002) -> list[float]:
    """Values evenly around a median."""
    return [median_mbit * (1 + spread * (place - (n - 1) / 2)) for place in range(n)]


def bootstrap(
    a: Sequence[float] | Values, b: Sequence[float] | Values, resolution: float = 1e-3
) -> RatioBootstrap:
    made = ratio_bootstrap(np.array(a), np.array(b), resolution, resolution, "a", "b")
    assert made
    return made


# --- samples -------------------------------------------------------------------------------------


def test_one_boot_has_its_repetitions_as_values_in_the_order_of_the_systems() -> None:
    found = samples_of(raw_records({"kvm": 184e6, "bare-metal": 567e6}, repetitions=7))
    assert [one.system for one in found] == ["bare-metal", "kvm"]
    assert {(one.level, len(one.values), one.planned, len(one.sessions)) for one in found} == {
        ("repetition", 7, 7, 1)
    }


def sessions_of(*boots: tuple[str | None, str | None], repetitions: int = 2) -> list[Record]:
    """Sessions in these boots of host and guest (None: unknown), of 10 and 12 Mbit/s, 20 and 22, …"""
    return [
        raw_record((10 * number + 2 * repetition) * 1e6, boot=number, repetition=repetition + 1, facts=facts)
        for number, facts in enumerate(itertools.starmap(boots_of, boots), 1)
        for repetition in range(repetitions)
    ]


MANY = [(f"host {n}", f"guest {n}") for n in range(MIN_VALUES)]


@pytest.mark.parametrize(
    ("boots", "level", "values_mbit"),
    [
        # Emulated machines: host and guest boot for each session.
        ([("h1", "g1"), ("h2", "g2"), ("h3", "g3")], "boot", [11, 21, 31]),
        # A real host stays up; its guests boot.
        ([("h1", "g1"), ("h1", "g2"), ("h1", "g3")], "session", [11, 21, 31]),
        # Bare metal has no guest, a container shows the host's boot as its own.
        ([("h1", None), ("h1", None)], "session", [11, 21]),
        ([("h1", "h1"), ("h1", "h1")], "session", [11, 21]),
        # Guests of somebody else: nothing is known of the host; the guest booted once or for each session.
        ([(None, "g1"), (None, "g2")], "session", [11, 21]),
        ([(None, "g1"), (None, "g1")], "session", [11, 21]),
        # Of one session it is not known which boot it was in.
        ([("h1", "g1"), (None, "g2"), ("h3", "g3")], "session", [11, 21, 31]),
        # The host was booted again between sessions: too few boots to be values.
        ([("h1", "g1"), ("h1", "g2"), ("h2", "g3")], "session", [11, 21, 31]),
        # Enough of them: what was measured in one boot is one value.
        ([*MANY, ("host 0", "another")], "boot", [(2 * 11 + 2 * 71) / 4, 21, 31, 41, 51, 61]),
        # One session.
        ([("h1", "g1")], "repetition", [10, 12]),
    ],
)
def test_values_are_of_what_booted(
    boots: list[tuple[str | None, str | None]], level: str, values_mbit: list[float]
) -> None:
    (found,) = samples_of(sessions_of(*boots), boots=len(boots))
    assert found.level == level
    assert found.values.tolist() == [value * 1e6 for value in values_mbit]


def test_ten_sessions_in_one_boot_of_the_host_are_no_boots() -> None:
    every = samples_of(sessions_of(*(("h1", f"g{n}") for n in range(10))), boots=10)
    (row,) = cells(every, LINKS, 2010)
    assert (row.sessions, row.host_boots, row.guest_boots) == (10, 1, 10)
    assert (row.level, row.values) == ("session", 10)


@pytest.mark.parametrize(
    ("boots", "counted"),
    [
        ([("h1", None), ("h1", None)], (1, None)),
        ([("h1", "h1"), ("h1", "h1")], (1, None)),
        ([(None, "g1"), (None, "g1")], (None, 1)),
        ([(None, None), (None, None)], (None, None)),
        ([("h1", "g1"), (None, "g2")], (None, 2)),
    ],
)
def test_what_is_not_known_of_boots_is_not_counted(
    boots: list[tuple[str | None, str | None]], counted: tuple[int | None, int | None]
) -> None:
    (row,) = cells(samples_of(sessions_of(*boots), boots=2), LINKS, 2010)
    assert (row.host_boots, row.guest_boots) == counted


def test_one_session_of_ten_is_one_value_whatever_its_repetitions() -> None:
    (row,) = cells(samples_of(sessions_of(("h1", "g1"), repetitions=10), boots=10), LINKS, 2010)
    assert (row.level, row.values, row.median_low) == ("session", 1, None)
    assert "1 session with a value, an interval needs 6" in row.note


def test_files_of_two_boots_in_one_session_are_two_sessions() -> None:
    first, second = sessions_of(("h1", "g1"))
    (found,) = samples_of([first, replace(second, facts=boots_of("h1", "an older one"))])
    assert (found.level, len(found.values)) == ("session", 2)


def test_failed_repetitions_count_and_have_no_value() -> None:
    (found,) = samples_of([raw_record(repetition=1), failed_record(repetition=2)])
    assert (found.planned, len(found.runs)) == (2, 1)


def test_values_are_in_the_order_in_which_they_were_run() -> None:
    first, second = (raw_record(value, repetition=n) for n, value in ((1, 40e6), (2, 50e6)))
    swapped = [replace(one, order=replace(one.order, run=run)) for one, run in ((first, 2), (second, 1))]
    (found,) = samples_of(swapped)
    assert [run.repetition for run in found.runs] == [2, 1]


def test_a_session_that_was_measured_again_is_where_it_was_measured() -> None:
    # Ever faster in the order of measuring; by the plan the last two sessions were the first.
    records = [
        replace(
            record, order=replace(record.order, session=planned), started_at=f"2026-11-{day}T03:31:00+00:00"
        )
        for record, planned, day in (
            (raw_record((40 + boot) * 1e6, boot=boot), (boot + 2) % 8, 10 + boot) for boot in range(1, 9)
        )
    ]
    (row,) = cells(samples_of(records), LINKS, 2010)
    assert row.drift_tau == pytest.approx(1)


def test_a_clock_that_is_set_does_not_disorder_the_runs_of_a_session() -> None:
    # Set back by an hour after the third run.
    records = [
        replace(
            raw_record((40 + run) * 1e6, repetition=run),
            order=Order(session=1, sessions=1, run=run, runs=8, seed=2010),
            started_at=f"2026-11-23T{'04' if run <= 3 else '03'}:{run:02d}:00+00:00",
        )
        for run in range(1, 9)
    ]
    (found,) = samples_of(records)
    assert [run.repetition for run in found.runs] == list(range(1, 9))


# --- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "low", "high", "confidence"),
    # Le Boudec, Performance Evaluation, table A.1.
    [
        (6, 1, 6, 0.969),
        (8, 1, 8, 0.992),
        (9, 2, 8, 0.961),
        (10, 2, 9, 0.979),
        (20, 6, 15, 0.959),
        (70, 27, 44, 0.959),
    ],
)
def test_interval_of_the_median_is_that_of_the_table(n: int, low: int, high: int, confidence: float) -> None:
    interval = median_interval(np.arange(1.0, n + 1))
    assert interval
    assert (interval.low, interval.high) == (low, high)
    assert interval.confidence == pytest.approx(confidence, abs=5e-4)


@pytest.mark.parametrize("n", range(MIN_VALUES))
def test_no_interval_for_few_values(n: int) -> None:
    assert median_interval(np.ones(n)) is None
    assert ratio_bootstrap(np.ones(n), np.ones(10), 0, 0, "a", "b") is None


@given(throughputs, throughputs)
@settings(max_examples=30)
def test_ratio_turned_round_is_the_inverse(one: list[float], other: list[float]) -> None:
    a, b = np.array(one), np.array(other)
    there = ratio_bootstrap(a, b, 1e5, 1e5, "a", "b")
    back = ratio_bootstrap(b, a, 1e5, 1e5, "b", "a")
    assert there and back
    assert there.ratio == pytest.approx(1 / back.ratio)
    assert there.interval().low == pytest.approx(1 / back.interval().high)
    assert there.equivalence_p(0.05) == pytest.approx(back.equivalence_p(0.05))


@given(throughputs, throughputs, st.floats(0.01, 100))
@settings(max_examples=30)
def test_ratio_scales_with_its_values(one: list[float], other: list[float], factor: float) -> None:
    plain = bootstrap(one, other)
    scaled = ratio_bootstrap(np.array(one) * factor, np.array(other), 1e-3 * factor, 1e-3, "a", "b")
    assert scaled
    assert scaled.ratio == pytest.approx(factor * plain.ratio)
    assert scaled.interval().low == pytest.approx(factor * plain.interval().low, rel=1e-6)


def test_equivalence_is_an_interval_within_the_margin() -> None:
    for median in (96, 97, 98, 100, 103, 104):
        found = bootstrap(around(median), around(100))
        inside = found.interval(0.9).low > 1 / 1.05 and found.interval(0.9).high < 1.05
        assert (found.equivalence_p(0.05) < 0.05) == inside


uneven_lists = st.lists(st.sampled_from([90.0, 95.0, 99.0, 100.0, 101.0]), min_size=MIN_VALUES, max_size=12)


@given(uneven_lists, uneven_lists, st.floats(0.9, 1.1))
@settings(max_examples=60)
def test_different_is_an_interval_without_one(one: list[float], other: list[float], factor: float) -> None:
    found = bootstrap(np.array(one) * factor, other, 0.1)
    interval = found.interval()
    assert (found.difference_p() < SIGNIFICANCE) == (not interval.low <= 1 <= interval.high)


def test_an_interval_is_never_narrower_than_student_s() -> None:
    random = np.random.default_rng(1)
    for _ in range(20):
        a, b = random.normal(100, 5, 6), random.normal(100, 2, 10)
        found = bootstrap(a, b)
        welch = stats.ttest_ind(a / a.mean(), b / b.mean(), equal_var=False)
        reach = stats.t.ppf(0.975, welch.df) * found.standard_error
        assert found.interval().low <= found.ratio * np.exp(-reach) * 1.0001
        assert found.interval().high >= found.ratio * np.exp(reach) * 0.9999


def test_equal_readings_are_known_to_the_last_digit_only() -> None:
    found = bootstrap([94.1] * 10, [94.1] * 10, resolution=0.1)
    interval = found.interval()
    assert found.ratio == 1
    assert interval.low <= 1 <= interval.high
    assert found.equivalence_p(0.05) < 0.05
    assert found.equivalence_p(0.0001) > 0.05


@pytest.mark.parametrize("resolution", [0.0, 1e5])
def test_values_without_spread_are_known_to_their_last_digit_if_it_is_known(resolution: float) -> None:
    steady = [
        sample([mbit] * 10, system=system, hypervisor=system, resolution=resolution)
        for system, mbit in (("bare-metal", 94.1), ("xen", 94.0))
    ]
    (row,) = comparisons(steady, QUESTION)
    assert row.effect == pytest.approx(94.1 / 94.0)
    if resolution:
        assert row.effect_low is not None and row.effect_high is not None
        assert row.effect_low < 94.1 / 94.0 < row.effect_high
    else:
        assert (row.effect_low, row.effect_high, row.difference_p, row.equivalence_p) == (None,) * 4
        assert row.verdict == rows.INCONCLUSIVE
        assert row.note == (
            "bare-metal in env1 and xen in env1: "
            "values without any spread, of which the last digit is not known"
        )


def test_beside_values_without_spread_the_others_make_the_interval() -> None:
    steady, other = (
        sample([94.1] * 10, resolution=0.0),
        sample(around(80, spread=0.02), resolution=0.0),
    )
    for a, b in ((steady, other), (other, steady)):
        found = effect(a, b, 2010)
        assert found.value and found.interval
        assert 0.9 < found.interval.low / found.value < 1 < found.interval.high / found.value < 1.1


@pytest.mark.parametrize(
    "values",
    # Many resamples are of one value only: their standard error is zero.
    [[100.0] * 5 + [110.0], [100.0] * 9 + [50.0], [90.0] + [100.0] * 8 + [110.0]],
)
def test_resamples_without_spread_make_no_number_that_is_none(values: list[float]) -> None:
    found = bootstrap(values, [95.0] * 6, resolution=0.0)
    assert not np.isnan(found.t).any()
    interval = found.interval()
    assert interval.low <= found.ratio <= interval.high
    assert 0 < found.equivalence_p(0.5) <= 1
    assert found.equivalence_p(0.0001) > 0.05


def test_an_interval_without_a_bound_is_none_and_said() -> None:
    uneven = sample([0.001] * 9 + [1e6], system="xen", hypervisor="xen", resolution=1.0)
    (row,) = comparisons([uneven, sample(around(100))], QUESTION)
    assert row.effect and row.difference_p is not None
    assert (row.effect_low, row.effect_high) == (None, None)
    assert "values too uneven for an interval" in row.note


def test_large_samples_need_no_large_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).normal(100, 3, 500)
    whole = bootstrap(values, values + 1)
    monkeypatch.setattr("hvcost.analysis.intervals.CHUNK_VALUES", 5000)
    parts = bootstrap(values, values + 1)
    assert parts.interval().low == pytest.approx(whole.interval().low, rel=1e-3)


# --- differences ---------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=9), st.lists(st.integers(1, 9), min_size=2, max_size=9)
)
@settings(max_examples=30)
def test_cliffs_delta_counts_pairs(one: list[int], other: list[int]) -> None:
    pairs = list(itertools.product(one, other))
    counted = (sum(a > b for a, b in pairs) - sum(a < b for a, b in pairs)) / len(pairs)
    found = difference(np.array(one, dtype=float), np.array(other, dtype=float), "seed")
    assert found.cliffs_delta == pytest.approx(counted)
    assert 0 <= found.p <= 1


def test_ten_values_above_ten_others_are_as_rare_as_can_be() -> None:
    found = difference(np.arange(10.0, 20), np.arange(10.0), "seed")
    assert found.p == pytest.approx(2 / 184756)
    assert found.cliffs_delta == 1


def test_nothing_differs_where_all_is_the_same() -> None:
    assert difference(np.ones(10), np.ones(10), "seed").p == 1


@pytest.mark.parametrize("n", [6, 7, 10])
def test_ties_make_no_p_smaller_than_permutations_can(n: int) -> None:
    tied = difference(np.array([1.0] * n), np.array([2.0] * n), "seed")
    assert tied.p >= 2 / math.comb(2 * n, n)
    assert tied.p < 0.005


def test_p_of_ties_is_the_share_of_permutations() -> None:
    a, b = np.array([1.0, 1, 2, 2, 3, 3]), np.array([2.0, 3, 3, 4, 4, 5])
    pooled = np.concatenate((a, b))
    ranks = stats.rankdata(pooled)
    sums = np.array([ranks[list(chosen)].sum() for chosen in itertools.combinations(range(12), 6)])
    tails = min(np.mean(sums <= ranks[:6].sum()), np.mean(sums >= ranks[:6].sum()))
    assert difference(a, b, "seed").p == pytest.approx(2 * tails)


@pytest.mark.parametrize(("one", "other"), [(10, 10), (10, 7), (40, 60)])
def test_p_of_many_ties_is_that_of_scipys_permutations(one: int, other: int) -> None:
    random = np.random.default_rng(one)
    a, b = random.integers(0, 9, one).astype(float), random.integers(1, 10, other).astype(float)
    found = difference(a, b, "seed")
    method = stats.PermutationMethod(n_resamples=PERMUTATIONS, rng=generator("seed"))
    assert found.p == float(stats.mannwhitneyu(a, b, method=method).pvalue)
    assert found.u == float(stats.mannwhitneyu(a, b).statistic)


def test_large_samples_with_ties_are_tested_too() -> None:
    a = np.round(np.random.default_rng(1).normal(100, 1, 400))
    assert difference(a, a + 1, "seed").p < 1e-10


def test_holm_of_his_own_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_keeps_the_order_and_never_falls_below(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected, strict=True))
    order = sorted(range(len(p_values)), key=lambda n: p_values[n])
    assert [corrected[n] for n in order] == sorted(corrected)


# --- diagnostics ---------------------------------------------------------------------------------


def test_drift_is_seen() -> None:
    found = diagnose(sample([30, 31, 33, 36, 40, 44, 47, 50, 52, 60]), 2010)
    assert found.drift_tau == pytest.approx(1)
    assert found.drift_p is not None and found.drift_p < 0.001
    assert found.lag1_autocorrelation is not None and found.lag1_autocorrelation > 0.5
    assert found.lag1_p is not None and found.lag1_p < 0.001


def test_alternation_is_negative_autocorrelation() -> None:
    found = diagnose(sample([40, 42] * 5), 2010)
    assert found.lag1_autocorrelation == pytest.approx(-0.9)
    # Of 252 orders of five and five, two alternate, and no others are as extreme; both sides count.
    assert found.lag1_p == pytest.approx(2 * 2 / 252, abs=0.004)


def lag1(values: Sequence[float]) -> float:
    deviations = np.array(values) - np.mean(values)
    return float(np.sum(deviations[:-1] * deviations[1:]) / np.sum(deviations**2))


def test_p_of_autocorrelation_is_the_share_of_orders_that_have_as_much() -> None:
    values = [40.0, 41.0, 43.0, 44.0, 47.0, 45.0, 46.0]
    every = np.array([lag1(order) for order in itertools.permutations(values)])
    seen = lag1(values)
    tails = min(np.mean(every >= seen - 1e-9), np.mean(every <= seen + 1e-9))
    found = diagnose(sample(values), 2010)
    assert found.lag1_autocorrelation == pytest.approx(seen)
    assert found.lag1_p == pytest.approx(min(1, 2 * tails), abs=0.01)


def test_independent_values_are_called_dependent_as_often_as_was_promised() -> None:
    # Of ten values the autocorrelation is never beyond 1.96/√n in 5 of 100 cases, but its rank is.
    random = np.random.default_rng(2010)
    flagged = [diagnose(sample(list(random.normal(100, 3, 10))), 2010).lag1_p or 1 for _ in range(600)]
    assert np.mean(np.array(flagged) < SIGNIFICANCE) == pytest.approx(0.05, abs=0.03)


def test_outlier_is_flagged_by_name_and_kept() -> None:
    values = [40.0, 40.1, 39.9, 40.2, 39.8, 40.0, 40.1, 12.0, 39.9, 40.0]
    (row,) = cells([sample(values)], LINKS, 1)
    assert row.outliers == "1/8"
    assert row.mean == pytest.approx(np.mean(values) * 1e6)
    assert row.mean_without_outliers == pytest.approx(40e6)
    assert row.min == 12e6


def test_the_tools_last_digit_makes_no_outlier() -> None:
    assert not diagnose(sample([94.1] * 9 + [94.2]), 2010).outliers


@pytest.mark.parametrize("values", [[], [40], [40, 41], [40] * 10])
def test_what_cannot_be_diagnosed_is_left_open(values: list[float]) -> None:
    found = diagnose(sample(values), 2010)
    assert (found.drift_p, found.shapiro_p, found.lag1_autocorrelation, found.lag1_p) == (None,) * 4
    assert found.outliers == ()


# --- statistics.csv ------------------------------------------------------------------------------


def test_cells_are_beside_bare_metal_of_their_own_environment() -> None:
    records = [
        *raw_records({"bare-metal": 567e6, "kvm": 184e6}),
        *raw_records({"bare-metal": 98e6, "kvm": 40e6}, environment="env2"),
    ]
    found = {(row.environment, row.system): row for row in cells(samples_of(records), LINKS, 2010)}
    kvm, bare = found["env1", "kvm"], found["env1", "bare-metal"]
    assert kvm.effect and kvm.mean and bare.mean
    assert kvm.effect == pytest.approx(kvm.mean / bare.mean)
    assert kvm.effect_low and kvm.effect_high and kvm.effect_low < kvm.effect < kvm.effect_high
    assert (bare.effect, bare.effect_low) == (1, None)
    assert [row.at_limit for row in found.values()] == [False, False, True, False]
    assert found["env2", "kvm"].effect == pytest.approx(0.41, abs=0.01)


def test_too_few_values_have_no_interval_and_a_reason() -> None:
    records = raw_records({"bare-metal": 567e6, "kvm": 184e6}, repetitions=5)
    bare, kvm = cells(samples_of(records), LINKS, 2010)
    for row in (bare, kvm):
        assert row.median and row.median_low is None and row.effect_low is None
        assert "5 repetitions with a value, an interval needs 6" in row.note
    assert kvm.effect


def test_boots_are_counted_for_intervals_not_their_repetitions() -> None:
    records = raw_records({"bare-metal": 567e6, "kvm": 184e6}, boots=3, repetitions=10)
    _, kvm = cells(samples_of(records, boots=3), LINKS, 2010)
    assert (kvm.level, kvm.values, kvm.effect_low) == ("boot", 3, None)
    assert "3 boots with a value, an interval needs 6" in kvm.note
    assert kvm.within_sd and kvm.between_sd


def test_a_system_that_always_failed_is_a_row_without_numbers() -> None:
    records = [
        *raw_records({"bare-metal": 567e6}),
        *(failed_record(repetition=n, system="xen") for n in range(1, 11)),
    ]
    xen = cells(samples_of(records), LINKS, 2010)[1]
    assert (xen.planned, xen.ok, xen.failed) == (10, 0, 10)
    assert (xen.mean, xen.median, xen.effect, xen.at_limit) == (None, None, None, False)
    assert "0 repetitions with a value" in xen.note


def test_no_bare_metal_is_no_ratio_and_said() -> None:
    (kvm,) = cells(samples_of(raw_records({"kvm": 184e6})), LINKS, 2010)
    assert kvm.effect is None
    assert kvm.median_low
    assert kvm.note == "bare metal was not measured in env1"


def test_link_limit_is_that_of_full_packets() -> None:
    assert tcp_limit_bps(1000, 1500) == pytest.approx(941.48e6, rel=1e-4)
    assert tcp_limit_bps(100, 9000) == pytest.approx(99.0e6, rel=1e-3)


# --- comparisons.csv -----------------------------------------------------------------------------


def compared(*cells: tuple[str, str, Sequence[float]], question: Question = QUESTION) -> list[PairComparison]:
    """Comparisons of cells given as environment, system and values in Mbit/s."""
    made = [
        sample(values, environment=environment, system=system, hypervisor=system)
        for environment, system, values in cells
    ]
    return comparisons(made, question)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (around(200), around(100), rows.DIFFERENT),
        (around(100), around(100.1), rows.EQUIVALENT),
        (around(103), around(100, spread=0.001), rows.WITHIN_MARGIN),
        (around(100, spread=0.05), around(103, spread=0.05), rows.INCONCLUSIVE),
        (around(200, 5), around(100), rows.TOO_FEW),
        ([], around(100), rows.TOO_FEW),
    ],
)
def test_verdict_of_a_pair(a: list[float], b: list[float], verdict: str) -> None:
    (row,) = compared(("env1", "xen", a), ("env1", "kvm", b))
    assert row.verdict == verdict
    if verdict == rows.TOO_FEW:
        assert row.difference_p is None and "an interval needs 6" in row.note


def test_two_systems_at_the_limit_are_never_called_equal() -> None:
    (row,) = compared(
        ("env2", "bare-metal", around(94.0, spread=0.0001)), ("env2", "xen", around(93.9, spread=0.0001))
    )
    assert row.at_limit_a and row.at_limit_b
    assert row.verdict == rows.NOT_BY_THIS_LINK


def test_what_the_link_held_back_differs_by_this_or_more() -> None:
    (row,) = compared(("env2", "bare-metal", around(94.0, spread=0.0001)), ("env2", "qemu", around(18)))
    assert row.verdict == rows.DIFFERENT
    assert "the link held bare-metal back: they differ by this or more" in row.note


def test_near_what_the_link_held_back_is_not_distinguishable() -> None:
    (row,) = compared(
        ("env2", "bare-metal", around(90.2, spread=0.0001)), ("env2", "xen", around(89.3, spread=0.0001))
    )
    assert (row.at_limit_a, row.at_limit_b) == (True, False)
    assert row.verdict == rows.NOT_BY_THIS_LINK


def test_one_run_at_the_limit_may_have_been_faster_elsewhere() -> None:
    # The median is far from the limit, the fastest run is not.
    mixed = [*around(85, 9, spread=0.0001), 93.9]
    (row,) = compared(("env2", "bare-metal", mixed), ("env2", "xen", around(86, spread=0.0001)))
    assert (row.runs_at_limit_a, row.runs_at_limit_b, row.at_limit_a) == (1, 0, False)
    assert (row.verdict, row.note) == (
        rows.NOT_BY_THIS_LINK,
        "the link may have held bare-metal back in 1 run",
    )
    (row,) = compared(("env2", "qemu", around(18)), ("env2", "bare-metal", mixed))
    assert row.verdict == rows.DIFFERENT
    assert row.note == "the link may have held bare-metal back in 1 run: they differ by this or more"
    (row,) = compared(("env2", "bare-metal", mixed), ("env2", "xen", mixed))
    assert (row.verdict, row.note) == (
        rows.NOT_BY_THIS_LINK,
        "the link may have held runs of both back",
    )


def test_runs_are_at_the_limit_and_not_means_of_boots() -> None:
    # Each boot has a run at the limit, and the means of boots are far from it.
    records = [
        raw_record(mbit * 1e6, boot=boot, repetition=repetition, environment="env2")
        for boot in range(1, 7)
        for repetition, mbit in ((1, 93.9), (2, 60.0 + boot))
    ]
    (row,) = cells(samples_of(records, boots=6), LINKS, 2010)
    assert row.values == 6
    assert (row.runs_at_limit, row.at_limit, row.limit_said) == (6, False, "6 of 12 runs at the limit")


def test_a_slower_link_does_not_make_a_slower_system() -> None:
    (row,) = compared(
        ("env1", "bare-metal", around(567)), ("env2", "bare-metal", around(94.0, spread=0.0001))
    )
    assert row.verdict == rows.NOT_BY_THIS_LINK


def test_pairs_are_within_environments_and_then_between_them() -> None:
    pairs = compared(
        *((environment, system, around(50)) for environment in ("env1", "env2") for system in ("xen", "kvm"))
    )
    assert [
        (row.family, row.environment_a, row.system_a, row.environment_b, row.system_b) for row in pairs
    ] == [
        ("within env1, tcp", "env1", "xen", "env1", "kvm"),
        ("within env2, tcp", "env2", "xen", "env2", "kvm"),
        ("between environments, tcp", "env1", "xen", "env2", "xen"),
        ("between environments, tcp", "env1", "kvm", "env2", "kvm"),
    ]


def test_p_values_are_corrected_within_their_family() -> None:
    pairs = compared(*(("env1", system, around(100 + n, spread=0.004)) for n, system in enumerate(SYSTEMS)))
    p_values = [row.difference_p for row in pairs if row.difference_p is not None]
    assert len(p_values) == 10
    assert [row.difference_p_holm for row in pairs] == pytest.approx(holm(p_values))


def test_ranks_that_differ_are_no_means_that_do() -> None:
    # One slow run in ten: nine of ten exceed all of the others, and the means are the same.
    uneven, steady = [103.0] * 9 + [73.0], around(100, spread=0.0002)
    (row,) = compared(("env1", "xen", uneven), ("env1", "kvm", steady))
    assert row.mann_whitney_p is not None and row.mann_whitney_p < 0.01
    assert row.effect == pytest.approx(1)
    assert row.verdict == rows.INCONCLUSIVE


def test_one_system_under_two_names_is_recognised() -> None:
    definitions = {"kvm": {"hypervisor": "kvm"}, "xen": {"hypervisor": "kvm"}}
    question = replace(QUESTION, definitions=definitions)
    (row,) = compared(("env1", "kvm", around(100)), ("env1", "xen", around(100.1)), question=question)
    assert row.same
    assert row.verdict == rows.EQUIVALENT


# --- claims.csv ----------------------------------------------------------------------------------

CLOSE = Claim(
    "C3", "Xen is close to the real system", ("xen",), "bare-metal", ("env1",), (), 0.9, 1.11, ("tcp",)
)


def judged(claim: Claim, *cells: tuple[str, str, Sequence[float]]) -> list[ClaimVerdict]:
    made = [
        sample(values, environment=environment, system=system, hypervisor=system)
        for environment, system, values in cells
    ]
    return verdicts([claim], made, LINKS, 2010)


@pytest.mark.parametrize(
    ("xen", "verdict"),
    [
        (around(500), rows.SUPPORTED),
        (around(300), rows.REFUTED),
        (around(450, spread=0.03), rows.INCONCLUSIVE),
        (around(500, 5), rows.INCONCLUSIVE),
        ([], rows.INCONCLUSIVE),
    ],
)
def test_verdict_on_a_claim(xen: list[float], verdict: str) -> None:
    (row,) = judged(CLOSE, ("env1", "bare-metal", around(505)), ("env1", "xen", xen))
    assert (row.verdict, row.claim_verdict) == (verdict, verdict)
    assert (row.effect_low is None) == (len(xen) < MIN_VALUES)


def test_a_claim_without_a_bound() -> None:
    faster = replace(CLOSE, at_least=1.5, at_most=None, against="qemu")
    (row,) = judged(faster, ("env1", "xen", around(400)), ("env1", "qemu", around(40)))
    assert row.verdict == rows.SUPPORTED


def test_the_link_does_not_support_a_claim_of_equality() -> None:
    fast = replace(CLOSE, environments=("env2",))
    near_limit = around(94, spread=0.0001)
    (row,) = judged(fast, ("env2", "bare-metal", near_limit), ("env2", "xen", near_limit))
    assert (row.bound, row.verdict) == ("both", rows.INCONCLUSIVE)
    (row,) = judged(fast, ("env2", "bare-metal", near_limit), ("env2", "xen", around(88, spread=0.0001)))
    assert (row.bound, row.verdict) == ("low", rows.INCONCLUSIVE)
    (row,) = judged(fast, ("env2", "bare-metal", near_limit), ("env2", "xen", around(40)))
    assert (row.bound, row.verdict) == ("low", rows.REFUTED)


NEAR = around(94, spread=0.0001)


@pytest.mark.parametrize(
    ("native", "guest", "verdict", "bound"),
    [
        # No link limits either: what the link made equal when it was published cannot be compared.
        (around(50), around(49.9), rows.NOT_COMPARABLE, ""),
        (around(50), around(20), rows.NOT_COMPARABLE, ""),
        (around(50, 5), around(50, 5), rows.NOT_COMPARABLE, ""),
        (around(50), NEAR, rows.NOT_COMPARABLE, ""),
        # The link sets both, as then.
        (NEAR, NEAR, rows.SUPPORTED, ""),
        # It sets the second alone: the first is slower than what it was said to fill.
        (NEAR, around(40), rows.REFUTED, "low"),
        (NEAR, around(88, spread=0.0001), rows.REFUTED, "low"),
        # Nothing is known.
        (NEAR, [], rows.INCONCLUSIVE, ""),
    ],
)
def test_a_claim_that_the_link_made_true_is_tested_where_a_link_limits(
    native: list[float], guest: list[float], verdict: str, bound: str
) -> None:
    claim = replace(
        CLOSE, environments=("env2",), at_least=0.97, at_most=1.03, link_limited=True, published=1.0
    )
    (row,) = judged(claim, ("env2", "bare-metal", native), ("env2", "xen", guest))
    assert (row.verdict, row.claim_verdict, row.bound) == (verdict, verdict, bound)
    assert (row.published, row.link_limited) == (1.0, True)
    if verdict == rows.NOT_COMPARABLE:
        assert row.note.endswith("the link set both values when this was published, and not the second here")
    # Without that word of it, the link leaves such claims open.
    (plain,) = judged(replace(claim, link_limited=False), ("env2", "bare-metal", NEAR), ("env2", "xen", NEAR))
    assert (plain.verdict, plain.bound) == (rows.INCONCLUSIVE, "both")


def test_what_is_not_comparable_says_nothing_of_a_claim_that_is_tested_elsewhere() -> None:
    claim = replace(CLOSE, environments=("env1", "env2"), link_limited=True)
    slow = (("env1", "bare-metal", around(300)), ("env1", "xen", around(100)))
    held = (("env2", "bare-metal", NEAR), ("env2", "xen", NEAR))
    found = judged(claim, *slow, *held)
    assert [row.verdict for row in found] == [rows.NOT_COMPARABLE, rows.SUPPORTED]
    assert {row.claim_verdict for row in found} == {rows.SUPPORTED}


def test_one_run_at_the_limit_leaves_a_claim_open() -> None:
    fast = replace(CLOSE, environments=("env2",))
    mixed = [*around(85, 9, spread=0.0001), 93.9]
    steady = around(85, spread=0.0001)
    (row,) = judged(fast, ("env2", "bare-metal", steady), ("env2", "xen", steady))
    assert (row.bound, row.verdict) == ("", rows.SUPPORTED)
    (row,) = judged(fast, ("env2", "bare-metal", steady), ("env2", "xen", mixed))
    assert (row.bound, row.verdict) == ("high", rows.INCONCLUSIVE)
    assert row.note == "the link may have held the first back in 1 run: the ratio may be higher"
    (row,) = judged(fast, ("env2", "bare-metal", mixed), ("env2", "xen", steady))
    assert (row.bound, row.verdict) == ("low", rows.INCONCLUSIVE)
    (row,) = judged(fast, ("env2", "bare-metal", mixed), ("env2", "xen", mixed))
    assert (row.bound, row.verdict) == ("both", rows.INCONCLUSIVE)
    assert row.note == "the link may have held runs of both back: the ratio may be any"


def test_a_claim_is_as_good_as_its_worst_comparison() -> None:
    both = replace(CLOSE, systems=("xen", "kvm"))
    bare = ("env1", "bare-metal", around(500))
    found = judged(both, bare, ("env1", "xen", around(500)), ("env1", "kvm", around(184)))
    assert [row.verdict for row in found] == [rows.SUPPORTED, rows.REFUTED]
    assert {row.claim_verdict for row in found} == {rows.REFUTED}


def test_a_claim_between_environments_compares_each_system_with_itself() -> None:
    claim = Claim("C6", "QEMU differs a little", ("qemu",), None, (), ("env1", "env2"), 1.02, 1.25, ("tcp",))
    (row,) = judged(claim, ("env1", "qemu", around(44)), ("env2", "qemu", around(40)))
    assert (row.environment_a, row.environment_b, row.verdict) == ("env1", "env2", rows.SUPPORTED)


def test_what_was_not_measured_is_inconclusive_and_named() -> None:
    (row,) = judged(CLOSE, ("env1", "bare-metal", around(500)))
    assert (row.verdict, row.note) == (rows.INCONCLUSIVE, "xen in env1 was not measured")


# --- tables --------------------------------------------------------------------------------------


def test_tables_are_read_as_they_were_written(tmp_path: Path) -> None:
    every = samples_of(
        [*raw_records({"bare-metal": 567e6, "xen": 416e6}), *raw_records({"xen": 90e6}, environment="env2")]
    )
    path = tmp_path / "table.csv"
    rows.write(CellStatistics, cells(every, LINKS, 1), path)
    assert rows.as_csv(CellStatistics, rows.read(CellStatistics, path)) == path.read_text()
    assert {str(row.host_boots) for row in rows.read(CellStatistics, path)} == {"1"}
    rows.write(PairComparison, comparisons(every, QUESTION), path)
    assert rows.as_csv(PairComparison, rows.read(PairComparison, path)) == path.read_text()
    rows.write(ClaimVerdict, verdicts([CLOSE], every, LINKS, 1), path)
    assert rows.as_csv(ClaimVerdict, rows.read(ClaimVerdict, path)) == path.read_text()


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("mean,", "", "columns differ: mean"),
        (",kvm,kvm,", ",kvm,", "line 2: .* fields instead of"),
        (",no,", ",maybe,", "line 2: `at_limit` 'maybe' is not `yes` or `no`"),
        (",10,10,0,", ",ten,10,0,", "line 2: `planned` 'ten' is not a number"),
        (",10,10,0,", ",,10,0,", "line 2: `planned` '' is not a number"),
    ],
)
def test_a_table_with_a_mistake_is_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = tmp_path / "statistics.csv"
    text = rows.as_csv(CellStatistics, [cell_statistics()])
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ParseError, match=complaint):
        rows.read(CellStatistics, path)


# --- error rates ---------------------------------------------------------------------------------

TRIALS = 100
# Off once in ten thousand.
ERROR = 3.9 * float(np.sqrt(0.05 * 0.95 / TRIALS))


def line(scenario: simulation.Scenario) -> str:
    return f"{scenario.name}, n = {scenario.values_a}, {scenario.values_b}"


@pytest.mark.parametrize(
    "scenario", [each for each in simulation.SCENARIOS if not each.fault and each.values_b <= 10], ids=line
)
def test_error_rates_under_known_truth(scenario: simulation.Scenario) -> None:
    assert simulation.error_rates(scenario, TRIALS, seed=1).kept(ERROR)


@pytest.mark.parametrize("name", ["neighbours correlated by 0.6", "one boot of", "normal, CV 1 %"])
def test_what_no_statistics_can_mend_falls_short(name: str) -> None:
    scenario = next(each for each in simulation.SCENARIOS if each.fault and name in each.name)
    assert not simulation.error_rates(scenario, TRIALS, seed=1).kept(ERROR)


@pytest.mark.parametrize("case", simulation.NEAR_LIMIT, ids=lambda case: f"{case.name}, n = {case.values}")
def test_the_link_feigns_no_truth(case: simulation.NearLimit) -> None:
    assert simulation.false_support(case, TRIALS, seed=1) <= 0.05 + ERROR


def test_false_alarms_in_a_family_are_rare() -> None:
    assert (
        simulation.any_false_alarm(simulation.FAMILIES[0], 40, seed=1) <= 0.05 + ERROR * (TRIALS / 40) ** 0.5
    )


@pytest.mark.parametrize(
    "case",
    [each for each in simulated_coverage.CASES if not each.shape.fault and each.values == 10],
    ids=lambda case: case.name,
)
def test_an_interval_of_every_kind_holds_the_truth(case: simulated_coverage.Case) -> None:
    assert simulated_coverage.coverage(case, TRIALS, seed=1) >= 0.95 - ERROR


def test_more_values_show_dependence_and_few_do_not() -> None:
    seen = {n: simulation.flagged(0.6, n, TRIALS, seed=1) for n in (6, 30)}
    assert seen[6] < 0.4 < 0.7 < seen[30]


def test_each_line_of_the_simulations_has_draws_of_its_own() -> None:
    # With the same normal draws, these two would have the same shares.
    one, other = (replace(simulation.SCENARIOS[0], name=name) for name in ("one", "other"))
    found = [simulation.error_rates(each, 40, seed=1) for each in (one, one, other)]
    assert found[0] == found[1] != found[2]


def test_power_falls_with_the_spread() -> None:
    low, high = (simulation.power(spread, TRIALS, seed=1) for spread in (0.01, 0.1))
    assert low.difference_found > 0.95 and low.equivalence_found > 0.95
    assert high.difference_found < 0.5 and high.equivalence_found < 0.05


def test_the_interval_can_be_recomputed_as_the_documentation_says(tmp_path: Path) -> None:
    records = raw_records({"bare-metal": 567e6, "kvm": 184e6})
    frame = measurements.from_records(records)
    measurements.write_csv(frame, tmp_path / "results/env1/measurements.csv")
    kvm = cells(samples(frame, SYSTEMS, 1), LINKS, 2010)[1]
    text = (Path(__file__).parents[1] / "docs/statistics.md").read_text()
    code = text.split("```python\n")[1].split("```")[0]
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [f"{value:.6g}" for value in (kvm.effect, kvm.effect_low, kvm.effect_high)]
