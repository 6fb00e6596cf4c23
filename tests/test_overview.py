"""Several metrics and workloads in the report: the overview, what is said first, and a section per metric."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import answering
import factories
import pytest
from hvcost.analysis.rows import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    NOT_BY_THIS_LINK,
    TOO_FEW,
    VERDICTS,
    WITHIN_MARGIN,
    CellStatistics,
)
from hvcost.model.description import environment_from
from hvcost.report import inputs, page, sections
from hvcost.report.inputs import Place, Results, Table
from hvcost.report.numbers import Placed
from hvcost.report.overview import Entry, overview
from test_report import pair, parsed


@pytest.fixture(scope="module")
def answers() -> Iterator[None]:
    with answering.there():
        yield


@pytest.fixture(scope="module")
def results(answers: None, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Throughput and round trips of five systems over two links, the second of which is full."""
    folder = tmp_path_factory.mktemp("results")
    answering.results(folder)
    return inputs.read(folder / "experiment.json", folder)


@pytest.fixture(scope="module")
def html(results: Results) -> str:
    return page.render(results)


def text(html: str) -> str:
    return parsed(html).said.replace(" .", ".").replace(" ,", ",")


# The overview


def place_of(*rows: CellStatistics) -> Place:
    known = environment_from(factories.environment_config("bare-metal", "kvm"))
    placed = tuple(Placed(row, f"row-{row.system}") for row in rows)
    return Place(known, Table("statistics-env1", "env1/statistics.csv", placed, (), ()), (), None, (), {})


BARE: dict[str, Any] = {"system": "bare-metal", "mean": 567e6, "effect": 1.0, "effect_low": None}
CPU: dict[str, Any] = {"metric": "host_cpu", "unit": "s/Gbit", "role": "secondary", "limit": None}
LIMIT: dict[str, Any] = {"runs_at_limit": 10, "at_limit": True}


def entry(verdict: str, kvm: dict[str, Any], bare: dict[str, Any] | None = None) -> Entry:
    """KVM's entry in an overview of one metric, beside bare metal."""
    rows = (
        factories.cell_statistics(**{**BARE, **(bare or {}), "effect_high": None}),
        factories.cell_statistics(**kvm),
    )
    compared = pair(
        system_a="bare-metal",
        system_b="kvm",
        same=False,
        verdict=verdict,
        metric=rows[1].metric,
        role=rows[1].role,
    )
    table = overview(place_of(*rows), [compared])
    ((_bare_metal, _own), (system, (found,))) = table.rows
    assert system == "kvm" and found
    return found


def effect(value: float, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"effect": value, "effect_low": low, "effect_high": high}


@pytest.mark.parametrize(
    ("verdict", "kvm", "shape", "words"),
    [
        (DIFFERENT, effect(0.67, 0.63, 0.71), "▼", "worse"),
        (DIFFERENT, effect(1.2, 1.1, 1.3), "▲", "better"),
        (DIFFERENT, CPU | effect(2.7, 2.5, 3.1), "▽", "seems worse"),
        (DIFFERENT, CPU | effect(0.7, 0.6, 0.8), "△", "seems better"),
        (WITHIN_MARGIN, effect(0.98, 0.97, 0.99), "≈", "hardly worse"),
        (EQUIVALENT, effect(0.998, 0.99, 1.01), "=", "no difference"),
        (INCONCLUSIVE, effect(0.9, 0.7, 1.1), "?", "not told apart"),
        (NOT_BY_THIS_LINK, LIMIT | effect(0.999, 0.99, 1.0), "▮", "at the link’s limit"),
        (TOO_FEW, effect(0.5), "…", "too few values"),
    ],
)
def test_a_mark_is_a_shape_and_words(verdict: str, kvm: dict[str, Any], shape: str, words: str) -> None:
    bare = {key: kvm[key] for key in CPU if key in kvm}
    found = entry(verdict, kvm, bare)
    assert found.mark
    assert (found.mark.shape, found.mark.words) == (shape, words)
    assert (found.cell.id, found.pair) == ("row-kvm", "comparisons-1")


def test_every_verdict_has_a_mark() -> None:
    for verdict in VERDICTS:
        assert entry(verdict, effect(0.5, 0.4, 0.6)).mark


@pytest.mark.parametrize(
    ("kvm", "bare", "told"),
    [
        (effect(0.67, 0.63, 0.71), {}, ("", "67 %", "[63, 71]", "")),
        (CPU | effect(2.73, 2.52, 3.06), CPU, ("", "2.73 ×", "[2.52, 3.06]", "")),
        (effect(0.67, 0.63, 0.71), LIMIT, ("at most", "67 %", "[63, 71]", "")),
        (LIMIT | effect(1.3, 1.2, 1.4), {}, ("at least", "130 %", "[120, 140]", "")),
        # What the link set on both sides is no ratio: the value itself.
        (LIMIT | {"mean": 93e6} | effect(0.99, 0.98, 1.0), LIMIT, ("", "93.0", "", "Mbit/s")),
        ({"mean": None, "unavailable": 10, "ok": 0}, {}, ("", "not available", "", "")),
        ({"mean": None, "failed": 10, "ok": 0}, {}, ("", "no figure", "", "")),
    ],
)
def test_an_entry_is_beside_bare_metal(
    kvm: dict[str, Any], bare: dict[str, Any], told: tuple[str, ...]
) -> None:
    found = entry(DIFFERENT, kvm, bare)
    assert (found.bound, found.value, found.interval, found.unit) == told


def test_a_system_that_was_not_measured_has_a_row_without_entries() -> None:
    table = overview(place_of(factories.cell_statistics(**{**BARE, "effect_high": None})), [])
    assert table.rows[1] == ("kvm", (None,))


def test_columns_are_by_workloads_as_configured_and_primary_metrics_first(results: Results) -> None:
    table = overview(results.places[0], results.comparisons.rows)
    names = [each.name for each in answering.TRIPS]
    assert {
        workload: [column.group.metric.name for column in columns]
        for workload, columns in table.workloads.items()
    } == {
        "tcp": ["throughput", "host_cpu"],
        "rr": [*names, "transaction_rate", "host_cpu_transaction"],
    }
    assert [system for system, _entries in table.rows] == ["bare-metal", "kvm", "xen", "virtualbox", "qemu"]


def test_the_page_tells_the_marks_that_it_has(html: str) -> None:
    found = text(html)
    for shape, words in (("▼", "worse"), ("▽", "seems worse"), ("▮", "at the link’s limit")):
        assert f"{shape} {words} :" in found
    assert "no difference :" not in found
    assert found.count("(secondary)") >= 2 * 6


# What is said first


def test_the_first_sentences_tell_each_primary_metric_and_the_processor_time(html: str) -> None:
    found = text(html)
    answer = found[: found.index("Overview")]
    for beginning in ("KVM costs", "Xen costs", "VirtualBox costs", "QEMU costs"):
        sentence = answer[answer.index(beginning) :].partition("Host processor time:")
        assert "of bare metal’s TCP throughput" in sentence[0]
        assert re.search(r"Median round-trip time: [\d.]+ \[[\d., ]+\] times bare metal’s", sentence[0])
        assert re.match(r" [\d.]+ \[[\d., ]+\] times bare metal’s, [\d.]+ s/Gbit\.", sentence[2])
    full = answer[answer.index("this link cannot show its cost") :]
    assert "Median round-trip time: 2.7" in full and "Host processor time:" in full


def test_of_a_metric_of_several_workloads_the_first_is_told_and_named(results: Results) -> None:
    place = results.places[0]
    again = tuple(
        Placed(replace(cell.row, workload="tcp-short"), f"{cell.id}-short")
        for cell in place.statistics.rows
        if cell.row.workload == "tcp"
    )
    both = replace(place, statistics=replace(place.statistics, rows=(*again, *place.statistics.rows)))
    told = [(group.workload, group.metric.name) for group in sections.headlines(both)]
    assert told == [("tcp", "throughput"), ("rr", "round_trip"), ("tcp", "host_cpu")]
    answer = page.Answer(both, tuple(sections.headlines(both)))
    assert [group.metric.name for group in answer.told] == ["throughput", "host_cpu"]
    assert page.Answer(place, tuple(sections.headlines(place))).told == []


# Sections


def test_percentiles_are_one_section_with_one_table_and_one_figure(results: Results, html: str) -> None:
    found = {section.title: section for section in sections.sections(results.places[0])}
    assert list(found) == [
        "TCP throughput",
        "round-trip time",
        "host processor time",
        "transactions per second",
        "host processor time per transaction",
    ]
    trips = found["round-trip time"]
    assert trips.metrics == answering.TRIPS
    assert [[cell is not None for cell in cells] for _first, cells in trips.rows] == [[True] * 4] * 5
    own = html[html.index('id="metric-env1-round-trip-time"') :]
    own = own[: own.index("<h3", 10)]
    assert own.count("<table>") == 1
    assert "what percentiles-rr shows" in own and "what order-rr shows" in own
    said = text(own)
    assert "in ms: median of the repetitions [interval], and ratio to bare metal [95 %]" in said
    assert "50 % 90 % 99 % 99.9 %" in said
    assert "0 of 10 ok" in said


def test_a_metric_of_two_workloads_is_one_section(results: Results) -> None:
    place = results.places[0]
    ping = tuple(
        Placed(replace(cell.row, workload="ping", role="secondary"), f"{cell.id}-ping")
        for cell in place.statistics.rows
        if cell.row.metric == "round_trip"
    )
    both = replace(place, statistics=replace(place.statistics, rows=(*ping, *place.statistics.rows)))
    trips = next(each for each in sections.sections(both) if each.title == "round-trip time")
    assert [group.workload for group in trips.first] == ["rr", "ping"]
    assert len(trips.rows) == 10
    assert [cell is None for cell in trips.rows[-1][1]] == [False, True, True, True]
    assert trips.role == "Verdicts on workload rr are about median round-trip time."


def test_every_link_of_several_workloads_has_a_target(html: str) -> None:
    made = parsed(html)
    ids = [element.attributes["id"] for element in made.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    targets = {e.attributes["href"][1:] for e in made.each("a") if e.attributes["href"].startswith("#")}
    assert targets <= set(ids)
