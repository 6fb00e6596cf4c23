"""The journal of commands: what was run where, for the raw record and for the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hvcost.errors import MachineError
from hvcost.model.record import Command

log = logging.getLogger(__name__)


@dataclass
class Entry:
    """A command that is under way: its exit code, if it comes to one, and how long it took, by the caller."""

    exit_code: int | None = None
    duration_s: float = 0.0


class Journal:
    """Every command of a session in the order in which they were run, for the raw record."""

    def __init__(self) -> None:
        self._commands: list[Command] = []

    @contextmanager
    def entry(self, machine: str, argv: tuple[str, ...]) -> Iterator[Entry]:
        """Note the command that the block runs, also if it raises MachineError, and so has no exit code."""
        entry = Entry()
        start_s = time.monotonic()
        try:
            yield entry
        except MachineError:
            self._note(machine, argv, entry, start_s)
            raise
        self._note(machine, argv, entry, start_s)
        log.debug("%s: %s -> %s (%.2f s)", machine, argv, entry.exit_code, entry.duration_s)

    def _note(self, machine: str, argv: tuple[str, ...], entry: Entry, start_s: float) -> None:
        entry.duration_s = round(time.monotonic() - start_s, 3)
        self._commands.append(Command(machine, argv, entry.exit_code, entry.duration_s))

    @property
    def commands(self) -> tuple[Command, ...]:
        return tuple(self._commands)
