"""All metrics that a repetition can have: those of the tools, and those that follow from its record.

What follows from a record is worked out here and not when it is measured, so that it can be had of old
records, and be mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from hvcost.errors import ConfigError, ParseError
from hvcost.machines.witness import resent
from hvcost.model.metric import (
    HOST_CPU,
    HOST_CPU_PACKET,
    HOST_CPU_TRANSACTION,
    RETRANSMISSIONS,
    Metric,
    Value,
)
from hvcost.model.record import Record
from hvcost.tools import PACKETS, TRANSACTIONS, TRANSFERRED, load_tool, options_of, tool_names

PRIMARY = "primary"
SECONDARY = "secondary"
DETAIL = "detail"
# What /proc/stat counts is printed to a hundredth of a second (proc(5)); Xen prints tenths (xl(1), list).
TICK_S = 0.01
XEN_TICK_S = 0.1
BYTES_PER_GIGABIT = 1e9 / 8
# The host's processor time is told per work that was done: in which metric, and for how much work in seconds.
# A tool has the metric of the first of these that is among its details.
WORK = {
    TRANSACTIONS: (HOST_CPU_TRANSACTION, 1e6),
    PACKETS: (HOST_CPU_PACKET, 1e6),
    TRANSFERRED: (HOST_CPU, BYTES_PER_GIGABIT),
}
PROCESSOR_TIMES = tuple(metric for metric, _unit in WORK.values())


def metrics_of(tool: str) -> dict[Metric, str]:
    """Metrics of a tool's repetitions with their roles: primary, secondary or detail."""
    loaded = load_tool(tool)
    primary, *others = loaded.metrics
    work = [metric for of, (metric, _) in WORK.items() if of in loaded.details]
    return {
        primary: PRIMARY,
        **dict.fromkeys(others, SECONDARY),
        **dict.fromkeys(work[:1], SECONDARY),
        **dict.fromkeys(loaded.details, DETAIL),
    }


def analysed(tool: str) -> list[str]:
    """Names of a tool's metrics that statistics are made of; the first is the primary one."""
    return [metric.name for metric, role in metrics_of(tool).items() if role != DETAIL]


@cache
def known() -> Mapping[str, Metric]:
    """All metrics by name. ConfigError if two tools give one name to different things."""
    found: dict[str, Metric] = {}
    for tool in tool_names():
        for metric in metrics_of(tool):
            if found.setdefault(metric.name, metric) != metric:
                raise ConfigError(f"tool {tool}: its metric {metric.name!r} is not that of another tool")
    return found


def derived(record: Record, values: Mapping[str, Value | str]) -> dict[str, Value | str]:
    """What follows from a record and the figures of its tool; a text says why there is none."""
    found: dict[str, Value | str] = {}
    workload = record.spec["workload"]
    sender = load_tool(workload["tool"]).sender(options_of(workload))
    if sender is not None:
        arrived = values[TRANSFERRED.name]
        found[RETRANSMISSIONS.name] = (
            _retransmissions(record, sender, arrived.value) if isinstance(arrived, Value) else arrived
        )
    for work, (metric, unit) in WORK.items():
        if work.name in values:
            done = values[work.name]
            found[metric.name] = _host_cpu(record, done.value / unit) if isinstance(done, Value) else done
            break
    return found


def _retransmissions(record: Record, sender: str, arrived_bytes: float) -> Value | str:
    """What the sender's TCP sent again per gigabit that arrived, by its kernel's count."""
    try:
        count = resent((record.witnesses or {})[sender])
    except KeyError:
        return f"not available: nobody read the {sender}’s kernel for what TCP sent again"
    except ParseError as error:
        return f"not available: {error}"
    gigabits = arrived_bytes / BYTES_PER_GIGABIT
    return Value(count / gigabits, 1 / gigabits)


def _host_cpu(record: Record, units: float) -> Value | str:
    """Processor seconds of the host per unit of work that was done, all processors and all that they did."""
    if not record.cpu_time_s:
        return "not available: nobody can ask the host for its processor time"
    ticks = [XEN_TICK_S if "Domain-0" in record.cpu_time_s else TICK_S] * len(record.cpu_time_s)
    return Value(sum(record.cpu_time_s.values()) / units, sum(ticks) / units)
