"""Make all tables, figures and the report again from raw files, on any computer: no hypervisor, no root.

    python scripts/reanalyse.py results

The folder holds what was measured: experiment.json, and for each environment host.json and raw/. The rest is
written beside it, the same bytes as the workflow writes. Systems of which there are no raw files, because
they failed or are still to be measured, are left out; the report says so. Raw files that experiment.json
does not plan, left by an older configuration, are left out as well, and named.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import compare_systems
import compute_statistics
import make_report
import parse_repetitions
import plot_comparison
import plot_environment
from hvcost import program
from hvcost.analysis import measurements
from hvcost.errors import ConfigError
from hvcost.model import description, record
from hvcost.model.description import Environment
from hvcost.wording import counted

log = logging.getLogger(__name__)

EXAMPLES = 3


def reanalyse(results: Path) -> None:
    """Do what the workflow's rules do, in their order."""
    _make_tables_and_figures(results)
    make_report.make(results / "experiment.json", results, results / "report.html")
    log.info("%s: done", results / "report.html")


def _make_tables_and_figures(results: Path) -> None:
    experiment = description.load(results / "experiment.json")
    raw = {each.id: _raw_files(results, experiment, each) for each in experiment.environments}
    measured = [each for each in experiment.environments if raw[each.id]]
    if not measured:
        raise ConfigError(f"{results}: there are no raw files in {', '.join(raw)}; was anything measured?")
    _name_others(results, {file for systems in raw.values() for files in systems.values() for file in files})
    tables = [_reanalyse_environment(results / each.id, each, raw[each.id], experiment) for each in measured]
    table = measurements.merged(tables, str(results))
    compare_systems.compare(experiment, table, results / "comparisons.csv", results / "claims.csv")
    statistics = [results / each.id / "statistics.csv" for each in measured]
    plot_comparison.plot(measured, table, statistics, results / "figures")


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
    folder: Path,
    environment: Environment,
    raw: Mapping[str, Sequence[Path]],
    experiment: description.Description,
) -> measurements.Table:
    parts = [
        parse_repetitions.parse(files, folder / f"measurements/{system}.csv") for system, files in raw.items()
    ]
    table = measurements.merged(parts, str(folder))
    measurements.write_csv(table, folder / "measurements.csv")
    seed, output = experiment.seed, folder / "statistics.csv"
    compute_statistics.compute(environment, experiment.boots, seed, table, output)
    plot_environment.plot(environment, table, output, folder / "host.json", folder / "figures")
    return table


if __name__ == "__main__":
    program.main(reanalyse, __doc__, program.argument("results", type=Path, metavar="FOLDER"))
