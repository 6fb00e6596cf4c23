"""Tools that measure: which processes a run consists of, and what their outputs say.

A tool is one file of this folder, named as the configuration names it, that holds a `TOOL`. Files without one
are no tools. Adding a tool is adding its file (docs/adding-a-tool.md).
"""

from __future__ import annotations

import importlib
import pkgutil
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any, ClassVar, Literal

from hvcost.errors import ConfigError, ParseError
from hvcost.model.metric import Metric, Value
from hvcost.model.options import checked
from hvcost.model.process import MOST_IN_BACKGROUND, Process, course_of
from hvcost.model.record import End
from hvcost.wording import listed

# A tool that moves bulk data has this among its details: the network cards have to have carried it.
TRANSFERRED = Metric("transferred", "byte", "transferred data")
# What a tool did, for which the host's processor time is told: of the first of these that it has.
PACKETS = Metric("packets", "1", "packets that arrived")
TRANSACTIONS = Metric("transactions", "1", "transactions")
# Details of several tools.
DURATION = Metric("duration", "s", "duration")
STREAMS = Metric("streams", "1", "streams")
CLIENT_THROUGHPUT = Metric("client_throughput", "bit/s", "throughput as the client saw it")
SERVER_THROUGHPUT = Metric("server_throughput", "bit/s", "throughput as the server saw it")

# Who receives, as the configuration names it.
TO_GUEST = "to-guest"
FROM_GUEST = "from-guest"

# A client may end its clock a little before the time it was given.
DURATION_TOLERANCE = 0.01
# A report cannot be of a longer time than its program ran. This is for what two computers' clocks differ.
OVERLONG_S = 0.05

# In place of the system's, to see what a run would consist of.
ANY_ADDRESS = "198.18.0.3"


class NoOutput(ParseError):
    """A process has left no output: nothing is known of it, neither good nor bad."""


class Tool(ABC):
    """What a session needs of a tool. `Options` is a dataclass as `hvcost.model.options` has it.

    A tool of two ends has a background process, its server, and its client in the foreground. One that needs
    nobody to answer, in the guest or on the client, has a single process in the foreground. One that measures
    while something else happens has that before it, on the client.
    """

    # As the configuration names it.
    name: ClassVar[str]
    # Debian packages that client, host and guest need for it.
    packages: ClassVar[tuple[str, ...]]
    # Files of these by which a host would start a server by itself, beside a session's: they are left out.
    autostart: ClassVar[tuple[str, ...]] = ()
    # Command line whose first line says the version, and how that line begins if another will not do.
    version_argv: ClassVar[tuple[str, ...]]
    version_begins: ClassVar[str] = ""
    Options: ClassVar[type[Any]]
    # What is analysed; the first is the primary one.
    metrics: ClassVar[tuple[Metric, ...]]
    # What is recorded beside it and never analysed.
    details: ClassVar[tuple[Metric, ...]] = ()

    @abstractmethod
    def expected_s(self, options: Any) -> float:
        """How long a run takes, for the plan that is shown before."""

    @abstractmethod
    def processes(self, options: Any, address: str) -> tuple[Process, ...]:
        """What is run against or in the system at `address`; each process has a role of its own.

        The last is in the foreground: its end is the end of the run. Of those before it,

        - those on the `server` are in the background. They are ready before the run begins, and stay for all
          runs that need the same ones.
        - those on the `client` begin in this order, each when the one before it lets it: one without a
          `greeting` is run to its end; one with a greeting lets the next begin when it has said that, goes
          on in the background, and is ended (SIGTERM) after the last, if it has not ended by itself. Its
          exit code is not known.
        """

    def sender(self, options: Any) -> Literal["client", "server"] | None:
        """Whose kernel is asked how often TCP sent something again; None if it is nobody's.

        A tool that has a sender has RETRANSMISSIONS among its metrics.
        """
        return None

    @abstractmethod
    def read(self, options: Any, outputs: Mapping[str, End]) -> Mapping[str, Value | str]:
        """Values of all metrics and details by name, from the outputs by role; RETRANSMISSIONS is not its.

        A text in place of a value says why a good run does not have this one, such as a percentile of too
        few round trips. The primary metric always has one.

        ParseError with the reason, beginning with the role, if the run does not count: the outputs hold no
        figure, or do not agree with the options or with each other. It is NoOutput if nothing is wrong but
        that there is an output missing (see `output_of`).
        """


def output_of(outputs: Mapping[str, End], role: str) -> End:
    """Output of a process; NoOutput if there is none."""
    if role not in outputs:
        raise NoOutput(f"{role}: no output was recorded")
    return outputs[role]


def check_exit(role: str, end: End) -> None:
    """ParseError with its own words if a process failed; of one in the background that is not known."""
    if end.exit_code not in (0, None):
        said = end.stderr.strip() or end.stdout.strip() or "nothing"
        raise ParseError(f"{role}: ended with exit code {end.exit_code} and said: {said}")


def check_lasted(seconds: float, ordered_s: float) -> None:
    """ParseError if the client's report is of a shorter run than was ordered."""
    if seconds < ordered_s * (1 - DURATION_TOLERANCE):
        raise ParseError(f"client: the report is of {seconds:g} s instead of {ordered_s:g} s")


def check_within(seconds: float, client: End) -> None:
    """ParseError if the client's report is of a longer time than its program ran."""
    if client.duration_s is not None and seconds > client.duration_s + OVERLONG_S:
        raise ParseError(
            f"client: the report is of {seconds:g} s, but the run took {client.duration_s:g} s: "
            f"the clock of {client.machine} was stepped"
        )


def check_ports(client: Iterable[int], server: Iterable[int]) -> None:
    """ParseError unless the server saw the client at the ports that the client had."""
    ours, theirs = sorted(client), sorted(server)
    if ours != theirs:
        raise ParseError(
            f"server: its client was at port {listed(theirs)}, ours at {listed(ours)}: "
            "they are not of the same run"
        )


def fairness_of(shares: Sequence[float]) -> Value:
    """Jain's index of what streams got: 1 if all have as much, 1/n if one of n has everything.

    Jain, Chiu, Hawe 1984, DEC-TR-301; RFC 5166, 2.3.1.
    """
    return Value(sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares)))


@cache
def _tools() -> Mapping[str, Tool]:
    """All tools there are, by name."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return {name.replace("_", "-"): each.TOOL for name, each in modules.items() if hasattr(each, "TOOL")}


def tool_names() -> list[str]:
    """Names of all tools there are, as the configuration names them."""
    return sorted(_tools())


def load_tool(name: str) -> Tool:
    """The tool of that name; ConfigError with the names that exist if there is none."""
    tools = _tools()
    if not isinstance(name, str) or name not in tools:
        raise ConfigError(f"{name!r} is not allowed; allowed: {', '.join(sorted(tools))}")
    return tools[name]


def options_of(workload: Mapping[str, Any]) -> Any:
    """The options of a workload as its tool's dataclass.

    The workload holds `tool` and options; what is left out has its default. ConfigError names the wrong key,
    which is `tool` itself if there is no such tool.
    """
    try:
        tool = load_tool(workload["tool"])
    except ConfigError as error:
        raise ConfigError(f"tool: {error}") from error
    return checked(tool.Options, {key: value for key, value in workload.items() if key != "tool"})


def tool_s(workload: Mapping[str, Any]) -> float:
    """How long the tool of a workload measures in a repetition, in s."""
    return float(load_tool(workload["tool"]).expected_s(options_of(workload)))


def completed(workload: Mapping[str, Any]) -> dict[str, Any]:
    """A workload with all options of its tool; ConfigError as `options_of`, or if a run needs too much."""
    options = options_of(workload)
    course = course_of(load_tool(workload["tool"]).processes(options, ANY_ADDRESS))
    for machine, processes in (("server", course.servers), ("client", filter(course.stays, course.steps))):
        count = len(list(processes))
        if count > MOST_IN_BACKGROUND:
            raise ConfigError(
                f"tool: {workload['tool']!r} has {count} processes in the background of the {machine}; "
                f"allowed: at most {MOST_IN_BACKGROUND}"
            )
    return {"tool": workload["tool"], **asdict(options)}


def packages_of(names: Iterable[str]) -> list[str]:
    """Debian packages that these tools need."""
    return sorted({package for name in names for package in load_tool(name).packages})


def autostart_files() -> list[str]:
    """Files of tools' packages that are left out, whatever else they are installed for."""
    return sorted({file for tool in _tools().values() for file in tool.autostart})


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """Shell commands that print the versions of these tools, by the fact's name; nothing if it is missing."""
    commands = {}
    for name in names:
        argv = load_tool(name).version_argv
        commands[f"{name.replace('-', '_')}_version"] = (
            f"! command -v {shlex.quote(argv[0])} >/dev/null || {shlex.join(argv)} 2>&1"
        )
    return commands
