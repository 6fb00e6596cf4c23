"""Tools that measure: how to start their two ends, and what their output says.

A tool is one module of this package whose name is the tool's name in the configuration and which
holds a `TOOL`. Adding a tool is adding its file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from hvcost.errors import ConfigError
from hvcost.model.metric import Metric


@dataclass(frozen=True)
class Measurement:
    """What one end reports of one run, in base units.

    A resolution is one step of the last digit that was printed. `ports`: the client's, one per stream, as
    this end saw them; empty if the output does not tell.
    """

    role: Literal["client", "server"]
    throughput_bps: float
    transferred_bytes: float
    duration_s: float
    streams: int
    throughput_resolution_bps: float
    transferred_resolution_bytes: float
    ports: frozenset[int] = frozenset()


class Tool(Protocol):
    """A program with a server and a client end that measures the way between them."""

    @property
    def name(self) -> str:
        """Name in the configuration, and of the program."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What it measures; the first is the primary one."""

    @property
    def details(self) -> tuple[Metric, ...]:
        """What is recorded beside it, and not analysed."""

    @property
    def server_port(self) -> int:
        """TCP port at which the server listens: it is ready when this port is open."""

    def client_argv(self, workload: Mapping[str, Any], address: str) -> tuple[str, ...]:
        """Command line of the client; ConfigError if the workload's options are not the tool's."""

    def server_argv(self, workload: Mapping[str, Any], address: str | None = None) -> tuple[str, ...]:
        """Command line of the server, listening everywhere or at one address only."""

    def deadline_s(self, workload: Mapping[str, Any]) -> float:
        """How long a client may take before it is given up."""

    def parse(self, text: str) -> Measurement:
        """What the output of either end says; ParseError with the reason if it says no figure."""


def tool_names() -> list[str]:
    """Names of all tools there are."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in modules if hasattr(importlib.import_module(f"{__name__}.{name}"), "TOOL"))


def load_tool(name: str) -> Tool:
    """The tool of that name; ConfigError with the names that exist if there is none."""
    names = tool_names()
    if name not in names:
        raise ConfigError(f"tool: {name!r} is not one of: {', '.join(names)}")
    return cast(Tool, importlib.import_module(f"{__name__}.{name}").TOOL)
