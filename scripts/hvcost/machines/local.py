"""This computer as a machine of the experiment, inside a network namespace where asked."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from hvcost.errors import DeadlineExceeded, MachineError, shown
from hvcost.machines.base import CHUNK_BYTES, Connection, sha256_of
from hvcost.machines.journal import Journal

TICKS_PER_S = 100  # USER_HZ, the same on every x86 machine
# Putting a network back takes a moment, on a busy computer several.
END_TIMEOUT_S = 60.0


class LocalConnection(Connection):
    """Runs commands on this computer; with `namespace`, in that named network namespace (ip-netns(8))."""

    def __init__(self, name: str, journal: Journal | None = None, namespace: str | None = None) -> None:
        super().__init__(name, journal)
        self.namespace = namespace

    def command_line(self, argv: Sequence[str]) -> list[str]:
        """The argument list as this computer has to run it."""
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        return [*inside, *argv]

    def start(self, argv: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        """Start a program in a session of its own, so that it can be ended with all its children.

        It dies with this process, however this process ends (prctl(2), PR_SET_PDEATHSIG).
        """
        return self._start(["setpriv", "--pdeathsig", "KILL", "--", *argv], **options)

    def _start(self, argv: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        line = self.command_line(argv)
        try:
            return subprocess.Popen(line, start_new_session=True, **options)  # type: ignore[call-overload, no-any-return]
        except OSError as error:
            raise MachineError(f"{self.name}: cannot start `{argv[0]}`: {error}") from error

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        process = self.start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise DeadlineExceeded(
                f"{self.name}: `{shown(argv)}` was not done within {timeout_s:g} s"
            ) from error
        finally:
            end_group(process)
        return process.returncode, stdout, stderr

    def open_stream(self, argv: Sequence[str], *, outlives_us: bool = False) -> ProcessStream:
        start, end = (self._start, let_end) if outlives_us else (self.start, end_group)
        process = start(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return ProcessStream(f"{self.name}: {argv[0]}", process, end)

    def put(self, source: Path, destination: str) -> None:
        target = Path(destination)
        partial = target.with_name(target.name + ".partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, partial)
        if sha256_of(partial) != sha256_of(source):
            raise MachineError(f"{self.name}: {destination} differs from {source} after copying")
        partial.replace(target)


class ProcessStream:
    """Stream of a child process: its standard input and output. `end` is how it is ended."""

    def __init__(
        self, name: str, process: subprocess.Popen[bytes], end: Callable[[subprocess.Popen[bytes]], None]
    ) -> None:
        self._name = name
        self._process = process
        self._end = end
        assert process.stdin and process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)

    def send(self, data: bytes) -> None:
        try:
            self._stdin.write(data)
            self._stdin.flush()
        except OSError as error:
            raise MachineError(f"{self._name}: the stream is closed ({error})") from error

    def receive(self, timeout_s: float) -> bytes:
        if not self._selector.select(timeout_s):
            raise DeadlineExceeded(f"{self._name}: nothing received within {timeout_s:g} s")
        return os.read(self._stdout.fileno(), CHUNK_BYTES)

    def close(self) -> None:
        self._selector.close()
        self._end(self._process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process that `LocalConnection.start` started, with its children, and close its pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _close_pipes(process)


def cpu_time_s(process: subprocess.Popen[bytes]) -> float:
    """Processor time of all threads of a process in s (proc(5)); those that have ended are in it."""
    stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICKS_PER_S


def let_end(process: subprocess.Popen[bytes]) -> None:
    """Close the pipes of a process that ends by itself then, and wait for its end.

    DeadlineExceeded if that takes too long; it is left to itself.
    """
    _close_pipes(process)
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded(
            f"this computer: process {process.pid} has not ended within {END_TIMEOUT_S:g} s"
        ) from error


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
