"""How the wall time of a plan falls with the nodes of a cluster: a real Slurm here, and sessions that sleep.

    PYTHONPATH=scripts:tests python tests/measure_scaling.py    # 1, 2, 4, 8 and 16 nodes: half an hour

Images and hosts are there. Prints a line for each number of nodes: the time from the start of Snakemake to
its end, how many times shorter than with one node that is, and this by the number of nodes. Sessions sleep,
so that one computer can play many nodes: what is left is what Snakemake, its executor and Slurm take, all of
which run on the processors of this one computer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import slurm
import stand_ins
from stand_ins import Project

NODES = (1, 2, 4, 8, 16)
BLOCKS = 16
# Of which a block has three.
SESSION_S = 10.0
HOST = "results/env1/host.json"
TABLE = "results/env1/measurements.csv"


def project(folder: Path) -> Project:
    """A project of one environment with images and a host, and nothing measured."""
    made = stand_ins.make(folder)
    made.change_config(lambda content: content.update(boots=BLOCKS))
    (made.folder / "session-takes-s").write_text(str(SESSION_S))
    made.run(HOST)
    return made


def wall_time_s(made: Project, environment: Mapping[str, str]) -> float:
    """How long Snakemake takes to measure all of a project, in s."""
    command = [sys.executable, "-m", "snakemake", *slurm.PROFILE, TABLE]
    with (made.folder / "output.txt").open("wb") as output:
        began_s = time.monotonic()
        code = subprocess.run(
            command, cwd=made.folder, env=os.environ | dict(environment), stdout=output, stderr=output
        ).returncode
        took_s = time.monotonic() - began_s
    if code != 0 or len(made.sessions_run()) != 3 * BLOCKS:
        raise SystemExit((made.folder / "output.txt").read_text())
    return took_s


def main() -> None:
    """Measure with each number of nodes, and print a table."""
    print(f"{BLOCKS} blocks of 3 sessions of {SESSION_S:g} s")
    print(f"{'nodes':>5}{'wall time':>12}{'speed-up':>10}{'efficiency':>12}", flush=True)
    first_s: float | None = None
    with tempfile.TemporaryDirectory() as scratch:
        plugin = slurm.executor(Path(scratch, "plugin"))
        for count in NODES:
            made = project(Path(scratch, f"project-{count}"))
            with (
                tempfile.TemporaryDirectory(prefix="slurm-") as folder,
                slurm.running(Path(folder), count, plugin) as cluster,
            ):
                took_s = wall_time_s(made, cluster.environment)
            first_s = first_s or took_s
            speed_up = first_s / took_s
            print(f"{count:5}{took_s:10.0f} s{speed_up:10.1f}{speed_up / count:12.0%}", flush=True)


if __name__ == "__main__":
    main()
