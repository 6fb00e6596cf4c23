"""Does a computer measure the same at the end as at the beginning? Bare metal first, in the middle and last.

    PYTHONPATH=scripts:tests python tests/measure_drift.py config/quick.yaml --boots 6

Takes the first environment of a configuration, and measures the systems by the workflow in this order: bare
metal, half of the others, bare metal, the rest, bare metal. Prints how the later ones compare with the first,
by the workflow's own tables. Nothing else may run on this computer meanwhile.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hvcost.analysis import rows
from hvcost.analysis.rows import CellStatistics, PairComparison
from hvcost.model.description import BASELINE
from workspace import Workspace

FIRST, MIDDLE, LAST = TIMES = ("bare-metal-first", "bare-metal-in-the-middle", "bare-metal-last")
CONFIG = "drift.yaml"


def configuration(path: Path, boots: int) -> dict[str, Any]:
    """The configuration with bare metal under three names, and one environment alone."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    name, environment = next(iter(content["environments"].items()))
    others = {each: about for each, about in content["systems"].items() if about["hypervisor"] != BASELINE}
    content["environments"] = {name: {key: environment[key] for key in environment if key != "systems"}}
    content["systems"] = {each: {"hypervisor": BASELINE} for each in TIMES} | others
    content |= {"results": "results", "boots": boots}
    content.pop("claims", None)
    return content


def measure(workspace: Workspace, content: dict[str, Any]) -> None:
    """Measure the systems one after the other, each to its table, then everything that is made of them."""
    (environment,) = content["environments"]
    others = [name for name in content["systems"] if name not in TIMES]
    half = len(others) // 2
    for name in (FIRST, *others[:half], MIDDLE, *others[half:], LAST):
        workspace.run(f"results/{environment}/measurements/{name}.csv", "--configfile", CONFIG)
        print(f"{name}: measured", flush=True)
    workspace.run("all", "--configfile", CONFIG)


def compared(results: Path, environment: str) -> None:
    """Print a line for each metric and later time, and the drift within each time."""
    print(f"{'metric':24}{'beside the first':28}{'effect':>8}  {'interval':20}verdict")
    for row in rows.read(PairComparison, results / "comparisons.csv"):
        if (
            row.system_a not in TIMES
            or row.system_b not in TIMES
            or FIRST not in (row.system_a, row.system_b)
        ):
            continue
        later = row.system_b if row.system_a == FIRST else row.system_a
        numbers = (row.effect, row.effect_low, row.effect_high)
        effect, low, high = ("" if each is None else f"{each:.4f}" for each in numbers)
        flipped = " (of the first to it)" if row.system_a == FIRST else ""
        print(f"{row.metric:24}{later:28}{effect:>8}  [{low}, {high}]{flipped}  {row.verdict}")
    for cell in rows.read(CellStatistics, results / environment / "statistics.csv"):
        if cell.system in TIMES and cell.role == "primary" and cell.drift_tau is not None:
            tau = f"Kendall's tau of value and order {cell.drift_tau:+.2f}, p {cell.drift_p:.2f}"
            print(f"{cell.system}, {cell.workload}: {tau}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="configuration whose first environment is measured")
    parser.add_argument("--boots", type=int, default=6, help="sessions of each system at its time")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="new folder for a copy of the results")
    arguments = parser.parse_args()
    content = configuration(arguments.config, arguments.boots)
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(Path(scratch))
        workspace.link_project()
        (workspace.folder / CONFIG).write_text(yaml.safe_dump(content, sort_keys=False))
        measure(workspace, content)
        (environment,) = content["environments"]
        compared(workspace.folder / "results", environment)
        if arguments.keep:
            shutil.copytree(
                workspace.folder / "results",
                arguments.keep,
                ignore=shutil.ignore_patterns("machines", "*image"),
            )


if __name__ == "__main__":
    main()
