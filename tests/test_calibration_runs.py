"""Tools that measure the same thing agree on one link of this computer, and with what the link is."""

from __future__ import annotations

import os

import pytest
from hvcost.calibration import lab
from hvcost.calibration.expectations import REPETITIONS, Setting
from hvcost.calibration.measurement import Measured, on_link
from hvcost.calibration.table import agreements, rows
from hvcost.model.metric import THROUGHPUT
from hvcost.tools import load_tool, tool_names

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

# So slow that any computer fills it.
LINK = Setting(("rate",), 10)
STREAMS = [name for name in tool_names() if load_tool(name).metrics[0] == THROUGHPUT]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    with lab.here(LINK.rate_mbit, tmp_path_factory.mktemp("calibration")) as opened:
        return on_link(LINK, opened, STREAMS, REPETITIONS)


def test_every_run_counts(measured: Measured) -> None:
    assert {
        tool: [run.said for run in runs if isinstance(run.said, str)] for tool, runs in measured.runs.items()
    } == {tool: [] for tool in STREAMS}


def test_paired_runs_of_tools_with_the_same_metric_agree(measured: Measured) -> None:
    """A busy computer takes some hundredths from a run of a second, but not from one tool alone."""
    found = agreements([measured])
    assert {each.tools[1] for each in found} == set(STREAMS[1:])
    for each in found:
        assert each.interval
        assert each.interval.low <= each.median <= each.interval.high
        assert each.agrees, each


def test_the_link_gives_back_its_rate(measured: Measured) -> None:
    """The best run has to: what a busy computer takes from others is not the tool's."""
    found = [row for row in rows([measured], "rate") if row.metric == THROUGHPUT]
    assert len(found) == len(STREAMS)
    for row in found:
        assert row.expected.is_kept(max(row.figures.values)), row
