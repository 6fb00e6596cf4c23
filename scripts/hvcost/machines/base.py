"""The command runner that all connections share: checking, logging and the journal of commands."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hvcost.errors import CommandError, MachineError
from hvcost.machines import shell
from hvcost.machines.deadline import Deadline
from hvcost.machines.journal import Journal
from hvcost.machines.stream import Stream

CHUNK_BYTES = 1 << 20

# Arguments: file, text. The text is no standard input, since of that half may arrive.
WRITE = """
mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1.partial" && sync "$1.partial" &&
    printf %s "$2" | cmp -s - "$1.partial" && mv "$1.partial" "$1" && exit
rm -f "$1.partial"
echo "$1 cannot be written" >&2
exit 1
"""


@dataclass(frozen=True)
class CommandResult:
    """What a command did; `duration_s` is wall time as seen by the caller."""

    machine: str
    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    duration_s: float


class Connection(ABC):
    """A machine that takes commands. `name` is how messages and records call it.

    `slowness`: how many times longer than usual everything may take on it. Time limits are meant for a
    machine of the usual speed; what measures a machine's speed sets this.
    """

    def __init__(self, name: str, journal: Journal | None = None, slowness: float = 1.0) -> None:
        self.name = name
        self.journal = journal or Journal()
        self.slowness = slowness

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float = 60.0,
        stdin: bytes = b"",
        check: bool = True,
    ) -> CommandResult:
        """Run a command to its end.

        Raises CommandError for an exit code other than 0 (unless `check` is off), DeadlineExceeded when it
        was not done in `timeout_s` (times the machine's slowness), MachineError when the machine cannot be
        reached.
        """
        argv = tuple(argv)
        with self.journal.entry(self.name, argv) as entry:
            exit_code, stdout, stderr = self._execute(argv, timeout_s * self.slowness, stdin)
            entry.exit_code = exit_code
        result = CommandResult(
            machine=self.name,
            argv=argv,
            exit_code=exit_code,
            stdout=stdout.decode("utf-8", errors="replace"),
            stderr=stderr.decode("utf-8", errors="replace"),
            duration_s=entry.duration_s,
        )
        if check and exit_code != 0:
            raise CommandError(self.name, argv, exit_code, result.stderr or result.stdout)
        return result

    def succeeds(self, argv: Sequence[str], *, timeout_s: float = 60.0) -> bool:
        """Whether a command ends with exit code 0."""
        return self.run(argv, timeout_s=timeout_s, check=False).exit_code == 0

    @contextmanager
    def shell(self) -> Iterator[shell.Shell]:
        """A shell that stays on the machine until the block ends."""
        stream = self.open_stream(shell.start_argv(), outlives_us=True)
        opened = shell.Shell(self.name, stream, self.journal, self.slowness)
        try:
            opened.wait_until_ready(
                Deadline(shell.READY_TIMEOUT_S * self.slowness, f"{self.name}: start of a shell")
            )
            yield opened
        except BaseException:
            # That its end was not in order must not hide what went wrong first.
            with suppress(MachineError):
                opened.close()
            raise
        opened.close()

    @abstractmethod
    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        """Exit code, standard output and standard error of a command."""

    @abstractmethod
    def open_stream(self, argv: Sequence[str], *, outlives_us: bool = False) -> Stream:
        """Start a program and keep its standard input and output open.

        `outlives_us`: the program ends by itself when its input does, and is never ended in another way.
        """

    @abstractmethod
    def put(self, source: Path, destination: str) -> None:
        """Copy a file of this computer to the machine, whole or not at all, and compare checksums."""

    def write_text(self, destination: str, text: str) -> None:
        """Write a small text (below 100 KB) to a file of the machine: whole and on its disk, or not at all.

        Its folder is made if it is not there. Raises CommandError if the file cannot be written.
        """
        self.run(["sh", "-c", WRITE, "write", destination, text])

    def close(self) -> None:  # noqa: B027 - most connections hold nothing
        """Give the connection back; further calls fail."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file of this computer, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_at(connection: Connection, path: str) -> str | None:
    """SHA-256 of a file of the machine, None if there is no such file."""
    result = connection.run(["sha256sum", path], timeout_s=600, check=False)
    return result.stdout.split()[0].lstrip("\\") if result.exit_code == 0 else None
