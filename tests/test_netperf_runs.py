"""netperf and netperf-connect are measured with on this computer, from configuration to report."""

from __future__ import annotations

import csv
import os

import pytest
import yaml
from hvcost.model.metric import Value
from hvcost.tools.verdict import values
from workspace import BESIDE, PARTS, ROOT, Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

WORKLOADS = {
    "answers": {"tool": "netperf", "duration_s": 3, "request_bytes": 100, "response_bytes": 2000},
    "connections": {"tool": "netperf-connect", "duration_s": 3},
    "datagrams": {"tool": "netperf", "duration_s": 3, "protocol": "udp"},
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("netperf")
    for part in PARTS:
        (folder / part).symlink_to(ROOT / part)
    content = yaml.safe_load((ROOT / "config/local.yaml").read_text())
    content |= {
        "results": "results",
        "repetitions": 2,
        "systems": {"bare-metal": {"hypervisor": "bare-metal"}},
        "workloads": WORKLOADS,
        "environments": {"netperf": content["environments"]["local"]},
    }
    (folder / "netperf.yaml").write_text(yaml.safe_dump(content))
    workspace = Workspace(folder, BESIDE)
    workspace.run("all", "--configfile", "netperf.yaml")
    return workspace


def test_every_repetition_counts_and_one_netserver_serves_them_all(measured: Workspace) -> None:
    records = measured.records("netperf", "bare-metal")
    assert [(one.status, one.reason) for one in records] == [("ok", None)] * 6
    assert {one.outputs["server"].stdout for one in records} == {records[0].outputs["server"].stdout}
    assert measured.left_behind() == []


def test_the_rate_is_that_of_one_transaction_after_the_other(measured: Workspace) -> None:
    for one in measured.records("netperf", "bare-metal"):
        found = values(one)
        transactions, duration = found["transactions"], found["duration"]
        rate = found.get("connection_rate") or found["transaction_rate"]
        assert isinstance(transactions, Value) and isinstance(duration, Value) and isinstance(rate, Value)
        assert rate.value == pytest.approx(transactions.value / duration.value, rel=0.02)


def test_every_metric_has_statistics_and_the_host_s_time_is_told_per_transaction(measured: Workspace) -> None:
    with (measured.folder / "results/netperf/statistics.csv").open(newline="") as table:
        primary = {
            row["workload"]: row["metric"] for row in csv.DictReader(table) if row["role"] == "primary"
        }
        table.seek(0)
        every = {(row["workload"], row["metric"]) for row in csv.DictReader(table)}
    assert primary == {
        "answers": "round_trip",
        "connections": "connection_rate",
        "datagrams": "round_trip",
    }
    for workload in WORKLOADS:
        assert (workload, "host_cpu_transaction") in every
    assert ("connections", "connection_time_p99") in every


def test_the_version_is_a_fact_of_the_machines(measured: Workspace) -> None:
    about = measured.records("netperf", "bare-metal")[0].facts["client"] or {}
    for name in ("netperf", "netperf_connect"):
        assert str(about[f"{name}_version"]).startswith("Netperf version 2.7")
