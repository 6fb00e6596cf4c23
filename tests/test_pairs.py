"""Pairs of machines that have no computer in common are measured at the same time.

controller 198.18.77.9 -- switch0 -+- host1 ====== lan0 198.18.77.2      +- host2 ====== lan0 198.18.77.4
                                   +- client1 ==== lan0 198.18.77.1      +- client2 ==== lan0 198.18.77.3
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

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

ADDRESSES = {
    "host1": "198.18.77.2",
    "client1": "198.18.77.1",
    "host2": "198.18.77.4",
    "client2": "198.18.77.3",
}
RUNS = 2
RUN_TIMEOUT_S = 500
CONFIG = {
    "repetitions": RUNS,
    "workloads": {"tcp": {"tool": "iperf", "duration_s": 1}},
    "systems": {"bare-metal": {"hypervisor": "bare-metal"}},
    "environments": {
        f"pair{number}": {
            "link": {"rate_mbit": 10000, "network": f"198.18.{77 + number}.0/24"},
            "host": {"connection": "ssh", "address": f"host{number}", "interface": openssh.INTERFACE},
            "client": {"connection": "ssh", "address": f"client{number}", "interface": openssh.INTERFACE},
        }
        for number in (1, 2)
    },
}


@pytest.mark.parametrize("waiting", [1, 2])
def test_a_pair_does_not_wait_for_another(tmp_path: Path, waiting: int) -> None:
    going_on = 3 - waiting
    folder = tmp_path / "pairs"
    folder.mkdir()
    computer = LocalConnection("this computer")
    with openssh.switched(computer, "pairs", tmp_path / "home", ADDRESSES) as machines:
        workspace = Workspace(folder, machines.within)
        workspace.link_project()
        (folder / "pairs.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
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
