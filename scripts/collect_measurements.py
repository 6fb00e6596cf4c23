"""Collect the tables of an environment's systems into one.

    python scripts/collect_measurements.py --output results/env1/measurements.csv \\
        results/env1/measurements/*.csv

Output: a CSV file with the rows of all, sorted. Files with other columns, or with the same
repetition twice, are refused.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from hvcost import program
from hvcost.analysis import measurements

log = logging.getLogger(__name__)


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="table to write")
    parser.add_argument("tables", type=Path, nargs="+", metavar="CSV", help="table of one system")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()

    def work() -> None:
        collect(arguments.tables, arguments.output)

    return program.run(work, arguments.log)


def collect(parts: list[Path], output: Path) -> None:
    """Write the table of all rows."""
    frame = measurements.concatenate(parts)
    measurements.write_csv(frame, output)
    log.info("%s: %d rows of %d tables", output, len(frame), len(parts))


if __name__ == "__main__":
    sys.exit(main())
