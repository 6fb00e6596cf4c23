"""Draw what all environments are compared by: means, ratios to bare metal, medians side by side.

    python scripts/plot_comparison.py --environments '[{"environment": "env1", …}, …]' \\
        --statistics results/env1/statistics.csv results/env2/statistics.csv \\
        --output results/figures results/env1/measurements.csv results/env2/measurements.csv

Outputs, each as .svg and .png in the folder, for every workload: means-WORKLOAD, ratios-WORKLOAD and,
if there are several environments, environments-WORKLOAD. What is swept has
sweep-ENVIRONMENT-WORKLOAD-OPTION or sweep-ENVIRONMENT-KEY-WORKLOAD instead. Those of metrics that are
not the primary one have -METRIC at the end. Of what plot_environment.py shows as percentiles there is
ratios-WORKLOAD only.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from hvcost import figures, program
from hvcost.analysis import measurements as tables
from hvcost.analysis import rows
from hvcost.errors import ConfigError, ParseError
from hvcost.figures import environments as side_by_side
from hvcost.figures import means, ratios, style, sweep
from hvcost.model.description import Environment, environment_from

log = logging.getLogger(__name__)


def plot_tables(
    environments: object, measurements: Sequence[Path], statistics: Sequence[Path], output: Path
) -> None:
    """Draw the figures of the environments' files of measurements."""
    if not isinstance(environments, list) or not environments:
        raise ConfigError("--environments: expected a list of environments")
    every = [environment_from(each) for each in environments]
    plot(every, tables.concatenate(measurements), statistics, output)


def plot(
    environments: Sequence[Environment], table: tables.Table, statistics: Sequence[Path], output: Path
) -> None:
    """Draw all figures, then put them in the folder in place of older ones."""
    points = tables.repetitions(table)
    cells = [cell for path in statistics for cell in rows.read(rows.CellStatistics, path)]
    known = {environment.id for environment in environments}
    for name, rows_of in (("measurements", points), ("statistics", cells)):
        for environment in sorted({row.environment for row in rows_of} - known):
            raise ParseError(f"{name} of {environment}, which is not in --environments")
    # What is swept has one figure for all of its points.
    others = [environment for environment in environments if not environment.is_swept]
    subjects = figures.subjects(
        others, [point for point in points if point.environment in {each.id for each in others}]
    )
    curves = sweep.all_curves(environments, cells)
    if not subjects and not curves:
        log.warning("no repetitions, so nothing is drawn")
    files: dict[str, bytes] = {}
    with style.house_style():
        for subject in subjects:
            files |= style.rendered(ratios.draw(others, cells, subject))
            if subject.is_percentile:
                continue
            files |= style.rendered(means.draw(others, points, cells, subject))
            if len(others) > 1:
                files |= style.rendered(side_by_side.draw(others, cells, subject))
        for curve in curves:
            files |= style.rendered(sweep.draw(environments, cells, curve))
    figures.replace_files(output, ("means-*", "ratios-*", "environments-*", "sweep-*"), files)
    log.info("%s: %d files", output, len(files))


if __name__ == "__main__":
    program.main(
        plot_tables,
        __doc__,
        program.json_argument("--environments", help="a list of what plot_environment.py takes"),
        program.argument(
            "--statistics", type=Path, nargs="+", metavar="CSV", help="statistics.csv of the environments"
        ),
        program.argument("measurements", type=Path, nargs="+", metavar="CSV"),
        output="FOLDER",
    )
