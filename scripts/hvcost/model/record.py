"""The raw record: one repetition with everything that is needed to analyse it again, elsewhere and later.

A record is written once and never edited. Tables, statistics and figures are functions of records alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hvcost.errors import ParseError

FORMAT = 1

Facts = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Command:
    """One command line as it was run: where, how it ended, how long it took."""

    machine: str
    argv: tuple[str, ...]
    exit_code: int | None
    duration_s: float | None


@dataclass(frozen=True)
class End:
    """One end of a measurement with its verbatim output; `exit_code` None: it was stopped by us."""

    machine: str
    argv: tuple[str, ...]
    exit_code: int | None
    stdout: str
    stderr: str
    duration_s: float | None


@dataclass(frozen=True)
class Reading:
    """What a machine said of its clocks and its network card, verbatim (see `witness`).

    It was said between two instants of this computer's monotonic clock, in s.
    """

    machine: str
    said: str
    asked_s: float
    answered_s: float


@dataclass(frozen=True)
class Witness:
    """Readings of one machine right before and right after a run."""

    before: Reading
    after: Reading


@dataclass(frozen=True)
class Order:
    """Place of the repetition in the run: session of all sessions, run of the session's runs, seed."""

    session: int
    sessions: int
    run: int
    runs: int
    seed: int


@dataclass(frozen=True)
class Record:
    """One repetition of one workload on one system in one environment.

    `cpu_time_s`: what the host's processors spent during the client's run, by who spent it. `witnesses`: of
    `client`, `server` and `host`, those of which there are any; None in files of the time before there were.
    """

    environment: str
    system: str
    boot: int
    workload: str
    repetition: int
    status: Literal["ok", "failed"]
    reason: str | None
    started_at: str
    order: Order
    spec: Mapping[str, Any]
    client: End | None
    server: End | None
    cpu_time_s: Mapping[str, float] | None
    proof: Mapping[str, Any]
    facts: Mapping[str, Facts | None]
    commands: tuple[Command, ...] = field(default=())
    witnesses: Mapping[str, Witness] | None = None


def to_json(record: Record) -> str:
    """Text of a record, the same for the same record, with a newline at its end."""
    return (
        json.dumps({"format": FORMAT} | asdict(record), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    )


def from_json(text: str, source: str) -> Record:
    """Record from its text; `source` is named in the ParseError if it is not one."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ParseError(f"{source}: not a raw record: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ParseError(f"{source}: not a raw record of format {FORMAT}")
    try:
        del data["format"]
        data["order"] = Order(**data["order"])
        data["client"] = _end(data["client"])
        data["server"] = _end(data["server"])
        data["commands"] = tuple(
            Command(**command | {"argv": tuple(command["argv"])}) for command in data["commands"]
        )
        data["witnesses"] = _witnesses(data.get("witnesses"))
        record = Record(**data)
    except (AttributeError, KeyError, TypeError) as error:
        raise ParseError(f"{source}: raw record with missing or unknown fields: {error}") from error
    if record.status not in ("ok", "failed") or (record.status == "failed") != bool(record.reason):
        raise ParseError(
            f"{source}: status {record.status!r} with reason {record.reason!r}: "
            "a record is `ok`, or `failed` with a reason"
        )
    return record


def read(path: Path) -> Record:
    """Record from a file; ParseError if it does not hold one."""
    return from_json(path.read_text(encoding="utf-8", errors="replace"), str(path))


def write(record: Record, path: Path) -> None:
    """Write a record so that the file is either complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(to_json(record), encoding="utf-8")
    partial.replace(path)


def _end(data: dict[str, Any] | None) -> End | None:
    return None if data is None else End(**data | {"argv": tuple(data["argv"])})


def _witnesses(data: dict[str, Any] | None) -> dict[str, Witness] | None:
    if data is None:
        return None
    return {
        role: Witness(**{when: Reading(**said) for when, said in readings.items()})
        for role, readings in data.items()
    }
