"""Latencies as distributions: percentiles of one thing, from raw files to figures and to the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import answering
import factories
import numpy as np
import pytest
from hvcost import figures
from hvcost.analysis.rows import CellStatistics
from hvcost.errors import ConfigError
from hvcost.figures import percentiles, style
from hvcost.model.description import environment_from
from hvcost.model.metric import (
    ROUND_TRIP,
    ROUND_TRIP_P90,
    ROUND_TRIP_P99,
    ROUND_TRIP_P999,
    THROUGHPUT,
    TRANSACTION_RATE,
    Metric,
)
from test_figures import assert_readable, heights, marks, said

PERCENTILES = (ROUND_TRIP, ROUND_TRIP_P90, ROUND_TRIP_P99, ROUND_TRIP_P999)
ANSWERS = figures.Distribution("answers", PERCENTILES, is_primary=True)
LINKS = {name: {"rate_mbit": 1000, "mtu": 1500} for name in ("env1", "env2")}


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    with style.house_style():
        yield


@pytest.mark.parametrize(
    "wrong",
    [
        {"percentile": 50.0},
        {"distribution": "time"},
        {"distribution": "time", "percentile": 0.0},
        {"distribution": "time", "percentile": 100.0},
    ],
)
def test_a_percentile_is_one_of_something(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="metric p50: a percentile"):
        Metric("p50", "ms", "median", **wrong)


def test_round_trips_are_one_distribution() -> None:
    assert [metric.name for metric in PERCENTILES] == [
        "round_trip",
        "round_trip_p90",
        "round_trip_p99",
        "round_trip_p999",
    ]
    assert {metric.distribution for metric in PERCENTILES} == {"round-trip time"}
    assert [metric.percentile for metric in PERCENTILES] == [50, 90, 99, 99.9]
    measured = {ROUND_TRIP_P99: False, TRANSACTION_RATE: False, ROUND_TRIP: True}
    (found,) = figures.Distribution.all_of("rr", measured)
    assert (found.name, found.metrics) == ("rr", (ROUND_TRIP, ROUND_TRIP_P99))
    (beside,) = figures.Distribution.all_of("rr", dict.fromkeys(measured, False))
    assert beside.name == "rr-round-trip-time"


def test_one_percentile_alone_is_no_distribution() -> None:
    assert figures.Distribution.all_of("ping", {ROUND_TRIP: True, THROUGHPUT: False}) == []


def trips(system: str, times: Mapping[float, float | None], **changes: Any) -> list[CellStatistics]:
    """Cells of a system with these percentiles, in milliseconds; None is not available."""
    made = []
    for metric in PERCENTILES:
        value = times[metric.percentile or 0.0]
        own = {
            "mean": value,
            "median": value,
            "median_low": value and value * 0.9,
            "median_high": value and value * 1.2,
            "note": "" if value else "not available",
        }
        made.append(
            factories.cell_statistics(
                **{"system": system, "workload": "answers", "metric": metric.name, "unit": "ms"}
                | own
                | changes
            )
        )
    return made


FAST = {50.0: 0.2, 90.0: 0.25, 99.0: 0.4, 99.9: 2.0}
SLOW = {50.0: 0.9, 90.0: 1.5, 99.0: 9.0, 99.9: None}
NEVER = dict.fromkeys(FAST)
CASES = {
    "normal": [*trips("bare-metal", FAST), *trips("kvm", SLOW)],
    "steady": trips("bare-metal", dict.fromkeys(FAST, 0.2)),
    "no interval": trips("kvm", FAST, median_low=None, median_high=None, median_confidence=None),
    "nothing": [],
    "all failed": trips("kvm", NEVER, ok=0, failed=10),
    "a median of zero": trips("kvm", {**FAST, 50.0: 0.0}),
    "long names": [
        row
        for n in range(9)
        for row in trips(
            f"kvm-with-a-name-that-is-much-longer-than-others-{n}", {p: t * 2**n for p, t in FAST.items()}
        )
    ],
}


def drawn(case: str) -> figures.Picture:
    systems = list(dict.fromkeys(row.system for row in CASES[case])) or ["kvm"]
    return percentiles.draw(environment_from(factories.environment_config(*systems)), CASES[case], ANSWERS)


@pytest.mark.parametrize("case", CASES)
def test_percentiles_are_readable_and_all_within_the_axes(case: str) -> None:
    picture = drawn(case)
    assert_readable(picture)
    (axes,) = picture.figure.axes
    low, high = axes.get_ylim()
    ends = [float(y) for line in axes.get_lines() for y in np.asarray(line.get_ydata())]
    assert all(low < y < high for y in ends)
    assert style.rendered(picture)


def test_a_line_goes_from_the_median_to_the_few_that_take_long() -> None:
    picture = drawn("normal")
    (axes,) = picture.figure.axes
    assert axes.get_yscale() == "log"
    (line,) = marks(picture, "bare-metal")
    assert heights(line) == list(FAST.values())
    places = [float(x) for x in np.asarray(line.get_xdata())]
    # As far from 90 to 99 % as from 99 to 99.9 %: a tenth is left each time.
    assert places[2] - places[1] == pytest.approx(1.0) == places[3] - places[2]
    assert places[1] - places[0] == pytest.approx(math.log10(5))
    text = said(picture)
    for label in ("50 %", "90 %", "99 %", "99.9 %", "Round-trip time, ms (logarithmic)"):
        assert label in text
    assert "lower is better" in text.replace("\n", " ")
    assert "its exact interval (97.9 % confidence)" in text.replace("\n", " ")
    assert "kvm: 50 %: 0.900 [0.810, 1.08] ms" in picture.description


def test_a_percentile_that_nobody_has_is_no_point_and_is_named() -> None:
    picture = drawn("normal")
    (line,) = marks(picture, "kvm")
    assert len(heights(line)) == 3
    assert "Without a figure: kvm 99.9 %." in said(picture)
    assert "99.9 %: none" in picture.description


def test_nothing_to_show_is_said() -> None:
    assert "There are no measurements." in said(drawn("nothing"))
    assert "kvm (no measurements)" in said(drawn("nothing"))
    assert "No repetition succeeded." in said(drawn("all failed"))


def test_of_percentiles_there_are_no_bars(tmp_path: Path) -> None:
    """The files of the figures, from raw files: the study's own for the other metrics."""
    with answering.there():
        systems = {"bare-metal": 0.2, "kvm": 0.5}
        made = [each for each in answering.records(systems) if each.repetition <= 2]
        config = {**factories.environment_config(*systems), "workloads": ["rr"]}
        factories.write_results(made, tmp_path, environments=[config])
        answering.draw([config], tmp_path)
    others = ("rr-transaction-rate", "rr-host-cpu-transaction")
    of_place = {"topology", "percentiles-rr", "order-rr"}
    for name in others:
        of_place |= {f"{kind}-{name}" for kind in ("repetitions", "repetitions-with-bare-metal", "order")}
    assert {path.stem for path in (tmp_path / "env1/figures").iterdir()} == of_place
    compared = {"ratios-rr"} | {f"{kind}-{name}" for kind in ("means", "ratios") for name in others}
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == compared
