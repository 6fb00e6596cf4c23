"""Pairs of machines that have no computer in common are measured at the same time.

controller 198.18.77.9 -- switch0 -+- host1 ====== lan0 198.18.77.11     +- host2 ====== lan0 198.18.77.12 …
                                   +- client1 ==== lan0 198.18.77.21     +- client2 ==== lan0 198.18.77.22
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import openssh
import pytest
import yaml
from hvcost.environments.custody import custody
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection
from workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

RUNS = 2
RUN_TIMEOUT_S = 500


def addresses(pairs: int) -> dict[str, str]:
    """Of the machines of so many pairs, by name."""
    ends = {"host": 10, "client": 20}
    return {
        f"{end}{number}": f"198.18.77.{first + number}"
        for number in range(1, pairs + 1)
        for end, first in ends.items()
    }


def experiment(pairs: int, boots: int = 1) -> dict[str, Any]:
    """Bare metal of each pair."""
    return {
        "boots": boots,
        "repetitions": RUNS,
        "workloads": {"tcp": {"tool": "iperf", "duration_s": 1}},
        "systems": {"bare-metal": {"hypervisor": "bare-metal"}},
        "environments": {
            f"pair{number}": {
                "link": {"rate_mbit": 10000, "network": f"198.18.{77 + number}.0/24"},
                "host": {"connection": "ssh", "address": f"host{number}", "interface": openssh.INTERFACE},
                "client": {"connection": "ssh", "address": f"client{number}", "interface": openssh.INTERFACE},
            }
            for number in range(1, pairs + 1)
        },
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("waiting", [1, 2])
def test_a_pair_does_not_wait_for_another(tmp_path: Path, folder: Path, waiting: int) -> None:
    going_on = 3 - waiting
    computer = LocalConnection("this computer")
    with openssh.switched(computer, "pairs", tmp_path / "home", addresses(2)) as machines:
        workspace = Workspace(folder, machines.within)
        workspace.link_project()
        (folder / "pairs.yaml").write_text(yaml.safe_dump(experiment(2), sort_keys=False))
        targets = [f"results/pair{number}/measurements/bare-metal.csv" for number in (1, 2)]
        host = machines.by_name[f"host{waiting}"].connect(machines.controller)
        with contextlib.closing(host):
            with custody(host):
                process = workspace.start(*targets, "--cores", "2", "--configfile", "pairs.yaml")
                deadline = Deadline(RUN_TIMEOUT_S, "one pair waits and the other one is measured")
                while not (
                    f"pair{waiting} host: waiting: it is in use by" in workspace.output()
                    and (folder / targets[going_on - 1]).exists()
                ):
                    assert process.poll() is None, workspace.output()
                    deadline.check(workspace.output())
                    deadline.wait_a_little()
                assert workspace.records(f"pair{waiting}", "bare-metal") == []
            assert process.wait(RUN_TIMEOUT_S) == 0, workspace.output()
    for number in (1, 2):
        records = workspace.records(f"pair{number}", "bare-metal")
        assert [(one.status, one.reason) for one in records] == [("ok", None)] * RUNS
    assert workspace.left_behind() == []


def test_four_pairs_are_measured_at_once_and_no_two_sessions_share_a_machine(
    tmp_path: Path, folder: Path
) -> None:
    computer = LocalConnection("this computer")
    with openssh.switched(computer, "four", tmp_path / "home", addresses(4)) as machines:
        workspace = Workspace(folder, machines.within)
        workspace.link_project()
        (folder / "pairs.yaml").write_text(yaml.safe_dump(experiment(4, boots=2), sort_keys=False))
        targets = [f"results/pair{number}/measurements/bare-metal.csv" for number in range(1, 5)]
        workspace.run(*targets, "--cores", "4", "--configfile", "pairs.yaml")
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for number in range(1, 5):
        records = workspace.records(f"pair{number}", "bare-metal")
        assert [(one.status, one.reason) for one in records] == [("ok", None)] * 2 * RUNS
        for boot in (1, 2):
            own = sorted(
                (datetime.fromisoformat(one.started_at), one.outputs["client"].duration_s or 0.0)
                for one in records
                if one.boot == boot
            )
            span = own[0][0], own[-1][0] + timedelta(seconds=own[-1][1])
            spans.setdefault(f"pair{number}", []).append(span)
    for first, second in map(sorted, spans.values()):
        assert first[1] < second[0]
    every = [(pair, *span) for pair, own in spans.items() for span in own]
    at_once = [(a, b) for a, b in combinations(every, 2) if a[0] != b[0] and a[1] < b[2] and b[1] < a[2]]
    assert at_once
    assert workspace.left_behind() == []
