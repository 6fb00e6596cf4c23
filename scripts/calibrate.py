"""Measure links whose rate, delay and loss are known with every tool, and write what the tools said of them.

python scripts/calibrate.py --output docs/calibration.md

It takes ten minutes, in which this computer should do nothing else. Where the kernel has no netem, delays and
losses are made in an emulated machine, whose image has to be built before:

snakemake --cores 1 results/host-image/manifest.json
"""

from __future__ import annotations

import datetime
from pathlib import Path

from hvcost import files, program
from hvcost.calibration.measurement import measure
from hvcost.calibration.page import page

RESULTS = Path(__file__).parents[1] / "results"


def calibrate(host_image: Path, state: Path, output: Path) -> None:
    """Write the page of the calibration."""
    files.write_text(output, page(list(measure(state, host_image)), datetime.date.today()))


if __name__ == "__main__":
    program.main(
        calibrate,
        __doc__,
        program.argument(
            "--host-image",
            type=Path,
            default=RESULTS / "host-image/manifest.json",
            help="manifest of the image of emulated hosts, for kernels without netem",
        ),
        program.argument(
            "--state",
            type=Path,
            default=RESULTS / "calibration",
            help="folder of the emulated machine's disk",
        ),
        output="MD",
        apart=program.always,
    )
