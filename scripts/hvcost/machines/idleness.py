"""Tells a process that waits for something that never comes from one that gets little of the processor."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

# It is looked at no more often than so, and is idle if it was at work for less than this share of the time of
# so many looks: the emulator of a machine that hangs still serves its timers, for some hundredths of it.
LOOK_EVERY_S = 1.0
LOOKS = 30
IDLE_SHARE = 0.2
# Of a thread that waits for a disk (proc(5)).
DISK_SLEEP = "D"


class Idleness:
    """Looks at a process now and then. Slow is not idle: whoever waits for a processor is at work.

    Its threads' states do not tell: the timer that wakes whoever looks wakes an idle emulator as well.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._at_disk_s = 0.0
        # When it was looked at, and how long it had been at work by then.
        self._looks = deque([(time.monotonic(), self._at_work_s())], maxlen=LOOKS + 1)

    def lasts(self) -> bool:
        """Look again, unless that was just done; whether the process idles."""
        now_s = time.monotonic()
        since_s = now_s - self._looks[-1][0]
        if since_s >= LOOK_EVERY_S:
            if any(line.rpartition(")")[2].split()[0] == DISK_SLEEP for line in self._of_threads("stat")):
                self._at_disk_s += since_s
            self._looks.append((now_s, self._at_work_s()))
        (from_s, before_s), (to_s, after_s) = self._looks[0], self._looks[-1]
        return len(self._looks) > LOOKS and after_s - before_s < IDLE_SHARE * (to_s - from_s)

    def _at_work_s(self) -> float:
        """How long its threads have run or waited for a processor (scheduler/sched-stats) or a disk."""
        times = (line.split()[:2] for line in self._of_threads("schedstat"))
        return self._at_disk_s + sum(int(run) + int(wait) for run, wait in times) / 1e9

    def _of_threads(self, file: str) -> Iterator[str]:
        """What a file of each of its threads says; one that has just ended has none."""
        for path in Path(f"/proc/{self._process.pid}/task").glob(f"*/{file}"):
            with contextlib.suppress(OSError):
                yield path.read_text(encoding="utf-8")
