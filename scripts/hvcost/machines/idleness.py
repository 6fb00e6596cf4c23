"""Tells a process that waits for something that never comes from one that gets little of the processor."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections import deque
from pathlib import Path

# It is looked at no more often than so, and is idle if fewer of so many looks than this share saw it at work:
# the emulator of a machine that hangs still serves its timers, for some hundredths of the time.
LOOK_EVERY_S = 1.0
LOOKS = 30
IDLE_SHARE = 0.2
# It runs or waits for a processor; or waits for a disk (proc(5)).
AT_WORK = ("R", "D")


class Idleness:
    """Looks at a process now and then. Slow is not idle: whoever waits for a processor wants to work."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._looks: deque[bool] = deque(maxlen=LOOKS)
        self._looked_s = -LOOK_EVERY_S

    def lasts(self) -> bool:
        """Look again, unless that was just done; whether the process idles."""
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_EVERY_S:
            self._looked_s = now_s
            self._looks.append(_is_at_work(self._process))
        return len(self._looks) == LOOKS and sum(self._looks) < IDLE_SHARE * LOOKS


def _is_at_work(process: subprocess.Popen[bytes]) -> bool:
    """Whether a thread of it is."""
    for stat in Path(f"/proc/{process.pid}/task").glob("*/stat"):
        # A thread may just have ended.
        with contextlib.suppress(OSError):
            if stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] in AT_WORK:
                return True
    return False
