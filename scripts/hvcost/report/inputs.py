"""What the experiment left in its folder, as the page needs it. Nothing is computed here."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from xml.etree import ElementTree

from hvcost.analysis import measurements, rows
from hvcost.analysis.measurements import Repetition
from hvcost.analysis.metrics import PRIMARY
from hvcost.analysis.rows import CellStatistics, ClaimVerdict, PairComparison
from hvcost.errors import ConfigError, ParseError
from hvcost.files import read_json
from hvcost.model import description, record
from hvcost.model.description import Description, Environment
from hvcost.model.record import Record, accelerator_of
from hvcost.report.numbers import Placed

# Names become parts of paths and ids; the configuration's schema allows no others.
NAME = re.compile(r"[a-z][a-z0-9-]*")
SVG = "{http://www.w3.org/2000/svg}"

T = TypeVar("T", CellStatistics, PairComparison, ClaimVerdict)


@dataclass(frozen=True)
class Table(Generic[T]):
    """A CSV file of the results: its rows, and its text as it stands there. `path`: from the page."""

    id: str
    path: str
    rows: tuple[Placed[T], ...]
    columns: tuple[str, ...]
    fields: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A picture that is part of the page. Width and height in points."""

    title: str
    description: str
    data: str
    width: float
    height: float


@dataclass(frozen=True)
class Host:
    """A prepared host: what was changed on it, and what could not be."""

    prepared_at: str
    changes: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Session:
    """One planned boot of a system; without a record, it was not measured."""

    environment: str
    system: str
    boot: int
    record: Record | None


@dataclass(frozen=True)
class Place:
    """An environment with everything that was measured in it; nothing, if no session was.

    `repetitions` are those of the workloads' primary metrics.
    """

    environment: Environment
    statistics: Table[CellStatistics]
    repetitions: tuple[Repetition, ...]
    host: Host | None
    sessions: tuple[Session, ...]
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Results:
    """All that the page is made of. `figures`: those that show several environments."""

    experiment: Description
    places: tuple[Place, ...]
    comparisons: Table[PairComparison]
    claims: Table[ClaimVerdict]
    figures: Mapping[str, Figure]


def read(experiment_json: Path, folder: Path) -> Results:
    """Everything from a folder of results; ParseError or ConfigError name the file that is wrong."""
    experiment = description.load(experiment_json)
    check_names(experiment, str(experiment_json))
    return Results(
        experiment=experiment,
        places=tuple(_place(environment, experiment, folder) for environment in experiment.environments),
        comparisons=_table(PairComparison, folder, "comparisons.csv", "comparisons"),
        claims=_table(ClaimVerdict, folder, "claims.csv", "claims"),
        figures=_figures(folder / "figures"),
    )


def check_names(experiment: Description, source: str) -> None:
    """ConfigError, which names the `source`, if a name of the experiment would be another folder's path."""
    for environment in experiment.environments:
        for name in (environment.id, *environment.hypervisors, *environment.workloads):
            if not NAME.fullmatch(name):
                raise ConfigError(f"{source}: {name!r} is not a name for a file")


def _place(environment: Environment, experiment: Description, results: Path) -> Place:
    folder = results / environment.id
    sessions = tuple(
        Session(
            environment.id,
            system,
            boot,
            _record(results, experiment.raw_files(environment, system, boot)),
        )
        for system in environment.hypervisors
        for boot in range(1, experiment.boots + 1)
    )
    path, id = f"{environment.id}/statistics.csv", f"statistics-{environment.id}"
    played = {accelerator_of(each.record.spec, each.record.facts) for each in sessions if each.record}
    if len(played) == 1:
        environment = environment.played_by(played.pop())
    if not any(session.record for session in sessions):
        return Place(environment, Table(id, path, (), (), ()), (), None, sessions, {})
    return Place(
        environment=environment,
        statistics=_table(CellStatistics, results, path, id),
        repetitions=measurements.read_csv(folder / "measurements.csv", [PRIMARY]),
        host=_host(folder / "host.json"),
        sessions=sessions,
        figures=_figures(folder / "figures"),
    )


def _table(kind: type[T], results: Path, path: str, id: str) -> Table[T]:
    file = results / path
    read = rows.read(kind, file)
    with file.open(encoding="utf-8", newline="") as lines:
        header, *fields = csv.reader(lines)
    placed = tuple(Placed(row, f"{id}-{number}") for number, row in enumerate(read, start=1))
    return Table(id, path, placed, tuple(header), tuple(map(tuple, fields)))


def _record(results: Path, files: Sequence[str]) -> Record | None:
    """One record of a session: the first of its last workload. Those of format 1 know all commands so far."""
    found = [results / file for file in files if (results / file).is_file()]
    of_last = [path for path in found if _workload(path) == _workload(found[-1])]
    return record.read(of_last[0]) if found else None


def _workload(raw: Path) -> str:
    return raw.stem.rpartition("-")[0]


def _host(path: Path) -> Host:
    return read_json(
        path,
        "a prepared host",
        lambda data: Host(
            prepared_at=str(data["prepared_at"]),
            changes=tuple(map(str, data["changes"])),
            problems=tuple(map(str, data.get("problems", ()))),
        ),
    )


def _figures(folder: Path) -> dict[str, Figure]:
    return {file.stem: _figure(file) for file in sorted(folder.glob("*.svg"))}


def _figure(path: Path) -> Figure:
    content = path.read_bytes()
    # What it says comes first (`style.rendered`); the picture behind it may be megabytes.
    head, found, _picture = content.partition(b"</desc>")
    try:
        svg = ElementTree.fromstring(head + b"</desc></svg>" if found else content)
        _left, _top, width, height = map(float, svg.attrib["viewBox"].split())
        title, description = (svg.findtext(f"{SVG}{tag}") or svg.findtext(tag) for tag in ("title", "desc"))
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ParseError(f"{path}: not a figure: {error!r}") from error
    if not title or not description:
        raise ParseError(f"{path}: a figure without `title` or `desc`")
    data = "data:image/svg+xml;base64," + base64.b64encode(content).decode("ascii")
    return Figure(title, " ".join(description.split()), data, width, height)
