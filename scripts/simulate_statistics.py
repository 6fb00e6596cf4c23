"""Simulate experiments whose truth is known, and write what the statistics made of them.

python scripts/simulate_statistics.py --output docs/simulations.md
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterable, Sequence
from functools import partial
from multiprocessing import Pool
from pathlib import Path

from hvcost import files, program
from hvcost.analysis import simulated_coverage, simulated_latencies, simulation
from hvcost.analysis.rows import SIGNIFICANCE

PROCESSES = 2

PAGE = """\
# What the statistics do where the truth is known

Made by `python scripts/simulate_statistics.py --trials {trials} --coverage-trials {coverage_trials}
--output docs/simulations.md`, by the functions that make the tables: {trials} simulated experiments per
line, from random numbers of its own (seed {seed} and the line's name). A share of 5 % is known to
± {error} here.

## Error rates

Two systems with the same mean. *n*: values of both, or of one and the other.

- *median*: the interval of the first one's median holds the true one; promised: 95 % or more.
- *ratio*: the interval of the ratio holds the true one, 1; promised: 95 % or more.
- *different*: they are called different, in one comparison alone; promised: 5 % or less.
- *false equivalence*: if they differ by just the margin, they are called equivalent; promised: 5 % or less.

{rates}

Lines that **fall short** are beyond the promise by more than the ± above, and a smaller shortage is not seen
(*kept*). No statistics of so few values can
mend what is given as the reason: neighbours that follow each other say less than their number suggests, runs
of one boot say nothing of another, and what happens in one run of ten is not seen at all in 0.9ⁿ of the
experiments: the values are then those of a steady system, and look like it. More boots and more runs help,
and nothing else. Where no reason is given, it is the method's own: for few and skewed values it comes near
its promise, and no nearer.

## Coverage

How often the interval holds the truth, in {coverage_trials:,} experiments per line: each kind of comparison,
with *n* values of each of two systems. The second is *the same*, or *steady* (normal, CV 1 %). *Bounded by
the link*: runs are cut off by it, and the steady system is at 0.8 of it; the ratio is that of what arrives.
Promised: 95 % or more; a line below {least} falls short.

{coverage}

## Differences

Metrics where 0 is possible are compared by difference. The first system loses 1 in the mean, the second as
much or nothing; both have *n* values. What happens in one run of ten is not seen at all in 0.9ⁿ of the
experiments: if all values are 0, there is no interval, since [0, 0] would be wrong as often.

- *none*: there is no interval.
- *difference*: of the others, the interval holds the true one; promised: 95 % or more.
- *false equivalence*: as above, with a margin of {margin}; promised: 5 % or less.

{differences}

## Latencies

A run of so many *round trips* has one percentile. Medians of a run are compared by the ratio of means, higher
percentiles by the ratio of medians. The second system is like the first, or steady (round trips vary by a
tenth, runs by a hundredth).

- *ratio*: the interval of the ratio holds the true one; promised: 95 % or more.
- *of means*: the interval of the ratio of means holds the true one of these.
- *false equivalence*: as above, with a margin of 5 %; promised: 5 % or less.

{latencies}

A high percentile is that of a stall or of none, by chance, and few runs do not show how long the longest are.
So the interval of means falls short in some of these lines, most of them beside a steady system.

## Any of ten pairs

Five equal systems of ten values each: any two of them are called different, after Holm's correction;
promised: 5 % or less.

{families}

## Near the link's limit

A claim says that a ratio is at most so much, and is false by 3 %. The first system's runs are cut off by the
link (its values on an endless link are given in shares of the limit), the second is steady at 0.8.
*supported*: the claim is called so; promised: 5 % or less.

{claims}

## Power

Ten values against ten, normal, one comparison by itself: how often a true difference of 5 % is found, and how
often two equal systems are found equivalent with a margin of 5 %.

{powers}

## What the flag for autocorrelation sees

How often values are called dependent (lag-1 autocorrelation, p < 0.05), by how strongly neighbours are
correlated. Few values cannot tell: that there is no flag does not show that they are independent.

{flags}
"""


def simulate(trials: int, coverage_trials: int, seed: int, output: Path) -> None:
    """Write the page of results."""
    error = 1.96 * math.sqrt(SIGNIFICANCE * (1 - SIGNIFICANCE) / trials)
    grid = [(correlation, n) for correlation in simulation.CORRELATIONS for n in simulation.SIZES]
    with Pool(PROCESSES, _end_with_parent) as pool:
        coverage = pool.imap(
            partial(simulated_coverage.coverage, trials=coverage_trials, seed=seed), simulated_coverage.CASES
        )
        rates = pool.imap(partial(simulation.error_rates, trials=trials, seed=seed), simulation.SCENARIOS)
        differences = pool.imap(
            partial(simulation.difference_rates, trials=trials, seed=seed), simulation.DIFFERENCES
        )
        latencies = pool.imap(
            partial(simulated_latencies.latency_rates, trials=trials, seed=seed),
            simulated_latencies.LATENCIES,
        )
        alarms = pool.imap(partial(simulation.any_false_alarm, trials=trials, seed=seed), simulation.FAMILIES)
        supports = pool.imap(
            partial(simulation.false_support, trials=trials, seed=seed), simulation.NEAR_LIMIT
        )
        powers = pool.imap(partial(simulation.power, trials=trials, seed=seed), simulation.SPREADS)
        flags = pool.starmap(partial(simulation.flagged, trials=trials, seed=seed), grid)
        text = PAGE.format(
            trials=trials,
            seed=seed,
            margin=simulation.DIFFERENCE_MARGIN,
            error=f"{error:.1%}",
            rates=_rates(list(rates), error),
            coverage_trials=coverage_trials,
            least=f"{simulated_coverage.LEAST:.0%}",
            coverage=_coverage(list(coverage)),
            differences=_table(
                ("first system, second system", "n", "none", "difference", "false equivalence", "promise"),
                (
                    (
                        scenario.name,
                        str(scenario.values),
                        *map(_share, (row.without, row.covered, row.false_equivalence)),
                        _promise(row.kept(error)),
                    )
                    for scenario, row in zip(simulation.DIFFERENCES, differences, strict=True)
                ),
            ),
            latencies=_latencies(list(latencies), error),
            families=_table(
                ("values", "any found different", "promise"),
                (
                    (family.name, _share(share), _promise(share <= SIGNIFICANCE + error, family.fault))
                    for family, share in zip(simulation.FAMILIES, alarms, strict=True)
                ),
            ),
            claims=_table(
                ("first system", "n", "supported", "promise"),
                (
                    (case.name, str(case.values), _share(share), _promise(share <= SIGNIFICANCE + error))
                    for case, share in zip(simulation.NEAR_LIMIT, supports, strict=True)
                ),
            ),
            powers=_table(
                ("coefficient of variation", "difference found", "equivalence found"),
                (
                    (_share(spread), _share(each.difference_found), _share(each.equivalence_found))
                    for spread, each in zip(simulation.SPREADS, powers, strict=True)
                ),
            ),
            flags=_flags(dict(zip(grid, flags, strict=True))),
        )
    files.write_text(output, text)


def _end_with_parent() -> None:
    # The parent's handlers would clean up a second time; it ends the workers when it is interrupted.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _rates(rates: Sequence[simulation.ErrorRates], error: float) -> str:
    return _table(
        ("values", "n", "median", "ratio", "different", "false equivalence", "promise"),
        (
            (
                scenario.name,
                " and ".join(dict.fromkeys(str(n) for n in (scenario.values_a, scenario.values_b))),
                "" if row.median_covered is None else _share(row.median_covered),
                _share(row.ratio_covered),
                _share(row.different),
                _share(row.false_equivalence),
                _promise(row.kept(error), scenario.fault),
            )
            for scenario, row in zip(simulation.SCENARIOS, rates, strict=True)
        ),
    )


def _coverage(shares: Sequence[float]) -> str:
    return _table(
        ("compared by", "values", "second system", "n", "the interval holds the truth", "promise"),
        (
            (
                case.kind,
                case.shape.name,
                "steady" if case.beside_steady else "the same",
                str(case.values),
                _share(share),
                _promise(share >= simulated_coverage.LEAST, case.shape.fault),
            )
            for case, share in zip(simulated_coverage.CASES, shares, strict=True)
        ),
    )


def _latencies(rates: Sequence[simulated_latencies.LatencyRates], error: float) -> str:
    return _table(
        (
            *("round trips", "percentile of", "second system", "runs"),
            *("ratio", "of means", "false equivalence", "promise"),
        ),
        (
            (
                scenario.name,
                f"{scenario.percentile}th of {scenario.round_trips:,}",
                "steady" if scenario.beside_steady else "the same",
                str(scenario.runs),
                *map(_share, (row.covered, row.of_means, row.false_equivalence)),
                _promise(row.kept(error)),
            )
            for scenario, row in zip(simulated_latencies.LATENCIES, rates, strict=True)
        ),
    )


def _flags(found: dict[tuple[float, int], float]) -> str:
    return _table(
        ("correlation", *(f"n = {n}" for n in simulation.SIZES)),
        (
            (str(correlation), *(_share(found[correlation, n]) for n in simulation.SIZES))
            for correlation in simulation.CORRELATIONS
        ),
    )


def _promise(is_kept: bool, fault: str = "") -> str:
    return "kept" if is_kept else ": ".join(filter(None, ("**falls short**", fault)))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _share(share: float) -> str:
    return f"{share:.1%}"


if __name__ == "__main__":
    program.main(
        simulate,
        __doc__,
        program.argument("--trials", type=int, default=2000, help="experiments per line of the tables"),
        program.argument(
            "--coverage-trials", type=int, default=2000, help="experiments per line of the table of coverage"
        ),
        program.argument("--seed", type=int, default=2010, help="of their random numbers"),
        output="MD",
    )
