"""Whether a repetition is a measurement: both ends have to say so, and to mean the run that was asked for.

The client alone is no witness: iperf ends with exit code 0 when it is refused, interrupted, or when the
server dies under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hvcost.errors import ParseError
from hvcost.record import End
from hvcost.tools import Measurement, Tool

# A client may end its clock a little before the time it was given.
DURATION_TOLERANCE = 0.01
# The server's clock starts when the connection is there, on a slow machine a second after the client's.
ENDS_TOLERANCE_S = 2.0
ENDS_TOLERANCE = 0.2


def judge(
    tool: Tool, workload: Mapping[str, Any], client: End | None, server: End | None
) -> tuple[Measurement, Measurement]:
    """What client and server measured; ParseError with the reason if the repetition is a failed one."""
    if client is None:
        raise ParseError("client: no output was recorded")
    if client.exit_code != 0:
        said = client.stderr.strip() or client.stdout.strip() or "nothing"
        raise ParseError(f"client: ended with exit code {client.exit_code} and said: {said}")
    seen = _parse(tool, "client", client)
    if seen.duration_s < workload["duration_s"] * (1 - DURATION_TOLERANCE):
        raise ParseError(
            f"client: the report is of {seen.duration_s:g} s instead of {workload['duration_s']:g} s"
        )
    streams = workload.get("streams", 1)
    if seen.streams != streams:
        raise ParseError(f"client: the report is of {seen.streams} streams instead of {streams}")
    if server is None:
        raise ParseError("server: no output was recorded")
    served = _parse(tool, "server", server)
    _check_clocks(tool, workload, client, seen, served)
    return seen, served


def _check_clocks(
    tool: Tool, workload: Mapping[str, Any], client: End, seen: Measurement, served: Measurement
) -> None:
    """ParseError if a clock was stepped: both ends have timed one transfer, and so has this computer."""
    if client.duration_s is not None and seen.duration_s > client.duration_s + ENDS_TOLERANCE_S:
        raise ParseError(
            f"client: the report is of {seen.duration_s:g} s, but the run took {client.duration_s:g} s: "
            f"the clock of {client.machine} was stepped"
        )
    tolerance_s = max(ENDS_TOLERANCE_S, ENDS_TOLERANCE * workload["duration_s"])
    drain_s = tool.drain_s(workload, served.throughput_bps)
    if not seen.duration_s - tolerance_s <= served.duration_s <= seen.duration_s + tolerance_s + drain_s:
        raise ParseError(
            f"server: the report is of {served.duration_s:g} s, but the client's of {seen.duration_s:g} s: "
            "the clock of one of them was stepped, or they are not of the same run"
        )


def _parse(tool: Tool, role: str, end: End) -> Measurement:
    """What one end measured. Trouble is reported on standard error, often beside a report that looks good."""
    try:
        measured = tool.parse(end.stdout + end.stderr)
    except ParseError as error:
        said = end.stderr.strip()
        is_news = said and said not in str(error)
        raise ParseError(f"{role}: {error}" + (f"; it said: {said}" if is_news else "")) from error
    if measured.role != role:
        raise ParseError(f"{role}: the output is that of a {measured.role}")
    return measured
