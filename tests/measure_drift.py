"""Does a computer measure the same at the end as at the beginning? Bare metal first, in the middle and last.

    PYTHONPATH=scripts:tests python tests/measure_drift.py config/quick.yaml --boots 6

Takes the first environment of a configuration, and measures bare metal in so many sessions, half of the other
systems in one each, bare metal, the rest, and bare metal, by the workflow, each part with results of its own.
Prints how the later ones of bare metal compare with the first, by the method of compare_results.py, and
whether values follow the order within each. Nothing else may run on this computer meanwhile.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hvcost.analysis import changes, measured, rows
from hvcost.analysis.rows import CellStatistics
from hvcost.model.description import BASELINE
from workspace import Workspace

FIRST, MIDDLE, LAST = TIMES = ("first", "middle", "last")


def parts(path: Path, boots: int) -> dict[str, dict[str, Any]]:
    """A configuration for each part, by its name: bare metal or some others in one environment."""
    whole: dict[str, Any] = yaml.safe_load(path.read_text())
    name, environment = next(iter(whole["environments"].items()))
    whole["environments"] = {name: {key: environment[key] for key in environment if key != "systems"}}
    whole.pop("claims", None)
    systems = whole["systems"].items()
    bare_metal = {each: about for each, about in systems if about["hypervisor"] == BASELINE}
    others = [(each, about) for each, about in systems if each not in bare_metal]
    half = len(others) // 2
    order = (
        (FIRST, bare_metal, boots),
        ("then", dict(others[:half]), 1),
        (MIDDLE, bare_metal, boots),
        ("after-that", dict(others[half:]), 1),
        (LAST, bare_metal, boots),
    )
    return {
        part: whole | {"results": f"results/{part}", "boots": times, "systems": measured_then}
        for part, measured_then, times in order
        if measured_then
    }


def compared(results: Path) -> None:
    """Print a line for each metric and later time, and the drift within each time."""
    print(f"{'metric':24}{'beside the first':18}{'effect':>8}  {'interval':24}verdict")
    first = measured.read(results / FIRST)
    for later in (MIDDLE, LAST):
        for row in changes.changes(first, measured.read(results / later)):
            effect, low, high = (
                "" if each is None else f"{each:.4f}"
                for each in (row.effect, row.effect_low, row.effect_high)
            )
            print(f"{row.metric:24}{later:18}{effect:>8}  {f'[{low}, {high}]':24}{row.verdict}")
    for part in TIMES:
        (table,) = results.joinpath(part).glob("*/statistics.csv")
        for cell in rows.read(CellStatistics, table):
            if cell.role == "primary" and cell.drift_tau is not None:
                tau = f"Kendall's tau of value and order {cell.drift_tau:+.2f}, p {cell.drift_p:.2f}"
                print(f"{part}, {cell.workload}: {tau}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="configuration whose first environment is measured")
    parser.add_argument("--boots", type=int, default=6, help="sessions of bare metal at its times")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="new folder for a copy of the results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch))
        workspace.link_project()
        for part, content in parts(arguments.config, arguments.boots).items():
            file = workspace.folder / f"{part}.yaml"
            file.write_text(yaml.safe_dump(content, sort_keys=False))
            workspace.run("all", "--configfile", file.name)
            print(f"{part}: measured", flush=True)
        compared(workspace.folder / "results")
        if arguments.keep:
            shutil.copytree(
                workspace.folder / "results",
                arguments.keep,
                ignore=shutil.ignore_patterns("machines", "*image"),
            )


if __name__ == "__main__":
    main()
