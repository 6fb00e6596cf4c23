"""Compare every pair of systems, and put the claims of the configuration to the test.

    python scripts/compare_systems.py --experiment results/experiment.json \\
        --comparisons results/comparisons.csv --claims results/claims.csv \\
        results/env1/measurements.csv results/env2/measurements.csv

Outputs: one row per pair of systems in an environment, or of a system and itself in another environment, and
workload; one row per comparison of each claim. The columns are explained in docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hvcost import program
from hvcost.analysis import measurements as tables
from hvcost.analysis import rows
from hvcost.analysis.claims import verdicts
from hvcost.analysis.comparisons import Question, comparisons
from hvcost.analysis.samples import samples
from hvcost.model import description


def compare_tables(experiment: Path, measurements: Sequence[Path], comparisons: Path, claims: Path) -> None:
    """Write the comparisons and verdicts of all environments' tables."""
    compare(description.load(experiment), tables.concatenate(measurements), comparisons, claims)


def compare(
    experiment: description.Description, table: tables.Table, pairs_csv: Path, claims_csv: Path
) -> None:
    """Write the comparisons and verdicts of a table of all environments."""
    every = samples(table, experiment.systems, experiment.boots)
    question = Question(
        experiment.links,
        experiment.systems,
        experiment.equivalence_margin,
        experiment.seed,
        experiment.sweeps,
    )
    pairs = comparisons(every, question)
    judged = verdicts(experiment.claims, every, experiment.links, experiment.seed)
    rows.write(rows.PairComparison, pairs, pairs_csv)
    rows.write(rows.ClaimVerdict, judged, claims_csv)


if __name__ == "__main__":
    program.main(
        compare_tables,
        __doc__,
        program.argument("--experiment", type=Path, metavar="JSON", help="its description"),
        program.argument("--comparisons", type=Path, metavar="CSV", help="table of the pairs to write"),
        program.argument("--claims", type=Path, metavar="CSV", help="table of the claims to write"),
        program.argument("measurements", type=Path, nargs="+", metavar="CSV"),
    )
