"""What was measured beside what is expected, and tools that measure the same beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hvcost.analysis.intervals import Interval, median_interval
from hvcost.analysis.metrics import DETAIL, metrics_of
from hvcost.calibration.expectations import (
    BARE,
    RATE_ERROR,
    Case,
    Expected,
    Property,
    Setting,
    expected,
    rule_of,
)
from hvcost.calibration.measurement import Figures, Measured
from hvcost.model.metric import Metric
from hvcost.tools import load_tool, options_of


@dataclass(frozen=True)
class Row:
    """A metric of a tool on a link: what it has to be, and what it was.

    `busy`: the share of all processors' time that was used meanwhile, by whatever.
    """

    setting: Setting
    where: str
    tool: str
    metric: Metric
    expected: Expected
    figures: Figures
    busy: float | None

    @property
    def is_told(self) -> bool:
        """Whether there should be a value: no tool tells a percentile of a few round trips."""
        return bool(self.figures.median is not None or self.figures.failed)

    @property
    def is_kept(self) -> bool:
        """Whether the median is there and within the stated error."""
        median = self.figures.median
        return median is not None and self.expected.is_kept(median)


@dataclass(frozen=True)
class Agreement:
    """Two tools with the same metric on one link: `ratios` of the second to the first, round by round."""

    setting: Setting
    metric: Metric
    tools: tuple[str, str]
    ratios: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.ratios))

    @property
    def interval(self) -> Interval | None:
        return median_interval(np.array(self.ratios))

    @property
    def agrees(self) -> bool:
        """Whether the interval, or a median without one, reaches into the error that is stated of each."""
        low, high = (self.interval.low, self.interval.high) if self.interval else (self.median, self.median)
        return low <= 1 + RATE_ERROR and high >= 1 - RATE_ERROR


def rows(measured: Sequence[Measured], tells: Property) -> list[Row]:
    """All that is expected of links that tell this property, in the order of measuring."""
    bare = next((each for each in measured if each.setting == BARE), None)
    found = []
    for each in measured:
        for tool, workload in each.workloads.items():
            for metric, role in metrics_of(tool).items():
                rule = rule_of(metric)
                if role == DETAIL or rule is None or tells not in {*rule.tells} & {*each.setting.tells}:
                    continue
                figures = each.figures(tool, metric.name)
                case = Case(
                    metric,
                    each.setting,
                    options_of(workload),
                    bare.figures(tool, metric.name).bare if bare else None,
                    figures.resolution,
                )
                if wanted := expected(case):
                    found.append(
                        Row(each.setting, each.where, tool, metric, wanted, figures, each.busy(tool))
                    )
    return found


def agreements(measured: Sequence[Measured]) -> list[Agreement]:
    """All pairs of a tool and the first one with the same primary metric, on links that tell the rate."""
    found = []
    for each in measured:
        first: dict[str, str] = {}
        for tool in each.runs:
            metric = load_tool(tool).metrics[0]
            rule = rule_of(metric)
            if rule is None or "rate" not in {*rule.tells} & {*each.setting.tells}:
                continue
            other = first.setdefault(metric.name, tool)
            if other != tool and (ratios := _ratios(each, metric, other, tool)):
                found.append(Agreement(each.setting, metric, (other, tool), ratios))
    return found


def _ratios(measured: Measured, metric: Metric, first: str, second: str) -> tuple[float, ...]:
    """Of the rounds in which both have a value."""
    pairs = zip(
        measured.figures(first, metric.name).readings,
        measured.figures(second, metric.name).readings,
        strict=True,
    )
    return tuple(b.value / a.value for a, b in pairs if a and b and a.value)


def without_rule(tools: Sequence[str]) -> Mapping[str, list[str]]:
    """Titles of the metrics of which nothing is expected, with the tools that have them."""
    found: dict[str, list[str]] = {}
    for tool in tools:
        for metric, role in metrics_of(tool).items():
            if role != DETAIL and rule_of(metric) is None:
                found.setdefault(metric.title, []).append(tool)
    return found
