"""Compute the statistics of one environment's systems, each by itself and beside bare metal.

    python scripts/compute_statistics.py --environment '{"environment": "env1", …}' --boots 1 --seed 2010 \\
        --measurements results/env1/measurements.csv --output results/env1/statistics.csv

Output: one row per system and workload; the columns are explained in docs/statistics.md.
"""

from __future__ import annotations

from pathlib import Path

from hvcost import program
from hvcost.analysis import measurements as tables
from hvcost.analysis import rows
from hvcost.analysis.cells import cells
from hvcost.analysis.samples import samples
from hvcost.model.description import Environment, environment_from


def compute_of_table(environment: object, boots: int, seed: int, measurements: Path, output: Path) -> None:
    """Write the statistics of a file of measurements."""
    compute(environment_from(environment), boots, seed, tables.read_csv(measurements), output)


def compute(environment: Environment, boots: int, seed: int, table: tables.Table, output: Path) -> None:
    """Write the statistics of an environment's table."""
    every = samples(table, environment.hypervisors, boots)
    rows.write(rows.CellStatistics, cells(every, {environment.id: environment.link}, seed), output)


if __name__ == "__main__":
    program.main(
        compute_of_table,
        __doc__,
        program.json_argument("--environment", help="as plot_environment.py has it"),
        program.argument("--boots", type=int, help="planned sessions of each system"),
        program.argument("--seed", type=int, help="seed of the resampling"),
        program.argument("--measurements", type=Path, metavar="CSV"),
        output="CSV",
    )
