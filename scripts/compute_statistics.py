"""Compute the statistics of one environment's systems, each by itself and beside bare metal.

    python scripts/compute_statistics.py --environment '{"environment": "env1", …}' --boots 1 --seed 2010 \\
        --measurements results/env1/measurements.csv --output results/env1/statistics.csv

Output: one row per system and workload; the columns are explained in docs/statistics.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hvcost import figures, program
from hvcost.analysis import measurements as tables
from hvcost.analysis import rows
from hvcost.analysis.cells import cells
from hvcost.analysis.samples import samples
from hvcost.model.description import environment_from


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environment", required=True, metavar="JSON", help="as plot_environment.py has it")
    parser.add_argument("--boots", type=int, required=True, help="planned sessions of each system")
    parser.add_argument("--seed", type=int, required=True, help="seed of the resampling")
    parser.add_argument("--measurements", type=Path, required=True, metavar="CSV")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="table to write")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()

    def work() -> None:
        compute(
            arguments.environment,
            arguments.boots,
            arguments.seed,
            arguments.measurements,
            arguments.output,
        )

    return program.run(work, arguments.log)


def compute(environment_json: str, boots: int, seed: int, measurements: Path, output: Path) -> None:
    """Write the statistics of an environment's table."""
    environment = environment_from(figures.parsed_json(environment_json, "--environment"))
    every = samples(tables.read_csv(measurements), environment.hypervisors, boots)
    rows.write(rows.CellStatistics, cells(every, {environment.id: environment.link}, seed), output)


if __name__ == "__main__":
    sys.exit(main())
