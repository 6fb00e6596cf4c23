"""From raw records to the tidy table: one row per repetition and metric, and its CSV files.

A failed repetition keeps all of its rows, with a reason in place of the value: it is never dropped
and never a zero. A figure that nobody can have is `unavailable`, which is neither ok nor failed.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from hvcost import files
from hvcost.analysis.metrics import DETAIL, PRIMARY, SECONDARY, derived, known, metrics_of
from hvcost.analysis.rows import number, whole_number
from hvcost.errors import ConfigError, ParseError
from hvcost.model.metric import Metric, Value
from hvcost.model.record import Record, is_played
from hvcost.tools.verdict import values

COLUMNS = (
    "environment",
    "system",
    "hypervisor",
    "boot",
    "workload",
    "repetition",
    "session_order",
    "run_order",
    "started_at",
    "host_boot",
    "guest_boot",
    "computer",
    "status",
    "reason",
    "metric",
    "unit",
    "role",
    "value",
    "resolution",
)
OK = "ok"
FAILED = "failed"
UNAVAILABLE = "unavailable"
ROLES = (PRIMARY, SECONDARY, DETAIL)
# Details are recorded, and no more.
ANALYSED = (PRIMARY, SECONDARY)


@dataclass(frozen=True, slots=True)
class Repetition:
    """One figure of one repetition, in the metric's unit: a row of the table.

    `value` None: it failed, or is not available, for this reason. `role`: of the metric in its workload.
    `host_boot`, `guest_boot`: the kernels' ids of the boots that it was in, empty if they are not known.
    `computer`: a mark of the one that played the machines, empty if none did, or if it is not known.
    `resolution` None: it is not known.
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
    computer: str
    status: str
    reason: str
    metric: str
    role: str
    value: float | None
    resolution: float | None

    @property
    def key(self) -> tuple[str, str, int, str, int, str]:
        """What no two rows of a table have in common."""
        return self.environment, self.system, self.boot, self.workload, self.repetition, self.metric


Table = tuple[Repetition, ...]


def from_records(records: Iterable[Record]) -> Table:
    """Tidy table of raw records; ParseError if two of them are the same repetition."""
    return _sorted([row for record in records for row in _rows(record)], "raw records")


def concatenate(paths: Sequence[Path], roles: Sequence[str] = ROLES) -> Table:
    """One table of several CSV files; ParseError if they overlap or one is not such a table (`read_csv`)."""
    return merged([read_csv(path, roles) for path in paths], ", ".join(map(str, paths)))


def merged(tables: Iterable[Table], source: str) -> Table:
    """One table of several; ParseError names their `source` if they overlap."""
    return _sorted([row for table in tables for row in table], source)


def write_csv(table: Table, path: Path) -> None:
    """Write a table; floats as their shortest text that reads back as the same number."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    metrics = known()
    for row in table:
        writer.writerow(
            (
                row.environment,
                row.system,
                row.hypervisor,
                row.boot,
                row.workload,
                row.repetition,
                row.session_order,
                row.run_order,
                row.started_at,
                row.host_boot,
                row.guest_boot,
                row.computer,
                row.status,
                row.reason,
                row.metric,
                metrics[row.metric].unit,
                row.role,
                row.value,
                row.resolution,
            )
        )
    files.write_text(path, text.getvalue())


def read_csv(path: Path, roles: Sequence[str] = ROLES) -> Table:
    """Read a table and check it; ParseError names the file, the line and the column.

    Rows of other `roles` are passed over.
    """
    passed_over = set(ROLES).difference(roles)
    rows: list[Repetition] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            _check_header(header)
            in_order = itemgetter(*map(header.index, COLUMNS))
            role = header.index("role")
            for fields in reader:
                if len(fields) != len(header):
                    raise ParseError(f"{len(fields)} fields instead of {len(header)}")
                if fields[role] not in passed_over:
                    rows.append(_checked_row(in_order(fields)))
    except ParseError as error:
        raise ParseError(f"{path}, line {reader.line_num}: {error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ParseError(f"{path}: not a CSV file: {error}") from error
    except OSError as error:
        raise ParseError(f"{path}: cannot be read: {error.strerror}") from error
    _refuse_duplicates(rows, str(path))
    return tuple(rows)


def repetitions(table: Table) -> Table:
    """Figures that are analysed: each repetition's primary metric, and the secondary ones."""
    return tuple(row for row in table if row.role in ANALYSED)


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


def _rows(record: Record) -> list[Repetition]:
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
        "computer": computer_of(record),
    }
    roles = _roles(record)
    figures = _figures(record)
    return [
        Repetition(
            **shared,
            **_outcome(figures if isinstance(figures, str) else figures[metric.name], figures),
            metric=metric.name,
            role=role,
        )
        for metric, role in roles.items()
    ]


def _roles(record: Record) -> dict[Metric, str]:
    """The metrics that a record has; ParseError if it does not say by what it was measured."""
    try:
        return metrics_of(_spec(record, "workload").get("tool"))
    except ConfigError as error:
        raise ParseError(
            f"{_place(record)}: raw record whose spec.workload is none: tool: {error}"
        ) from error


def _outcome(figure: Value | str, figures: object) -> dict[str, Any]:
    if isinstance(figure, Value):
        resolution = None if figure.resolution is None else float(figure.resolution)
        return {"status": OK, "reason": "", "value": float(figure.value), "resolution": resolution}
    # Of a repetition that failed, there is a reason in place of all its figures.
    status = FAILED if isinstance(figures, str) else UNAVAILABLE
    return {"status": status, "reason": figure, "value": None, "resolution": None}


def _boot(record: Record, machine: str) -> str:
    """Id of the boot that a machine was in, as its kernel had it (random(4)); empty if it is not known."""
    return _one_line(str((record.facts.get(machine) or {}).get("boot_id", "")))


def computer_of(record: Record) -> str:
    """The computer that played a record's machines; empty if none did, or if it is not known.

    By a mark in place of its name, since results are published.
    """
    if not is_played(record.spec.get("host", {})):
        return ""
    name = str((record.facts.get("controller") or {}).get("hostname", ""))
    return hashlib.sha256(name.encode()).hexdigest()[:8] if name else ""


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
        raise ParseError(f"{_place(record)}: raw record without spec.{key}") from None


def _place(record: Record) -> str:
    return f"{record.environment}/{record.system}/boot{record.boot}/{record.workload}-{record.repetition}"


def _one_line(text: str) -> str:
    """Text without line breaks and control characters, so that a row is a line of the file."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())


def _check_header(header: Sequence[str]) -> None:
    for column in COLUMNS:
        if column not in header:
            raise ParseError(f"column `{column}` is missing")
    for position, column in enumerate(header):
        if column not in COLUMNS:
            raise ParseError(f"unknown column `{column}`")
        if column in header[:position]:
            raise ParseError(f"column `{column}` is there twice")


def _checked_row(fields: Sequence[str]) -> Repetition:
    """Row from the texts of its fields in the order of COLUMNS; ParseError names the column."""
    environment, system, hypervisor, boot, workload, repetition, session_order, run_order = fields[:8]
    started_at, host_boot, guest_boot, computer, status, reason = fields[8:14]
    name, unit, role, value, resolution = fields[14:]
    metric = known().get(name)
    if metric is None:
        raise ParseError(f"`metric` {name!r} is none of {', '.join(known())}")
    if unit != metric.unit:
        raise ParseError(f"`unit` {unit!r} instead of {metric.unit!r}")
    if role not in ROLES:
        raise ParseError(f"`role` {role!r} is none of {', '.join(ROLES)}")
    has_value = status == OK and value and not reason
    if not has_value and not (status in (FAILED, UNAVAILABLE) and not value and reason):
        raise ParseError(
            f"`status` {status!r} with value {value!r} and reason {reason!r}: "
            "a row is `ok` with a value, or `failed` or `unavailable` with a reason"
        )
    return Repetition(
        environment=environment,
        system=system,
        hypervisor=hypervisor,
        boot=_whole_number(boot, "boot"),
        workload=workload,
        repetition=_whole_number(repetition, "repetition"),
        session_order=_whole_number(session_order, "session_order"),
        run_order=_whole_number(run_order, "run_order"),
        started_at=started_at,
        host_boot=host_boot,
        guest_boot=guest_boot,
        computer=computer,
        status=status,
        reason=reason,
        metric=name,
        role=role,
        value=_number(value, "value") if has_value else None,
        resolution=_number(resolution, "resolution") if resolution else None,
    )


def _whole_number(text: str, column: str) -> int:
    found = whole_number(text)
    if found is None:
        raise ParseError(f"`{column}` {text!r} is not a whole number")
    return found


def _number(text: str, column: str) -> float:
    found = number(text)
    if found is None:
        raise ParseError(f"`{column}` {text!r} is not a number")
    return found


def _sorted(rows: Iterable[Repetition], source: str) -> Table:
    order = {name: place for place, name in enumerate(known())}
    table = tuple(sorted(rows, key=lambda row: (*row.key[:-1], order[row.metric])))
    _refuse_duplicates(table, source)
    return table


def _refuse_duplicates(rows: Iterable[Repetition], source: str) -> None:
    seen = set()
    for row in rows:
        if row.key in seen:
            raise ParseError(
                f"{source}: repetition {row.repetition} of {row.workload} on {row.system}, "
                f"boot {row.boot}, in {row.environment} is there twice"
            )
        seen.add(row.key)
