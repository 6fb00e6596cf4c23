"""The one family of errors, so that a program can tell what it foresaw from a defect of its own.

A message says what failed, on which machine, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_CHARACTERS = 120


class HvcostError(Exception):
    """Everything that this project reports in a sentence instead of a traceback."""


class ConfigError(HvcostError):
    """The configuration is wrong; the message names the key and the allowed values."""


class ParseError(HvcostError):
    """Output of a tool, or a file, that does not hold what it should hold."""


class MachineError(HvcostError):
    """A machine could not be reached, prepared, started or stopped."""


class HostKeyError(MachineError):
    """A machine's SSH host key is unknown or another: no use in trying again."""


class DeadlineExceeded(MachineError):
    """Something took longer than it was allowed to."""


class KernelPanic(MachineError):
    """A machine's kernel has stopped by itself, and does nothing more."""


class ProofError(HvcostError):
    """The guest does not run under what the configuration says."""


def told(error: HvcostError) -> str:
    """What went wrong, and what then went wrong in cleaning up after it, in the order in which it did."""
    messages = [str(error)]
    while not error.__suppress_context__ and isinstance(error.__context__, HvcostError):
        error = error.__context__
        messages.insert(0, str(error))
    return "; then: ".join(dict.fromkeys(messages))


def shown(argv: Sequence[str]) -> str:
    """A command line for a message: one line, no longer than a reader wants; the journal has it whole."""
    line = " ".join(" ".join(argv).split())
    return line if len(line) <= SHOWN_CHARACTERS else line[:SHOWN_CHARACTERS] + " …"


class CommandError(MachineError):
    """A command ended with another exit code than 0."""

    def __init__(self, machine: str, argv: tuple[str, ...], exit_code: int, stderr: str) -> None:
        self.machine = machine
        self.argv = argv
        self.exit_code = exit_code
        self.stderr = stderr
        lines = stderr.strip().splitlines()[-5:] or ["(nothing on standard error)"]
        super().__init__(f"{machine}: `{shown(argv)}` ended with exit code {exit_code}: " + " / ".join(lines))
