"""Figures of sweeps, and a whole swept experiment from its raw files to the page."""

from __future__ import annotations

import html
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import factories
import pytest
from hvcost.analysis import rows
from hvcost.analysis.rows import CellStatistics
from hvcost.figures import style
from hvcost.figures import sweep as sweep_figure
from hvcost.figures.sweep import Curves
from hvcost.model.description import Environment, environment_from
from hvcost.model.metric import LOSS, THROUGHPUT
from hvcost.model.sweep import Sweep

ROOT = Path(__file__).parents[1]
SYSTEMS = ("bare-metal", "kvm", "qemu")


def of_workload(values: tuple[float, ...], names: tuple[str, ...] | None = None) -> Sweep:
    names = names or tuple(f"tcp-n-{value:g}" for value in values)
    return Sweep("workload", "tcp", "tcp-n", "n", "n", "byte", "", values, names)


def environment(*sweeps: Sweep, id: str = "env1", **link: Any) -> Environment:
    content = factories.environment_config(*SYSTEMS, id=id)
    content["link"] = content["link"] | link
    made = environment_from(content)
    return Environment(**{**made.__dict__, "sweeps": sweeps})


def cells_of(sweep: Sweep, other: str = "env1", /, **changes: Any) -> list[CellStatistics]:
    return [
        factories.cell_statistics(environment=p.environment, workload=p.workload, system=system, **changes)
        for p in sweep.points(other)
        for system in SYSTEMS
    ]


def drawn(sweep: Sweep, cells: list[CellStatistics], *places: Environment, **about: Any) -> tuple[Any, str]:
    """Axes of the figure, and what is said to those who do not see it."""
    curves = Curves(sweep, about.get("other", "env1"), about.get("metric", THROUGHPUT), is_primary=True)
    with style.house_style():
        picture = sweep_figure.draw(places or (environment(sweep),), cells, curves)
        first, second = style.rendered(picture), style.rendered(picture)
    assert first == second
    assert sorted(first) == [f"{curves.name}.png", f"{curves.name}.svg"]
    return picture.figure.axes[0], picture.description


@pytest.mark.parametrize(
    ("values", "scale"),
    [((1, 2, 10), "linear"), ((1, 2, 11), "log"), ((0, 1, 100), "linear"), ((64, 1400), "log")],
)
def test_axis_is_logarithmic_where_values_span_more_than_a_decade(
    values: tuple[float, ...], scale: str
) -> None:
    sweep = of_workload(values)
    axes, _said = drawn(sweep, cells_of(sweep))
    assert axes.get_xscale() == scale
    assert axes.get_xlabel() == ("n, byte (logarithmic)" if scale == "log" else "n, byte")
    low, high = axes.get_xlim()
    assert low < values[0] < values[-1] < high


def test_every_system_has_a_line_with_its_medians_and_intervals() -> None:
    sweep = of_workload((1, 2, 3))
    axes, said = drawn(sweep, cells_of(sweep))
    lines = [line for line in axes.lines if line.get_marker() not in ("None", "x", "")]
    assert [list(line.get_ydata()) for line in lines] == [[185.0] * 3] * 3
    assert len({line.get_marker() for line in lines}) == 3
    bars = [line for line in axes.lines if list(line.get_ydata()) == [180.0, 188.0]]
    assert len(bars) == 9
    assert "kvm: median 185 Mbit/s at 1 byte, 185 Mbit/s at 2 byte, 185 Mbit/s at 3 byte." in said


def test_a_point_without_value_is_a_gap_and_a_cross() -> None:
    sweep = of_workload((1, 2, 3))
    nothing = {"median": None, "median_low": None, "median_high": None, "ok": 0, "failed": 10}
    cells = cells_of(sweep)
    cells[4] = factories.cell_statistics(workload="tcp-n-2", system="kvm", **nothing)
    axes, said = drawn(sweep, cells)
    crosses = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "x"]
    assert crosses == [[], [2], []]
    assert "kvm: median 185 Mbit/s at 1 byte, no value at 2 byte, 185 Mbit/s at 3 byte." in said


def test_a_sweep_of_environments_shows_the_limit_of_each_link() -> None:
    names = ("env1-mtu-576", "env1-mtu-9000")
    sweep = Sweep("environment", "env1", "env1-mtu", "link.mtu", "MTU", "byte", "", (576, 9000), names)
    places = [environment(sweep, id=name, mtu=mtu) for name, mtu in zip(names, sweep.values, strict=True)]
    axes, _said = drawn(sweep, cells_of(sweep, "tcp"), *places, other="tcp")
    limits = [place.tcp_limit_bps / 1e6 for place in places]
    assert limits in [list(line.get_ydata()) for line in axes.lines]


def test_zeros_of_a_metric_that_is_compared_by_difference_are_drawn() -> None:
    sweep = of_workload((1, 2))
    zero: dict[str, Any] = {"metric": "loss", "unit": "%", "compared": "difference"}
    zeros: dict[str, Any] = {"median": 0.0, "median_low": 0.0, "median_high": 0.0, "limit": None}
    axes, said = drawn(sweep, cells_of(sweep, **zero, **zeros), metric=LOSS)
    assert axes.get_ylim()[0] <= 0 < axes.get_ylim()[1]
    assert "kvm: median 0 % at 1 byte" in said


def test_nothing_was_measured() -> None:
    sweep = of_workload((1, 2))
    axes, said = drawn(sweep, [])
    assert [text.get_text() for text in axes.texts] == ["There are no measurements."]
    assert "kvm: median no value at 1 byte" in said


def test_texts_of_values_do_not_touch() -> None:
    sweep = of_workload((1000, 1400, 1472, 1500))
    axes, _said = drawn(sweep, cells_of(sweep))
    axes.figure.canvas.draw()
    texts = [tick.label1 for tick in axes.xaxis.get_major_ticks() if tick.label1.get_text()]
    boxes = [text.get_window_extent() for text in texts]
    assert texts[0].get_text() == "1,000"
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


# From raw files to the page

CONTENT: dict[str, Any] = {
    "systems": {name: {"hypervisor": name} for name in SYSTEMS},
    "workloads": {
        "tcp": {"tool": "iperf"},
        "sized": {"tool": "iperf", "sweep": {"window": ["16K", "64K", "1M"]}},
    },
    "environments": {
        "env1": {
            "link": {"rate_mbit": 1000, "network": "198.18.1.0/24"},
            "host": {"connection": "emulated"},
            "client": {"connection": "local"},
        },
        "lan": {
            "sweep": {"link.mtu": [576, 9000]},
            "link": {"rate_mbit": 1000, "network": "198.18.2.0/24"},
            "host": {"connection": "emulated"},
            "client": {"connection": "local"},
        },
    },
}
MEANS = {
    "sized-window-16k": (100e6, 100e6, 50e6),
    "sized-window-64k": (300e6, 300e6, 60e6),
    "sized-window-1m": (800e6, 330e6, 70e6),
}


def means(_environment: str, workload: str) -> Mapping[str, float]:
    return dict(zip(SYSTEMS, MEANS.get(workload, (800e6, 330e6, 70e6)), strict=True))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A swept experiment, analysed as anybody analyses it; not to be changed."""
    folder = tmp_path_factory.mktemp("swept")
    factories.write_swept(folder, CONTENT, means, repetitions=6)
    said = subprocess.run(
        [sys.executable, ROOT / "scripts/reanalyse.py", folder], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    return folder


@pytest.mark.slow
def test_swept_workloads_have_one_figure_for_each_metric_and_no_others(results: Path) -> None:
    figures = {path.stem for path in results.glob("**/figures/*.svg")}
    assert not [name for name in figures if "sized" in name and not name.startswith("sweep-")]
    places = ("env1", "lan-mtu-576", "lan-mtu-9000")
    assert {name for name in figures if name.startswith("sweep-")} == {
        *(f"sweep-{place}-sized-window{end}" for place in places for end in ("", "-host-cpu")),
        *(f"sweep-lan-mtu-tcp{end}" for end in ("", "-host-cpu")),
    }
    assert {"means-tcp", "ratios-tcp", "repetitions-tcp", "order-tcp"} <= figures
    # A single environment that is not swept has nothing beside it.
    assert "environments-tcp" not in figures


@pytest.mark.slow
def test_tables_of_swept_experiments_have_a_row_for_each_point(results: Path) -> None:
    cells = rows.read(CellStatistics, results / "env1/statistics.csv")
    assert {(cell.workload, cell.metric) for cell in cells} >= {
        (workload, metric) for workload in ("tcp", *MEANS) for metric in ("throughput", "host_cpu")
    }
    assert {cell.workload for cell in cells} == {"tcp", *MEANS}
    families = {row.family for row in rows.read(rows.PairComparison, results / "comparisons.csv")}
    assert {"within env1, sweep sized", "within sweep lan, tcp", "within env1, tcp"} <= families


@pytest.mark.slow
def test_page_names_the_knee_and_leads_to_its_rows(results: Path) -> None:
    page = (results / "report.html").read_text()
    section = page[page.index('<section id="sweeps"') :].partition("</section>")[0]
    text = html.unescape(re.sub("<[^>]+>", "", section))
    assert "sized over window, in env1" in text
    assert "lan over MTU, under tcp" in text
    assert "up to window 65,536, and leaves its curve at window 1,048,576, with 4" in text
    assert "QEMU is apart from bare metal everywhere: at window 16,384 with" in text
    for target in re.findall('href="#([^"]*)"', section):
        assert f'id="{target}"' in page
    answer = page[: page.index("<nav")]
    assert "sized-window" not in answer


@pytest.mark.slow
def test_where_everything_is_swept_the_sweeps_are_the_answer(tmp_path: Path) -> None:
    content = json.loads(json.dumps(CONTENT))
    del content["workloads"]["tcp"], content["environments"]["lan"]
    factories.write_swept(tmp_path, content, means, repetitions=6)
    said = subprocess.run(
        [sys.executable, ROOT / "scripts/reanalyse.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    page = (tmp_path / "report.html").read_text()
    assert "was planned, but" not in page
    assert 'id="sweeps"' in page
    assert "A value is a repetition" in page
    names = {path.stem for path in (tmp_path / "figures").glob("*.svg")}
    assert names == {"sweep-env1-sized-window", "sweep-env1-sized-window-host-cpu"}
    assert "no repetitions" not in said.stderr
