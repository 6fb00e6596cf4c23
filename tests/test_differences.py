"""Metrics where 0 is possible, which are compared by difference: from raw files to the page."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
from hvcost import figures, tools
from hvcost.analysis import measurements, rows, simulation
from hvcost.analysis.cells import cells
from hvcost.analysis.claims import verdicts
from hvcost.analysis.comparisons import Question, comparisons
from hvcost.analysis.effects import effect
from hvcost.analysis.intervals import Bootstrap, Values, difference_bootstrap, seen_in_less_than
from hvcost.analysis.metrics import known
from hvcost.analysis.rows import CellStatistics, ClaimVerdict, PairComparison
from hvcost.analysis.samples import Sample, samples
from hvcost.errors import ConfigError
from hvcost.figures import environments, means, order, ratios, repetitions, style
from hvcost.model import description
from hvcost.model.description import Claim, environment_from
from hvcost.model.metric import DIFFERENCE, Metric
from hvcost.model.record import Record
from hvcost.report import costs, inputs, numbers, page, words
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from test_figures import assert_readable, places, points_of, said

LOSS = Metric("loss", "%", "datagram loss", better="lower", compared=DIFFERENCE, margin=0.1)
GOT = replace(LOSS, name="got", title="delivery", better="higher")
LINKS = {name: {"rate_mbit": 1000, "mtu": 1500} for name in ("env1", "env2")}
NONE = [0.0] * 10
SOME = [0.0, 0.31, 0.28, 0.0, 0.42, 0.35, 0.27, 0.38, 0.33, 0.3]
LITTLE = [0.01, 0.02, 0.0, 0.02, 0.01, 0.0, 0.02, 0.01, 0.02, 0.01]

RATES = {"bare-metal": 1000, "kvm": 700}

# Three metrics: one that is compared by ratio, and two of which a value may be 0.
DATAGRAMS = """
from dataclasses import dataclass

from hvcost.model.metric import DIFFERENCE, Metric, Value
from hvcost.model.process import Process
from hvcost.tools import Tool, output_of


@dataclass(frozen=True)
class DatagramsOptions:
    rate: int = 1000


class Datagrams(Tool):
    name = "datagrams"
    packages = ("coreutils",)
    version_argv = ("true", "--version")
    Options = DatagramsOptions
    metrics = (
        Metric("loss", "%", "datagram loss", better="lower", compared=DIFFERENCE, margin=0.1),
        Metric("jitter", "ms", "jitter", "lower", compared=DIFFERENCE, margin=0.5, about="It is RFC 3550’s."),
        Metric("rate", "1/s", "datagrams per second"),
    )

    def expected_s(self, options):
        return 1.0

    def processes(self, options, address):
        return (Process("client", "client", ("true",), 60),)

    def read(self, options, outputs):
        figures = output_of(outputs, "client").stdout.split()
        return {m.name: Value(float(text), 0.01) for m, text in zip(self.metrics, figures, strict=True)}


TOOL = Datagrams()
"""


@pytest.fixture(autouse=True)
def in_house_style() -> Iterator[None]:
    with style.house_style():
        yield


@pytest.fixture
def datagrams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tool is there, and no other: some of those have a metric of the same name."""
    folder = tmp_path / "tools"
    folder.mkdir()
    (folder / "datagrams.py").write_text(DATAGRAMS)
    monkeypatch.setattr(tools, "__path__", [str(folder)])
    tools._tools.cache_clear()
    known.cache_clear()
    yield
    tools._tools.cache_clear()
    known.cache_clear()
    sys.modules.pop("hvcost.tools.datagrams", None)


def sample(values: Sequence[float], system: str = "kvm", **changes: Any) -> Sample:
    own = {"system": system, "hypervisor": system, "workload": "udp"}
    return factories.sample(LOSS, values, 0.01, **own | changes)


def bootstrap(
    a: Sequence[float] | Values, b: Sequence[float] | Values, resolution: float = 0.01
) -> Bootstrap:
    made = difference_bootstrap(np.array(a), np.array(b), resolution, resolution, "a", "b")
    assert made
    return made


def compared(a: Sequence[float], b: Sequence[float], monkeypatch: pytest.MonkeyPatch) -> PairComparison:
    monkeypatch.setattr("hvcost.analysis.comparisons.known", lambda: {"loss": LOSS})
    question = Question(LINKS, {"kvm": 1, "bare-metal": 2}, margin=0.05, seed=1)
    (row,) = comparisons([sample(a), sample(b, "bare-metal")], question)
    return row


# Intervals


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"margin": None}, "a difference needs a margin above 0, in %"),
        ({"margin": 0.0}, "a difference needs a margin above 0"),
        ({"compared": "ratio"}, "a ratio has the configuration's margin"),
        ({"limit": lambda link: 1.0}, "what is compared by difference has no limit"),
    ],
)
def test_a_metric_that_cannot_be_compared_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        replace(LOSS, **changes)


losses = st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.3, 2.0]), min_size=6, max_size=12)


@given(losses, losses)
@settings(max_examples=40)
def test_a_difference_turned_round_is_its_opposite(one: list[float], other: list[float]) -> None:
    a, b = np.array(one), np.array(other)
    there = difference_bootstrap(a, b, 0.01, 0.01, "a", "b")
    back = difference_bootstrap(b, a, 0.01, 0.01, "b", "a")
    assert (there is None) == (back is None) == (not a.any() and not b.any())
    if there and back:
        assert there.estimate == pytest.approx(-back.estimate)
        assert there.interval().low == pytest.approx(-back.interval().high)
        assert there.equivalence_p(0.1) == pytest.approx(back.equivalence_p(0.1))
        interval = there.interval()
        assert (there.difference_p() < 0.05) == (not interval.low <= 0 <= interval.high)


def test_a_difference_has_the_unit_of_its_values_and_does_not_depend_on_their_level() -> None:
    plain = bootstrap(SOME, LITTLE).interval()
    moved = bootstrap(np.array(SOME) + 5, np.array(LITTLE) + 5).interval()
    tenfold = bootstrap(np.array(SOME) * 10, np.array(LITTLE) * 10, 0.1).interval()
    assert (moved.low, moved.high) == pytest.approx((plain.low, plain.high))
    assert (tenfold.low, tenfold.high) == pytest.approx((10 * plain.low, 10 * plain.high))


def test_an_interval_is_never_narrower_than_student_s() -> None:
    found = bootstrap(SOME, LITTLE, 0.0)
    welch = stats.ttest_ind(SOME, LITTLE, equal_var=False).confidence_interval(0.95)
    assert found.interval().low <= welch.low + 1e-9
    assert found.interval().high >= welch.high - 1e-9


def test_of_zeros_alone_there_is_no_interval_and_what_they_can_tell_is_said() -> None:
    found = effect(sample(NONE), sample(NONE, "bare-metal"), 1)
    assert (found.value, found.interval, found.evidence) == (0.0, None, None)
    assert found.note == (
        "kvm in env1 and bare-metal in env1: all values are 0, and 10 repetitions show only that less than "
        "26 % of them have any other (95 % confidence), not by how much"
    )
    assert seen_in_less_than(10) == pytest.approx(1 - 0.05**0.1)
    assert 0.95**58 > 0.05 > 0.95**59
    assert seen_in_less_than(59) < 0.05 < seen_in_less_than(58)


def test_few_zeros_are_too_few_values_first() -> None:
    assert "5 repetitions with a value" in effect(sample([0.0] * 5), sample(NONE, "bare-metal"), 1).note
    assert effect(sample([]), sample(NONE, "bare-metal"), 1).value is None


def test_beside_zeros_the_others_make_the_interval() -> None:
    found = effect(sample(SOME), sample(NONE, "bare-metal"), 1)
    assert found.value and found.interval
    assert found.value == pytest.approx(np.mean(SOME))
    assert 0 < found.interval.low < found.value < found.interval.high < 0.45


@pytest.mark.parametrize("resolution", [0.0, 0.01])
def test_one_run_in_ten_that_is_not_zero_bounds_nothing(resolution: float) -> None:
    a = sample([*NONE[1:], 1.0], resolution=resolution)
    found = effect(a, sample(NONE, "bare-metal", resolution=resolution), 1)
    assert found.evidence and found.evidence.difference_p() > 0.05
    if resolution:
        assert found.interval and found.interval.low < 0 and found.interval.high > 1
    else:
        assert found.interval is None and "too uneven for an interval" in found.note


def test_equal_values_that_are_not_zero_are_known_to_the_last_digit() -> None:
    found = bootstrap([0.3] * 10, [0.3] * 10)
    assert found.estimate == 0
    assert found.equivalence_p(0.1) < 0.05 < found.equivalence_p(0.001)


# Tables


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (SOME, NONE, rows.DIFFERENT),
        (LITTLE, NONE, rows.WITHIN_MARGIN),
        (LITTLE, LITTLE[::-1], rows.EQUIVALENT),
        (SOME, [*SOME[1:], 0.1], rows.INCONCLUSIVE),
        (NONE, NONE, rows.INCONCLUSIVE),
        (NONE[:5], NONE, rows.TOO_FEW),
    ],
)
def test_verdict_of_a_pair(
    a: list[float], b: list[float], verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = compared(a, b, monkeypatch)
    assert (row.verdict, row.compared, row.unit, row.margin) == (verdict, "difference", "%", 0.1)
    assert (row.difference_p is None) == (verdict == rows.TOO_FEW or not any(a + b))


def test_ranks_are_beside_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    row = compared(SOME, NONE, monkeypatch)
    assert row.cliffs_delta == pytest.approx(0.8)
    assert row.mann_whitney_p is not None and row.mann_whitney_p < 0.01


def test_bare_metal_differs_from_itself_by_nothing() -> None:
    bare, kvm = cells([sample(NONE, "bare-metal"), sample(SOME)], LINKS, 1)
    assert (bare.effect, bare.effect_low, bare.mean, bare.coefficient_of_variation) == (0.0, None, 0.0, None)
    assert kvm.effect == pytest.approx(np.mean(SOME))
    assert (kvm.compared, kvm.limit, kvm.runs_at_limit) == ("difference", None, 0)


CLAIM = Claim(
    "L", "KVM loses no more", ("kvm",), "bare-metal", ("env1",), (), None, 0.1, ("udp",), None, DIFFERENCE
)


@pytest.mark.parametrize(
    ("kvm", "at_least", "at_most", "verdict"),
    [
        (LITTLE, None, 0.1, rows.SUPPORTED),
        (SOME, None, 0.02, rows.REFUTED),
        (SOME, None, 0.25, rows.INCONCLUSIVE),
        (SOME, 0.02, None, rows.SUPPORTED),
        (LITTLE, -0.1, 0.1, rows.SUPPORTED),
        (NONE, None, 0.1, rows.INCONCLUSIVE),
    ],
)
def test_a_claim_has_its_range_in_the_unit(
    kvm: list[float], at_least: float | None, at_most: float | None, verdict: str
) -> None:
    claim = replace(CLAIM, at_least=at_least, at_most=at_most)
    (row,) = verdicts([claim], [sample(kvm), sample(NONE, "bare-metal")], LINKS, 1)
    assert (row.verdict, row.bound, row.unit, row.compared) == (verdict, "", "%", "difference")
    assert "percentage points" in numbers.allowed(row)


# Error rates

TRIALS = 100
ERROR = 3.9 * float(np.sqrt(0.05 * 0.95 / TRIALS))


@pytest.mark.parametrize("scenario", simulation.DIFFERENCES, ids=lambda each: f"{each.name}, {each.values}")
def test_error_rates_under_known_truth(scenario: simulation.Zeros) -> None:
    found = simulation.difference_rates(scenario, TRIALS, seed=1)
    assert found.kept(ERROR)
    assert found == simulation.difference_rates(scenario, TRIALS, seed=1)


def test_zeros_alone_would_have_feigned_an_interval() -> None:
    """One run in ten loses something: as often as none of ten has, there is no interval instead of [0, 0]."""
    rare = next(
        each for each in simulation.DIFFERENCES if each.name.startswith("one run in ten") and each.difference
    )
    assert simulation.difference_rates(rare, TRIALS, seed=1).without == pytest.approx(0.9**10, abs=0.15)


# Sentences


def cell(system: str, values: Sequence[float], metric: Metric = LOSS) -> numbers.Cell:
    every = [sample(NONE, "bare-metal", metric=metric), sample(values, system, metric=metric)]
    return numbers.Placed(cells(every, LINKS, 1)[-1], f"row-{system}")


@pytest.mark.parametrize(
    ("metric", "values", "text"),
    [
        (
            LOSS,
            SOME,
            "KVM is worse than bare metal by 0.264 [0.0306, 0.369] percentage points of datagram loss, "
            "0.264 against 0 %.",
        ),
        (GOT, SOME, "KVM is better than bare metal by 0.264 [0.0306, 0.369] percentage points of delivery"),
        (
            LOSS,
            [*NONE[1:], 0.5],
            "KVM shows no difference that could be told from chance: 0.0500 [−0.06",
        ),
        (
            LOSS,
            NONE,
            "KVM shows no difference in datagram loss, 0 against 0 % (no interval: kvm in env1 and "
            "bare-metal in env1: all values are 0, and 10 repetitions show only that less than 26 %",
        ),
        (LOSS, SOME[:5], "KVM is worse than bare metal by about 0.202 percentage points"),
    ],
)
def test_a_difference_in_words(
    metric: Metric, values: list[float], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hvcost.report.words.known", lambda: {metric.name: metric})
    bare_metal = cell("bare-metal", NONE, metric)
    assert costs.baseline([bare_metal]) == bare_metal
    answer = costs.answer(cell("kvm", values, metric), bare_metal)
    assert words.plain(answer).startswith(text)
    assert not any(char.isdigit() for part in answer[:2] if isinstance(part, str) for char in part)
    assert words.plain(costs.answer(bare_metal, bare_metal)) == (
        f"Bare metal, with no hypervisor at all: 0 % of {metric.title}."
    )


# From raw files to the page


def records(losses: Mapping[tuple[str, str], Sequence[float]]) -> list[Record]:
    """Repetitions of the tool by environment and system, with these losses."""
    made: list[Record] = []
    for (environment, system), values in losses.items():
        for number, loss in enumerate(values, 1):
            record = factories.raw_record(
                environment=environment,
                system=system,
                workload="udp",
                repetition=number,
                client=factories.end("client", f"{loss} {loss / 2} {number + RATES[system]}"),
                server=None,
                witnesses={"client": factories.witness()},
            )
            made.append(
                replace(record, spec={**record.spec, "workload": {"tool": "datagrams", "rate": 1000}})
            )
    return made


def results(
    losses: Mapping[tuple[str, str], Sequence[float]], folder: Path
) -> tuple[str, dict[str, figures.Picture]]:
    """The page of these losses with its pictures, by their names in the folder."""
    names = list(dict.fromkeys(environment for environment, _system in losses))
    configs = [
        dict(factories.environment_config("bare-metal", "kvm", id=place), workloads=["udp"])
        for place in names
    ]
    raw = records(losses)
    definitions = {"bare-metal": 1, "kvm": 2}
    frame = measurements.from_records(raw)
    found = samples(frame, definitions, 1)
    claim = replace(CLAIM, environments=tuple(names))
    factories.write_results(raw, folder, environments=configs, claims=verdicts([claim], found, LINKS, 2010))
    every = [environment_from(each) for each in configs]
    points, made = measurements.repetitions(frame), cells(found, LINKS, 2010)
    pictures: dict[str, figures.Picture] = {}
    for subject in figures.subjects(every, points):
        drawn = [ratios.draw(every, made, subject), means.draw(every, points, made, subject)]
        drawn.append(environments.draw(every, made, subject))
        pictures |= {picture.name: picture for picture in drawn}
        for place in every:
            drawn = [order.draw(place, points, subject)]
            drawn.append(repetitions.draw(place, points, subject, with_bare_metal=True))
            pictures |= {f"{place.id}/{picture.name}": picture for picture in drawn}
    for name in pictures:
        environment, _, stem = name.rpartition("/")
        factories.write_figure(folder / environment / "figures" / f"{stem}.svg")
    return page.render(inputs.read(folder / "experiment.json", folder)), pictures


LOSSES = {
    ("env1", "bare-metal"): NONE,
    ("env1", "kvm"): SOME,
    ("env2", "bare-metal"): NONE,
    ("env2", "kvm"): NONE,
}


def test_a_difference_from_raw_files_to_the_page(datagrams: None, tmp_path: Path) -> None:
    html, pictures = results(LOSSES, tmp_path / "results")
    text = " ".join(re.sub(r"<[^>]*>", "", html).split())
    assert "Bare metal, with no hypervisor at all: 0 % of datagram loss." in text
    assert "KVM is worse than bare metal by 0.264 [0.0" in text
    assert "KVM shows no difference in datagram loss, 0 against 0 % (no interval: kvm in env2 and" in text
    assert "The link of env1 sets no limit to datagram loss." in text
    pairs = rows.read(PairComparison, tmp_path / "results/comparisons.csv")
    by_family = {row.family: row for row in pairs if row.environment_a == row.environment_b}
    assert by_family["within env1, udp"].verdict == rows.DIFFERENT
    assert by_family["within env2, udp"].verdict == rows.INCONCLUSIVE
    assert by_family["within env1, udp, rate"].compared == "ratio"
    assert "Comparisons within env1, udp; margin 0.1 percentage points" in text
    assert "0.1 percentage points or less" in text
    claims = rows.read(ClaimVerdict, tmp_path / "results/claims.csv")
    assert [row.verdict for row in claims] == [rows.INCONCLUSIVE, rows.INCONCLUSIVE]
    statistics = rows.read(CellStatistics, tmp_path / "results/env1/statistics.csv")
    assert {(row.metric, row.compared) for row in statistics} == {
        ("loss", "difference"),
        ("jitter", "difference"),
        ("rate", "ratio"),
    }
    assert {"ratios-udp", "means-udp-jitter", "environments-udp-rate", "env1/order-udp"} <= set(pictures)


def test_every_secondary_metric_has_its_section(datagrams: None, tmp_path: Path) -> None:
    html, _pictures = results(LOSSES, tmp_path / "results")
    found = html.split("<h3 ")
    for title, sentence in (
        ("Jitter", "KVM is worse than bare metal by"),
        ("Datagrams per second", "it delivers"),
    ):
        section = next(part for part in found if f">{title}</h3>" in part)
        text = " ".join(re.sub(r"<[^>]*>", "", section).split())
        assert sentence in text
        assert f"{title} in env1" in text
        for kind in ("repetitions-with-bare-metal", "order"):
            assert f"what {kind}-udp-{title.split()[0].lower().replace('datagrams', 'rate')} shows" in section
    assert "It is RFC 3550’s." in html
    comparisons_of_all = html.partition('id="comparisons"')[2]
    for name in ("means-udp", "environments-udp-jitter", "ratios-udp-rate"):
        assert f"what {name} shows" in comparisons_of_all


def test_figures_of_differences_are_readable_and_show_zeros(datagrams: None, tmp_path: Path) -> None:
    _html, pictures = results(LOSSES, tmp_path / "results")
    for name, picture in pictures.items():
        assert_readable(picture)
        assert style.rendered(picture), name
    (axes,) = pictures["ratios-udp"].figure.axes
    low, high = axes.get_xlim()
    assert low < 0 < 0.264 < high
    assert sorted(x for x, _y in points_of(axes)) == pytest.approx([0, 0, 0, 0.264])
    assert [0.0, 0.0] in [places(line) for line in axes.get_lines()]
    text = said(pictures["ratios-udp"]).replace("\n", " ")
    assert "Datagram loss as a difference from bare metal" in text
    assert "difference [95 % interval], percentage points" in text
    assert re.search(r"\+0\.26 \[\+0\.0\d, \+0\.37\]", text)
    assert "0, no interval: kvm in env2 and bare-metal in env2: all values are 0" in text
    for name in ("means-udp", "env1/repetitions-with-bare-metal-udp", "env2/order-udp"):
        for axes in pictures[name].figure.axes:
            low, high = axes.get_ylim()
            shown = [y for _x, y in points_of(axes)]
            assert shown and all(low <= y <= high for y in shown), name
    (axes,) = pictures["environments-udp"].figure.axes
    assert axes.get_xscale() == "linear"
    assert len(points_of(axes)) == 4


def test_a_description_keeps_the_kind_of_a_claim(datagrams: None, tmp_path: Path) -> None:
    results(LOSSES, tmp_path / "results")
    path = tmp_path / "results/experiment.json"
    content = json.loads(path.read_text())
    claim = {**vars(CLAIM), "systems": ["kvm"]}
    path.write_text(json.dumps(content | {"claims": [claim]}))
    assert description.load(path).claims[0].compared == DIFFERENCE
