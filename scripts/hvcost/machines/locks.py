"""Locks on this computer: one at a time of all processes that take the same one, whosever they are."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hvcost.errors import MachineError

log = logging.getLogger(__name__)

# Where everybody may put a lock; not every distribution lets them have the first.
FOLDERS = (Path("/run/lock"), Path("/tmp"))
FOR_EVERYBODY = 0o002


def of_computer(name: str) -> Path:
    """A lock that all users of this computer share, by its file's name."""
    return (
        next(folder for folder in FOLDERS if folder.is_dir() and folder.stat().st_mode & FOR_EVERYBODY) / name
    )


@contextmanager
def locked(lock: Path, reason: str) -> Iterator[None]:
    """Hold the lock until the block ends. `reason` is what whoever has to wait is told, with the owner.

    The kernel gives the lock back when its owner dies, however it dies (flock(2)). Raises MachineError if its
    file is somebody's who lets nobody else read it.
    """
    with _opened(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("waiting: %s by %s", reason, file.read().strip())
            fcntl.flock(file, fcntl.LOCK_EX)
        if file.writable():
            file.seek(0)
            file.truncate()
            file.write(f"{getpass.getuser()} in {Path.cwd()}")
            file.flush()
        yield


def joined(lock: Path, forget: Callable[[], object]) -> IO[str]:
    """A share of a lock, as many as want one have, until the file is closed or this process ends.

    Whoever gets the first one calls `forget`, and nobody gets another meanwhile: what earlier owners have
    left behind is then nobody's, however they ended (flock(2)). It is not called where files have no locks.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    file = lock.open("w", encoding="utf-8")
    with contextlib.suppress(OSError):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            forget()
        fcntl.flock(file, fcntl.LOCK_SH)
    return file


def _opened(lock: Path) -> IO[str]:
    """The lock's file, open for what this user may do with it: to read it is enough to take it."""
    try:
        # Somebody else's file must not be created again in a folder of everybody's (fs.protected_regular).
        for mode in ("r+", "r"):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                return lock.open(mode, encoding="utf-8")
        file = lock.open("a+", encoding="utf-8")
    except PermissionError as error:
        raise MachineError(
            f"this computer: the lock {lock} is another user's alone; `sudo chmod 0666 {lock}` shares it"
        ) from error
    os.fchmod(file.fileno(), 0o666)
    file.seek(0)
    return file
