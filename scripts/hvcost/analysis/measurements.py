"""From raw records to the tidy table: one row per repetition and metric, and its CSV files.

A failed repetition keeps all of its rows, with a reason in place of the value: it is never dropped
and never a zero. A figure that nobody can have is `unavailable`, which is neither ok nor failed.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hvcost import files
from hvcost.analysis.metrics import DETAIL, PRIMARY, SECONDARY, derived, known, metrics_of
from hvcost.errors import ParseError
from hvcost.model.metric import Value
from hvcost.model.record import Record
from hvcost.tools.verdict import values

DTYPES = {
    "environment": "str",
    "system": "str",
    "hypervisor": "str",
    "boot": "int64",
    "workload": "str",
    "repetition": "int64",
    "session_order": "int64",
    "run_order": "int64",
    "started_at": "str",
    "host_boot": "str",
    "guest_boot": "str",
    "status": "str",
    "reason": "str",
    "metric": "str",
    "unit": "str",
    "role": "str",
    "value": "float64",
    "resolution": "float64",
}
COLUMNS = tuple(DTYPES)
OK = "ok"
FAILED = "failed"
UNAVAILABLE = "unavailable"
ROLES = (PRIMARY, SECONDARY, DETAIL)
KEY = ("environment", "system", "boot", "workload", "repetition", "metric")


@dataclass(frozen=True)
class Repetition:
    """One figure of one repetition as figures and statistics need it, in the metric's unit.

    `value` None: it failed, or is not available, for this reason. `role`: of the metric in its workload.
    `host_boot`, `guest_boot`: the kernels' ids of the boots that it was in, empty if they are not known.
    """

    environment: str
    system: str
    hypervisor: str
    boot: int
    workload: str
    repetition: int
    session_order: int
    run_order: int
    started_at: str
    host_boot: str
    guest_boot: str
    status: str
    reason: str
    metric: str
    role: str
    value: float | None
    resolution: float | None


def from_records(records: Iterable[Record]) -> pd.DataFrame:
    """Tidy table of raw records; ParseError if two of them are the same repetition."""
    rows = [row for record in records for row in _rows(record)]
    frame = _typed(pd.DataFrame(rows, columns=list(COLUMNS)))
    _refuse_duplicates(frame, "raw records")
    return _sorted(frame)


def concatenate(paths: Sequence[Path]) -> pd.DataFrame:
    """One table of several CSV files; ParseError if they overlap or one is not such a table."""
    frames = [frame for frame in map(read_csv, paths) if not frame.empty]
    frame = _typed(pd.concat(frames) if frames else pd.DataFrame(columns=list(COLUMNS)))
    _refuse_duplicates(frame, ", ".join(map(str, paths)))
    return _sorted(frame)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table; floats as their shortest text that reads back as the same number."""
    files.write_text(path, frame.to_csv(columns=list(COLUMNS), index=False, lineterminator="\n"))


def read_csv(path: Path) -> pd.DataFrame:
    """Read a table and check it; ParseError names the file, the line and the column."""
    rows: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            _check_header(header, path)
            for fields in reader:
                where = f"{path}, line {reader.line_num}"
                if len(fields) != len(header):
                    raise ParseError(f"{where}: {len(fields)} fields instead of {len(header)}")
                rows.append(_checked_row(dict(zip(header, fields, strict=True)), where))
    except (csv.Error, UnicodeDecodeError) as error:
        raise ParseError(f"{path}: not a CSV file: {error}") from error
    except OSError as error:
        raise ParseError(f"{path}: cannot be read: {error.strerror}") from error
    frame = _typed(pd.DataFrame(rows, columns=list(COLUMNS)))
    _refuse_duplicates(frame, str(path))
    return frame


def repetitions(frame: pd.DataFrame) -> tuple[Repetition, ...]:
    """Figures that are analysed: each repetition's primary metric, and the secondary ones."""
    return tuple(
        Repetition(
            environment=str(row["environment"]),
            system=str(row["system"]),
            hypervisor=str(row["hypervisor"]),
            boot=int(row["boot"]),
            workload=str(row["workload"]),
            repetition=int(row["repetition"]),
            session_order=int(row["session_order"]),
            run_order=int(row["run_order"]),
            started_at=str(row["started_at"]),
            host_boot=str(row["host_boot"]),
            guest_boot=str(row["guest_boot"]),
            status=str(row["status"]),
            reason=str(row["reason"]),
            metric=str(row["metric"]),
            role=str(row["role"]),
            value=float(row["value"]) if row["status"] == OK else None,
            resolution=None if math.isnan(row["resolution"]) else float(row["resolution"]),
        )
        for row in frame[frame["role"] != DETAIL].to_dict("records")
    )


def as_measured(repetitions: Iterable[Repetition]) -> tuple[Repetition, ...]:
    """Repetitions in the order of measuring: sessions by the start of their first run, each with its runs.

    Not by the plan, since a session that is measured again, or added later, keeps its place there. Not by
    each run's start, since the controller's clock may be set in the middle of a session.
    """
    runs = sorted(repetitions, key=lambda run: (run.run_order, run.repetition))
    starts: dict[tuple[str, str, int], str] = {}
    for run in runs:
        starts.setdefault(_session(run), run.started_at)
    return tuple(sorted(runs, key=lambda run: (starts[_session(run)], run.session_order, _session(run))))


def _session(run: Repetition) -> tuple[str, str, int]:
    return run.environment, run.system, run.boot


def _rows(record: Record) -> list[dict[str, Any]]:
    shared = {
        "environment": record.environment,
        "system": record.system,
        "hypervisor": _spec(record, "hypervisor"),
        "boot": record.boot,
        "workload": record.workload,
        "repetition": record.repetition,
        "session_order": record.order.session,
        "run_order": record.order.run,
        "started_at": record.started_at,
        "host_boot": _boot(record, "host"),
        "guest_boot": _boot(record, "guest"),
    }
    tool = _spec(record, "workload")["tool"]
    figures = _figures(record)
    return [
        shared
        | _outcome(figures if isinstance(figures, str) else figures[metric.name], figures)
        | {"metric": metric.name, "unit": metric.unit, "role": role}
        for metric, role in metrics_of(tool).items()
    ]


def _outcome(figure: Value | str, figures: object) -> dict[str, Any]:
    if isinstance(figure, Value):
        resolution = math.nan if figure.resolution is None else float(figure.resolution)
        return {"status": OK, "reason": "", "value": float(figure.value), "resolution": resolution}
    # Of a repetition that failed, there is a reason in place of all its figures.
    status = FAILED if isinstance(figures, str) else UNAVAILABLE
    return {"status": status, "reason": figure, "value": math.nan, "resolution": math.nan}


def _boot(record: Record, machine: str) -> str:
    """Id of the boot that a machine was in, as its kernel had it (random(4)); empty if it is not known."""
    return _one_line(str((record.facts.get(machine) or {}).get("boot_id", "")))


def _figures(record: Record) -> dict[str, Value | str] | str:
    """What was measured, by metric (a text: not available), or why the repetition is a failed one."""
    if record.status == FAILED:
        return _one_line(record.reason or FAILED)
    for key in ("workload", "link", "host"):
        _spec(record, key)
    try:
        measured = values(record)
        return {**measured, **derived(record, measured)}
    except ParseError as error:
        return _one_line(str(error))


def _spec(record: Record, key: str) -> Any:
    try:
        return record.spec[key]
    except KeyError:
        raise ParseError(
            f"{record.environment}/{record.system}/boot{record.boot}/"
            f"{record.workload}-{record.repetition}: raw record without spec.{key}"
        ) from None


def _one_line(text: str) -> str:
    """Text without line breaks and control characters, so that a row is a line of the file."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())


def _check_header(header: Sequence[str], path: Path) -> None:
    for column in COLUMNS:
        if column not in header:
            raise ParseError(f"{path}: column `{column}` is missing")
    for position, column in enumerate(header):
        if column not in COLUMNS:
            raise ParseError(f"{path}: unknown column `{column}`")
        if column in header[:position]:
            raise ParseError(f"{path}: column `{column}` is there twice")


def _checked_row(fields: dict[str, str], where: str) -> dict[str, Any]:
    row: dict[str, Any] = dict(fields)
    for column, dtype in DTYPES.items():
        if dtype == "int64":
            row[column] = _number(int, fields[column], "a whole number", f"{where}: `{column}`")
    status, value, metric = fields["status"], fields["value"], known().get(fields["metric"])
    if metric is None:
        raise ParseError(f"{where}: `metric` {fields['metric']!r} is none of {', '.join(known())}")
    if fields["unit"] != metric.unit:
        raise ParseError(f"{where}: `unit` {fields['unit']!r} instead of {metric.unit!r}")
    if fields["role"] not in ROLES:
        raise ParseError(f"{where}: `role` {fields['role']!r} is none of {', '.join(ROLES)}")
    if status == OK and value and not fields["reason"]:
        row["value"] = _number(float, value, "a number", f"{where}: `value`")
    elif status in (FAILED, UNAVAILABLE) and not value and fields["reason"]:
        row["value"] = math.nan
    else:
        raise ParseError(
            f"{where}: `status` {status!r} with value {value!r} and reason {fields['reason']!r}: "
            "a row is `ok` with a value, or `failed` or `unavailable` with a reason"
        )
    text = fields["resolution"]
    row["resolution"] = _number(float, text, "a number", f"{where}: `resolution`") if text else math.nan
    return row


def _number(kind: Callable[[str], float], text: str, what: str, where: str) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ParseError(f"{where} {text!r} is not {what}")
    return number


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype(DTYPES)


def _sorted(frame: pd.DataFrame) -> pd.DataFrame:
    order = {name: place for place, name in enumerate(known())}
    return frame.sort_values(
        list(KEY),
        key=lambda column: column.map(order) if column.name == "metric" else column,
        ignore_index=True,
    )


def _refuse_duplicates(frame: pd.DataFrame, source: str) -> None:
    twice = frame[frame.duplicated(list(KEY))]
    if not twice.empty:
        row = twice.iloc[0]
        raise ParseError(
            f"{source}: repetition {row['repetition']} of {row['workload']} on {row['system']}, "
            f"boot {row['boot']}, in {row['environment']} is there twice"
        )
