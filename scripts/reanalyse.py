"""Make all tables, figures and the report again from raw files, on any computer: no hypervisor, no root.

    python scripts/reanalyse.py results

The folder holds what was measured: experiment.json, and for each environment host.json and raw/. The rest is
written beside it, the same bytes as the workflow writes. Systems of which there are no raw files, because
they failed or are still to be measured, are left out; the report says so.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

import collect_measurements
import compare_systems
import compute_statistics
import judge_claims
import make_report
import parse_repetitions
import plot_comparison
import plot_environment
from hvcost import description, program
from hvcost.errors import ConfigError

log = logging.getLogger(__name__)


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    return program.run(lambda: reanalyse(arguments.results), None)


def reanalyse(results: Path) -> None:
    """Do what the workflow's rules do, in their order."""
    experiment = description.load(results / "experiment.json")
    specs = {spec["environment"]: spec for spec in experiment.content["environments"]}
    measured = [name for name in specs if any((results / name).glob("raw/*/boot*/*.json"))]
    if not measured:
        raise ConfigError(f"{results}: there are no raw files in {', '.join(specs)}; was anything measured?")
    for name in measured:
        _reanalyse_environment(results / name, specs[name], experiment)
    tables = [results / name / "measurements.csv" for name in measured]
    statistics = [results / name / "statistics.csv" for name in measured]
    compare_systems.compare(experiment, tables, results / "comparisons.csv")
    judge_claims.judge(experiment, tables, results / "claims.csv")
    plot_comparison.plot(
        json.dumps([specs[name] for name in measured]), tables, statistics, results / "figures"
    )
    make_report.make(results / "experiment.json", results, results / "report.html")
    log.info("%s: done", results / "report.html")


def _reanalyse_environment(folder: Path, spec: object, experiment: description.Description) -> None:
    tables = []
    for system in experiment.systems:
        raw = sorted((folder / "raw" / system).glob("boot*/*.json"))
        if raw:
            tables.append(folder / f"measurements/{system}.csv")
            parse_repetitions.parse(raw, tables[-1])
    measurements = folder / "measurements.csv"
    collect_measurements.collect(tables, measurements)
    text = json.dumps(spec)
    compute_statistics.compute(
        text, experiment.boots, experiment.seed, measurements, folder / "statistics.csv"
    )
    plot_environment.plot(text, measurements, folder / "host.json", folder / "figures")


if __name__ == "__main__":
    sys.exit(main())
