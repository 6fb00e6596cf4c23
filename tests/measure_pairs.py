"""How long several pairs of machines take, in turn and at once, and that no two sessions share one.

    PYTHONPATH=scripts:tests python tests/measure_pairs.py    # as root: seven minutes

The machines are namespaces of this computer, reached by OpenSSH's own servers in them. Runs take five seconds
each, whatever their figures.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import openssh
from hvcost.machines.local import LocalConnection
from pairs import CONFIG, addresses, at_once, experiment, project, spans, table

PAIRS = [f"pair{number}" for number in range(1, 5)]
BOOTS = 3
RUN_S = 5
CORES = (1, 2, 4)


def main() -> None:
    """Measure all pairs with each number of cores, and print a line for each."""
    content = experiment(len(PAIRS), boots=BOOTS)
    content["workloads"]["tcp"]["duration_s"] = RUN_S
    print(f"{len(PAIRS)} pairs, {BOOTS} sessions each of {content['repetitions']} runs of {RUN_S} s")
    computer = LocalConnection("this computer")
    with (
        tempfile.TemporaryDirectory() as scratch,
        openssh.switched(computer, "scale", Path(scratch, "home"), addresses(len(PAIRS))) as machines,
    ):
        for cores in CORES:
            workspace = project(Path(scratch, f"cores-{cores}"), machines.within, content)
            began_s = time.monotonic()
            workspace.run(*map(table, PAIRS), "--cores", str(cores), "--configfile", CONFIG)
            took_s = time.monotonic() - began_s
            every = [span for pair in PAIRS for span in spans(pair, workspace.records(pair, "bare-metal"))]
            together = at_once(every)
            shared = sum(a.pair == b.pair for a, b in together)
            print(
                f"--cores {cores}: {took_s:.0f} s, {len(every)} sessions, {len(together)} times two at once, "
                f"{shared} times two on one pair of machines",
                flush=True,
            )


if __name__ == "__main__":
    main()
