"""A process in the background of runs, such as a server: started, watched and ended on any machine.

A server stays for all runs that need the same one, as the study's did. One whose run failed is ended, so that
nothing of it reaches the next; so is what runs beside the foreground, after each run. Its output goes to
files in a private folder there, which are read after the run, and not while something is measured.
"""

from __future__ import annotations

import math
import re
import shlex
import time
from collections.abc import Callable, Sequence

from hvcost.errors import CommandError, HvcostError, MachineError, shown
from hvcost.machines.deadline import Deadline
from hvcost.machines.shell import Shell
from hvcost.machines.witness import heard
from hvcost.model.process import MOST_IN_BACKGROUND, Bound, Listening, Process
from hvcost.model.record import End, Reading

START_TIMEOUT_S = 120.0
REPORT_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.1
# Descriptors of the shell for its outputs; BusyBox's knows those of one digit only.
DESCRIPTORS = tuple((first, first + 1) for first in range(4, 4 + 2 * MOST_IN_BACKGROUND, 2))
NEWS = re.compile(r"([oe])([|+])(.*)", re.DOTALL)
GONE = "gone"


class Background:
    """A process of a machine, started when it is made.

    `folder` is a new folder there for its output, which the shell has open at two descriptors. It ends by
    itself after `limit_s`, times the machine's slowness. MachineError with its words if it does not start.
    """

    def __init__(
        self, shell: Shell, process: Process, folder: str, descriptors: tuple[int, int], limit_s: float
    ) -> None:
        self.process = process
        self._shell = shell
        self._folder = folder
        self.descriptors = descriptors
        self._said = {"o": "", "e": ""}
        limit = str(math.ceil((limit_s + START_TIMEOUT_S) * shell.slowness))
        request = ["start", *map(str, descriptors), folder, *_readiness(process), limit, *process.argv]
        self._do(shlex.join(request), "does not start")
        try:
            self._greeting = self._await_greeting()
        except HvcostError:
            # It is no one's any more, and must not run on beside others.
            self.stop()
            raise

    def _await_greeting(self) -> dict[str, str]:
        """What it says before any run, which belongs to each of them."""
        deadline = Deadline(
            START_TIMEOUT_S * self._shell.slowness, f"{self._shell.name}: start of the {self.process.role}"
        )
        while True:
            is_running, _ = self._read()
            if self.process.greeting in self._said["o"]:
                return self._said
            if not is_running:
                said = f"it ended and said {self._said}"
                raise MachineError(f"{self._shell.name}: the {self.process.role} does not start: {said}")
            deadline.wait_a_little(POLL_S)

    def _do(self, request: str, consequence: str) -> None:
        """Do what is asked; MachineError with the consequence and the reason if that fails."""
        try:
            self._shell.ask(request, timeout_s=START_TIMEOUT_S)
        except CommandError as error:
            what = f"the {self.process.role} `{shown(self.process.argv)}` {consequence}"
            raise MachineError(f"{self._shell.name}: {what}: {error.stderr.strip()}") from error

    def runs(self, process: Process) -> bool:
        """Whether it is what such a process would be."""
        return (process.argv, process.ready) == (self.process.argv, self.process.ready)

    def begin(self) -> None:
        """What it says from now on belongs to the next run; MachineError if it is not ready for one."""
        request = f"room {shlex.quote(self._folder)}"
        if isinstance(self.process.ready, Bound):
            request += f" && let_go {self.process.ready.port:04X}"
        self._do(request, "cannot go on")
        self._said = self._greeting

    def await_report(self, has_reported: Callable[[Process, End], bool]) -> Reading:
        """What the machine's clocks say when its output holds its report, or nothing more is to come.

        That the report is missing is no error here: it is what its output shows.
        """
        deadline = Deadline(
            REPORT_TIMEOUT_S * self._shell.slowness, f"{self._shell.name}: report of the {self.process.role}"
        )
        while True:
            is_running, reading = self._read()
            if not is_running or has_reported(self.process, self.end) or deadline.remaining_s == 0:
                return reading
            deadline.wait_a_little(POLL_S)

    @property
    def end(self) -> End:
        """What it has said in this run, as far as that was read, after what it said when it was started."""
        return End(self._shell.name, self.process.argv, None, self._said["o"], self._said["e"], None)

    def stop(self) -> None:
        """End it, take the rest of what it said, and remove its folder."""
        self._take(f"stop {shlex.quote(self._folder)}", STOP_TIMEOUT_S)

    def _read(self) -> tuple[bool, Reading]:
        """Take what is new; whether it runs, and the machine's clocks."""
        asked_s = time.monotonic()
        # Whether it runs is asked first: what it said before its end is then there.
        request = f"clocks; is_running {shlex.quote(self._folder)} || echo {GONE}"
        rest = self._take(request, START_TIMEOUT_S)
        return GONE not in rest, heard(self._shell, "\n".join(rest), asked_s)

    def _take(self, request: str, timeout_s: float) -> list[str]:
        """Take what is new when a request has been answered; the lines of its answer."""
        out, err = self.descriptors
        said = self._shell.ask(f"{request}; news {out} o; news {err} e", timeout_s=timeout_s)
        news, rest = _sorted(said)
        self._said = {letter: text + news[letter] for letter, text in self._said.items()}
        return rest


class Backgrounds:
    """Those of a machine that run. `prefix` is how the paths of their folders begin there.

    They end by themselves after `limit_s`, times the machine's slowness.
    """

    def __init__(self, shell: Shell, prefix: str, limit_s: float) -> None:
        self._shell = shell
        self._prefix = prefix
        self._limit_s = limit_s
        self._running: list[Background] = []

    def ready(self, processes: Sequence[Process]) -> list[Background]:
        """These processes, in a new run: those that are not there yet are started.

        Others stay, idle, for the runs that need them: to start one takes seconds in a slow guest.
        """
        for each in self._in_the_way(processes):
            self._running.remove(each)
            each.stop()
        return [self.started(process) for process in processes]

    def _in_the_way(self, processes: Sequence[Process]) -> list[Background]:
        """Those that have a port of theirs; if there are too many others, those used longest ago."""
        others = [each for each in self._running if not any(map(each.runs, processes))]
        ports = {process.ready for process in processes if process.ready}
        rivals = [each for each in others if each.process.ready in ports]
        idle = [each for each in others if each not in rivals]
        excess = len(processes) + len(idle) - MOST_IN_BACKGROUND
        return rivals + idle[: max(0, excess)]

    def started(self, process: Process) -> Background:
        """This process, beside all others. MachineError if it does not start."""
        for each in self._running:
            if each.runs(process):
                each.begin()
                self._running.remove(each)
                self._running.append(each)
                return each
        taken = [each.descriptors for each in self._running]
        descriptors = next(pair for pair in DESCRIPTORS if pair not in taken)
        folder = f"{self._prefix}{process.role}-{descriptors[0]}"
        started = Background(self._shell, process, folder, descriptors, self._limit_s)
        self._running.append(started)
        return started

    def end(self) -> list[Background]:
        """End all of them; these, with all that they have said."""
        ended = []
        while self._running:
            ended.append(self._running.pop())
            ended[-1].stop()
        return ended


def _sorted(said: str) -> tuple[dict[str, str], list[str]]:
    """What `news` of shell.sh has said of each output, and the lines of all else."""
    news, rest = {"o": "", "e": ""}, []
    for line in said.split("\n"):
        if found := NEWS.fullmatch(line):
            letter, end, text = found.groups()
            news[letter] += text + ("\n" if end == "|" else "")
        else:
            rest.append(line)
    return news, rest


def _readiness(process: Process) -> tuple[str, str]:
    """What has to be there before it is ready: tcp, udp or none, and the port in hexadecimal."""
    match process.ready:
        case Listening(port):
            return "tcp", f"{port:04X}"
        case Bound(port):
            return "udp", f"{port:04X}"
        case None:
            return "none", "0"
