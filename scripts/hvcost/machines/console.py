"""A guest reached through its console: the command channel of `guest/files/init`.

It needs no network, key or password, is the same under every hypervisor, and keeps the measured link free
of everything but the measurement. Answers are framed and encoded; a kernel message among them is noticed.
"""

from __future__ import annotations

import base64
import binascii
import logging
import math
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from hvcost.errors import DeadlineExceeded, MachineError, shown
from hvcost.machines.base import Connection, Journal, Stream
from hvcost.machines.deadline import Deadline

READY = b"@ready"
ANSWER = re.compile(rb"^@(\d+) (\d+) =([A-Za-z0-9+/=]*) =([A-Za-z0-9+/=]*)\r?$", re.MULTILINE)
TIMED_OUT = 143  # BusyBox's timeout ends its child with SIGTERM
SHOWN_BYTES = 2000
SILENCE_S = 5.0

log = logging.getLogger(__name__)


class ConsoleConnection(Connection):
    """Runs commands in the guest at the other end of `stream`, one at a time."""

    def __init__(
        self, name: str, stream: Stream, journal: Journal | None = None, slowness: float = 1.0
    ) -> None:
        super().__init__(name, journal, slowness)
        self._stream = stream
        self._unread = bytearray()
        self._last_id = 0

    def wait_until_ready(self, deadline: Deadline, check_alive: Callable[[], object] = lambda: None) -> None:
        """Until the guest's init has said that it takes commands.

        `check_alive` is asked whenever the console has been silent for a while; it raises if that has died.
        """
        while READY not in self._unread:
            if not self._receive(deadline, SILENCE_S * self.slowness):
                check_alive()
        self._unread.clear()

    def seen(self) -> str:
        """The end of what the console printed and nobody has asked for yet, for messages."""
        return self._unread[-SHOWN_BYTES:].decode("utf-8", errors="replace")

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        if stdin:
            raise MachineError(f"{self.name}: a console cannot feed standard input to a command")
        self._last_id += 1
        # The channel takes one line: a newline, which shlex has put between single quotes, is spelt out.
        command = shlex.join(argv).replace("\n", r"'$'\n''")
        line = f"{self._last_id} {math.ceil(timeout_s)} {command}\n"
        self._unread.clear()
        self._send(line.encode())
        # The guest's own limit comes first; the rest is for the way there and back.
        deadline = Deadline(timeout_s + 30 * self.slowness, f"{self.name}: `{shown(argv)}`")
        while not (answer := self._answer()):
            # An interrupt of a serial port can get lost under nested translation. An empty line, which the
            # guest ignores, raises the next one.
            if not self._receive(deadline, SILENCE_S):
                log.debug("%s: silent for %g s", self.name, SILENCE_S)
                self._send(b"\n")
        exit_code, stdout, stderr = answer
        if exit_code == TIMED_OUT:
            raise DeadlineExceeded(f"{self.name}: `{shown(argv)}` was not done within {timeout_s:g} s")
        return exit_code, stdout, stderr

    def _send(self, data: bytes) -> None:
        try:
            self._stream.send(data)
        except MachineError as error:
            raise self._gone() from error

    def _gone(self) -> MachineError:
        return MachineError(f"{self.name}: the guest is gone; the console's end: {self.seen()!r}")

    def _answer(self) -> tuple[int, bytes, bytes] | None:
        for match in ANSWER.finditer(bytes(self._unread)):
            if int(match[1]) == self._last_id:
                try:
                    return (
                        int(match[2]),
                        base64.b64decode(match[3], validate=True),
                        base64.b64decode(match[4], validate=True),
                    )
                except binascii.Error as error:
                    raise MachineError(f"{self.name}: garbled answer on the console") from error
        return None

    def _receive(self, deadline: Deadline, patience_s: float = math.inf) -> bool:
        """Wait for more; False if nothing came within `patience_s`."""
        deadline.check(f"the console's end: {self.seen()!r}")
        try:
            data = self._stream.receive(min(patience_s, deadline.remaining_s))
        except DeadlineExceeded:
            deadline.check(f"the console's end: {self.seen()!r}")
            return False
        if not data:
            raise self._gone()
        self._unread += data
        return True

    def open_stream(self, argv: Sequence[str], *, outlives_us: bool = False) -> Stream:
        raise MachineError(f"{self.name}: a console has room for one command at a time")

    def put(self, source: Path, destination: str) -> None:
        raise MachineError(f"{self.name}: files come to a guest with its image ({destination})")

    def close(self) -> None:
        self._stream.close()
