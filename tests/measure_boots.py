"""How much of what varies is between boots, and how many boots one needs here, from an experiment's results.

    snakemake all --configfile config/aa.yaml
    PYTHONPATH=scripts python tests/measure_boots.py results/aa aa

Of each system's primary metrics: the standard deviation of runs within a boot, that of the means of boots,
and the share of the variance that is between boots (one-way random effects: means of boots vary by the
variance of boots and by that of the runs in them, divided by their number). Then the half width of a ratio's
interval for some numbers of boots, by Student's t, as if values were normal. And what the comparisons say of
systems that are the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hvcost.analysis import rows
from hvcost.analysis.intervals import CONFIDENCE
from hvcost.analysis.rows import CellStatistics, PairComparison
from scipy import stats

BOOTS = (6, 10, 12, 20, 30)


def share_of_boots(cell: CellStatistics) -> float | None:
    """Share of the variance that is between boots, 0 to 1; None if there is nothing to tell it from."""
    if cell.within_sd is None or cell.between_sd is None or not cell.values:
        return None
    runs = cell.ok / cell.values
    between = max(0.0, cell.between_sd**2 - cell.within_sd**2 / runs)
    every = between + cell.within_sd**2
    return between / every if every else None


def half_width(cell: CellStatistics, boots: int) -> float | None:
    """Half of the interval of the ratio of two such systems of so many boots, of 1; None without boots."""
    if cell.between_sd is None or not cell.mean:
        return None
    deviation = cell.between_sd / cell.mean
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, 2 * (boots - 1)) * deviation * (2 / boots) ** 0.5)


def main() -> None:
    """Print a line for each system and workload, and one for each pair that is the same."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="folder of the results")
    parser.add_argument("environment")
    arguments = parser.parse_args()
    print("system, workload: runs vary by, boots by, share of boots; half width with so many boots")
    for cell in rows.read(CellStatistics, arguments.results / arguments.environment / "statistics.csv"):
        share = share_of_boots(cell)
        if cell.role != "primary" or share is None or not cell.mean:
            continue
        assert cell.within_sd is not None and cell.between_sd is not None
        widths = ", ".join(f"{boots}: {half_width(cell, boots):.1%}" for boots in BOOTS)
        print(
            f"{cell.system}, {cell.workload}: {cell.within_sd / cell.mean:.1%}, "
            f"{cell.between_sd / cell.mean:.1%}, {share:.0%}; {widths}"
        )
    for row in rows.read(PairComparison, arguments.results / "comparisons.csv"):
        if row.same and row.environment_a == row.environment_b and row.effect is not None:
            interval = "" if row.effect_low is None else f" [{row.effect_low:.3f}, {row.effect_high:.3f}]"
            print(
                f"{row.system_a} to {row.system_b}, {row.metric}: {row.effect:.3f}{interval}: {row.verdict}"
            )


if __name__ == "__main__":
    main()
