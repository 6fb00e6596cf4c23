"""Put the claims of the configuration to the test.

    python scripts/judge_claims.py --experiment results/experiment.json \\
        --output results/claims.csv results/env1/measurements.csv results/env2/measurements.csv

Output: one row per comparison of each claim; the columns are explained in docs/statistics.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hvcost import program
from hvcost.analysis import measurements as tables
from hvcost.analysis import rows
from hvcost.analysis.claims import verdicts
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
        judge(experiment, arguments.measurements, arguments.output)

    return program.run(work, arguments.log)


def judge(experiment: description.Description, measurements: list[Path], output: Path) -> None:
    """Write the verdicts on all claims."""
    every = samples(tables.concatenate(measurements), experiment.systems, experiment.boots)
    found = verdicts(experiment.claims, every, experiment.links, experiment.seed)
    rows.write(rows.ClaimVerdict, found, output)


if __name__ == "__main__":
    sys.exit(main())
