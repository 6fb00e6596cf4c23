"""Simulate experiments whose truth is known, and write what the statistics made of them.

python scripts/simulate_statistics.py --output docs/simulations.md
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path

from hvcost import program
from hvcost.statistics import simulation

PAGE = """\
# What the statistics do where the truth is known

Made by `python scripts/simulate_statistics.py --output docs/simulations.md`: {trials} simulated experiments
per line, seed {seed}, ten values per system, by the functions that make the tables. A share of 5 % is known
to ± {error} here.

## Error rates

- *median*: the interval of the median holds the true one; promised: 95 % or more.
- *ratio*: the interval of the ratio of two systems holds the true one; promised: 95 % or more.
- *false alarm*: two equal systems are found different, in one comparison alone; promised: 5 % or less.
- *any false alarm*: any two of five equal systems, after Holm's correction; promised: 5 % or less.
- *false equivalence*: two systems that differ by just the margin are found equivalent; promised: 5 % or less.

The lines that begin with BROKEN break what the intervals rely on. No statistics of ten values can mend that:
the report points out autocorrelation, and says that one boot is one boot.

| values | median | ratio | false alarm | any false alarm | false equivalence |
| --- | --- | --- | --- | --- | --- |
{rates}

## Power

Ten values against ten, normal, one comparison by itself: how often a true difference of 5 % is found, and how
often two equal systems are found equivalent with a margin of 5 %.

| coefficient of variation | difference found | equivalence found |
| --- | --- | --- |
{powers}
"""


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000, help="experiments per line of the tables")
    parser.add_argument("--seed", type=int, default=2010)
    parser.add_argument("--output", type=Path, required=True, metavar="MD")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()
    return program.run(lambda: simulate(arguments.trials, arguments.seed, arguments.output), arguments.log)


def simulate(trials: int, seed: int, output: Path) -> None:
    """Write the page of results."""
    rates = [simulation.error_rates(scenario, trials, seed) for scenario in simulation.SCENARIOS]
    powers = [simulation.power(spread, trials, seed) for spread in simulation.SPREADS]
    text = PAGE.format(
        trials=trials,
        seed=seed,
        # Of a share of 5 %: half of its interval of 95 %.
        error=f"{1.96 * math.sqrt(0.05 * 0.95 / trials):.1%}",
        rates=_table([(row.scenario, *map(_share, dataclasses.astuple(row)[1:])) for row in rates]),
        powers=_table([tuple(map(_share, dataclasses.astuple(row))) for row in powers]),
    )
    output.write_text(text, encoding="utf-8")


def _table(rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _share(share: float) -> str:
    return f"{share:.1%}"


if __name__ == "__main__":
    sys.exit(main())
