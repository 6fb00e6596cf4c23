"""Analyse one environment: one table of its systems' tables, its statistics and its figures.

    python scripts/analyse_environment.py --environment '{"environment": "env1", …}' --boots 1 --seed 2010 \\
        --host results/env1/host.json --output results/env1 results/env1/measurements/*.csv

Outputs in the folder: measurements.csv, the rows of all systems, sorted; statistics.csv, one row per system,
workload and metric (docs/statistics.md explains the columns); figures/, as `hvcost.figures.sheets` says.
Tables with other columns, or with the same repetition twice, are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from hvcost import program
from hvcost.analysis import measurements, rows
from hvcost.analysis.cells import cells
from hvcost.analysis.samples import samples
from hvcost.errors import ParseError
from hvcost.figures import sheets
from hvcost.model.description import Environment, environment_from

log = logging.getLogger(__name__)


def analyse_tables(
    environment: object, boots: int, seed: int, tables: Sequence[Path], host: Path, output: Path
) -> None:
    """Analyse the files of the systems' tables."""
    whole = measurements.concatenate(tables)
    analyse(environment_from(environment), boots, seed, whole, host, output)


def analyse(
    environment: Environment, boots: int, seed: int, table: measurements.Table, host: Path, folder: Path
) -> None:
    """Write table, statistics and figures of an environment into its folder.

    ParseError if the table has rows of another environment.
    """
    others = sorted({row.environment for row in table} - {environment.id})
    if others:
        raise ParseError(f"the measurements are of {', '.join(others)}, not only {environment.id}")
    whole, statistics = folder / "measurements.csv", folder / "statistics.csv"
    measurements.write_csv(table, whole)
    log.info("%s: %d rows", whole, len(table))
    points = measurements.repetitions(table)
    every = samples(points, environment.hypervisors, boots)
    rows.write(rows.CellStatistics, cells(every, {environment.id: environment.link}, seed), statistics)
    # Figures show what the file says: it has fewer digits.
    said = rows.read(rows.CellStatistics, statistics)
    sheets.plot_environment(environment, points, said, host, folder / "figures")


if __name__ == "__main__":
    program.main(
        analyse_tables,
        __doc__,
        program.json_argument(
            "--environment",
            help="what the configuration says about the environment: environment (its id), systems, "
            "link, host, client; optionally description, guest, workloads, sweeps",
        ),
        program.argument("--boots", type=int, help="planned sessions of each system"),
        program.argument("--seed", type=int, help="seed of the resampling"),
        program.argument("--host", type=Path, metavar="FILE", help="host.json"),
        program.argument("tables", type=Path, nargs="+", metavar="CSV", help="table of one system"),
        output="FOLDER",
    )
