"""From raw records to the tidy table: one row per repetition and metric, and its CSV files.

A failed repetition keeps all of its rows, with a reason in place of the value: it is never dropped
and never a zero.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

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
    "value": "float64",
    "unit": "str",
}
COLUMNS = tuple(DTYPES)
KEY = ("environment", "system", "boot", "workload", "repetition", "metric")


@dataclass(frozen=True)
class Metric:
    """One figure of a repetition: its unit, and where in the tool's values it is from.

    `throughput` is the run's figure, of either end (see `iperf`); the study took `client_throughput`.
    """

    name: str
    unit: str
    read: Callable[[Mapping[str, Value]], float]


METRICS = {
    metric.name: metric
    for metric in (
        Metric("throughput", "bit/s", lambda found: found["throughput"].value),
        Metric("throughput_resolution", "bit/s", lambda found: found["throughput"].resolution or math.nan),
        Metric("transferred", "byte", lambda found: found["transferred"].value),
        Metric("duration", "s", lambda found: found["duration"].value),
        Metric("streams", "1", lambda found: found["streams"].value),
        Metric("client_throughput", "bit/s", lambda found: found["client_throughput"].value),
        Metric("server_throughput", "bit/s", lambda found: found["server_throughput"].value),
    )
}
_METRIC_ORDER = {name: position for position, name in enumerate(METRICS)}


@dataclass(frozen=True)
class Repetition:
    """One repetition as figures and statistics need it; `throughput_bps` None: it failed, for this reason.

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
    throughput_bps: float | None
    reason: str


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
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, columns=list(COLUMNS), index=False, lineterminator="\n", encoding="utf-8")


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
    """The figure of each repetition: its throughput."""
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
            throughput_bps=float(row["value"]) if row["status"] == "ok" else None,
            reason=str(row["reason"]),
        )
        for row in frame[frame["metric"] == "throughput"].to_dict("records")
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
    outcome = _outcome(record)
    found = None if isinstance(outcome, str) else outcome
    return [
        shared
        | {
            "status": "ok" if found else "failed",
            "reason": "" if found else outcome,
            "metric": metric.name,
            "value": float(metric.read(found)) if found else math.nan,
            "unit": metric.unit,
        }
        for metric in METRICS.values()
    ]


def _boot(record: Record, machine: str) -> str:
    """Id of the boot that a machine was in, as its kernel had it (random(4)); empty if it is not known."""
    return _one_line(str((record.facts.get(machine) or {}).get("boot_id", "")))


def _outcome(record: Record) -> Mapping[str, Value] | str:
    """What was measured, or the reason why the repetition is a failed one."""
    try:
        return values(record)
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
    status, value, metric = fields["status"], fields["value"], METRICS.get(fields["metric"])
    if metric is None:
        raise ParseError(f"{where}: `metric` {fields['metric']!r} is none of {', '.join(METRICS)}")
    if fields["unit"] != metric.unit:
        raise ParseError(f"{where}: `unit` {fields['unit']!r} instead of {metric.unit!r}")
    if status == "ok" and value and not fields["reason"]:
        row["value"] = _number(float, value, "a number", f"{where}: `value`")
    elif status == "failed" and not value and fields["reason"]:
        row["value"] = math.nan
    else:
        raise ParseError(
            f"{where}: `status` {status!r} with value {value!r} and reason {fields['reason']!r}: "
            "a row is `ok` with a value, or `failed` with a reason"
        )
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
    return frame.sort_values(
        list(KEY),
        key=lambda column: column.map(_METRIC_ORDER) if column.name == "metric" else column,
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
