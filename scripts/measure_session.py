"""Run one session: a boot of one system with all its repetitions, a raw file each (rule measure_session)."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from hvcost import program
from hvcost.environments.preparation import place_of_prepared
from hvcost.images import guest as guest_image
from hvcost.planning import plan, progress
from hvcost.session import SessionSpec, measure

log = logging.getLogger(__name__)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--session", type=json.loads, required=True, help="what to measure, JSON")
    parser.add_argument("--host", type=Path, required=True, help="host.json of the prepared host")
    parser.add_argument("--plan", type=Path, required=True, help="plan of the whole run")
    parser.add_argument("--guest", type=Path, required=True, help="manifest of the guest image")
    parser.add_argument("--state", type=Path, required=True, help="folder of emulated machines' disks")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder of the raw files")
    parser.add_argument("--log", type=Path, required=True)
    arguments = parser.parse_args()

    def work() -> None:
        spec = SessionSpec(**arguments.session)
        current = plan.load_plan(arguments.plan)
        key = (spec.environment, spec.system, spec.boot)
        watch = progress.SessionWatch(arguments.plan, arguments.session)

        records = measure(
            spec,
            place_of_prepared(arguments.host, arguments.state, spec.link, spec.host, spec.client),
            guest_image.load(arguments.guest) if spec.guest else None,
            arguments.output_dir,
            plan.order(current, *key),
            current.seed,
            watch.begins,
        )
        ok = sum(record.status == "ok" for record in records)
        log.info("%s %s boot %d: %d of %d runs ok", *key, ok, len(records))

    return program.run(work, arguments.log)


if __name__ == "__main__":
    sys.exit(main())
