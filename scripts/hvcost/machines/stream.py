"""Both directions of a program on a machine, whatever the machine is reached by."""

from __future__ import annotations

from typing import Protocol


class Stream(Protocol):
    """Both directions of a running program or a connected socket."""

    def send(self, data: bytes) -> None: ...

    def receive(self, timeout_s: float) -> bytes:
        """At least one byte, or b"" at the end of the stream; DeadlineExceeded if nothing came."""

    def close(self) -> None: ...
