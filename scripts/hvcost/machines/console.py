"""A guest reached through its console: the command channel of `images/files/guest/channel`.

It needs no key or password, is the same under every hypervisor, and keeps the measured link free of
everything but the measurement. Outputs are framed and encoded; a kernel message among them is noticed.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hvcost.errors import DeadlineExceeded, MachineError, shown
from hvcost.machines.base import Connection
from hvcost.machines.journal import Journal
from hvcost.machines.shell import Shell
from hvcost.machines.stream import Stream

OUTPUTS = re.compile(rb"^=([A-Za-z0-9+/=]*) =([A-Za-z0-9+/=]*)\r?$", re.MULTILINE)
TIMED_OUT = 143  # BusyBox's timeout ends its child with SIGTERM

# The guest's own limit comes first; this is for the way there and back.
WAY_S = 30.0


class ConsoleConnection(Connection):
    """Runs commands in the guest at the other end of `stream`, one at a time; its shell is the console's.

    `check_alive` as of `Shell`.
    """

    def __init__(
        self,
        name: str,
        stream: Stream,
        journal: Journal | None = None,
        slowness: float = 1.0,
        check_alive: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(name, journal, slowness)
        self.console = Shell(name, stream, self.journal, slowness, check_alive)

    @contextmanager
    def shell(self) -> Iterator[Shell]:
        yield self.console

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        if stdin:
            raise MachineError(f"{self.name}: a console cannot feed standard input to a command")
        request = f"run {math.ceil(timeout_s)} {shlex.join(argv)}"
        exit_code, said = self.console.exchange(request, timeout_s + WAY_S * self.slowness)
        if exit_code == TIMED_OUT:
            raise DeadlineExceeded(f"{self.name}: `{shown(argv)}` was not done within {timeout_s:g} s")
        outputs = OUTPUTS.search(said)
        try:
            if outputs is None:
                raise ValueError("no outputs")
            stdout, stderr = (base64.b64decode(output, validate=True) for output in outputs.groups())
        except (ValueError, binascii.Error) as error:
            raise MachineError(f"{self.name}: garbled answer on the console: {said[-200:]!r}") from error
        return exit_code, stdout, stderr

    def open_stream(self, argv: Sequence[str], *, outlives_us: bool = False) -> Stream:
        raise MachineError(f"{self.name}: a console has room for one command at a time")

    def put(self, source: Path, destination: str) -> None:
        raise MachineError(f"{self.name}: files come to a guest with its image ({destination})")

    def close(self) -> None:
        self.console.close()
