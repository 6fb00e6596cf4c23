"""Make all tables, figures and the report again from raw files, on any computer: no hypervisor, no root.

    python scripts/reanalyse.py results

The folder holds what was measured: experiment.json, and for each environment host.json and raw/. The rest is
written beside it, the same bytes as the workflow writes. Systems of which there are no raw files, because
they failed or are still to be measured, are left out; the report says so. Raw files that experiment.json
does not plan, left by an older configuration, are left out as well, and named.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

import collect_measurements
import compare_systems
import compute_statistics
import judge_claims
import make_report
import parse_repetitions
import plot_comparison
import plot_environment
from hvcost import program
from hvcost.errors import ConfigError
from hvcost.model import description, record
from hvcost.model.description import Environment
from hvcost.wording import counted

log = logging.getLogger(__name__)

EXAMPLES = 3


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
    raw = {each.id: _raw_files(results, experiment, each) for each in experiment.environments}
    measured = [name for name in specs if raw[name]]
    if not measured:
        raise ConfigError(f"{results}: there are no raw files in {', '.join(specs)}; was anything measured?")
    _name_others(results, {file for name in measured for files in raw[name].values() for file in files})
    for name in measured:
        _reanalyse_environment(results / name, specs[name], raw[name], experiment)
    tables = [results / name / "measurements.csv" for name in measured]
    statistics = [results / name / "statistics.csv" for name in measured]
    compare_systems.compare(experiment, tables, results / "comparisons.csv")
    judge_claims.judge(experiment, tables, results / "claims.csv")
    plot_comparison.plot(
        json.dumps([specs[name] for name in measured]), tables, statistics, results / "figures"
    )
    make_report.make(results / "experiment.json", results, results / "report.html")
    log.info("%s: done", results / "report.html")


def _raw_files(
    results: Path, experiment: description.Description, environment: Environment
) -> dict[str, list[Path]]:
    """Planned raw files that are there, of the systems that have any."""
    found = {
        system: [
            results / file
            for boot in range(1, experiment.boots + 1)
            for file in experiment.raw_files(environment, system, boot)
            if (results / file).is_file()
        ]
        for system in environment.hypervisors
    }
    return {system: files for system, files in found.items() if files}


def _name_others(results: Path, planned: set[Path]) -> None:
    folders = results.glob("*/raw/*/boot*")
    others = sorted({file for folder in folders for file in record.files_in(folder)} - planned)
    if others:
        log.warning(
            "left out %s that experiment.json does not plan, such as %s",
            counted(len(others), "raw file"),
            ", ".join(str(path.relative_to(results)) for path in others[:EXAMPLES]),
        )


def _reanalyse_environment(
    folder: Path, spec: object, raw: Mapping[str, list[Path]], experiment: description.Description
) -> None:
    tables = []
    for system, files in raw.items():
        tables.append(folder / f"measurements/{system}.csv")
        parse_repetitions.parse(files, tables[-1])
    measurements = folder / "measurements.csv"
    collect_measurements.collect(tables, measurements)
    text = json.dumps(spec)
    compute_statistics.compute(
        text, experiment.boots, experiment.seed, measurements, folder / "statistics.csv"
    )
    plot_environment.plot(text, measurements, folder / "host.json", folder / "figures")


if __name__ == "__main__":
    sys.exit(main())
