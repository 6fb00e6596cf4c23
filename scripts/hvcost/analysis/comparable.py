"""Whether two results of a cell can stand beside each other at all: only if the same thing was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hvcost.analysis.rows import NEW, OLD
from hvcost.model.record import Record
from hvcost.tools import completed, load_tool
from hvcost.wording import listed

Workload = Mapping[str, Any]


def incomparable(old: Sequence[Record], new: Sequence[Record]) -> str:
    """Why runs of a workload cannot be compared with others of the same name; empty if they can.

    The runs are of one system in one environment; both have at least one. What they were measured on may
    differ, and is what one compares. What was asked of the tool may not.
    """
    workloads = {OLD: _workloads(old), NEW: _workloads(new)}
    for name, found in workloads.items():
        if len(found) > 1:
            unlike = _unlike(found[0], found[1], "in some", "in others")
            return f"its runs in {name} were not measured alike: {unlike}"
    ((before,), (after,)) = workloads.values()
    if before["tool"] != after["tool"]:
        return f"it was measured by {_tool(before)} in {OLD}, by {_tool(after)} in {NEW}"
    if before != after:
        return f"it was not measured alike: {_unlike(before, after, f'in {OLD}', f'in {NEW}')}"
    emulated = [_is_emulated(runs[0]) for runs in (old, new)]
    if emulated[0] != emulated[1]:
        which = OLD if emulated[0] else NEW
        return f"the machines of {which} are emulated, and their figures are not those of hardware"
    return ""


def _workloads(runs: Sequence[Record]) -> list[Workload]:
    """Different workloads among these, with all options: older files lack those that there were not yet."""
    found: list[Workload] = []
    for run in runs:
        workload = completed(run.spec["workload"])
        if workload not in found:
            found.append(workload)
    return found


def _is_emulated(run: Record) -> bool:
    return bool((run.spec.get("host") or {}).get("connection") == "emulated")


def _tool(workload: Workload) -> str:
    """A tool with what it measures."""
    name = str(workload["tool"])
    metric = load_tool(name).metrics[0]
    return f"{name} ({metric.title}, {metric.unit})"


def _unlike(a: Workload, b: Workload, where_a: str, where_b: str) -> str:
    """The options that differ, with their values."""
    return listed(
        f"{key} is {json.dumps(a.get(key))} {where_a} and {json.dumps(b.get(key))} {where_b}"
        for key in dict.fromkeys([*a, *b])
        if a.get(key) != b.get(key)
    )
