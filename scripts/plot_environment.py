"""Draw the figures of one environment: topology, repetitions, the same with bare metal, order of runs.

    python scripts/plot_environment.py --environment '{"environment": "env1", …}' \\
        --measurements results/env1/measurements.csv --statistics results/env1/statistics.csv \\
        --host results/env1/host.json --output results/env1/figures

Outputs, each as .svg and .png in the folder: topology, and for every workload that is not swept
repetitions-WORKLOAD, repetitions-with-bare-metal-WORKLOAD and order-WORKLOAD; those of metrics that are
not the primary one have -METRIC at the end. Where there are percentiles of what is measured, such as of
round-trip times, percentiles-WORKLOAD is in place of the repetitions.
"""

from __future__ import annotations

import logging
from pathlib import Path

from hvcost import figures, program
from hvcost.analysis import measurements as tables
from hvcost.analysis import rows
from hvcost.errors import ParseError
from hvcost.figures import order, percentiles, repetitions, style, topology
from hvcost.files import read_json
from hvcost.model.description import Environment, environment_from

log = logging.getLogger(__name__)


def plot_table(environment: object, measurements: Path, statistics: Path, host: Path, output: Path) -> None:
    """Draw the figures of a file of measurements."""
    plot(environment_from(environment), tables.read_csv(measurements), statistics, host, output)


def plot(environment: Environment, table: tables.Table, statistics: Path, host: Path, output: Path) -> None:
    """Draw all figures, then put them in the folder in place of older ones."""
    accelerator, facts = _host(host)
    environment = environment.played_by(accelerator)
    points = tables.repetitions(table)
    cells = rows.read(rows.CellStatistics, statistics)
    for name, rows_of in (("measurements", points), ("statistics", cells)):
        others = sorted({row.environment for row in rows_of} - {environment.id})
        if others:
            raise ParseError(f"the {name} are of {', '.join(others)}, not only {environment.id}")
    subjects = figures.subjects([environment], points)
    if not subjects and not environment.swept_workloads:
        log.warning("%s: no repetitions, so only the topology is drawn", environment.id)
    files: dict[str, bytes] = {}
    with style.house_style():
        systems = figures.systems_shown([environment], points)
        files |= style.rendered(topology.draw(environment, facts, systems))
        for subject in subjects:
            files |= style.rendered(order.draw(environment, points, subject))
            if subject.is_percentile:
                continue
            for with_bare_metal in (False, True):
                files |= style.rendered(
                    repetitions.draw(environment, points, subject, with_bare_metal=with_bare_metal)
                )
        for distribution in figures.distributions([environment], points):
            files |= style.rendered(percentiles.draw(environment, cells, distribution))
    figures.replace_files(output, ("topology", "repetitions-*", "order-*", "percentiles-*"), files)
    log.info("%s: %d files", output, len(files))


def _host(host: Path) -> tuple[str | None, topology.Facts]:
    """How the host was decided to be played, None if it is none that is played, and its facts."""
    return read_json(
        host,
        "facts of a host",
        lambda data: ((data.get("acceleration") or {}).get("accelerator"), dict(data["facts"])),
    )


if __name__ == "__main__":
    program.main(
        plot_table,
        __doc__,
        program.json_argument(
            "--environment",
            help="what the configuration says about the environment: environment (its id), systems, "
            "link, host, client; optionally description, guest, workloads, sweeps",
        ),
        program.argument("--measurements", type=Path, metavar="CSV"),
        program.argument("--statistics", type=Path, metavar="CSV"),
        program.argument("--host", type=Path, metavar="FILE", help="host.json"),
        output="FOLDER",
    )
