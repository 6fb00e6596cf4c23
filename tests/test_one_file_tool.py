"""A tool that nobody has heard of is measured when its file is there, and nothing else was touched.

The first is the example of docs/adding-a-tool.md, which runs in the system; the second runs on the client.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hvcost.model import record
from workspace import BESIDE, PARTS, ROOT, Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

COUNTING = """
from dataclasses import dataclass

from hvcost.model.metric import Metric, Value
from hvcost.model.process import Process
from hvcost.tools import Tool, check_exit, output_of


@dataclass(frozen=True)
class CountingOptions:
    up_to: int = 1000


class Counting(Tool):
    name = "counting"
    packages = ("coreutils",)
    version_argv = ("seq", "--version")
    Options = CountingOptions
    metrics = (Metric("counted", "1", "numbers"),)

    def expected_s(self, options):
        return 1.0

    def processes(self, options, address):
        return (Process("counting", "client", ("seq", str(options.up_to)), 60),)

    def read(self, options, outputs):
        end = output_of(outputs, "counting")
        check_exit("counting", end)
        return {"counted": Value(float(len(end.stdout.split())))}


TOOL = Counting()
"""
# Programs of the copied package see its tools.
READ = """
import json, sys
from pathlib import Path
from hvcost.model import record
from hvcost.tools.verdict import values
print(json.dumps({name: one.value for name, one in values(record.read(Path(sys.argv[1]))).items()}))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """This computer, from configuration to report, with two tools that are no part of the project."""
    folder = tmp_path_factory.mktemp("tool") / "project"
    folder.mkdir()
    for part in set(PARTS) - {"scripts"}:
        (folder / part).symlink_to(ROOT / part)
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    (example,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/adding-a-tool.md").read_text(), re.M | re.S
    )
    (folder / "scripts/hvcost/tools/dd.py").write_text(example)
    (folder / "scripts/hvcost/tools/counting.py").write_text(COUNTING)
    content = yaml.safe_load((ROOT / "config/local.yaml").read_text())
    content |= {
        "results": "results",
        "repetitions": 2,
        "systems": {"bare-metal": {"hypervisor": "bare-metal"}},
        "workloads": {
            "memory": {"tool": "dd", "size_mib": 512},
            "numbers": {"tool": "counting"},
            "tcp": {"tool": "iperf", "duration_s": 1},
        },
        "environments": {"one-file": content["environments"]["local"]},
    }
    (folder / "one-file.yaml").write_text(yaml.safe_dump(content))
    workspace = Workspace(folder, BESIDE)
    workspace.run("all", "--configfile", "one-file.yaml")
    return workspace


def raw(workload: str, repetition: int) -> str:
    return f"results/one-file/raw/bare-metal/boot1/{workload}-{repetition}.json"


def values(workspace: Workspace, workload: str) -> dict[str, float]:
    """What the copied package reads of the first repetition's raw file."""
    said = subprocess.run(
        [sys.executable, "-c", READ, str(workspace.folder / raw(workload, 1))],
        env=os.environ | {"PYTHONPATH": str(workspace.folder / "scripts")},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(said.stdout)
    return found


def content(workspace: Workspace, workload: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.folder / raw(workload, 1)).read_text())
    return found


def test_every_repetition_counts(measured: Workspace) -> None:
    records = measured.records("one-file", "bare-metal")
    assert [(one.status, one.reason) for one in records] == [("ok", None)] * 6
    assert measured.left_behind() == []


def test_the_example_is_measured_in_the_system(measured: Workspace) -> None:
    assert values(measured, "memory")["copy_time"] > 0
    one = record.read(measured.folder / raw("memory", 1))
    assert one.spec["workload"] == {"tool": "dd", "size_mib": 512, "block_kib": 1024}
    assert one.outputs["dd"].machine == "one-file host"
    assert set(one.witnesses or {}) == {"client", "host", "server"}


def test_its_metric_is_in_every_table_and_chart_and_in_the_report(measured: Workspace) -> None:
    results = measured.folder / "results"
    with (results / "one-file/statistics.csv").open(newline="") as table:
        found = {(row["workload"], row["metric"]): row for row in csv.DictReader(table)}
    assert set(found) == {
        ("memory", "copy_time"),
        ("numbers", "counted"),
        ("tcp", "throughput"),
        ("tcp", "retransmissions"),
        ("tcp", "fairness"),
        ("tcp", "host_cpu"),
    }
    row = found["memory", "copy_time"]
    assert (row["unit"], row["role"], row["ok"], row["limit"], row["runs_at_limit"]) == (
        "ms",
        "primary",
        "2",
        "",
        "0",
    )
    assert float(row["mean"]) > 0
    for figure in ("means-memory", "ratios-memory", "means-numbers", "means-tcp", "means-tcp-host-cpu"):
        assert (results / f"figures/{figure}.svg").is_file()
    page = re.sub(r"<[^>]*>", "", (results / "report.html").read_text())
    assert "time to copy memory" in page
    assert re.search(r"Bare metal, with no hypervisor at all, reaches [\d.]+ ms\.", page)


def test_a_tool_on_the_client_is_measured(measured: Workspace) -> None:
    assert values(measured, "numbers") == {"counted": 1000.0}
    one = record.read(measured.folder / raw("numbers", 1))
    assert one.outputs["counting"].machine == "one-file client"
    assert set(one.witnesses or {}) == {"client", "host"}


def test_its_version_is_a_fact_of_the_machines(measured: Workspace) -> None:
    found = record.read(measured.folder / raw("memory", 1)).facts
    for machine in ("client", "host"):
        about = found[machine] or {}
        assert str(about["dd_version"]).startswith("dd (coreutils)")
        assert str(about["counting_version"]).startswith("seq (GNU coreutils)")


def test_its_options_are_checked_before_anything_starts(measured: Workspace) -> None:
    config = yaml.safe_load((measured.folder / "one-file.yaml").read_text())
    config["workloads"]["memory"]["block_kib"] = 1
    (measured.folder / "wrong.yaml").write_text(yaml.safe_dump(config))
    assert measured.start("--dry-run", "--configfile", "wrong.yaml").wait() != 0
    complaint = "workloads.memory.block_kib: 1 is not allowed; allowed: 4, 64, 1024"
    assert complaint in measured.output()


def test_a_thousand_repetitions_of_any_tool_are_less_than_30_megabytes(measured: Workspace) -> None:
    (folder,) = (measured.folder / "results/one-file/raw/bare-metal").iterdir()
    session = (folder / record.SESSION_FILE).stat().st_size
    for file in record.files_in(folder):
        assert session + 1000 * file.stat().st_size < 30e6, file
