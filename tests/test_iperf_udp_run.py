"""UDP from the configuration to the tables, on this computer: a rate that is offered, and the search."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import yaml
from workspace import BESIDE, ROOT, Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


def test_udp_is_measured(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    workspace = Workspace(folder, BESIDE)
    workspace.link_project()
    content = yaml.safe_load((ROOT / "config/local.yaml").read_text())
    content |= {
        "results": "results",
        "repetitions": 3,
        "systems": {"bare-metal": {"hypervisor": "bare-metal"}},
        "workloads": {
            "udp": {"tool": "iperf-udp", "duration_s": 2, "packets_per_s": 20},
            "rate": {"tool": "iperf-udp-search", "lowest_pps": 10, "highest_pps": 20, "trial_s": 2},
        },
        "environments": {"udp": content["environments"]["local"]},
    }
    (folder / "udp.yaml").write_text(yaml.safe_dump(content))
    workspace.start("all", "--configfile", "udp.yaml").wait()
    records = workspace.records("udp", "bare-metal")
    assert len(records) == 6, workspace.output()
    # A busy computer may be too slow for any rate; then it says so.
    assert all("measures itself" in (one.reason or "measures itself") for one in records)
    with (folder / "results/udp/measurements.csv").open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if row["status"] == "ok"]
    for row in rows:
        if row["metric"] in ("packets", "host_cpu_packet", "lossless_rate"):
            assert float(row["value"]) > 0
    assert workspace.left_behind() == []
