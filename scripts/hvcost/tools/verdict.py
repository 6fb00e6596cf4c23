"""Whether a repetition is a measurement, and its figures: what its tool reads, if its witnesses bear it out.

What the outputs of a tool have to hold, the tool's own file says. What is the same for every run, whatever
the tool, is said here: the clocks by which it was timed were not stepped, and it went over the measured
network cards, which are as fast as the link is said to be (see `witness`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hvcost.errors import ConfigError, ParseError
from hvcost.machines.witness import check_carried, check_clocks, check_wires
from hvcost.model.metric import Value
from hvcost.model.record import Record, Witness
from hvcost.tools import TRANSFERRED, iperf, load_tool, options_of

# Hosts whose link is a wire, not one that this computer shapes.
WIRED = ("ssh", "provided")


def values(record: Record) -> Mapping[str, Value | str]:
    """All figures of a repetition, its tool's metrics and details, by the metric's name; see `Tool.read`.

    ParseError with the reason if it is no measurement.
    """
    if record.status == "failed":
        raise ParseError(record.reason or "failed")
    try:
        workload, link, host = (record.spec[key] for key in ("workload", "link", "host"))
        tool, options = load_tool(workload["tool"]), options_of(workload)
    except KeyError as error:
        raise ParseError(f"raw record without spec.{error.args[0]}") from error
    except ConfigError as error:
        raise ParseError(f"raw record whose spec.workload is none: {error}") from error
    found = tool.read(options, record.outputs)
    if record.witnesses is None:
        # There was no other tool at the time.
        iperf.check_unwitnessed(options, record.outputs)
        return found
    for witness in record.witnesses.values():
        check_clocks(witness)
    cards = {role: witness for role, witness in record.witnesses.items() if role != "server"}
    transferred = found.get(TRANSFERRED.name)
    if isinstance(transferred, Value):
        _check_cards(cards, transferred.value)
    if host.get("connection") in WIRED:
        check_wires(cards, _rate_mbit(link))
    return found


def _rate_mbit(link: Mapping[str, Any]) -> float:
    rate = link.get("rate_mbit")
    if not isinstance(rate, int | float):
        raise ParseError("raw record without spec.link.rate_mbit")
    return rate


def _check_cards(cards: Mapping[str, Witness], transferred_bytes: float) -> None:
    for witness in cards.values():
        check_carried(witness, transferred_bytes)
