"""Run one session: a boot of one system with all its repetitions, a raw file each (rule measure_session)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hvcost import program
from hvcost import session as sessions
from hvcost.environments.preparation import place_of_prepared
from hvcost.images import guest as guest_image
from hvcost.model.record import is_played
from hvcost.planning import plan as plans
from hvcost.planning import progress

log = logging.getLogger(__name__)


def measure(
    session: Mapping[str, Any], host: Path, plan: Path, guest: Path, state: Path, output_dir: Path
) -> None:
    """Measure the session, and say where in the whole run it is."""
    spec = sessions.SessionSpec(**session)
    current = plans.load_plan(plan)
    key = (spec.environment, spec.system, spec.boot)
    records = sessions.measure(
        spec,
        place_of_prepared(host, state, spec.link, spec.host, spec.client),
        guest_image.load(guest) if spec.guest else None,
        output_dir,
        plans.order(current, *key),
        current.seed,
        progress.SessionWatch(plan, session).begins,
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
        program.argument("--guest", type=Path, help="manifest of the guest image"),
        program.argument("--state", type=Path, help="folder of emulated machines' disks"),
        program.argument("--output-dir", type=Path, help="folder of the raw files"),
        apart=lambda session, **_: is_played(session["host"]),
    )
