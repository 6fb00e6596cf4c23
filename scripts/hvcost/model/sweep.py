"""Sweeps: which workloads or environments differ by one number only, so that their figures make a curve.

The configuration expands them (planning/sweeps.py). Everything else has plain workloads and environments, and
learns here which of them belong together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["workload", "environment"]
WORKLOAD: Kind = "workload"
ENVIRONMENT: Kind = "environment"
# Values that span more than this ratio stand on a logarithmic axis.
DECADE = 10


def value_text(value: float) -> str:
    """A value of a parameter, never as a power of ten."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,g}"


@dataclass(frozen=True)
class Point:
    """One point of a curve: the parameter's value, and where it is measured."""

    value: float
    environment: str
    workload: str


@dataclass(frozen=True)
class Sweep:
    """A curve: workloads, or environments, that differ in `parameter` alone, a key of the configuration.

    Its `values` rise, and are in `unit` (empty: none); `names` are those of the workloads or environments.
    `origin`: of which entry of the configuration they were made; one that sweeps several parameters makes
    several curves along its first, and `others` says the values of the rest. `name`: of the curve, for files.
    """

    kind: Kind
    origin: str
    name: str
    parameter: str
    title: str
    unit: str
    others: str
    values: tuple[float, ...]
    names: tuple[str, ...]

    @property
    def axis(self) -> str:
        """The parameter with its unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    @property
    def heading(self) -> str:
        """What people call the curve."""
        over = f"{self.origin} over {self.title}"
        return f"{over} ({self.others})" if self.others else over

    @property
    def is_logarithmic(self) -> bool:
        """Whether the parameter's axis is."""
        return self.values[0] > 0 and self.values[-1] > DECADE * self.values[0]

    def said(self, value: float) -> str:
        """A value of the parameter with its unit, or after its name if it has none."""
        return f"{value_text(value)} {self.unit}" if self.unit else f"{self.title} {value_text(value)}"

    def points(self, other: str) -> tuple[Point, ...]:
        """The curve's points in one environment, or, if environments are swept, under one workload."""
        return tuple(
            Point(value, *((other, name) if self.kind == WORKLOAD else (name, other)))
            for value, name in zip(self.values, self.names, strict=True)
        )


def origins(sweeps: Iterable[Sweep], kind: Kind) -> dict[str, str]:
    """Of which entry of the configuration each swept workload, or environment, was made."""
    return {name: sweep.origin for sweep in sweeps if sweep.kind == kind for name in sweep.names}


def sweep_from(data: Mapping[str, Any]) -> Sweep:
    """Sweep from its JSON; TypeError or KeyError if it is none."""
    return Sweep(**{**data, "values": tuple(data["values"]), "names": tuple(data["names"])})
