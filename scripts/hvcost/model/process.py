"""A process of a measurement as data: what is run where, and how it is known to be ready."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Process:
    """One process of a run. `role` is what its output is called in the raw file.

    `limit_s`: how long the run may take before it is given up. `ready`: None if there is no port to wait for.
    `greeting`: what its output holds when it is ready; it belongs to each run that it serves.
    """

    role: str
    on: Where
    argv: tuple[str, ...]
    limit_s: float
    ready: Readiness = None
    greeting: str = ""
