"""The raw record: one repetition with everything that is needed to analyse it again, elsewhere and later.

A record is written once and never edited. Tables, statistics and figures are functions of records alone. What
all repetitions of a session have in common is in a file beside theirs, SESSION_FILE, which they name by its
SHA-256, so that a repetition of another session among them is noticed. Files of format 1, each of which holds
all of it, are read as well.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hvcost import files
from hvcost.errors import ParseError
from hvcost.wording import listed

FORMAT = 2
SESSION_FILE = "session.json"
# What parts of a record's `spec` are, if they are there.
PARTS = {"hypervisor": str, "workload": dict, "link": dict, "host": dict}

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
    """One process of a run with its verbatim output; `exit_code` None: it was stopped by us."""

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
class Session:
    """What all repetitions of a session have in common. `commands`: those before the first repetition."""

    environment: str
    system: str
    boot: int
    spec: Mapping[str, Any]
    proof: Mapping[str, Any]
    facts: Mapping[str, Facts | None]
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True)
class Record:
    """One repetition of one workload on one system in one environment.

    `outputs`: of the run's processes, by role. `cpu_time_s`: what the host's processors spent during the run,
    by who spent it. `start`: commands of the session before its first repetition. `commands`: of this one; in
    files of format 1, all since the session's start. `witnesses`: of `client`, `server` and `host`, those of
    which there are any; None in files of the time before there were.
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
    outputs: Mapping[str, End]
    cpu_time_s: Mapping[str, float] | None
    proof: Mapping[str, Any]
    facts: Mapping[str, Facts | None]
    start: tuple[Command, ...] = ()
    commands: tuple[Command, ...] = ()
    witnesses: Mapping[str, Witness] | None = None


_SHARED = tuple(field.name for field in fields(Session) if field.name not in ("spec", "commands"))


def accelerator_of(spec: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    """QEMU's accelerator for a session's host, from its `spec` and `facts`; None if QEMU does not play it.

    Before that was decided for each host, the configuration named it.
    """
    emulator = facts.get("emulator") or {}
    host = spec.get("host") or {}
    return emulator.get("accelerator") or host.get("accelerator")


def is_played(host: Mapping[str, Any]) -> bool:
    """Whether the controller plays an environment's ends, by the host's keys in the configuration."""
    return host.get("connection") in ("emulated", "local")


def session_of(record: Record) -> Session:
    """What a repetition has in common with the others of its session."""
    shared = {name: getattr(record, name) for name in _SHARED}
    spec = {key: value for key, value in record.spec.items() if key != "workload"}
    return Session(**shared, spec=spec, commands=record.start)


def session_to_json(session: Session) -> str:
    """Text of a session, the same for the same session, with a newline at its end."""
    return _text(asdict(session))


def to_json(record: Record) -> str:
    """Text of a repetition without its session, the same for the same record, with a newline at its end."""
    own = asdict(record)
    for name in (*_SHARED, "start"):
        del own[name]
    own["spec"] = {key: value for key, value in own["spec"].items() if key == "workload"}
    own["session"] = _digest(session_to_json(session_of(record)))
    return _text(own)


def from_json(text: str, source: str, session: str) -> Record:
    """Record from its text and its session's; `source` is named in the ParseError if they are none.

    A text of format 1 needs no session's.
    """
    return _from_json(text, source, _Shared(session))


def _from_json(text: str, source: str, shared: _Shared) -> Record:
    data = files.parse_json(text, source, "a raw record", dict)
    common: dict[str, Any] = {}
    wrong: list[str] = []
    try:
        if data.get("format") == 1:
            own = _of_format_1(data)
        elif data.get("format") == FORMAT:
            own = _of_format_2(data, shared, source)
            common, wrong = shared.fields, shared.wrong
        else:
            raise ParseError(f"{source}: not a raw record of format 1 or {FORMAT}")
        record = Record(**own | common)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ParseError(f"{source}: raw record with missing or unknown fields: {error}") from error
    if wrong := _wrong_fields(own) + wrong:
        raise ParseError(f"{source}: raw record whose {listed(wrong)} are not what they should be")
    if record.status not in ("ok", "failed") or (record.status == "failed") != bool(record.reason):
        raise ParseError(
            f"{source}: status {record.status!r} with reason {record.reason!r}: "
            "a record is `ok`, or `failed` with a reason"
        )
    return record


def file_of(workload: str, repetition: int) -> str:
    """Name of a repetition's file in its session's folder."""
    return f"{workload}-{repetition}.json"


def planned_files(workloads: Iterable[str], repetitions: int) -> list[str]:
    """Names of the files of a session that runs each workload so often."""
    return [
        file_of(workload, repetition) for workload in workloads for repetition in range(1, repetitions + 1)
    ]


def files_in(folder: Path) -> list[Path]:
    """Files of all repetitions in a session's folder."""
    return sorted(path for path in folder.glob("*.json") if path.name != SESSION_FILE)


def read(path: Path) -> Record:
    """Record from a file, and its session's beside it; ParseError if they do not hold one."""
    (record,) = read_all([path])
    return record


def read_all(paths: Iterable[Path]) -> Iterator[Record]:
    """Records from files, one after the other; what those of a folder share is read once.

    ParseError if one of them holds none.
    """
    for folder, files_there in itertools.groupby(paths, key=lambda path: path.parent):
        session = folder / SESSION_FILE
        shared = _Shared(_content(session) if session.is_file() else "")
        for path in files_there:
            yield _from_json(_content(path), str(path), shared)


def write(record: Record, path: Path) -> None:
    """Write a record so that the file is either complete or absent, beside its session's."""
    files.write_text(path, to_json(record))


def write_session(session: Session, folder: Path) -> None:
    """Write what a session's repetitions have in common into their folder, before the first of them."""
    files.write_text(folder / SESSION_FILE, session_to_json(session))


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ParseError(f"{path}: cannot be read: {error.strerror}") from error


def _text(data: Mapping[str, Any]) -> str:
    return json.dumps({"format": FORMAT} | dict(data), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _of_format_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a record from a file that holds all of it, with two ends, each null if there is none."""
    own = {key: value for key, value in data.items() if key not in ("format", "client", "server")}
    ends = {role: data[role] for role in ("client", "server") if data[role] is not None}
    return _fields(own | {"outputs": ends, "witnesses": own.get("witnesses")})


@dataclass(frozen=True)
class _Shared:
    """Text of a session's file, empty if there is none, and what a record takes from it."""

    text: str

    @cached_property
    def digest(self) -> str:
        return _digest(self.text)

    @cached_property
    def _data(self) -> dict[str, Any]:
        return files.parse_json(self.text, SESSION_FILE, "what a session's repetitions share", dict)

    @property
    def spec(self) -> Any:
        """The session's part of `spec`."""
        return self._data["spec"]

    @cached_property
    def fields(self) -> dict[str, Any]:
        """Fields that are the same in all its repetitions."""
        return {name: self._data[name] for name in _SHARED} | {"start": _commands(self._data["commands"])}

    @cached_property
    def wrong(self) -> list[str]:
        """Names of those of them that are not what they should be."""
        return _wrong_fields(self.fields)


def _of_format_2(data: Mapping[str, Any], shared: _Shared, source: str) -> dict[str, Any]:
    """Fields of a record from its own file, and `spec`, of which its session's file has the other part."""
    if not shared.text:
        raise ParseError(f"{source}: {SESSION_FILE}, which belongs to it, is not in its folder")
    if shared.digest != data["session"]:
        raise ParseError(f"{source}: is not of the session whose {SESSION_FILE} is beside it")
    own = {key: value for key, value in data.items() if key not in ("format", "session")}
    return _fields(own | {"spec": shared.spec | own["spec"]})


def _fields(data: dict[str, Any]) -> dict[str, Any]:
    """Fields of a record from JSON's objects."""
    return data | {
        "order": Order(**data["order"]),
        "outputs": {role: _end(end) for role, end in data["outputs"].items()},
        "commands": _commands(data["commands"]),
        "witnesses": _witnesses(data["witnesses"]),
    }


def _wrong_fields(values: Mapping[str, Any]) -> list[str]:
    """Names of a record's fields whose content is of another kind than it is said to be."""
    wrong = [name for name, fits in _checks(Record).items() if name in values and not fits(values[name])]
    spec = values.get("spec", {})
    if "spec" in wrong:
        return wrong
    return wrong + [
        f"spec.{part}" for part, kind in PARTS.items() if not isinstance(spec.get(part, kind()), kind)
    ]


@cache
def _checks(kind: type) -> Mapping[str, Callable[[Any], bool]]:
    """Of each field of a dataclass, what says whether a value is one for it."""
    return {name: _check_of(hint) for name, hint in get_type_hints(kind).items()}


def _check_of(hint: Any) -> Callable[[Any], bool]:
    """What says whether a value is of a type, all that it holds included; a number is a finite one."""
    kinds = get_args(hint)
    if hint is Any:
        return lambda value: True
    if is_dataclass(hint):
        checks = _checks(hint).items()  # type: ignore[arg-type]
        return lambda value: type(value) is hint and all(fits(getattr(value, name)) for name, fits in checks)
    if get_origin(hint) is Literal:
        return lambda value: value in kinds
    if get_origin(hint) is tuple:
        each = _check_of(kinds[0])
        # Most of what there is: a third of the time that it takes to read a file.
        if kinds[0] is str:
            return lambda value: isinstance(value, tuple) and {str}.issuperset(map(type, value))
        return lambda value: isinstance(value, tuple) and all(map(each, value))
    if get_origin(hint) is Mapping:
        key, each = map(_check_of, kinds)
        return lambda value: (
            isinstance(value, dict) and all(map(key, value)) and all(map(each, value.values()))
        )
    if kinds:
        checks_of = tuple(map(_check_of, kinds))
        return lambda value: any(fits(value) for fits in checks_of)
    if hint is float:
        return lambda value: type(value) in (int, float) and abs(value) <= sys.float_info.max
    return lambda value: type(value) is hint


def _commands(data: list[dict[str, Any]]) -> tuple[Command, ...]:
    return tuple(Command(**command | {"argv": tuple(command["argv"])}) for command in data)


def _end(data: dict[str, Any]) -> End:
    return End(**data | {"argv": tuple(data["argv"])})


def _witnesses(data: dict[str, Any] | None) -> dict[str, Witness] | None:
    if data is None:
        return None
    return {
        role: Witness(**{when: Reading(**said) for when, said in readings.items()})
        for role, readings in data.items()
    }
