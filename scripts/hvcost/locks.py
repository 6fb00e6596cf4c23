"""Locks on this computer: one at a time of all processes that take the same one, in whichever checkout."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def locked(lock: Path, reason: str) -> Iterator[None]:
    """Hold the lock until the block ends. `reason` is what whoever has to wait is told, with the owner.

    The kernel gives the lock back when its owner dies, however it dies (flock(2)).
    """
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            log.warning("waiting: %s by %s", reason, file.read().strip())
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"process {os.getpid()} in {Path.cwd()}")
        file.flush()
        yield
