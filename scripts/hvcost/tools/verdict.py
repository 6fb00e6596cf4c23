"""Whether a repetition is a measurement, and what it measured: both ends have to have seen the same run.

The client alone is no witness: iperf ends with exit code 0 when it is refused, interrupted, or when the
server dies under it. Nothing here depends on how fast a machine is: a slow connection or a slow guest makes
times longer, at one end more than at the other, and that is no fault. What has to hold is that both ends
counted the same bytes, and that the clocks by which they timed them were not stepped (see `witness`).
"""

from __future__ import annotations

from dataclasses import dataclass

from hvcost.errors import ParseError
from hvcost.machines.witness import check_carried, check_clocks, check_wires
from hvcost.model.metric import Value
from hvcost.model.record import End, Record
from hvcost.tools import Measurement, Tool, load_tool

# A client may end its clock a little before the time it was given.
DURATION_TOLERANCE = 0.01
# A report cannot be of a longer time than its program ran. This is for what two computers' clocks differ.
OVERLONG_S = 0.05
# Files of the time before clocks were read have nothing but both ends' times to tell a stepped clock by.
UNWITNESSED_TOLERANCE = 0.2
UNWITNESSED_TOLERANCE_S = 2.0
# A client that is stopped in the middle of a write does not count what it has written of this block (iperf's
# default length of a buffer), and the server may get it all the same.
BLOCK_BYTES = 128 * 1024
# What may be on its way when the client has written its last: Linux's largest send buffer (tcp_wmem).
DRAIN_BITS = 8 * 4 * 1024**2
# Hosts whose link is a wire, not one that this computer shapes.
WIRED = ("ssh", "provided")


@dataclass(frozen=True)
class Verdict:
    """What both ends measured of one run. `throughput` is the figure of the run, from one of them.

    Both have counted the same bytes, so that the lower rate is the one over the longer time. The client's
    time ends when it has written its last, which may still be on its way. The server's begins when it is
    ready to look at its clock; much may have been sent by then. The run took at least as long as either says.
    """

    client: Measurement
    server: Measurement

    @property
    def throughput(self) -> Measurement:
        return min(self.client, self.server, key=lambda end: end.throughput_bps)


def values(record: Record) -> dict[str, Value]:
    """Figures of a repetition by their metrics' names; ParseError with the reason if it is a failed one."""
    both = judge(load_tool(record.spec["workload"]["tool"]), record)
    rate = both.throughput
    return {
        "throughput": Value(rate.throughput_bps, rate.throughput_resolution_bps),
        "transferred": Value(both.server.transferred_bytes, both.server.transferred_resolution_bytes),
        "duration": Value(rate.duration_s),
        "streams": Value(both.client.streams),
        "client_throughput": Value(both.client.throughput_bps, both.client.throughput_resolution_bps),
        "server_throughput": Value(both.server.throughput_bps, both.server.throughput_resolution_bps),
    }


def judge(tool: Tool, record: Record) -> Verdict:
    """What a repetition measured; ParseError with the reason if it is a failed one.

    Raises KeyError if the record's `spec` lacks workload, link or host.
    """
    sent = judge_client(tool, record)
    if record.server is None:
        raise ParseError("server: no output was recorded")
    arrived = _parse(tool, "server", record.server)
    _check_same_run(sent, arrived)
    _check_witnesses(record, sent, arrived)
    return Verdict(sent, arrived)


def _check_witnesses(record: Record, sent: Measurement, arrived: Measurement) -> None:
    """ParseError if a clock was stepped, another card carried the run, or the wire is slower than said."""
    if record.witnesses is None:
        tolerance_s = max(UNWITNESSED_TOLERANCE * sent.duration_s, UNWITNESSED_TOLERANCE_S)
        if arrived.duration_s > sent.duration_s + tolerance_s + DRAIN_BITS / arrived.throughput_bps:
            raise ParseError(
                f"server: the report is of {arrived.duration_s:g} s, but the client's of "
                f"{sent.duration_s:g} s: the clock of one of them was stepped, or they are of two runs"
            )
        return
    for witness in record.witnesses.values():
        check_clocks(witness)
    cards = {role: witness for role, witness in record.witnesses.items() if role != "server"}
    for witness in cards.values():
        check_carried(witness, arrived.transferred_bytes)
    if record.spec["host"]["connection"] in WIRED:
        check_wires(cards, record.spec["link"]["rate_mbit"])


def judge_client(tool: Tool, record: Record) -> Measurement:
    """What the client says by itself; ParseError with the reason if that is not what was asked for."""
    workload, client = record.spec["workload"], record.client
    if client is None:
        raise ParseError("client: no output was recorded")
    if client.exit_code != 0:
        said = client.stderr.strip() or client.stdout.strip() or "nothing"
        raise ParseError(f"client: ended with exit code {client.exit_code} and said: {said}")
    sent = _parse(tool, "client", client)
    if sent.duration_s < workload["duration_s"] * (1 - DURATION_TOLERANCE):
        raise ParseError(
            f"client: the report is of {sent.duration_s:g} s instead of {workload['duration_s']:g} s"
        )
    if client.duration_s is not None and sent.duration_s > client.duration_s + OVERLONG_S:
        raise ParseError(
            f"client: the report is of {sent.duration_s:g} s, but the run took {client.duration_s:g} s: "
            f"the clock of {client.machine} was stepped"
        )
    streams = workload.get("streams", 1)
    if sent.streams != streams:
        raise ParseError(f"client: the report is of {sent.streams} streams instead of {streams}")
    return sent


def _check_same_run(sent: Measurement, arrived: Measurement) -> None:
    """ParseError unless what the server got is what the client sent, as far as their digits go.

    TCP delivers everything or says so, and a server reports when it has read to the end.
    """
    if sent.streams != arrived.streams:
        raise ParseError(
            f"server: the report is of {arrived.streams} streams, the client's of {sent.streams}: "
            "they are not of the same run"
        )
    if sent.ports and arrived.ports and sent.ports != arrived.ports:
        raise ParseError(
            f"server: its client was at port {_listed(arrived.ports)}, ours at {_listed(sent.ports)}: "
            "they are not of the same run"
        )
    rounding = sent.transferred_resolution_bytes + arrived.transferred_resolution_bytes
    allowance = rounding + BLOCK_BYTES * sent.streams
    if abs(sent.transferred_bytes - arrived.transferred_bytes) > allowance:
        raise ParseError(
            f"server: it got {arrived.transferred_bytes:.0f} bytes, but the client sent "
            f"{sent.transferred_bytes:.0f}: one of them did not see the whole run"
        )


def _listed(ports: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(ports)))


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
