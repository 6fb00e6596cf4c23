"""Collect the tables of an environment's systems into one.

    python scripts/collect_measurements.py --output results/env1/measurements.csv \\
        results/env1/measurements/*.csv

Output: a CSV file with the rows of all, sorted. Files with other columns, or with the same
repetition twice, are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from hvcost import program
from hvcost.analysis import measurements

log = logging.getLogger(__name__)


def collect(tables: Sequence[Path], output: Path) -> None:
    """Write the table of all rows."""
    table = measurements.concatenate(tables)
    measurements.write_csv(table, output)
    log.info("%s: %d rows of %d tables", output, len(table), len(tables))


if __name__ == "__main__":
    program.main(
        collect,
        __doc__,
        program.argument("tables", type=Path, nargs="+", metavar="CSV", help="table of one system"),
        output="CSV",
    )
