"""Rows of the tables that the analysis makes: statistics.csv, comparisons.csv, claims.csv, and of changes.

A row is a frozen dataclass whose fields are the columns, in their order. An empty field is a number that
there is none of; the row's note says why. Numbers have six significant digits: more than any of them is
good for, and few enough that every computer writes the same bytes.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from hvcost import files
from hvcost.errors import ParseError

SIGNIFICANT_DIGITS = 6
YES_NO = {"yes": True, "no": False}
_WHOLE_NUMBER = re.compile("-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:e[+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class CellStatistics:
    """One metric of one system in one environment under one workload: a row of statistics.csv.

    The statistics are of the cell's *values* (`level`): its repetitions, or the means of its sessions or of
    its boots of the host, since repetitions of one boot are no independent witnesses of other boots.
    `host_boots` and `guest_boots`: how many there were, None where that is not known or there is no guest.
    `computers`: marks of those that played the machines; with several, effects are within each.
    Values are in `unit`; `effect` is the mean (or the median, see `Metric.centre`) beside that of bare metal,
    as `compared` says: the ratio to it, or the difference from it, in `unit`; `limit` is the best that the
    link lets the metric be. `role`: the primary metric of a workload is what verdicts are about, secondary
    ones are looked at beside it.
    `runs_at_limit`: so many might have been better on another link; if there are any, the effect is a bound
    at best. `at_limit`: so is the median, hence the value is the link's.
    """

    environment: str
    system: str
    hypervisor: str
    workload: str
    metric: str
    unit: str
    compared: str
    role: str
    planned: int
    ok: int
    failed: int
    unavailable: int
    sessions: int
    host_boots: int | None
    guest_boots: int | None
    computers: str
    level: str
    values: int
    mean: float | None
    standard_deviation: float | None
    coefficient_of_variation: float | None
    median: float | None
    median_low: float | None
    median_high: float | None
    median_confidence: float | None
    min: float | None
    max: float | None
    resolution: float | None
    within_sd: float | None
    between_sd: float | None
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    limit: float | None
    limit_share: float | None
    runs_at_limit: int
    at_limit: bool
    drift_tau: float | None
    drift_p: float | None
    lag1_autocorrelation: float | None
    lag1_p: float | None
    shapiro_w: float | None
    shapiro_p: float | None
    outliers: str
    mean_without_outliers: float | None
    note: str

    @property
    def limit_said(self) -> str:
        """How far the link held the cell back, in words; empty if it did not."""
        if self.at_limit:
            return "at the limit"
        return f"{self.runs_at_limit} of {self.ok} runs at the limit" if self.runs_at_limit else ""


@dataclass(frozen=True)
class PairComparison:
    """Two cells of one workload against each other: a row of comparisons.csv.

    `family` says with which other comparisons its p-values were corrected together (Holm). `effect` is a's
    mean (or median) beside b's, as `compared` says: their ratio, or their difference in `unit`.
    `difference_p` is that of its being none (a ratio of 1, a difference of 0); `margin` is relative for a
    ratio, else in `unit`.
    Mann-Whitney's test and Cliff's delta are of ranks: no verdict depends on them.
    `verdict` is one of VERDICTS; `same` marks an A/A pair: one system under two names.
    """

    family: str
    workload: str
    metric: str
    unit: str
    compared: str
    role: str
    environment_a: str
    system_a: str
    environment_b: str
    system_b: str
    same: bool
    values_a: int
    values_b: int
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    difference_p: float | None
    difference_p_holm: float | None
    margin: float
    equivalence_p: float | None
    equivalence_p_holm: float | None
    mann_whitney_u: float | None
    mann_whitney_p: float | None
    cliffs_delta: float | None
    runs_at_limit_a: int
    runs_at_limit_b: int
    at_limit_a: bool
    at_limit_b: bool
    verdict: str
    note: str


@dataclass(frozen=True)
class ClaimVerdict:
    """One comparison of a claim: a row of claims.csv.

    The claim says that the `effect`, as of PairComparison, is from `at_least` to `at_most` (empty: no bound).
    `published`: the effect that was published, if one was; `analogue`: what stands for what was measured
    then; `link_limited`: the link set both values then.
    `verdict` is of this comparison, `claim_verdict` of the whole claim: one of CLAIM_VERDICTS.
    `bound`: which side of the interval the link leaves open: "", "low", "high" or "both".
    """

    claim: str
    text: str
    workload: str
    metric: str
    unit: str
    compared: str
    environment_a: str
    system_a: str
    environment_b: str
    system_b: str
    at_least: float | None
    at_most: float | None
    published: float | None
    analogue: str
    link_limited: bool
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    bound: str
    verdict: str
    claim_verdict: str
    note: str


@dataclass(frozen=True)
class Change:
    """A cell of NEW results beside the same one of OLD results: a row of what compare_results.py writes.

    `point`: of which values of a sweep it is, empty if of none. `level`: what a value is, see CellStatistics.
    `old` and `new` are means (or medians) in `unit`; `effect` is NEW beside OLD, as `compared` says.
    The p-values are as of PairComparison, and `beyond_p` is that of a change by no more than `margin`;
    `family` says with which others they were corrected (Holm). `beyond`: "worse" or "better", if it is so by
    more than the margin; empty if that is not shown. `verdict` is one of VERDICTS, or one of UNCOMPARED, of
    which `note` has the reason.
    """

    environment: str
    system: str
    workload: str
    point: str
    metric: str
    unit: str
    compared: str
    better: str
    role: str
    family: str
    level_old: str
    level_new: str
    ok_old: int | None
    failed_old: int | None
    values_old: int | None
    ok_new: int | None
    failed_new: int | None
    values_new: int | None
    old: float | None
    new: float | None
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    margin: float | None
    difference_p: float | None
    difference_p_holm: float | None
    equivalence_p: float | None
    equivalence_p_holm: float | None
    beyond_p: float | None
    beyond_p_holm: float | None
    runs_at_limit_old: int | None
    runs_at_limit_new: int | None
    verdict: str
    beyond: str
    note: str

    @property
    def is_tested(self) -> bool:
        """Whether there were values enough to say anything of what changed."""
        return self.difference_p is not None


# A p-value below is taken for a finding.
SIGNIFICANCE = 0.05
# Share of experiments in which so many values are called dependent where each keeps 0.6 of the one before.
# Of docs/simulations.md; there it is 0.05 where they are independent.
LAG1_FOUND = {6: 0.08, 10: 0.31, 30: 0.86}

DIFFERENT = "different"
WITHIN_MARGIN = "different, within the margin"
EQUIVALENT = "equivalent"
INCONCLUSIVE = "inconclusive"
NOT_BY_THIS_LINK = "not distinguishable by this link"
TOO_FEW = "too few values"
VERDICTS = (DIFFERENT, WITHIN_MARGIN, EQUIVALENT, INCONCLUSIVE, NOT_BY_THIS_LINK, TOO_FEW)
# Two results that are compared.
OLD = "OLD"
NEW = "NEW"
# Of a cell of which two results say nothing together.
NOT_COMPARED = "not compared"
ONLY_OLD = f"only in {OLD}"
ONLY_NEW = f"only in {NEW}"
UNCOMPARED = (NOT_COMPARED, ONLY_OLD, ONLY_NEW)
WORSE = "worse"
BETTER = "better"

SUPPORTED = "supported"
REFUTED = "refuted"
# What was published held because of the link, and no link limits what was measured here.
NOT_COMPARABLE = "not comparable"
CLAIM_VERDICTS = (SUPPORTED, REFUTED, INCONCLUSIVE, NOT_COMPARABLE)

Row = TypeVar("Row", CellStatistics, PairComparison, ClaimVerdict, Change)


def as_csv(kind: type[Row], rows: Iterable[Row]) -> str:
    """Text of a table: a header and one line per row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(kind))
    for row in rows:
        writer.writerow(_as_text(value) for value in dataclasses.astuple(row))
    return text.getvalue()


def write(kind: type[Row], rows: Iterable[Row], path: Path) -> None:
    """Write a table."""
    files.write_text(path, as_csv(kind, rows))


def read(kind: type[Row], path: Path) -> tuple[Row, ...]:
    """Rows of a table in their order; ParseError names the file, the line and the column."""
    hints = get_type_hints(kind)
    columns = [field.name for field in dataclasses.fields(kind)]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if header != columns:
                wrong = sorted(set(header) ^ set(columns)) or ["their order"]
                raise ParseError(
                    f"{path}: not a table of {kind.__name__}: columns differ: {', '.join(wrong)}"
                )
            rows = []
            for fields in reader:
                where = f"{path}, line {reader.line_num}"
                if len(fields) != len(columns):
                    raise ParseError(f"{where}: {len(fields)} fields instead of {len(columns)}")
                pairs = zip(columns, fields, strict=True)
                rows.append(kind(**{name: _value(hints[name], text, where, name) for name, text in pairs}))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ParseError(f"{path}: not a CSV file: {error}") from error
    except OSError as error:
        raise ParseError(f"{path}: cannot be read: {error.strerror}") from error
    return tuple(rows)


def number(text: str) -> float | None:
    """The number that a field holds, None if it holds none: Python reads more than tables have, as 1_0."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else None


def whole_number(text: str) -> int | None:
    """The whole number that a field holds, None if it holds none."""
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None


def _as_text(value: str | int | float | None) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        # A whole number stays one: 416000000 and not 4.16e+08.
        rounded = float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        return str(int(rounded)) if rounded.is_integer() and abs(rounded) < 1e15 else repr(rounded)
    return str(value)


def _value(hint: Any, text: str, where: str, column: str) -> Any:
    if hint is str:
        return text
    if hint is bool:
        if text not in YES_NO:
            raise ParseError(f"{where}: `{column}` {text!r} is not `yes` or `no`")
        return YES_NO[text]
    if not text and hint not in (int, float):
        return None
    found = whole_number(text) if hint in (int, int | None) else number(text)
    if found is None:
        raise ParseError(f"{where}: `{column}` {text!r} is not a number")
    return found
