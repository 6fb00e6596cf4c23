"""Every figure with every kind of data: nothing hidden, nothing on top of other things."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import analyse_environment
import factories
import numpy as np
import pytest
from hvcost import figures
from hvcost.analysis import cells, rows, samples
from hvcost.analysis import measurements as tables
from hvcost.analysis.measurements import Repetition
from hvcost.analysis.rows import CellStatistics
from hvcost.errors import ConfigError, HvcostError
from hvcost.figures import Picture, environments, means, order, ratios, repetitions, style, topology
from hvcost.figures.rates import UNITS, rate_text, unit_for
from hvcost.figures.text import text_width, wrapped
from hvcost.model.description import Environment, environment_from
from hvcost.model.metric import THROUGHPUT
from hvcost.model.record import Record
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from workspace import ROOT

TCP = figures.Subject("tcp", THROUGHPUT)
SCRIPTS = ROOT / "scripts"
DEFAULT = {"bare-metal": 900e6, "qemu": 2e6, "kvm": 200e6}
STUDY = {"bare-metal": 94e6, "xen": 94e6, "virtualbox": 93e6, "qemu": 44e6}
MANY = {
    name: 2e6 * 2**place
    for place, name in enumerate(
        (
            *("bare-metal", "xen", "xen-pvh", "virtualbox"),
            *("qemu", "qemu-e1000", "kvm", "kvm-e1000", "kvm-rtl8139"),
        )
    )
}
ALL_FAILED = {(system, repetition) for system in STUDY for repetition in range(1, 11)}

# name -> systems and their throughput, options of the records
CASES: dict[str, tuple[dict[str, float], dict[str, Any]]] = {
    "normal": (STUDY, {}),
    "wide range": (DEFAULT, {}),
    "tenfold range": ({"bare-metal": 95e6, "qemu": 9.4e6, "kvm": 60e6}, {}),
    "some failed": (DEFAULT, {"failed": {("qemu", 3), ("qemu", 9), ("kvm", 3)}}),
    "all failed": (STUDY, {"failed": ALL_FAILED}),
    "single repetition": (STUDY, {"repetitions": 1}),
    "single failed repetition": ({"kvm": 1e6}, {"repetitions": 1, "failed": {("kvm", 1)}}),
    "two boots": (STUDY, {"boots": 2, "failed": {("xen", 2)}}),
    "boots of one repetition": (STUDY, {"boots": 12, "repetitions": 1}),
    "many boots": ({"kvm": 2e6}, {"boots": 30, "repetitions": 4}),
    "many systems": (MANY, {"failed": {("xen-pvh", n) for n in range(1, 11)}}),
    "slow": ({"qemu": 900.0, "kvm": 40e3}, {}),
    "only bare metal": ({"bare-metal": 900e6}, {}),
}


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    with style.house_style():
        yield


def means_of(points: Sequence[Repetition]) -> list[CellStatistics]:
    """Statistics with the mean of each system, which is all that a figure of means takes of them."""
    found: dict[tuple[str, str], list[float]] = {}
    for point in points:
        if point.value is not None:
            found.setdefault((point.environment, point.system), []).append(point.value)
    return [
        factories.cell_statistics(environment=environment, system=system, mean=sum(values) / len(values))
        for (environment, system), values in found.items()
    ]


def data(case: str, **config: Any) -> tuple[Environment, tuple[Repetition, ...]]:
    systems, options = CASES[case]
    frame = tables.from_records(factories.raw_records(systems, **options))
    environment = environment_from(factories.environment_config(*systems, **config))
    return environment, factories.primary(frame)


@cache
def drawn(case: str, **config: Any) -> list[Picture]:
    environment, points = data(case, **config)
    second = environment_from(factories.environment_config(*STUDY, id="env2", rate_mbit=100))
    return [
        topology.draw(environment, factories.FACTS, figures.systems_shown([environment], points)),
        repetitions.draw(environment, points, TCP, with_bare_metal=False),
        repetitions.draw(environment, points, TCP, with_bare_metal=True),
        means.draw([environment, second], points, means_of(points), TCP),
    ]


@cache
def texts(figure: Figure) -> list[Text]:
    """All texts that are seen, with their extents known."""
    figure.draw_without_rendering()
    out_of_sight = {label for axes in figure.axes for label in _labels_out_of_sight(axes)}
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text)
        and text.get_visible()
        and text.get_text().strip()
        and text not in out_of_sight
    ]


def _labels_out_of_sight(axes: Axes) -> Iterator[Text]:
    """Labels of ticks that an axis keeps beyond its limits."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = axis.get_view_interval()
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                yield tick.label1
                yield tick.label2


def said(picture: Picture) -> str:
    return "\n".join(text.get_text() for text in texts(picture.figure))


def marks(picture: Picture, system: str) -> list[Line2D]:
    """What is drawn in the axes with the marker of a system."""
    own = style.system_style(system)
    return [
        line
        for axes in picture.figure.axes
        for line in axes.get_lines()
        if line.get_marker() == own.marker
        and line.get_markerfacecolor() == own.face
        and (own.filled or line.get_markeredgecolor() == own.colour)
    ]


def heights(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata())]


def assert_readable(picture: Picture) -> None:
    page = picture.figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(picture.figure)]
    for text, box in boxes:
        assert page.x0 <= box.x0 and box.x1 <= page.x1, f"{text!r} is cut at a side"
        assert page.y0 <= box.y0 and box.y1 <= page.y1, f"{text!r} is cut above or below"
    for (text, box), (other_text, other) in itertools.combinations(boxes, 2):
        width = min(box.x1, other.x1) - max(box.x0, other.x0)
        height = min(box.y1, other.y1) - max(box.y0, other.y0)
        # Extents include the room of descenders, which lines of a paragraph share.
        assert width <= 0 or height <= 0.3 * min(box.height, other.height), (
            f"{text!r} overlaps {other_text!r}"
        )


@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_readable(case: str) -> None:
    for picture in drawn(case):
        assert_readable(picture)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("figure", [1, 2, 3])
def test_all_points_are_within_the_axes(case: str, figure: int) -> None:
    systems, _options = CASES[case]
    _environment, points = data(case)
    picture = drawn(case)[figure]
    axes = picture.figure.axes[0]
    unit = next(u for _least, u in UNITS if u.name in axes.get_ylabel())
    low, high = axes.get_ylim()
    for system in systems:
        if figure == 1 and system == "bare-metal":
            continue
        expected = sorted(
            point.value / unit.size for point in points if point.system == system and point.value is not None
        )
        shown = sorted(
            y
            for line in marks(picture, system)
            if line.axes is axes
            for y in heights(line)
            if not math.isnan(y)
        )
        assert shown == pytest.approx(expected)
        assert all(low < y < high for y in shown)


def test_a_failed_repetition_is_a_cross_and_never_a_zero() -> None:
    for picture in drawn("some failed")[1:]:
        crosses = [
            y
            for axes in picture.figure.axes
            for line in axes.get_lines()
            if line.get_marker() == "x"
            for y in heights(line)
        ]
        assert len(crosses) == 3
        values = [y for line in marks(picture, "qemu") for y in heights(line)]
        assert not any(y <= 0 for y in values)
    assert "qemu: 2 of 10 failed" in said(drawn("some failed")[1])
    assert "8/10" in said(drawn("some failed")[3])


def test_a_line_stops_at_a_failed_repetition() -> None:
    picture = drawn("some failed")[1]
    (line,) = marks(picture, "kvm")
    assert [math.isnan(y) for y in heights(line)] == [n == 3 for n in range(1, 11)]


def test_nothing_to_show_is_said() -> None:
    for picture in drawn("all failed")[1:]:
        assert "No repetition succeeded" in said(picture)
    environment, _points = data("normal")
    for with_bare_metal in (False, True):
        picture = repetitions.draw(environment, [], TCP, with_bare_metal=with_bare_metal)
        assert "There are no measurements." in said(picture)
        assert "xen (no measurements)" in said(picture)
        assert_readable(picture)
    picture = means.draw([environment], [], means_of([]), TCP)
    assert "There are no measurements." in said(picture)
    assert_readable(picture)
    empty = environment_from(factories.environment_config())
    for picture in (
        means.draw([empty], [], means_of([]), TCP),
        repetitions.draw(empty, [], TCP, with_bare_metal=True),
        topology.draw(empty, {}, {}),
    ):
        assert_readable(picture)


def test_a_system_without_measurements_is_named() -> None:
    _environment, points = data("wide range")
    more = environment_from(factories.environment_config(*DEFAULT, "xen"))
    assert "xen (no measurements)" in said(repetitions.draw(more, points, TCP, with_bare_metal=False))
    assert "no data" in said(means.draw([more], points, means_of(points), TCP))


def test_bare_metal_is_known_by_its_hypervisor() -> None:
    config = factories.environment_config("kvm")
    config["systems"].append({"system": "the-real-one", "hypervisor": "bare-metal"})
    environment = environment_from(config)
    assert "the-real-one" not in said(repetitions.draw(environment, [], TCP, with_bare_metal=False))
    assert "the-real-one" in said(repetitions.draw(environment, [], TCP, with_bare_metal=True))


def test_the_axis_is_logarithmic_only_for_what_would_lie_flat() -> None:
    assert drawn("wide range")[2].figure.axes[0].get_yscale() == "log"
    assert drawn("normal", rate_mbit=100)[2].figure.axes[0].get_yscale() == "linear"
    assert drawn("normal", rate_mbit=100)[2].figure.axes[0].get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("largest_bps", "name"),
    [(100e9, "Gbit/s"), (1e9, "Mbit/s"), (2e6, "Mbit/s"), (4e5, "kbit/s"), (900.0, "bit/s")],
)
def test_units_fit_the_axis(largest_bps: float, name: str) -> None:
    assert unit_for(largest_bps, THROUGHPUT).name == name


@pytest.mark.parametrize(
    ("bps", "text"),
    [
        (1e9, "1000 Mbit/s"),
        (100e6, "100 Mbit/s"),
        (941.48e6, "941 Mbit/s"),
        (43.96e6, "44.0 Mbit/s"),
        (2.034e6, "2.03 Mbit/s"),
        (0.0, "0 bit/s"),
    ],
)
def test_rates_have_three_digits(bps: float, text: str) -> None:
    assert rate_text(bps) == text


def test_the_link_and_its_tcp_limit_are_labelled() -> None:
    environment, _points = data("normal")
    assert environment.tcp_limit_bps == pytest.approx(941.48e6, rel=1e-4)
    for picture in drawn("normal")[1:]:
        assert "link 1000 Mbit/s" in said(picture)
        assert "TCP limit 941 Mbit/s" in said(picture)
    assert "env2: link 100 Mbit/s" in said(drawn("normal")[3])


def test_emulated_machines_are_called_so() -> None:
    for picture in drawn("normal", connection="emulated"):
        assert "emulated machines" in said(picture)
        assert "mulated machines" in picture.title
    for picture in drawn("normal", connection="ssh")[:3]:
        assert "mulated" not in said(picture) + picture.title


def test_who_plays_an_emulated_machine_is_said_in_the_figures_of_its_environment() -> None:
    environment, points = data("normal")
    played = environment.played_by("kvm")
    pictures = [
        topology.draw(played, factories.FACTS, {}),
        repetitions.draw(played, points, TCP, with_bare_metal=False),
        order.draw(played, points, TCP),
    ]
    for picture in pictures:
        assert "played by KVM with nested virtualisation" in said(picture) + picture.description
    assert "accelerator kvm" in said(pictures[0])
    assert environment.played_by(None) == environment


def test_several_boots_are_told_apart() -> None:
    text = said(drawn("two boots")[2])
    assert "session 1" in text
    assert "session 2" in text
    assert "one repetition each" in said(drawn("boots of one repetition")[2])


def test_a_system_looks_the_same_in_every_figure() -> None:
    for case in ("wide range", "many systems"):
        for picture in drawn(case)[1:]:
            for system in set(CASES[case][0]) - {"bare-metal", "xen-pvh"}:
                assert marks(picture, system), f"{system} in {picture.name}"


def test_styles_differ_and_do_not_depend_on_others() -> None:
    names = ["bare-metal", "kvm", "qemu", "xen", "virtualbox", "nspawn"]
    names += ["kvm-e1000", "kvm-rtl8139", "kvm-vhost", "xen-pvh", "qemu-e1000"]
    looks = [style.system_style(name) for name in names]
    assert len(set(looks)) == len(looks)
    known = looks[:6]
    assert len({look.colour for look in known}) == len({look.marker for look in known}) == 6
    assert style.system_style("kvm-e1000", "kvm") == style.system_style("kvm-e1000")
    assert style.system_style("kvm-e1000").colour == style.system_style("kvm").colour
    mine = style.system_style("mine", "kvm")
    assert mine == style.system_style("mine", "kvm")
    assert not mine.filled
    assert style.system_style("lguest") == style.system_style("lguest", "lguest")


def test_known_colours_differ_in_grey_or_by_marker_and_stand_out_from_paper() -> None:
    for name in ("bare-metal", "kvm", "qemu", "xen", "virtualbox", "nspawn"):
        value = style.system_style(name).colour
        red, green, blue = (int(value[i : i + 2], 16) / 255 for i in (1, 3, 5))
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.75


def test_the_font_is_the_bundled_one() -> None:
    assert "mpl-data" in Path(findfont(FontProperties(family="DejaVu Sans"))).parts


def test_text_is_wrapped_to_its_width() -> None:
    lines = wrapped("a-very-long-identifier-without-spaces and words", 0.8, 8)
    assert "".join(lines).replace(" ", "") == "a-very-long-identifier-without-spacesandwords"
    assert all(text_width(line, 8) <= 0.8 for line in lines)
    assert wrapped("  ", 1.0, 8) == []


def test_dollars_and_long_texts_are_shown_as_they_are() -> None:
    config = factories.environment_config(*STUDY)
    config["description"] = "costs $5 or $6 & <b>" + " and much more besides" * 12
    config["host"]["description"] = config["client"]["description"] = config["description"]
    environment = environment_from(config)
    _environment, points = data("normal")
    for picture in (
        topology.draw(environment, {}, figures.systems_shown([environment], points)),
        repetitions.draw(environment, points, TCP, with_bare_metal=True),
        means.draw([environment], points, means_of(points), TCP),
    ):
        assert_readable(picture)
        assert "costs $5 or $6 & <b>" in said(picture)
        svg = style.rendered(picture)[f"{picture.name}.svg"]
        ElementTree.fromstring(svg)


def test_files_say_what_they_show() -> None:
    picture = drawn("some failed")[1]
    files = style.rendered(picture)
    assert sorted(files) == ["repetitions-tcp.png", "repetitions-tcp.svg"]
    root = ElementTree.fromstring(files["repetitions-tcp.svg"])
    name = "{http://www.w3.org/2000/svg}"
    assert root.get("role") == "img"
    assert root.findtext(f"{name}title") == picture.title
    assert "qemu: 8 of 10 repetitions succeeded" in (root.findtext(f"{name}desc") or "")
    assert b"Software" not in files["repetitions-tcp.png"]
    assert picture.description[:40].encode() in files["repetitions-tcp.png"]
    assert b"date" not in files["repetitions-tcp.svg"].lower().replace(b"dates", b"")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"link": {"mtu": 1500}}, "`link.rate_mbit` is not a number"),
        ({"host": None}, "`host` is not an object"),
        ({"systems": ["kvm"]}, "`systems` is not a list of objects"),
    ],
)
def test_a_wrong_environment_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        environment_from(factories.environment_config(*STUDY) | change)


@pytest.mark.parametrize("key", ["environment", "systems", "link", "host", "client"])
def test_an_incomplete_environment_is_refused(key: str) -> None:
    config = factories.environment_config(*STUDY)
    del config[key]
    with pytest.raises(ConfigError, match=f"`{key}` is missing"):
        environment_from(config)


# Order of runs


def runs(
    throughputs: Mapping[str, float],
    sessions: Sequence[tuple[str, int]],
    repetitions: int = 3,
    **options: Any,
) -> tuple[Repetition, ...]:
    """Repetitions whose sessions were run in this order."""
    boots = max(boot for _system, boot in sessions)
    records = factories.raw_records(throughputs, boots=boots, repetitions=repetitions, **options)
    placed = []
    for record in records:
        number = sessions.index((record.system, record.boot))
        placed.append(
            replace(
                record,
                order=replace(record.order, session=number + 1, run=record.repetition),
                started_at=f"2026-11-23T{number // 60:02d}:{number % 60:02d}:{record.repetition:02d}+00:00",
            )
        )
    return factories.primary(tables.from_records(placed))


def panel(picture: Picture, system: str) -> Axes:
    """The plot under a system's name."""
    (heading,) = [text for text in texts(picture.figure) if text.get_text() == system]
    top = heading.get_window_extent().y0
    below = [axes for axes in picture.figure.axes if axes.get_window_extent().y1 <= top]
    return max(below, key=lambda axes: axes.get_window_extent().y1)


def places(line: Line2D) -> list[float]:
    return [float(x) for x in np.asarray(line.get_xdata())]


def points_of(axes: Axes) -> list[tuple[float, float]]:
    """What is drawn with a marker that is not a cross."""
    return [
        point
        for line in axes.get_lines()
        if line.get_marker() not in ("None", "none", "", "x", "|")
        for point in zip(places(line), heights(line), strict=True)
    ]


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_runs_is_readable(case: str) -> None:
    environment, points = data(case)
    picture = order.draw(environment, points, TCP)
    assert_readable(picture)
    assert len(picture.figure.axes) == len(CASES[case][0])
    crosses = [
        x
        for axes in picture.figure.axes
        for line in axes.get_lines()
        if line.get_marker() == "x"
        for x in places(line)
    ]
    shown = [y for axes in picture.figure.axes for _x, y in points_of(axes) if not math.isnan(y)]
    assert len(crosses) == sum(point.value is None for point in points)
    assert len(shown) == len(points) - len(crosses)
    assert ("Cross: a failed repetition" in said(picture)) == bool(crosses)


def test_runs_are_placed_in_the_order_in_which_they_were_made() -> None:
    environment = environment_from(factories.environment_config("qemu", "kvm"))
    points = runs({"qemu": 2e6, "kvm": 2e8}, [("kvm", 2), ("qemu", 1), ("qemu", 2), ("kvm", 1)])
    picture = order.draw(environment, tuple(reversed(points)), TCP)
    assert picture.name == "order-tcp"
    assert [x for x, _y in points_of(panel(picture, "kvm"))] == [1, 2, 3, 10, 11, 12]
    assert [x for x, _y in points_of(panel(picture, "qemu"))] == [4, 5, 6, 7, 8, 9]
    # Measured again, later: the number in the plan is that of another plan.
    again = [replace(p, started_at="2026-12-24") if (p.system, p.boot) == ("kvm", 2) else p for p in points]
    picture = order.draw(environment, again, TCP)
    assert [x for x, _y in points_of(panel(picture, "kvm"))] == [7, 8, 9, 10, 11, 12]


def test_a_clock_that_is_set_in_a_session_moves_none_of_its_runs() -> None:
    environment = environment_from(factories.environment_config("qemu", "kvm"))
    points = runs({"qemu": 2e6, "kvm": 2e8}, [("kvm", 1), ("qemu", 1)])
    # Set back by a day after the first run of the second session.
    stepped = [
        replace(p, started_at="2026-11-22") if (p.system, p.run_order) == ("qemu", 2) else p for p in points
    ]
    picture = order.draw(environment, stepped, TCP)
    assert [x for x, _y in points_of(panel(picture, "kvm"))] == [1, 2, 3]
    again = [replace(p, repetition=4 - p.repetition) for p in points]
    picture = means.draw([environment], again, means_of(again), TCP)
    (axes,) = picture.figure.axes
    kvm = [p.value for p in tables.as_measured(points) if p.system == "kvm"]
    drawn = [y for _x, y in sorted(points_of(axes))]
    assert drawn[-3:] == pytest.approx([value / 1e6 for value in kvm if value is not None])


def test_means_over_uneven_boots_are_those_of_the_table() -> None:
    """Of one boot in three most repetitions failed, and its others count no less for that."""
    environment = environment_from(factories.environment_config("kvm"))
    records = [
        factories.failed_record(boot=boot, repetition=n, facts=factories.boots_of(f"h{boot}", f"g{boot}"))
        if boot == 1 and n > 1
        else factories.raw_record(
            (100 if boot == 1 else 400) * 1e6,
            boot=boot,
            repetition=n,
            facts=factories.boots_of(f"h{boot}", f"g{boot}"),
        )
        for boot in (1, 2, 3)
        for n in (1, 2, 3, 4)
    ]
    frame = tables.from_records(records)
    table, *_others = cells.cells(
        samples.samples(frame, ["kvm"], 3), {"env1": {"rate_mbit": 1000, "mtu": 1500}}, 1
    )
    assert table.level == "boot"
    assert table.mean == pytest.approx((100 + 400 + 400) / 3 * 1e6)
    picture = means.draw([environment], factories.primary(frame), [table], TCP)
    (axes,) = picture.figure.axes
    (drawn,) = [heights(line) for line in axes.get_lines() if line.get_linewidth() == 2.2]
    assert drawn == pytest.approx([300, 300])
    assert "300" in said(picture)
    assert "mean 300 Mbit/s" in picture.description
    # Of repetitions there is no mean beside it that another table has not.
    shown = repetitions.draw(environment, factories.primary(frame), TCP, with_bare_metal=True)
    assert "mean" not in shown.description


def test_each_system_deviates_from_its_own_median() -> None:
    environment = environment_from(factories.environment_config("qemu", "kvm"))
    points = runs({"qemu": 2e6, "kvm": 2e8}, [("kvm", 1), ("qemu", 1)], 5, failed={("kvm", 2)})
    picture = order.draw(environment, points, TCP)
    assert "no drift" in said(picture)
    for system in ("qemu", "kvm"):
        axes = panel(picture, system)
        values = [p.value for p in points if p.system == system]
        median = float(np.median([value for value in values if value is not None]))
        expected = [math.nan if value is None else 100 * (value / median - 1) for value in values]
        assert [y for _x, y in points_of(axes)] == pytest.approx(expected, nan_ok=True)
        low, high = axes.get_ylim()
        assert all(low < y < high for y in expected if not math.isnan(y))
    assert "4 of 5 succeeded" in said(picture)


def test_what_iperf_cannot_tell_apart_is_not_blown_up() -> None:
    environment = environment_from(factories.environment_config("kvm"))
    points = [replace(p, value=94.0e6) for p in runs({"kvm": 94e6}, [("kvm", 1)])]
    low, high = order.draw(environment, points, TCP).figure.axes[0].get_ylim()
    assert low <= -1
    assert high >= 1


@pytest.mark.parametrize(("repetitions", "bands"), [(3, 80), (1, 0)])
def test_forty_boots(repetitions: int, bands: int) -> None:
    environment = environment_from(factories.environment_config("qemu", "kvm"))
    sessions = [(system, boot) for boot in range(1, 41) for system in ("kvm", "qemu")]
    picture = order.draw(
        environment, runs({"qemu": 2e6, "kvm": 2e8}, sessions, repetitions, failed={("kvm", 3)}), TCP
    )
    assert_readable(picture)
    assert sum(len(axes.patches) for axes in picture.figure.axes) == bands
    assert ("Grey bands: sessions" in said(picture)) == bool(bands)
    assert ("Each point is a session" in said(picture)) != bool(bands)


def test_an_order_of_nothing_is_said() -> None:
    for systems in ((), ("kvm", "qemu")):
        environment = environment_from(factories.environment_config(*systems))
        picture = order.draw(environment, [], TCP)
        assert "There are no measurements." in said(picture)
        assert_readable(picture)


# Ratios to bare metal, and environments side by side


def bare_metal(**changes: Any) -> CellStatistics:
    return factories.cell_statistics(
        **{"system": "bare-metal", "effect": 1.0, "effect_low": None, "effect_high": None}
        | {"median": 900e6, "median_low": 890e6, "median_high": 905e6}
        | changes
    )


NOTHING: dict[str, Any] = {
    **{"ok": 0, "failed": 10, "values": 0},
    **dict.fromkeys(("mean", "median", "median_low", "median_high", "median_confidence")),
    **dict.fromkeys(("effect", "effect_low", "effect_high")),
    "note": "kvm in env1: 0 repetitions with a value, an interval needs 3",
}
NO_INTERVAL: dict[str, Any] = {
    **dict.fromkeys(("median_low", "median_high", "median_confidence", "effect_low", "effect_high")),
    "note": "kvm in env1: 1 repetition with a value, an interval needs 3",
}
LONG = [f"kvm-with-a-name-that-is-much-longer-than-others-{number}" for number in range(10)]
cell = factories.cell_statistics

CELLS: dict[str, list[CellStatistics]] = {
    "normal": [bare_metal(), cell(), cell(system="xen", effect=0.99, effect_low=0.98, effect_high=1.01)],
    "one system": [cell()],
    "only bare metal": [bare_metal()],
    "ten systems with long names": [
        bare_metal(),
        *(cell(system=name, effect=0.004 * 2**place) for place, name in enumerate(LONG)),
        *(
            cell(system=name, environment="env2", median=94e6, runs_at_limit=10, at_limit=True)
            for name in LONG
        ),
    ],
    "nothing": [],
    "all failed": [bare_metal(**NOTHING), cell(**NOTHING), cell(environment="env2", **NOTHING)],
    "no interval": [bare_metal(**NO_INTERVAL), cell(**NO_INTERVAL)],
    "no baseline": [cell(effect=None, effect_low=None, effect_high=None, note="bare metal was not measured")],
    "bare metal at the limit": [bare_metal(runs_at_limit=10, at_limit=True), cell()],
    "bare metal at the limit, no interval": [
        bare_metal(runs_at_limit=10, at_limit=True),
        cell(**NO_INTERVAL),
    ],
    "system at the limit": [bare_metal(), cell(runs_at_limit=10, at_limit=True)],
    "both at the limit": [bare_metal(runs_at_limit=10, at_limit=True), cell(runs_at_limit=10, at_limit=True)],
    "some runs at the limit": [bare_metal(runs_at_limit=3), cell(runs_at_limit=2), cell(system="xen")],
    "bare metal twice": [
        bare_metal(),
        cell(
            system="bare-metal-again", hypervisor="bare-metal", effect=1.0, effect_low=0.99, effect_high=1.01
        ),
    ],
    "median of zero": [cell(median=0.0, median_low=0.0, median_high=0.0)],
    "interval from zero": [bare_metal(), cell(median_low=0.0, effect_low=0.0)],
    "faster than bare metal": [bare_metal(), cell(effect=30.0, effect_low=20.0, effect_high=40.0)],
}


def two_environments(cells: Sequence[CellStatistics]) -> list[Environment]:
    systems = sorted({cell.system for cell in cells if cell.environment == "env1"})
    return [
        environment_from(factories.environment_config(*systems)),
        environment_from(factories.environment_config(*systems, id="env2", rate_mbit=100)),
    ]


@cache
def compared(case: str) -> tuple[Picture, Picture]:
    known = two_environments(CELLS[case])
    return ratios.draw(known, CELLS[case], TCP), environments.draw(known, CELLS[case], TCP)


def arrows(picture: Picture) -> list[float]:
    """Where open arrows point to: negative is to the left."""
    return [
        text.xyann[0]
        for axes in picture.figure.axes
        for text in axes.texts
        if isinstance(text, Annotation) and text.arrow_patch is not None
    ]


@pytest.mark.parametrize("case", CELLS)
def test_comparisons_are_readable(case: str) -> None:
    for picture in compared(case):
        assert_readable(picture)
        assert set(style.rendered(picture)) == {f"{picture.name}.svg", f"{picture.name}.png"}
        (axes,) = picture.figure.axes
        low, high = axes.get_xlim()
        assert all(low < x < high for x, _y in points_of(axes))


def test_a_ratio_is_a_point_with_its_interval_and_both_as_text() -> None:
    picture, _other = compared("normal")
    assert picture.name == "ratios-tcp"
    assert "0.204 [0.199, 0.209]" in said(picture)
    assert "0.99 [0.98, 1.01]" in said(picture)
    (axes,) = picture.figure.axes
    assert sorted(x for x, _y in points_of(axes)) == [0.204, 0.99, 1.0]
    whiskers = [places(line) for line in axes.get_lines() if line.get_marker() == "|"]
    assert sorted(whiskers) == [[0.199, 0.209], [0.98, 1.01]]
    assert [1.0, 1.0] in [places(line) for line in axes.get_lines()]
    assert arrows(picture) == []
    assert "at the link's limit" not in said(picture)
    assert "env2" in said(picture)
    assert "no measurements" in said(picture)


def test_the_ratios_axis_is_logarithmic_only_for_what_would_lie_together() -> None:
    assert compared("normal")[0].figure.axes[0].get_xscale() == "linear"
    assert compared("normal")[0].figure.axes[0].get_xlim()[0] == 0
    assert compared("ten systems with long names")[0].figure.axes[0].get_xscale() == "log"
    assert compared("faster than bare metal")[0].figure.axes[0].get_xscale() == "log"


@pytest.mark.parametrize(
    ("case", "text", "side"),
    [
        ("bare metal at the limit", "at most 0.", -1),
        ("bare metal at the limit, no interval", "at most 0.20, no interval: kvm in env1:", -1),
        ("system at the limit", "at least 0.", 1),
    ],
)
def test_a_limit_of_the_link_makes_a_ratio_a_bound(case: str, text: str, side: int) -> None:
    picture, _other = compared(case)
    assert text in said(picture).replace("\n", " ")
    assert [math.copysign(1, x) for x in arrows(picture)] == [side]
    assert ("“At most”" in said(picture)) == (side < 0)
    assert ("“At least”" in said(picture)) == (side > 0)


def test_what_the_link_hides_on_both_sides_is_hollow() -> None:
    picture, _other = compared("both at the limit")
    assert rows.NOT_BY_THIS_LINK in said(picture)
    assert "Hollow grey point" in said(picture)
    assert arrows(picture) == []
    (axes,) = picture.figure.axes
    assert not [line for line in axes.get_lines() if line.get_marker() == "|"]
    assert [line.get_markerfacecolor() for line in axes.get_lines() if places(line) == [0.204]] == ["white"]


def test_a_missing_ratio_is_its_note_and_a_missing_interval_is_said() -> None:
    picture, _other = compared("no baseline")
    assert "bare metal was not measured" in said(picture)
    assert points_of(picture.figure.axes[0]) == []
    picture, _other = compared("no interval")
    assert "0.20, no interval: kvm in env1: 1 repetition" in said(picture).replace("\n", " ")
    assert len(points_of(picture.figure.axes[0])) == 2
    for picture in compared("nothing"):
        assert picture.description == "env1: no systems. env2: no systems."


def test_one_of_two_bare_metals_has_a_ratio_to_the_other() -> None:
    picture, _other = compared("bare metal twice")
    assert "1.00 [0.99, 1.01]" in said(picture)


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (0.327, 0.311, 0.348, "0.33 [0.31, 0.35]"),
        (0.9871, 0.9852, 0.9893, "0.987 [0.985, 0.989]"),
        (0.00422, 0.00407, 0.00441, "0.0042 [0.0041, 0.0044]"),
        (2.4, 1.1, 3.9, "2.40 [1.10, 3.90]"),
        (0.5, 0.5, 0.5, "0.50 [0.50, 0.50]"),
        (0.0, 0.0, 0.0, "0.00 [0.00, 0.00]"),
    ],
)
def test_ratios_have_the_digits_that_their_interval_needs(
    value: float, low: float, high: float, text: str
) -> None:
    cells = [bare_metal(), cell(effect=value, effect_low=low, effect_high=high)]
    assert text in said(ratios.draw(two_environments(cells)[:1], cells, TCP))


def test_environments_stand_side_by_side_on_one_axis() -> None:
    cells = [
        bare_metal(),
        bare_metal(
            environment="env2",
            median=94e6,
            median_low=93.9e6,
            median_high=94.1e6,
            median_confidence=0.993,
            runs_at_limit=10,
            at_limit=True,
        ),
        cell(),
        cell(environment="env2", median=86.9e6, median_low=85e6, median_high=88e6),
    ]
    known = two_environments(cells)
    picture = environments.draw(known, cells, TCP)
    assert picture.name == "environments-tcp"
    (axes,) = picture.figure.axes
    assert axes.get_xscale() == "log"
    assert [x for x, _y in points_of(axes)] == pytest.approx([900, 94, 185, 86.9])
    assert "94 [93.9, 94.1], at the limit" in said(picture)
    assert "185 [180, 188]" in said(picture)
    assert "97.9 to 99.3 % confidence" in said(picture).replace("\n", " ")
    for environment in known:
        assert f"{environment.id}: TCP limit {rate_text(environment.tcp_limit_bps)}" in said(picture)
        limit = environment.tcp_limit_bps / 1e6
        assert [line for line in axes.get_lines() if places(line) == pytest.approx([limit, limit])]
    looks = {
        environment: {line.get_marker() for line in axes.get_lines() if places(line) in values}
        for environment, values in (("env1", ([900.0], [185.0])), ("env2", ([94.0], [86.9])))
    }
    assert [len(markers) for markers in looks.values()] == [1, 1]
    assert looks["env1"] != looks["env2"]


def test_environments_with_the_same_link_share_its_line() -> None:
    known = [environment_from(factories.environment_config("kvm", id=id)) for id in ("env1", "env2")]
    picture = environments.draw(known, CELLS["one system"], TCP)
    assert "env1, env2: TCP limit 941 Mbit/s" in said(picture)


def test_limits_at_the_left_edge_and_close_to_each_other_are_readable() -> None:
    ids = (*LONG[:2], "env1")
    known = [
        environment_from(factories.environment_config("kvm", id=id, rate_mbit=rate))
        for id, rate in zip(ids, (1, 1000, 1010), strict=True)
    ]
    picture = environments.draw(known, [cell(environment=LONG[0], median=0.9e6)], TCP)
    assert_readable(picture)


def test_what_has_no_median_is_said() -> None:
    assert "none of 10 repetitions succeeded" in said(compared("all failed")[1])
    assert "median 0" in said(compared("median of zero")[1])
    assert "185, no interval" in said(compared("no interval")[1])
    assert "no systems" in said(compared("nothing")[1])


def test_comparisons_are_of_the_workload_alone() -> None:
    cells = [cell(workload="tcp-short")]
    known = two_environments(cells)
    for picture in (ratios.draw(known, cells, TCP), environments.draw(known, cells, TCP)):
        assert points_of(picture.figure.axes[0]) == []
        assert "no measurements" in said(picture)


def test_comparisons_call_emulated_machines_so_and_show_what_they_are_given() -> None:
    config = factories.environment_config("kvm", connection="ssh")
    config["description"] = "costs $5 or $6 & <b>" + " and much more besides" * 12
    known = [environment_from(config), environment_from(factories.environment_config("kvm", id="env2"))]
    for picture in (
        ratios.draw(known, CELLS["normal"], TCP),
        environments.draw(known, CELLS["normal"], TCP),
        order.draw(known[0], runs({"kvm": 2e8}, [("kvm", 1)]), TCP),
    ):
        assert_readable(picture)
        assert "costs $5 or $6 & <b>" in said(picture)
    assert "(env2: emulated machines)" in ratios.draw(known, CELLS["normal"], TCP).title


# The programs


def run(program: str, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environ,
    )


def analysed(config: str, table: Path, host: Path, output: Path, **environ: str) -> list[str]:
    """What analyse_environment.py says that refuses its inputs; nothing if it takes them."""
    given = ("--environment", config, "--boots", "1", "--seed", "1", "--host", host, "--output", output)
    done = run("analyse_environment.py", *given, table, **environ)
    assert done.stdout == ""
    return done.stderr.splitlines() if done.returncode else []


def reported(folder: Path, **environ: str) -> list[str]:
    """The same of make_report.py for a folder of results."""
    given = ("--experiment", folder / "experiment.json", "--results", folder)
    done = run("make_report.py", *given, "--output", folder / "report.html", **environ)
    assert done.stdout == ""
    return done.stderr.splitlines() if done.returncode else []


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


# Names of the figures of two workloads: of the primary metric, and of the host's processor time.
SUBJECTS = ("tcp", "tcp-host-cpu", "tcp-short", "tcp-short-host-cpu")


def records_of(environment: str, systems: Sequence[str]) -> list[Record]:
    return [
        record
        for workload in ("tcp", "tcp-short")
        for record in factories.raw_records(
            {name: DEFAULT[name] for name in systems},
            environment=environment,
            workload=workload,
            repetitions=3,
        )
    ]


def write_inputs(folder: Path, environment: str, systems: Sequence[str]) -> tuple[Path, Path]:
    measurements = folder / f"{environment}.csv"
    tables.write_csv(tables.from_records(records_of(environment, systems)), measurements)
    host = folder / "host.json"
    host.write_text(json.dumps(factories.HOST))
    return measurements, host


def write_results(folder: Path, ids: Sequence[str]) -> None:
    """Results of environments that are analysed each by itself."""
    records = [record for environment in ids for record in records_of(environment, list(DEFAULT))]
    configs = [factories.environment_config(*DEFAULT, id=environment) for environment in ids]
    factories.write_results(records, folder, environments=configs)


def test_an_environment_is_analysed_to_the_same_bytes_again(tmp_path: Path) -> None:
    measurements, host = write_inputs(tmp_path, "env1", list(DEFAULT))
    rc = tmp_path / "matplotlibrc"
    rc.write_text("font.size: 30\nlines.linewidth: 9\nsvg.fonttype: none\naxes.facecolor: red\n")
    config = json.dumps(factories.environment_config(*DEFAULT))
    built = []
    for number, environ in enumerate(
        (
            {"PYTHONHASHSEED": "1"},
            {"PYTHONHASHSEED": "2", "MATPLOTLIBRC": str(rc), "TZ": "Asia/Tokyo"},
        )
    ):
        output = tmp_path / f"results{number}"
        drawn = output / "figures"
        drawn.mkdir(parents=True)
        for stem in ("repetitions", "order"):
            (drawn / f"{stem}-gone.svg").write_text("of a workload that is no more")
        (drawn / "mine.png").write_text("not ours")
        assert analysed(config, measurements, host, output, **environ) == []
        assert (output / "measurements.csv").read_bytes() == measurements.read_bytes()
        built.append((digests(drawn), (output / "statistics.csv").read_text()))
    assert built[0] == built[1]
    stems = ["topology"]
    for subject in SUBJECTS:
        stems += [f"repetitions-{subject}", f"repetitions-with-bare-metal-{subject}", f"order-{subject}"]
    assert set(built[0][0]) == {f"{s}.{x}" for s in stems for x in ("svg", "png")} | {"mine.png"}


@pytest.mark.parametrize("ids", [("env1", "env2"), ("env1",)])
def test_environments_are_compared_to_the_same_bytes_again(tmp_path: Path, ids: tuple[str, ...]) -> None:
    built = []
    for seed in ("1", "2"):
        folder = tmp_path / f"results{seed}"
        write_results(folder, ids)
        for stem in ("means", "ratios", "environments"):
            (folder / f"figures/{stem}-gone.svg").write_text("of a workload that is no more")
        assert reported(folder, PYTHONHASHSEED=seed) == []
        made = [(folder / name).read_bytes() for name in ("comparisons.csv", "claims.csv", "report.html")]
        built.append((digests(folder / "figures"), made))
    assert built[0] == built[1]
    stems = ["means", "ratios", *(["environments"] if len(ids) > 1 else [])]
    assert set(built[0][0]) == {
        f"{stem}-{subject}.{x}" for stem in stems for subject in SUBJECTS for x in ("svg", "png")
    }


@pytest.mark.parametrize(
    ("environment", "measurements", "host", "complaint"),
    [
        (None, "env1.csv", "host.json", "expected an object"),
        ("env2", "env1.csv", "host.json", "measurements are of env1, not only env2"),
        ("env1", "host.json", "host.json", "column `environment` is missing"),
        ("env1", "env1.csv", "env1.csv", "not facts of a host"),
        ("env1", "env1.csv", "absent.json", "not facts of a host"),
    ],
)
def test_what_is_no_table_or_host_of_an_environment_is_refused(
    tmp_path: Path, environment: str | None, measurements: str, host: str, complaint: str
) -> None:
    write_inputs(tmp_path, "env1", ["kvm"])
    given = factories.environment_config("kvm", id=environment) if environment else []
    with pytest.raises(HvcostError, match=complaint):
        analyse_environment.analyse_tables(
            given, 1, 1, [tmp_path / measurements], tmp_path / host, tmp_path / "results"
        )
    assert not (tmp_path / "results/figures").exists()


def test_programs_refuse_in_one_line(tmp_path: Path) -> None:
    measurements, host = write_inputs(tmp_path, "env1", ["kvm"])
    assert len(analysed("{", measurements, host, tmp_path / "results")) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("file", "other", "complaint"),
    [
        ("measurements.csv", "env2/measurements.csv", "measurements of env2, which is no environment of the"),
        ("statistics.csv", "env2/statistics.csv", "statistics of env2, which is no environment of the exper"),
        ("statistics.csv", "env1/measurements.csv", "not a table of CellStatistics"),
    ],
)
def test_what_is_of_no_environment_of_the_experiment_is_refused_in_one_line(
    tmp_path: Path, file: str, other: str, complaint: str
) -> None:
    write_results(tmp_path / "others", ["env1", "env2"])
    write_results(tmp_path / "results", ["env1"])
    shutil.rmtree(tmp_path / "results/figures")
    shutil.copy(tmp_path / "others" / other, tmp_path / "results/env1" / file)
    (said,) = reported(tmp_path / "results")
    assert complaint in said
    assert not (tmp_path / "results/figures").exists()
