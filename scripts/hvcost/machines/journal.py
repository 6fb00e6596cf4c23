"""The journal of commands: what was run where, for the raw record."""

from __future__ import annotations

from hvcost.model.record import Command


class Journal:
    """Every command of a session in the order in which they were run, for the raw record."""

    def __init__(self) -> None:
        self._commands: list[Command] = []

    def add(self, command: Command) -> None:
        self._commands.append(command)

    @property
    def commands(self) -> tuple[Command, ...]:
        return tuple(self._commands)
