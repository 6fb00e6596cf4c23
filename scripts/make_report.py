"""Compare what all environments have measured, and make the page that answers the question.

    python scripts/make_report.py --experiment results/experiment.json --results results \\
        --output results/report.html

Outputs in the folder of results: comparisons.csv, one row per pair of systems in an environment, or of a
system and itself in another environment, and workload; claims.csv, one row per comparison of each claim (the
columns are explained in docs/statistics.md); figures/, as `hvcost.figures.sheets` says; and the page, one
HTML file with everything in it. Its links to tables are relative to the folder of results, so that is where
it belongs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from hvcost import files, program
from hvcost.analysis import measurements, rows
from hvcost.analysis.claims import verdicts
from hvcost.analysis.comparisons import Question, comparisons
from hvcost.analysis.samples import samples
from hvcost.errors import ParseError
from hvcost.figures import sheets
from hvcost.model import description
from hvcost.model.description import Description, Environment
from hvcost.report import inputs, page

log = logging.getLogger(__name__)


def report_all(experiment: Path, results: Path, output: Path) -> None:
    """Compare all environments of an experiment, and make the page."""
    planned = description.load(experiment)
    tables = [results / each.id / "measurements.csv" for each in planned.environments]
    compare(planned, planned.environments, measurements.concatenate(tables, measurements.ANALYSED), results)
    make(experiment, results, output)


def compare(
    experiment: Description, measured: Sequence[Environment], table: measurements.Table, results: Path
) -> None:
    """Write comparisons, verdicts and figures of the environments that were measured.

    ParseError if there is anything of another environment.
    """
    points = measurements.repetitions(table)
    cells = [
        cell
        for each in measured
        for cell in rows.read(rows.CellStatistics, results / each.id / "statistics.csv")
    ]
    known = {environment.id for environment in measured}
    for name, rows_of in (("measurements", points), ("statistics", cells)):
        for environment in sorted({row.environment for row in rows_of} - known):
            raise ParseError(f"{name} of {environment}, which is no environment of the experiment")
    every = samples(points, experiment.systems, experiment.boots)
    question = Question(
        experiment.links,
        experiment.systems,
        experiment.equivalence_margin,
        experiment.seed,
        experiment.sweeps,
    )
    pairs = comparisons(every, question)
    judged = verdicts(experiment.claims, every, experiment.links, experiment.seed)
    rows.write(rows.PairComparison, pairs, results / "comparisons.csv")
    rows.write(rows.ClaimVerdict, judged, results / "claims.csv")
    told = rows.read(rows.ClaimVerdict, results / "claims.csv"), experiment.study
    sheets.plot_comparison(measured, points, cells, told, results / "figures")


def make(experiment: Path, results: Path, output: Path) -> None:
    """Make the page of a folder of results."""
    html = page.render(inputs.read(experiment, results))
    files.write_text(output, html)
    log.info("%s: %d kB", output, output.stat().st_size // 1000)


if __name__ == "__main__":
    program.main(
        report_all,
        __doc__,
        program.argument("--experiment", type=Path, metavar="JSON", help="what was planned"),
        program.argument("--results", type=Path, metavar="FOLDER", help="what came of it"),
        output="HTML",
    )
