"""Run one session: a boot of one system with all its repetitions, a raw file each (rule measure_session)."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvcost import program
from hvcost import session as sessions
from hvcost.environments.preparation import place_of_prepared
from hvcost.images import guest as guest_image
from hvcost.model.record import is_played, planned_files
from hvcost.planning import outcome, progress
from hvcost.planning import plan as plans

log = logging.getLogger(__name__)


def measure(
    session: Mapping[str, Any],
    host: Path,
    plan: Path,
    pace: Path,
    guest: Path,
    state: Path,
    since: float,
    output_dir: Path,
) -> None:
    """Measure the session, and say where in the whole run it is.

    A node's job that failed is tried again with all its sessions: those that came to their end are kept.
    """
    spec = sessions.SessionSpec(**session)
    key = (spec.environment, spec.system, spec.boot)
    if outcome.is_measured(output_dir, planned_files(spec.workloads, spec.repetitions), since):
        log.info("%s %s boot %d: measured in this run already, and kept", *key)
        return
    current = plans.load_plan(plan)
    records = sessions.measure(
        spec,
        place_of_prepared(host, state, spec.link, spec.host, spec.client),
        guest_image.load(guest) if spec.guest else None,
        output_dir,
        plans.order(current, *key),
        current.seed,
        progress.SessionWatch(plan, pace, session).begins,
    )
    ok = sum(record.status == "ok" for record in records)
    log.info("%s %s boot %d: %d of %d runs ok", *key, ok, len(records))


if __name__ == "__main__":
    program.main(
        measure,
        __doc__,
        program.json_argument("--session", help="what to measure"),
        program.argument("--host", type=Path, help="host.json of the prepared host"),
        program.argument("--plan", type=Path, help="plan of the whole run"),
        program.argument("--pace", type=Path, help="what was seen of this computer"),
        program.argument("--guest", type=Path, help="manifest of the guest image"),
        program.argument("--state", type=Path, help="folder of emulated machines' disks"),
        program.argument(
            "--since",
            type=float,
            default=math.inf,
            metavar="SECONDS",
            help="begin of the run, Unix time: what was measured later is not measured again",
        ),
        program.argument("--output-dir", type=Path, help="folder of the raw files"),
        apart=lambda session, **_: is_played(session["host"]),
    )
