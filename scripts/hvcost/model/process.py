"""A process of a measurement as data: what is run where, and how it is known to be ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# `server` is the machine of the system under test, whatever runs there.
Where = Literal["client", "server"]


@dataclass(frozen=True)
class Listening:
    """Ready when somebody listens at this TCP port."""

    port: int


@dataclass(frozen=True)
class Bound:
    """Ready when somebody has bound this UDP port."""

    port: int


Readiness = Listening | Bound | None

# So many can be in the background of a run on one machine (see `machines.background`).
MOST_IN_BACKGROUND = 3


@dataclass(frozen=True)
class Process:
    """One process of a run. `role` is what its output is called in the raw file.

    `limit_s`: how long the run may take before it is given up. `ready`: None if there is no port to wait for.
    `greeting`: what its output holds when it is ready; it belongs to each run that it serves. What it
    means on the client, `Tool.processes` says.
    """

    role: str
    on: Where
    argv: tuple[str, ...]
    limit_s: float
    ready: Readiness = None
    greeting: str = ""


@dataclass(frozen=True)
class Course:
    """How a run goes: `servers` are ready before it, then `steps` begin one after the other.

    A step that `stays` is in the background until the last one has ended; every other is run to its end.
    """

    servers: tuple[Process, ...]
    steps: tuple[Process, ...]

    def stays(self, step: Process) -> bool:
        return step is not self.steps[-1] and bool(step.greeting)


def course_of(processes: Sequence[Process]) -> Course:
    """The course of a run from its processes, in the order in which a tool names them."""
    *earlier, last = processes
    servers = tuple(process for process in earlier if process.on == "server")
    return Course(servers, (*(process for process in earlier if process.on == "client"), last))
