"""Does the pipeline change what it measures? Its figures beside those of iperf typed by hand, on one guest.

    snakemake results/guest/manifest.json --configfile config/local.yaml
    PYTHONPATH=scripts:tests python tests/measure_bias.py --system qemu --pairs 30

Runs alternate, the pipeline's first in every other pair. By hand means: `iperf -s` in the guest, `iperf -c`
on the client, and the rate that the client prints, read by a line of code that is not the pipeline's. Nothing
else may run on this computer meanwhile.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import guests
import numpy as np
from guests import Ground
from hvcost import program
from hvcost.analysis.intervals import Interval, median_interval, ratio_bootstrap
from hvcost.errors import ParseError
from hvcost.hypervisors import RunningSystem, names
from hvcost.model.metric import Value
from hvcost.tools.verdict import values

# Beside that of the pipeline's server, which stays.
PORT = 5002
RATE = re.compile(r"sec +[\d.]+ [KMG]?Bytes +([\d.]+) ([KMG]?)bits/sec")
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
# Of what iperf prints: three digits.
DIGITS = 3
ROOM_S = 60.0
RESULTS = Path(__file__).parents[1] / "results"


def by_pipeline(run: guests.Recorded) -> float:
    """Throughput in bit/s of one run; ParseError if it failed."""
    found = values(run())["throughput"]
    if not isinstance(found, Value):
        raise ParseError(found)
    return found.value


def by_hand(ground: Ground, system: RunningSystem, duration_s: int) -> float:
    """Throughput in bit/s that the client prints; ParseError if it prints none."""
    argv = ["iperf", "-c", system.address, "-p", str(PORT), "-t", str(duration_s)]
    said = ground.operation.client.run(argv, timeout_s=duration_s + ROOM_S).stdout
    found = RATE.search(said)
    if found is None:
        raise ParseError(f"iperf by hand printed no rate: {said}")
    return float(found[1]) * UNITS[found[2]]


def resolution_bps(rate_bps: float) -> float:
    """The last of the digits that iperf prints of a rate, in bit/s."""
    return float(10 ** (np.floor(np.log10(rate_bps)) + 1 - DIGITS))


def compare(system: str, pairs: int, duration_s: int, guest: Path) -> None:
    """Measure the pairs and print both ratios with their intervals."""
    with (
        tempfile.TemporaryDirectory() as state,
        guests.ground("bias", system, guest, Path(state)) as ground,
        ground.started() as running,
        # Both kinds of runs take as long as two of a session.
        ground.recorded(running, duration_s, 2 * pairs + 2) as run,
    ):
        # Both servers have met a client before anything counts.
        by_pipeline(run)
        with running.server.shell() as shell:
            server = shell.ask(f"iperf -s -p {PORT} >/dev/null 2>&1 </dev/null & echo $!").strip()
            shell.ask(f"until is_taken tcp {PORT:04X}; do sleep 0.1; done", timeout_s=ROOM_S)
        by_hand(ground, running, duration_s)
        pipeline_bps, hand_bps = np.empty(pairs), np.empty(pairs)
        for pair in range(pairs):
            for is_pipeline in (True, False) if pair % 2 else (False, True):
                if is_pipeline:
                    pipeline_bps[pair] = by_pipeline(run)
                else:
                    hand_bps[pair] = by_hand(ground, running, duration_s)
            print(
                f"pair {pair + 1}: {pipeline_bps[pair] / 1e6:.1f} {hand_bps[pair] / 1e6:.1f} Mbit/s",
                flush=True,
            )
        running.server.run(["kill", server])
    steps = (resolution_bps(pipeline_bps.mean()), resolution_bps(hand_bps.mean()))
    found = ratio_bootstrap(pipeline_bps, hand_bps, *steps, "pipeline", "hand")
    means = found.interval() if found else None
    ratios = pipeline_bps / hand_bps
    print(f"{system}: {pairs} pairs of {duration_s} s; the pipeline's throughput to that by hand")
    print(f"ratio of the means: {told(pipeline_bps.mean() / hand_bps.mean(), means)}")
    print(f"median of the pairs' ratios: {told(float(np.median(ratios)), median_interval(ratios))}")


def told(value: float, interval: Interval | None) -> str:
    """A ratio with its interval, as percent of 1."""
    if interval is None:
        return f"{value:.4f}; too few pairs for an interval"
    return f"{value:.4f} [{interval.low:.4f}, {interval.high:.4f}], {interval.confidence:.1%}"


if __name__ == "__main__":
    program.main(
        compare,
        __doc__,
        program.argument(
            "--system", default="qemu", choices=names(), help="what is measured on this computer"
        ),
        program.argument("--pairs", type=int, default=30, help="how many"),
        program.argument("--duration", dest="duration_s", type=int, default=10, help="of a run, in s"),
        program.argument(
            "--guest", type=Path, default=RESULTS / "guest/manifest.json", help="manifest of its image"
        ),
        apart=program.always,
    )
