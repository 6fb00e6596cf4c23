"""A network namespace of any machine, as a machine of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hvcost.machines.base import Connection
from hvcost.machines.stream import Stream


class Inside(Connection):
    """Runs commands in a named network namespace (ip-netns(8)) of another machine, whose files it shares."""

    def __init__(self, name: str, machine: Connection, namespace: str) -> None:
        super().__init__(name, machine.journal, machine.slowness)
        self._machine = machine
        self._prefix = ("ip", "netns", "exec", namespace)

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        return self._machine._execute((*self._prefix, *argv), timeout_s, stdin)

    def open_stream(self, argv: Sequence[str], *, outlives_us: bool = False) -> Stream:
        return self._machine.open_stream((*self._prefix, *argv), outlives_us=outlives_us)

    def put(self, source: Path, destination: str) -> None:
        self._machine.put(source, destination)
