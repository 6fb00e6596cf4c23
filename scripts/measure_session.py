"""Run one session: a boot of one system with all its repetitions, a raw file each (rule measure_session)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvcost import program
from hvcost import session as sessions
from hvcost.environments.preparation import place_of_prepared
from hvcost.images import guest as guest_image
from hvcost.planning import plan as plans
from hvcost.wording import minutes

log = logging.getLogger(__name__)


def measure(
    session: Mapping[str, Any], host: Path, plan: Path, guest: Path, state: Path, output_dir: Path
) -> None:
    """Measure the session, and say where in the whole run it is."""
    spec = sessions.SessionSpec(**session)
    current = plans.load_plan(plan)
    key = (spec.environment, spec.system, spec.boot)
    label = f"{spec.environment} {spec.system} boot {spec.boot}"
    number, total = plans.position(current, *key)
    left_s = plans.remaining_s(current, *key)
    log.info("session %d of %d: %s, about %s left", number, total, label, minutes(left_s))
    start_s = time.monotonic()

    def progress(run: int, runs: int) -> None:
        left = minutes(max(0.0, left_s - (time.monotonic() - start_s)))
        log.info("%s: run %d of %d, about %s left", label, run, runs, left)

    records = sessions.measure(
        spec,
        place_of_prepared(host, state, spec.link, spec.host, spec.client),
        guest_image.load(guest) if spec.guest else None,
        output_dir,
        plans.order(current, *key),
        current.seed,
        progress,
    )
    ok = sum(record.status == "ok" for record in records)
    log.info("%s: %d of %d runs ok, %.0f s", label, ok, len(records), time.monotonic() - start_s)


if __name__ == "__main__":
    program.main(
        measure,
        __doc__,
        program.json_argument("--session", help="what to measure"),
        program.argument("--host", type=Path, help="host.json of the prepared host"),
        program.argument("--plan", type=Path, help="plan of the whole run"),
        program.argument("--guest", type=Path, help="manifest of the guest image"),
        program.argument("--state", type=Path, help="folder of emulated machines' disks"),
        program.argument("--output-dir", type=Path, help="folder of the raw files"),
    )
