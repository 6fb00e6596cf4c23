"""Work that is done by forks: in order, with errors as they are, and with nothing left of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from hvcost.errors import MachineError, ParseError
from hvcost.machines.deadline import Deadline
from hvcost.parallel import results_of
from workspace import ROOT, Workspace


@pytest.fixture(params=[1, 2, 3])
def processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A computer with so many of them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(request.param)))
    return int(request.param)


def complain(of: str) -> str:
    raise ParseError(of)


def test_results_are_in_the_order_of_the_tasks_and_none_is_left_out(processors: int) -> None:
    for count in range(6):
        done = results_of([partial(lambda n: (n, os.getpid()), n) for n in range(count)], "counting")
        assert [number for number, _ in done] == list(range(count))
        assert len({pid for _, pid in done}) == min(count, processors)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.usefixtures("processors")
def test_an_error_is_that_of_the_task(place: int) -> None:
    tasks = [partial(str, n) for n in range(3)]
    tasks[place] = partial(complain, "of this")
    with pytest.raises(ParseError, match=r"^of this$"):
        results_of(tasks, "counting")
    assert multiprocessing.active_children() == []


def test_a_part_that_is_killed_is_named(processors: int) -> None:
    parent = os.getpid()

    def be_killed() -> None:
        if os.getpid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    tasks = [be_killed] * 3
    if processors == 1:
        assert results_of(tasks, "counting") == [None] * 3
        return
    with pytest.raises(MachineError, match="counting is not done: a part of it was killed"):
        results_of(tasks, "counting")


LARGE = """
import os, sys
from functools import partial
from hvcost.parallel import results_of
os.sched_getaffinity = lambda _: {0, 1, 2}
def work(place):
    os.write(1, b"there\\n")
    if place == 0:
        sys.stdin.read()
    return bytes(10_000_000)
results_of([partial(work, place) for place in range(3)], "waiting")
"""


def test_nothing_goes_on_when_the_parent_is_killed(tmp_path: Path) -> None:
    command = ["env", f"PYTHONPATH={ROOT / 'scripts'}", sys.executable, "-c", LARGE]
    with subprocess.Popen(
        command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        assert [parent.stdout.readline() for _ in range(3)] == ["there\n"] * 3
        parent.kill()
    deadline = Deadline(60, "end of all forks")
    while left := Workspace(tmp_path).left_behind():
        deadline.check(str(left))
        deadline.wait_a_little()
