"""Parse the raw files of one system in one environment into a tidy table.

    python scripts/parse_repetitions.py --raw results/env1/raw/kvm \\
        --boots 1 --repetitions 10 --workloads tcp --output results/env1/measurements/kvm.csv

Files that are not planned, left by an older configuration, are not read. Output: a CSV file with one row
per repetition and metric. A repetition that failed, or whose output holds no figure, has rows with status
`failed`, a reason and no value.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from hvcost import program
from hvcost.analysis import measurements
from hvcost.errors import ParseError
from hvcost.model import record

log = logging.getLogger(__name__)


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="table to write")
    parser.add_argument("--raw", type=Path, required=True, metavar="FOLDER", help="raw files of the system")
    parser.add_argument("--boots", type=int, required=True, help="planned sessions")
    parser.add_argument("--repetitions", type=int, required=True, help="planned repetitions in a session")
    parser.add_argument("--workloads", nargs="+", required=True, metavar="NAME", help="planned workloads")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()

    def work() -> None:
        raw = [
            arguments.raw / f"boot{boot}" / file
            for boot in range(1, arguments.boots + 1)
            for file in record.planned_files(arguments.workloads, arguments.repetitions)
        ]
        parse(raw, arguments.output)

    return program.run(work, arguments.log)


def parse(raw: list[Path], output: Path) -> None:
    """Write the table of the raw files, which are of one system in one environment."""
    records = [record.read(path) for path in raw]
    first = records[0]
    for path, other in zip(raw, records, strict=True):
        if (other.environment, other.system) != (first.environment, first.system):
            raise ParseError(
                f"{path}: is of {other.system} in {other.environment}, "
                f"but {raw[0]} is of {first.system} in {first.environment}: one table, one system"
            )
    frame = measurements.from_records(records)
    measurements.write_csv(frame, output)
    failed = [point for point in measurements.repetitions(frame) if point.value is None]
    for point in failed:
        log.warning(
            "%s %s boot %d %s-%d failed: %s",
            point.environment,
            point.system,
            point.boot,
            point.workload,
            point.repetition,
            point.reason,
        )
    log.info("%s: %d repetitions, %d failed", output, len(records), len(failed))


if __name__ == "__main__":
    sys.exit(main())
