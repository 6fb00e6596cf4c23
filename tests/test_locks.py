"""A shared lock: who holds it is there, and what those who are not there have left is forgotten."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from hvcost.machines import locks


def hold(lock: Path, told: Connection) -> None:
    """A process that holds a share until it is killed."""
    forgotten: list[str] = []
    with locks.joined(lock, lambda: forgotten.append("by another")):
        told.send(forgotten)
        signal.pause()


def test_what_was_left_is_forgotten_by_whoever_is_alone(tmp_path: Path) -> None:
    lock = tmp_path / "new/lock"
    forgotten: list[str] = []

    def join() -> None:
        with locks.joined(lock, lambda: forgotten.append("again")):
            pass

    ours, theirs = multiprocessing.Pipe()
    holder = multiprocessing.get_context("fork").Process(target=hold, args=(lock, theirs))
    holder.start()
    assert ours.recv() == ["by another"]
    join()
    join()
    assert forgotten == []
    assert holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    join()
    join()
    assert forgotten == ["again", "again"]
