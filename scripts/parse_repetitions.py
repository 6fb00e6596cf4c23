"""Parse the raw files of one system in one environment into a tidy table.

    python scripts/parse_repetitions.py --raw results/env1/raw/kvm \\
        --boots 1 --repetitions 10 --workloads tcp --output results/env1/measurements/kvm.csv

Files that are not planned, left by an older configuration, are not read. Output: a CSV file with one row
per repetition and metric. A repetition that failed, or whose output holds no figure, has rows with status
`failed`, a reason and no value.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from hvcost import program
from hvcost.analysis import measurements
from hvcost.analysis.metrics import PRIMARY
from hvcost.errors import ParseError
from hvcost.model import record
from hvcost.model.record import Record

log = logging.getLogger(__name__)


def parse_planned(raw: Path, boots: int, repetitions: int, workloads: Sequence[str], output: Path) -> None:
    """Write the table of the planned files in a system's folder."""
    planned = record.planned_files(workloads, repetitions)
    every = [raw / f"boot{boot}" / file for boot in range(1, boots + 1) for file in planned]
    try:
        parse(every, output)
    except ParseError as error:
        raise ParseError(f"{error}; remove it, and the same command measures its session again") from error


def parse(raw: Sequence[Path], output: Path) -> measurements.Table:
    """Write the table of the raw files, which are of one system in one environment; what is in it."""
    table = measurements.from_records(_of_one_system(raw))
    measurements.write_csv(table, output)
    # A repetition fails as a whole, so its primary metric stands for all.
    failed = [each for each in table if each.role == PRIMARY and each.status == measurements.FAILED]
    for each in failed:
        log.warning(
            "%s %s boot %d %s-%d failed: %s",
            each.environment,
            each.system,
            each.boot,
            each.workload,
            each.repetition,
            each.reason,
        )
    log.info("%s: %d repetitions, %d failed", output, len(raw), len(failed))
    return table


def _of_one_system(raw: Sequence[Path]) -> Iterator[Record]:
    first = None
    for path, one in zip(raw, record.read_all(raw), strict=True):
        first = first or one
        if (one.environment, one.system) != (first.environment, first.system):
            raise ParseError(
                f"{path}: is of {one.system} in {one.environment}, "
                f"but {raw[0]} is of {first.system} in {first.environment}: one table, one system"
            )
        place = Path(f"boot{one.boot}", record.file_of(one.workload, one.repetition))
        if path.parts[-2:] != place.parts:
            raise ParseError(f"{path}: is of another repetition, and belongs to {place}")
        yield one


if __name__ == "__main__":
    program.main(
        parse_planned,
        __doc__,
        program.argument("--raw", type=Path, metavar="FOLDER", help="raw files of the system"),
        program.argument("--boots", type=int, help="planned sessions"),
        program.argument("--repetitions", type=int, help="planned repetitions in a session"),
        program.argument("--workloads", nargs="+", metavar="NAME", help="planned workloads"),
        output="CSV",
    )
