"""What is expected of links that are known, and whether what was measured keeps it."""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hvcost.calibration import expectations
from hvcost.calibration.expectations import (
    BARE,
    IMPAIRED,
    RATES,
    REPETITIONS,
    Bare,
    Case,
    Setting,
    expected,
    options_for,
    rule_of,
    tools_for,
)
from hvcost.calibration.measurement import Measured, Result
from hvcost.calibration.page import page
from hvcost.calibration.table import Agreement, agreements, rows, without_rule
from hvcost.model.metric import HOST_CPU, LOSS, ROUND_TRIP, THROUGHPUT, TRANSACTION_RATE, Metric, Value
from hvcost.tools import completed, load_tool, options_of, tool_names

DELAYED = Setting(("delay",), delay_ms=10)
LOSSY = Setting(("loss",), loss_percent=5)
RATED = RATES[1]
QUICK = Bare(0.3, 0.4, 0.5)


@dataclass(frozen=True)
class Options:
    """Of a tool that sends so many packets."""

    count: int = 1000
    duration_s: int = 1


def test_a_stream_fills_the_link() -> None:
    found = expected(Case(THROUGHPUT, RATED, Options()))
    assert found
    # A packet of 1500 bytes carries 1448 and takes 1538 on the wire.
    assert found.value == pytest.approx(100e6 * 1448 / 1538)
    assert found.is_kept(0.985 * found.value)
    assert not found.is_kept(0.97 * found.value)


def test_a_delay_counts_both_ways_beside_what_there_is_without_it() -> None:
    found = expected(Case(ROUND_TRIP, DELAYED, Options(), bare=QUICK))
    assert found
    assert found.value == pytest.approx(20.4)
    assert found.error < 1
    # What is slower by so much happens less often: from 1/0.4 to 1/20.4 in a millisecond.
    rate = expected(Case(TRANSACTION_RATE, DELAYED, Options(), bare=Bare(2000, 2500, 2600)))
    assert rate
    assert rate.value == pytest.approx(1000 / 20.4)


def test_what_a_machine_takes_by_itself_is_known_no_better_than_it_was_seen() -> None:
    vague = expected(Case(ROUND_TRIP, DELAYED, Options(), bare=Bare(0.3, 0.4, 2.4)))
    sure = expected(Case(ROUND_TRIP, DELAYED, Options(), bare=Bare(0.4, 0.4, 0.4)))
    assert vague and sure
    assert vague.error == pytest.approx(sure.error + 2.0)
    assert vague.value == sure.value


def test_the_step_of_the_last_digit_is_part_of_the_error() -> None:
    coarse = expected(Case(ROUND_TRIP, DELAYED, Options(), bare=QUICK, resolution=1.0))
    fine = expected(Case(ROUND_TRIP, DELAYED, Options(), bare=QUICK))
    assert coarse and fine
    assert coarse.error == pytest.approx(fine.error + 1.0)


@pytest.mark.parametrize(
    ("metric", "setting", "bare"),
    [
        (THROUGHPUT, DELAYED, None),
        (THROUGHPUT, LOSSY, None),
        (ROUND_TRIP, RATED, QUICK),
        (ROUND_TRIP, DELAYED, None),
        (ROUND_TRIP, BARE, QUICK),
        (LOSS, RATED, None),
        (HOST_CPU, RATED, None),
    ],
)
def test_nothing_is_expected_where_nothing_can_be(
    metric: Metric, setting: Setting, bare: Bare | None
) -> None:
    assert expected(Case(metric, setting, Options(), bare)) is None


@pytest.mark.parametrize("percent", [1, 5])
@pytest.mark.parametrize("packets", [500, 5000])
def test_a_fair_lottery_keeps_the_stated_error_of_losses(percent: int, packets: int) -> None:
    found = expected(Case(LOSS, Setting(("loss",), loss_percent=percent), Options(packets)))
    assert found
    draws = np.random.default_rng(12).binomial(packets, percent / 100, (2000, REPETITIONS))
    medians = np.median(100 * draws / packets, axis=1)
    kept = np.mean([found.is_kept(float(median)) for median in medians])
    assert kept > 0.99
    # It is not stated so wide that all would keep it.
    assert not found.is_kept(2.5 * percent if packets == 500 else 1.5 * percent)


def test_a_metric_with_a_limit_is_expected_whatever_its_tool() -> None:
    new = Metric("new", "bit/s", "new throughput", limit=lambda link: link["rate_mbit"] * 9e5)
    found = expected(Case(new, RATED, Options()))
    assert found
    assert found.value == pytest.approx(90e6)
    assert rule_of(Metric("other", "1", "other")) is None


@pytest.mark.parametrize("tool", tool_names())
def test_every_tool_is_measured_somewhere(tool: str) -> None:
    chosen = [setting for setting in (*RATES, *IMPAIRED) if tool in tools_for(setting, tool_names())]
    assert chosen
    for setting in chosen:
        assert completed(options_for(tool, setting))["tool"] == tool


def test_every_metric_is_expected_or_named() -> None:
    named = {tool for tools in without_rule(tool_names()).values() for tool in tools}
    assert set(tool_names()) <= named | {
        tool for tool in tool_names() if all(map(rule_of, load_tool(tool).metrics))
    }
    assert without_rule(["iperf"])[HOST_CPU.title] == ["iperf"]


# --- from what was measured to the page

FACTS: dict[str, Any] = {
    "kernel": "6.12.48",
    "cpu_model": "a processor",
    "cpus": 2,
    "system": "Debian",
    "iperf_version": "iperf version 2.2.1",
}


def measured(setting: Setting, tool: str, said: list[Any], busy: float = 0.1) -> Measured:
    """A link on which a tool's runs said these figures, or why there are none."""
    return Measured(
        setting,
        "this computer",
        {tool: completed(options_for(tool, setting))},
        {tool: [Result(each, busy) for each in said]},
        FACTS,
    )


def stream(*mbit: float | None) -> list[Any]:
    return [{"throughput": Value(each * 1e6)} if each else "client: connect failed" for each in mbit]


def test_the_median_is_what_has_to_keep_it() -> None:
    (row,) = rows([measured(RATED, "iperf", stream(94.1, 93, 94, 94.2, 60, 94))], "rate")
    assert row.is_kept
    assert row.figures.median == pytest.approx(94e6)
    assert row.figures.interval and row.figures.interval.low == pytest.approx(60e6)
    (row,) = rows([measured(RATED, "iperf", stream(94, 80, 81, 79, 80, 94))], "rate")
    assert not row.is_kept


def test_delays_are_compared_with_the_same_tool_without_them() -> None:
    def trips(ms: float) -> list[Any]:
        no = "fewer than 1,000 round trips"
        p90 = Value(ms) if ms < 1 else no
        rate = {"transaction_rate": Value(1000 / ms)}
        return [{"round_trip": Value(ms), "round_trip_p90": p90, "round_trip_p99": no, **rate}] * 6

    found = rows([measured(BARE, "netperf", trips(0.5)), measured(DELAYED, "netperf", trips(20.6))], "delay")
    assert [(row.metric.name, row.is_kept) for row in found if row.is_told] == [
        ("round_trip", True),
        ("transaction_rate", True),
    ]
    assert [row.metric.name for row in found if not row.is_told] == ["round_trip_p90"]


def test_runs_that_failed_are_counted_and_told() -> None:
    text = page(
        [
            measured(RATES[0], "iperf", stream(9.4, None, 9.4, 9.4, 9.4, 9.4)),
            measured(RATED, "iperf", stream(*[None] * 6)),
        ],
        datetime.date(2026, 11, 24),
    )
    assert "1 of 2 medians are within" in " ".join(text.split())
    assert "(5 of 6 runs)" in text
    assert "none: client: connect failed | " in text
    assert "**no value**" in text


def test_a_computer_whose_processors_were_full_is_said_to_be_so() -> None:
    for busy, said in ((0.95, "**no**: the processors were 95% busy"), (0.3, "**no** |")):
        text = page([measured(RATES[2], "iperf", stream(*[600.0] * 6), busy)], datetime.date(2026, 11, 24))
        assert said in text


def test_the_page_says_where_by_what_and_what_is_left_out() -> None:
    text = page([measured(RATED, "iperf", stream(*[94.0] * 6))], datetime.date(2026, 11, 24))
    for part in ("2026-11-24", "6.12.48", "a processor", "iperf version 2.2.1", "scripts/calibrate.py"):
        assert part in text
    assert "- Host processor time (of `iperf`" in text
    assert "{" not in text


def test_tools_are_compared_round_by_round(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("iperf", "netperf")
    monkeypatch.setattr("hvcost.calibration.table.load_tool", lambda _: load_tool("iperf"))
    first, second = stream(90, 80, None, 94, 94, 94, 94), stream(90.9, 80.8, 94, None, 94.94, 94.94, 94.94)
    both = Measured(
        RATED,
        "this computer",
        {},
        {names[0]: [Result(each) for each in first], names[1]: [Result(each) for each in second]},
        FACTS,
    )
    (found,) = agreements([both])
    assert found.tools == names
    assert found.ratios == pytest.approx([1.01] * 5)
    assert found.agrees
    assert found.interval is None


@pytest.mark.parametrize(
    "ratios, agrees",
    [
        ([1.04, 1.04, 1.03, 1.03, 1.00, 1.01], True),
        ([1.04, 1.04, 1.03, 1.03, 1.03, 1.03], False),
        ([0.97, 0.97, 0.96, 0.97, 0.97, 0.96], False),
        ([1.03, 1.03, 1.00], False),
    ],
)
def test_tools_agree_unless_the_whole_interval_is_beyond_the_error(ratios: list[float], agrees: bool) -> None:
    assert Agreement(RATED, THROUGHPUT, ("iperf", "iperf3"), tuple(ratios)).agrees is agrees


def test_datagrams_fit_frames_of_their_own() -> None:
    # 1470 bytes of payload, 28 of headers, 38 around.
    assert expectations.udp_capacity_pps(10, 1470) == pytest.approx(10e6 / 8 / 1536)
    assert math.isfinite(expectations.udp_capacity_pps(1000, 16))


def test_options_are_the_tools_own() -> None:
    assert options_of(options_for("iperf", RATED)).duration_s == 1
    assert set(options_for("iperf", RATED)) == {"tool", "duration_s"}
