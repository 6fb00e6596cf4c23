"""Draw what all environments are compared by: means, ratios to bare metal, medians side by side.

    python scripts/plot_comparison.py --environments '[{"environment": "env1", …}, …]' \\
        --statistics results/env1/statistics.csv results/env2/statistics.csv \\
        --output results/figures results/env1/measurements.csv results/env2/measurements.csv

Outputs, each as .svg and .png in the folder, for every workload: means-WORKLOAD, ratios-WORKLOAD and,
if there are several environments, environments-WORKLOAD; those of metrics that are not the primary one
have -METRIC at the end.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from hvcost import figures, program
from hvcost.analysis import measurements as tables
from hvcost.analysis import rows
from hvcost.errors import ConfigError, ParseError
from hvcost.figures import environments as side_by_side
from hvcost.figures import means, ratios, style
from hvcost.model.description import environment_from

log = logging.getLogger(__name__)


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--environments",
        required=True,
        metavar="JSON",
        help="list of what plot_environment.py gets as --environment",
    )
    parser.add_argument(
        "--statistics",
        type=Path,
        nargs="+",
        required=True,
        metavar="CSV",
        help="statistics.csv of the environments",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("measurements", type=Path, nargs="+", metavar="CSV")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()

    def work() -> None:
        plot(arguments.environments, arguments.measurements, arguments.statistics, arguments.output)

    return program.run(work, arguments.log)


def plot(environments_json: str, measurements: list[Path], statistics: list[Path], output: Path) -> None:
    """Draw all figures, then put them in the folder in place of older ones."""
    data = figures.parsed_json(environments_json, "--environments")
    if not isinstance(data, list) or not data:
        raise ConfigError("--environments: expected a list of environments")
    environments = [environment_from(item) for item in data]
    points = tables.repetitions(tables.concatenate(measurements))
    cells = [cell for path in statistics for cell in rows.read(rows.CellStatistics, path)]
    known = {environment.id for environment in environments}
    for name, table in (("measurements", points), ("statistics", cells)):
        for environment in sorted({row.environment for row in table} - known):
            raise ParseError(f"{name} of {environment}, which is not in --environments")
    subjects = figures.subjects(environments, points)
    if not subjects:
        log.warning("no repetitions, so nothing is drawn")
    files: dict[str, bytes] = {}
    with style.house_style():
        for subject in subjects:
            files |= style.rendered(means.draw(environments, points, cells, subject))
            files |= style.rendered(ratios.draw(environments, cells, subject))
            if len(environments) > 1:
                files |= style.rendered(side_by_side.draw(environments, cells, subject))
    figures.replace_files(output, ("means-*", "ratios-*", "environments-*"), files)
    log.info("%s: %d files", output, len(files))


if __name__ == "__main__":
    sys.exit(main())
