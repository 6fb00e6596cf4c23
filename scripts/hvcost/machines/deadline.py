"""One deadline that is handed down, instead of time-outs inside time-outs."""

from __future__ import annotations

import time

from hvcost.errors import DeadlineExceeded


class Deadline:
    """A point in time on the monotonic clock, `duration_s` from now, until which `what` has to be done."""

    def __init__(self, duration_s: float, what: str) -> None:
        self.duration_s = duration_s
        self.what = what
        self._start_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._start_s

    @property
    def remaining_s(self) -> float:
        return max(0.0, self.duration_s - self.elapsed_s)

    def check(self, detail: str = "") -> None:
        """Raise DeadlineExceeded when the time is over; `detail` says what was seen last."""
        if self.remaining_s == 0.0:
            raise DeadlineExceeded(
                f"{self.what}: not within {self.duration_s:g} s" + (f" ({detail})" if detail else "")
            ) from None

    def wait_a_little(self, interval_s: float = 0.2) -> None:
        """Pause between two looks at a condition; never past the deadline."""
        self.check()
        time.sleep(min(interval_s, self.remaining_s))
