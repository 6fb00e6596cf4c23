"""Every figure with every kind of data: nothing hidden, nothing on top of other things."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import factories
import numpy as np
import plot_environment
import pytest
from hvcost import figures, tables
from hvcost.errors import ConfigError, HvcostError
from hvcost.figures import Environment, Picture, means, repetitions, style, topology
from hvcost.tables import Repetition
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.lines import Line2D
from matplotlib.text import Text

SCRIPTS = Path(tables.__file__).parent.parent
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


def data(case: str, **config: Any) -> tuple[Environment, tuple[Repetition, ...]]:
    systems, options = CASES[case]
    frame = tables.from_records(factories.raw_records(systems, **options))
    environment = figures.environment(factories.environment_config(*systems, **config))
    return environment, tables.repetitions(frame)


@cache
def drawn(case: str, **config: Any) -> list[Picture]:
    environment, points = data(case, **config)
    second = figures.environment(factories.environment_config(*STUDY, id="env2", rate_mbit=100))
    return [
        topology.draw(environment, factories.FACTS, figures.systems_shown([environment], points)),
        repetitions.draw(environment, points, "tcp", with_bare_metal=False),
        repetitions.draw(environment, points, "tcp", with_bare_metal=True),
        means.draw([environment, second], points, "tcp"),
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
    unit = next(u for _least, u in style._UNITS if u.name in axes.get_ylabel())
    low, high = axes.get_ylim()
    for system in systems:
        if figure == 1 and system == "bare-metal":
            continue
        expected = sorted(
            point.throughput_bps / unit.bps
            for point in points
            if point.system == system and point.throughput_bps is not None
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
        picture = repetitions.draw(environment, [], "tcp", with_bare_metal=with_bare_metal)
        assert "There are no measurements." in said(picture)
        assert "xen (no measurements)" in said(picture)
        assert_readable(picture)
    picture = means.draw([environment], [], "tcp")
    assert "There are no measurements." in said(picture)
    assert_readable(picture)
    empty = figures.environment(factories.environment_config())
    for picture in (
        means.draw([empty], [], "tcp"),
        repetitions.draw(empty, [], "tcp", with_bare_metal=True),
        topology.draw(empty, {}, {}),
    ):
        assert_readable(picture)


def test_a_system_without_measurements_is_named() -> None:
    _environment, points = data("wide range")
    more = figures.environment(factories.environment_config(*DEFAULT, "xen"))
    assert "xen (no measurements)" in said(repetitions.draw(more, points, "tcp", with_bare_metal=False))
    assert "no data" in said(means.draw([more], points, "tcp"))


def test_bare_metal_is_known_by_its_hypervisor() -> None:
    config = factories.environment_config("kvm")
    config["systems"].append({"system": "the-real-one", "hypervisor": "bare-metal"})
    environment = figures.environment(config)
    assert "the-real-one" not in said(repetitions.draw(environment, [], "tcp", with_bare_metal=False))
    assert "the-real-one" in said(repetitions.draw(environment, [], "tcp", with_bare_metal=True))


def test_the_axis_is_logarithmic_only_for_what_would_lie_flat() -> None:
    assert drawn("wide range")[2].figure.axes[0].get_yscale() == "log"
    assert drawn("normal", rate_mbit=100)[2].figure.axes[0].get_yscale() == "linear"
    assert drawn("normal", rate_mbit=100)[2].figure.axes[0].get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("largest_bps", "name"),
    [(100e9, "Gbit/s"), (1e9, "Mbit/s"), (2e6, "Mbit/s"), (4e5, "kbit/s"), (900.0, "bit/s")],
)
def test_units_fit_the_axis(largest_bps: float, name: str) -> None:
    assert style.unit_for(largest_bps).name == name


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
    assert style.rate_text(bps) == text


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


def test_several_boots_are_told_apart() -> None:
    text = said(drawn("two boots")[2])
    assert "boot 1" in text
    assert "boot 2" in text
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
    lines = style.wrapped("a-very-long-identifier-without-spaces and words", 0.8, 8)
    assert "".join(lines).replace(" ", "") == "a-very-long-identifier-without-spacesandwords"
    assert all(style.text_width(line, 8) <= 0.8 for line in lines)
    assert style.wrapped("  ", 1.0, 8) == []


def test_dollars_and_long_texts_are_shown_as_they_are() -> None:
    config = factories.environment_config(*STUDY)
    config["description"] = "costs $5 or $6 & <b>" + " and much more besides" * 12
    config["host"]["description"] = config["client"]["description"] = config["description"]
    environment = figures.environment(config)
    _environment, points = data("normal")
    for picture in (
        topology.draw(environment, {}, figures.systems_shown([environment], points)),
        repetitions.draw(environment, points, "tcp", with_bare_metal=True),
        means.draw([environment], points, "tcp"),
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
        figures.environment(factories.environment_config(*STUDY) | change)


@pytest.mark.parametrize("key", ["environment", "systems", "link", "host", "client"])
def test_an_incomplete_environment_is_refused(key: str) -> None:
    config = factories.environment_config(*STUDY)
    del config[key]
    with pytest.raises(ConfigError, match=f"`{key}` is missing"):
        figures.environment(config)


# The programs


def run(program: str, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environ,
    )


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def write_inputs(folder: Path, environment: str, systems: Sequence[str]) -> tuple[Path, Path]:
    records = [
        record
        for workload in ("tcp", "tcp-short")
        for record in factories.raw_records(
            {name: DEFAULT[name] for name in systems},
            environment=environment,
            workload=workload,
            repetitions=3,
        )
    ]
    measurements = folder / f"{environment}.csv"
    tables.write_csv(tables.from_records(records), measurements)
    host = folder / "host.json"
    host.write_text(json.dumps(factories.HOST))
    return measurements, host


def test_plot_environment_builds_the_same_bytes_again(tmp_path: Path) -> None:
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
        output = tmp_path / f"figures{number}"
        output.mkdir()
        (output / "repetitions-gone.svg").write_text("of a workload that is no more")
        (output / "mine.png").write_text("not ours")
        done = run(
            "plot_environment.py",
            "--environment",
            config,
            "--measurements",
            measurements,
            "--host",
            host,
            "--output",
            output,
            **environ,
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        built.append(digests(output))
    assert built[0] == built[1]
    stems = ["topology"]
    for workload in ("tcp", "tcp-short"):
        stems += [f"repetitions-{workload}", f"repetitions-with-bare-metal-{workload}"]
    assert set(built[0]) == {f"{s}.{x}" for s in stems for x in ("svg", "png")} | {"mine.png"}


def test_plot_comparison_builds_the_same_bytes_again(tmp_path: Path) -> None:
    tables_made = [write_inputs(tmp_path, environment, list(DEFAULT))[0] for environment in ("env1", "env2")]
    config = json.dumps(
        [
            factories.environment_config(*DEFAULT),
            factories.environment_config(*DEFAULT, id="env2", rate_mbit=100),
        ]
    )
    built = []
    for seed in ("1", "2"):
        output = tmp_path / "deep" / f"figures{seed}"
        done = run(
            "plot_comparison.py",
            "--environments",
            config,
            "--output",
            output,
            *tables_made,
            PYTHONHASHSEED=seed,
        )
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        built.append(digests(output))
    assert built[0] == built[1]
    assert set(built[0]) == {f"means-{w}.{x}" for w in ("tcp", "tcp-short") for x in ("svg", "png")}


@pytest.mark.parametrize(
    ("environment", "measurements", "host", "complaint"),
    [
        ("{", "env1.csv", "host.json", "--environment: not JSON"),
        ("[]", "env1.csv", "host.json", "expected an object"),
        ("env2", "env1.csv", "host.json", "is of env1, not only env2"),
        ("env1", "host.json", "host.json", "column `environment` is missing"),
        ("env1", "env1.csv", "env1.csv", "not facts of a host"),
        ("env1", "env1.csv", "absent.json", "not facts of a host"),
    ],
)
def test_plot_environment_refuses_other_inputs(
    tmp_path: Path, environment: str, measurements: str, host: str, complaint: str
) -> None:
    write_inputs(tmp_path, "env1", ["kvm"])
    if environment.startswith("env"):
        environment = json.dumps(factories.environment_config("kvm", id=environment))
    with pytest.raises(HvcostError, match=complaint):
        plot_environment.plot(environment, tmp_path / measurements, tmp_path / host, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_programs_refuse_in_one_line(tmp_path: Path) -> None:
    measurements, host = write_inputs(tmp_path, "env1", ["kvm"])
    output = tmp_path / "figures"
    done = run(
        "plot_environment.py",
        "--environment",
        "{",
        "--measurements",
        measurements,
        "--host",
        host,
        "--output",
        output,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    other = json.dumps([factories.environment_config("kvm", id="env2")])
    done = run("plot_comparison.py", "--environments", other, "--output", output, measurements)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "measurements of env1, which is not in --environments" in done.stderr
    assert not output.exists()
