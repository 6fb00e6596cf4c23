"""Compare every pair of systems in each environment, and each system with itself in other environments.

    python scripts/compare_systems.py --experiment results/experiment.json \\
        --output results/comparisons.csv results/env1/measurements.csv results/env2/measurements.csv

Output: one row per pair and workload; the columns are explained in docs/statistics.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hvcost import program
from hvcost.analysis import measurements as tables
from hvcost.analysis import rows
from hvcost.analysis.comparisons import Question, comparisons
from hvcost.analysis.samples import samples
from hvcost.model import description


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiment", type=Path, required=True, metavar="JSON", help="its description")
    parser.add_argument("--output", type=Path, required=True, metavar="CSV", help="table to write")
    parser.add_argument("measurements", type=Path, nargs="+", metavar="CSV")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()

    def work() -> None:
        experiment = description.load(arguments.experiment)
        compare(experiment, arguments.measurements, arguments.output)

    return program.run(work, arguments.log)


def compare(experiment: description.Description, measurements: list[Path], output: Path) -> None:
    """Write the comparisons of all environments' tables."""
    every = samples(tables.concatenate(measurements), experiment.systems, experiment.boots)
    question = Question(experiment.links, experiment.systems, experiment.equivalence_margin, experiment.seed)
    rows.write(rows.PairComparison, comparisons(every, question), output)


if __name__ == "__main__":
    sys.exit(main())
