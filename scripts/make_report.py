"""Make the page that answers the question, from everything that the experiment has left.

    python scripts/make_report.py --experiment results/experiment.json --results results \\
        --output results/report.html

Output: one HTML file with everything in it. Its links to tables are relative to the folder of results, so
that is where it belongs.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from hvcost import files, program
from hvcost.report import inputs, page

log = logging.getLogger(__name__)


def main() -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiment", type=Path, required=True, metavar="JSON", help="what was planned")
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="what came of it")
    parser.add_argument("--output", type=Path, required=True, metavar="HTML", help="page to write")
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    arguments = parser.parse_args()

    def work() -> None:
        make(arguments.experiment, arguments.results, arguments.output)

    return program.run(work, arguments.log)


def make(experiment: Path, results: Path, output: Path) -> None:
    """Make the page of a folder of results."""
    html = page.render(inputs.read(experiment, results))
    files.write_text(output, html)
    log.info("%s: %d kB", output, len(html.encode()) // 1000)


if __name__ == "__main__":
    sys.exit(main())
