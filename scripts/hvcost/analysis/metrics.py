"""All metrics that a repetition can have: those of the tools, and those that follow from its record.

What follows from a record is worked out here and not when it is measured, so that it can be had of old
records, and be mended.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from hvcost.errors import ConfigError
from hvcost.model.metric import HOST_CPU, Metric, Value
from hvcost.model.record import Record
from hvcost.tools import TRANSFERRED, load_tool, tool_names

PRIMARY = "primary"
SECONDARY = "secondary"
DETAIL = "detail"
# What /proc/stat counts is printed to a hundredth of a second (proc(5)); Xen prints tenths (xl(1), list).
TICK_S = 0.01
XEN_TICK_S = 0.1


def metrics_of(tool: str) -> dict[Metric, str]:
    """Metrics of a tool's repetitions with their roles: primary, secondary or detail."""
    loaded = load_tool(tool)
    primary, *others = loaded.metrics
    moves_data = TRANSFERRED in loaded.details
    return {
        primary: PRIMARY,
        **dict.fromkeys(others, SECONDARY),
        **dict.fromkeys((HOST_CPU,) if moves_data else (), SECONDARY),
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


def derived(record: Record, values: Mapping[str, Value]) -> dict[str, Value | str]:
    """What follows from a record and the figures of its tool; a text says why there is none."""
    if TRANSFERRED.name not in values:
        return {}
    return {HOST_CPU.name: _host_cpu(record, values[TRANSFERRED.name].value)}


def _host_cpu(record: Record, transferred_bytes: float) -> Value | str:
    """Processor seconds of the host per gigabit that arrived, all processors and all that they did."""
    if not record.cpu_time_s:
        return "not available: nobody can ask the host for its processor time"
    gigabits = transferred_bytes * 8 / 1e9
    ticks = [XEN_TICK_S if "Domain-0" in record.cpu_time_s else TICK_S] * len(record.cpu_time_s)
    return Value(sum(record.cpu_time_s.values()) / gigabits, sum(ticks) / gigabits)
