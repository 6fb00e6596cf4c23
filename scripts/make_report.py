"""Make the page that answers the question, from everything that the experiment has left.

    python scripts/make_report.py --experiment results/experiment.json --results results \\
        --output results/report.html

Output: one HTML file with everything in it. Its links to tables are relative to the folder of results, so
that is where it belongs.
"""

from __future__ import annotations

import logging
from pathlib import Path

from hvcost import files, program
from hvcost.report import inputs, page

log = logging.getLogger(__name__)


def make(experiment: Path, results: Path, output: Path) -> None:
    """Make the page of a folder of results."""
    html = page.render(inputs.read(experiment, results))
    files.write_text(output, html)
    log.info("%s: %d kB", output, output.stat().st_size // 1000)


if __name__ == "__main__":
    program.main(
        make,
        __doc__,
        program.argument("--experiment", type=Path, metavar="JSON", help="what was planned"),
        program.argument("--results", type=Path, metavar="FOLDER", help="what came of it"),
        output="HTML",
    )
