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
from functools import partial
from pathlib import Path

import analyse_environment
import make_report
import parse_repetitions
from hvcost import program
from hvcost.analysis import measurements
from hvcost.model import description, record
from hvcost.model.description import Environment
from hvcost.parallel import results_of
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
    raw = experiment.found_in(results)
    measured = [each for each in experiment.environments if raw[each.id]]
    name_others(results, {file for systems in raw.values() for files in systems.values() for file in files})
    tables = [_reanalyse_environment(results / each.id, each, raw[each.id], experiment) for each in measured]
    table = measurements.merged(tables, str(results))
    make_report.compare(experiment, measured, table, results)


def name_others(results: Path, planned: set[Path]) -> None:
    """Say which raw files are left out, since they were not planned."""
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
        partial(parse_repetitions.parse, files, folder / f"measurements/{system}.csv")
        for system, files in raw.items()
    ]
    table = measurements.merged(results_of(parts, f"reading {folder}"), str(folder))
    host = folder / "host.json"
    analyse_environment.analyse(environment, experiment.boots, experiment.seed, table, host, folder)
    return measurements.repetitions(table)


if __name__ == "__main__":
    program.main(reanalyse, __doc__, program.argument("results", type=Path, metavar="FOLDER"))
