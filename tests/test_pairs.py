"""Pairs of machines that have no computer in common are measured at the same time.

controller 198.18.77.9 -- switch0 -+- host1 ====== lan0 198.18.77.11     +- host2 ====== lan0 198.18.77.12 …
                                   +- client1 ==== lan0 198.18.77.21     +- client2 ==== lan0 198.18.77.22
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import openssh
import pytest
from hvcost.environments.custody import custody
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection
from pairs import CONFIG, RUNS, Span, addresses, at_once, experiment, project, spans, table

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

RUN_TIMEOUT_S = 500


@pytest.mark.parametrize("waiting", [1, 2])
def test_a_pair_does_not_wait_for_another(tmp_path: Path, waiting: int) -> None:
    going_on = 3 - waiting
    computer = LocalConnection("this computer")
    with openssh.switched(computer, "pairs", tmp_path / "home", addresses(2)) as machines:
        workspace = project(tmp_path / "pairs", machines.within, experiment(2))
        targets = [table(f"pair{number}") for number in (1, 2)]
        host = machines.by_name[f"host{waiting}"].connect(machines.controller)
        with contextlib.closing(host):
            with custody(host):
                process = workspace.start(*targets, "--cores", "2", "--configfile", CONFIG)
                deadline = Deadline(RUN_TIMEOUT_S, "one pair waits and the other one is measured")
                while not (
                    f"pair{waiting} host: waiting: it is in use by" in workspace.output()
                    and (workspace.folder / targets[going_on - 1]).exists()
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


def test_four_pairs_are_measured_at_once_and_no_two_sessions_share_a_machine(tmp_path: Path) -> None:
    computer = LocalConnection("this computer")
    with openssh.switched(computer, "four", tmp_path / "home", addresses(4)) as machines:
        workspace = project(tmp_path / "pairs", machines.within, experiment(4, boots=2))
        targets = [table(f"pair{number}") for number in range(1, 5)]
        workspace.run(*targets, "--cores", "4", "--configfile", CONFIG)
    every: list[Span] = []
    for number in range(1, 5):
        records = workspace.records(f"pair{number}", "bare-metal")
        assert [(one.status, one.reason) for one in records] == [("ok", None)] * 2 * RUNS
        first, second = spans(f"pair{number}", records)
        assert first.ended < second.began
        every += [first, second]
    assert at_once(every)
    assert workspace.left_behind() == []
