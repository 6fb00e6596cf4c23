"""A shell that stays on a machine and answers questions, most of them without starting a program.

To start one for each question takes a tenth of a second on an emulated machine, and seconds in a guest whose
processor is translated twice; around every run a machine is asked several times. The other end is shell.sh.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

from hvcost.errors import CommandError, DeadlineExceeded, KernelPanic, MachineError, shown
from hvcost.machines.deadline import Deadline
from hvcost.machines.journal import Journal
from hvcost.machines.stream import Stream

SCRIPT = Path(__file__).parent / "shell.sh"
# bash where there is one: it has a clock of its own, and other shells of hosts have none.
START = '! command -v bash >/dev/null || exec bash -c "$1"; eval "$1"'
READY = b"@ready"
# The end of an answer: number and exit code.
END = re.compile(rb"\n@(\d+) (\d+)\r?\n")
# What a kernel says last, on the console of a guest.
PANIC = re.compile(rb"Kernel panic - not syncing: ([^\r\n]*)\r?\n")
READY_TIMEOUT_S = 60.0
SHOWN_BYTES = 2000
SILENCE_S = 5.0
# A machine that has said nothing for so long when the time of a request is over will say nothing more.
LOST_S = 30.0
# After so much of it, another line is sent; after twice as much the next, up to the last.
PATIENCE_S = 0.125
LONGEST_PATIENCE_S = 1.0

log = logging.getLogger(__name__)


def start_argv() -> list[str]:
    """Command line of the shell's other end on a machine that has none running."""
    return ["sh", "-c", START, "shell", SCRIPT.read_text(encoding="utf-8")]


def panic_of(name: str, said: bytes | bytearray) -> KernelPanic | None:
    """The panic of the kernel of `name`, if it is in what its console has said."""
    if not (panic := PANIC.search(said)):
        return None
    why, end = (text.decode("utf-8", errors="replace") for text in (panic[1], said[-SHOWN_BYTES:]))
    return KernelPanic(f"{name}: its kernel has panicked: {why}; it said: {end!r}")


class Shell:
    """Asks the shell at the other end of `stream`, one request at a time.

    `slowness` as of the machine's connection. A machine whose kernel has panicked, or that was silent for
    half a minute (times its slowness) when a request's time was over, is lost: later requests fail at once,
    for the same reason. `check_alive` is asked whenever it has been silent for a while; it raises if the
    machine has died.
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        journal: Journal,
        slowness: float = 1.0,
        check_alive: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = name
        self.journal = journal
        self.slowness = slowness
        self._stream = stream
        self._check_alive = check_alive
        self._unread = bytearray()
        self._last = 0
        self._lost: MachineError | None = None

    def wait_until_ready(self, deadline: Deadline) -> None:
        """Until the other end has said that it takes requests."""
        while READY not in self._unread:
            if not self._receive(deadline, SILENCE_S * self.slowness):
                self._check_alive()
        self._unread.clear()

    def ask(self, request: str, *, timeout_s: float = 60.0) -> str:
        """What a command line says (shell.sh has functions for it), in the order in which it comes.

        Raises CommandError for an exit code other than 0, DeadlineExceeded if there is no answer within
        `timeout_s` (times the machine's slowness), MachineError if the machine is gone or lost.
        """
        argv = ("eval", request)
        with self.journal.entry(self.name, argv) as entry:
            exit_code, said = self.exchange(request, timeout_s * self.slowness)
            entry.exit_code = exit_code
        text = said.decode("utf-8", errors="replace")
        if exit_code != 0:
            raise CommandError(self.name, argv, exit_code, text)
        return text

    def exchange(self, request: str, timeout_s: float) -> tuple[int, bytes]:
        """Exit code and output of a command line."""
        if self._lost:
            raise type(self._lost)(str(self._lost))
        self._last += 1
        self._unread.clear()
        # The other end takes one line: a newline, which shlex has put between single quotes, is spelt out.
        line = request.replace("\n", r"'$'\n''")
        self._send(f"{self._last} {line}\n".encode())
        deadline = Deadline(timeout_s, f"{self.name}: `{shown([request])}`")
        patience_s = PATIENCE_S
        heard_s = checked_s = time.monotonic()
        try:
            while not (answer := self._answer()):
                # An interrupt of a serial port can get lost under nested translation. An empty line, which
                # the other end ignores, raises the next one.
                if self._receive(deadline, patience_s):
                    patience_s = PATIENCE_S
                    heard_s = checked_s = time.monotonic()
                else:
                    if time.monotonic() - checked_s >= SILENCE_S * self.slowness:
                        self._check_alive()
                        checked_s = time.monotonic()
                    log.debug("%s: silent for %g s", self.name, patience_s)
                    self._send(b"\n")
                    patience_s = min(2 * patience_s, LONGEST_PATIENCE_S)
        except DeadlineExceeded:
            silent_s = time.monotonic() - heard_s
            if silent_s >= LOST_S * self.slowness:
                self._lost = MachineError(f"{self.name}: it is lost: it said nothing in {silent_s:.0f} s")
            raise
        return answer

    def seen(self) -> str:
        """The end of what was said and nobody has asked for yet, for messages."""
        return self._unread[-SHOWN_BYTES:].decode("utf-8", errors="replace")

    def close(self) -> None:
        """End it; further requests fail."""
        self._stream.close()

    def _send(self, data: bytes) -> None:
        try:
            self._stream.send(data)
        except MachineError as error:
            raise self._gone() from error

    def _gone(self) -> MachineError:
        return MachineError(f"{self.name}: it is gone; its last words: {self.seen()!r}")

    def _answer(self) -> tuple[int, bytes] | None:
        start = 0
        for end in END.finditer(self._unread):
            if int(end[1]) == self._last:
                return int(end[2]), bytes(self._unread[start : end.start()])
            # Of a request that was given up.
            start = end.end()
        return None

    def _receive(self, deadline: Deadline, patience_s: float = math.inf) -> bool:
        """Wait for more; False if nothing came within `patience_s`."""
        deadline.check(f"its last words: {self.seen()!r}")
        try:
            data = self._stream.receive(min(patience_s, deadline.remaining_s))
        except DeadlineExceeded:
            deadline.check(f"its last words: {self.seen()!r}")
            return False
        if not data:
            raise self._gone()
        self._unread += data
        if panic := panic_of(self.name, self._unread):
            self._lost = panic
            raise panic
        return True
