"""Draw the figures of one environment: topology, repetitions, the same with bare metal, order of runs.

    python scripts/plot_environment.py --environment '{"environment": "env1", …}' \\
        --measurements results/env1/measurements.csv --host results/env1/host.json \\
        --output results/env1/figures

Outputs, each as .svg and .png in the folder: topology, and for every workload
repetitions-WORKLOAD, repetitions-with-bare-metal-WORKLOAD and order-WORKLOAD; those of metrics that are
not the primary one have -METRIC at the end.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from hvcost import figures, program
from hvcost.analysis import measurements as tables
from hvcost.errors import ParseError
from hvcost.figures import order, repetitions, style, topology
from hvcost.model.description import environment_from

log = logging.getLogger(__name__)


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--environment",
        required=True,
        metavar="JSON",
        help="what the configuration says about the environment: environment (its id), systems, "
        "link, host, client; optionally description, guest, workloads",
    )
    parser.add_argument("--measurements", type=Path, required=True, metavar="CSV")
    parser.add_argument("--host", type=Path, required=True, metavar="FILE", help="host.json")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()

    def work() -> None:
        plot(arguments.environment, arguments.measurements, arguments.host, arguments.output)

    return program.run(work, arguments.log)


def plot(environment_json: str, measurements: Path, host: Path, output: Path) -> None:
    """Draw all figures, then put them in the folder in place of older ones."""
    accelerator, facts = _host(host)
    configured = environment_from(figures.parsed_json(environment_json, "--environment"))
    environment = configured.played_by(accelerator)
    points = tables.repetitions(tables.read_csv(measurements))
    others = sorted({point.environment for point in points} - {environment.id})
    if others:
        raise ParseError(f"{measurements}: is of {', '.join(others)}, not only {environment.id}")
    subjects = figures.subjects([environment], points)
    if not subjects:
        log.warning("%s: no repetitions, so only the topology is drawn", measurements)
    files: dict[str, bytes] = {}
    with style.house_style():
        systems = figures.systems_shown([environment], points)
        files |= style.rendered(topology.draw(environment, facts, systems))
        for subject in subjects:
            for with_bare_metal in (False, True):
                files |= style.rendered(
                    repetitions.draw(environment, points, subject, with_bare_metal=with_bare_metal)
                )
            files |= style.rendered(order.draw(environment, points, subject))
    figures.replace_files(output, ("topology", "repetitions-*", "order-*"), files)
    log.info("%s: %d files", output, len(files))


def _host(host: Path) -> tuple[str | None, topology.Facts]:
    """How the host was decided to be played, None if it is none that is played, and its facts."""
    try:
        data = json.loads(host.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParseError(f"{host}: not facts of a host: {error}") from error
    facts = data.get("facts") if isinstance(data, dict) else None
    if not isinstance(facts, dict):
        raise ParseError(f"{host}: not facts of a host: `facts` is missing")
    return (data.get("acceleration") or {}).get("accelerator"), facts


if __name__ == "__main__":
    sys.exit(main())
