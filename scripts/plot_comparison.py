"""Draw the means per system across environments.

    python scripts/plot_comparison.py --environments '[{"environment": "env1", …}, …]' \\
        --output results/figures results/env1/measurements.csv results/env2/measurements.csv

Outputs, each as .svg and .png in the folder: means-WORKLOAD for every workload.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from hvcost import figures, program, tables
from hvcost.errors import ConfigError, ParseError
from hvcost.figures import means, style

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
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("measurements", type=Path, nargs="+", metavar="CSV")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()

    def work() -> None:
        plot(arguments.environments, arguments.measurements, arguments.output)

    return program.run(work, arguments.log)


def plot(environments_json: str, measurements: list[Path], output: Path) -> None:
    """Draw all figures, then put them in the folder in place of older ones."""
    data = figures.parsed_json(environments_json, "--environments")
    if not isinstance(data, list) or not data:
        raise ConfigError("--environments: expected a list of environments")
    environments = [figures.environment(item) for item in data]
    points = tables.repetitions(tables.concatenate(measurements))
    known = {environment.id for environment in environments}
    for environment in sorted({point.environment for point in points} - known):
        raise ParseError(f"measurements of {environment}, which is not in --environments")
    workloads = figures.workloads_shown(environments, points)
    if not workloads:
        log.warning("no repetitions, so nothing is drawn")
    files: dict[str, bytes] = {}
    with style.house_style():
        for workload in workloads:
            files |= style.rendered(means.draw(environments, points, workload))
    figures.replace_files(output, ("means-*",), files)
    log.info("%s: %d files", output, len(files))


if __name__ == "__main__":
    sys.exit(main())
