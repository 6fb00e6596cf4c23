"""Stands for the program that measures, in workflow tests: a session that sleeps, and leaves raw files.

Files in the project's folder say what else becomes of it:

    session-takes-s    how long it takes, in s
    session-fails      it fails before its last repetition; of one system alone, if it has that one's name
    NODE-hangs         on this node of a cluster, the next session that is not the first of its block takes
                       this file for one with the name NODE-hung, and waits until that is gone
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hvcost import program
from hvcost.errors import MachineError
from hvcost.model import record
from hvcost.planning import outcome

SCRATCH_BYTES = 1_000_000  # what a session writes to its computer's scratch disk


def measure(session: Mapping[str, Any], host: Path, since: float, output_dir: Path, **_: object) -> None:
    """Leave the session's raw files, one after the other, unless they were left in this run already."""
    started_s = time.time()
    names = record.planned_files(session["workloads"], session["repetitions"])
    if outcome.is_measured(output_dir, names, since):
        return
    node = os.environ.get("SLURMD_NODENAME")
    use_scratch()
    first = record_of(session, host, next(iter(session["workloads"])), 1)
    record.write_session(record.session_of(first), output_dir)
    for workload in session["workloads"]:
        for repetition in range(1, session["repetitions"] + 1):
            time.sleep(float(Path("session-takes-s").read_text()) / len(names))
            hangs = Path(f"{node}-hangs")
            if hangs.exists() and any(output_dir.parent.parent.glob(f"*/{output_dir.name}/{names[-1]}")):
                hung = hangs.rename(f"{node}-hung")
                while hung.exists():
                    time.sleep(0.1)
            failing = Path("session-fails")
            is_last = record.file_of(workload, repetition) == names[-1]
            if is_last and failing.exists() and failing.read_text() in ("", session["system"]):
                raise MachineError("host: no guest gets up")
            made = record_of(session, host, workload, repetition)
            record.write(made, output_dir / record.file_of(workload, repetition))
    about = " ".join(str(session[key]) for key in ("environment", "system", "boot"))
    entry = {
        "job": f"measure_session {about}",
        "python": sys.executable,
        "node": node,
        "from_s": started_s,
        "to_s": time.time(),
    }
    with Path("ran.jsonl").open("a") as ran:
        ran.write(json.dumps(entry) + "\n")


def use_scratch() -> None:
    """What an emulated machine writes is there, by the name of it that QEMU uses."""
    try:
        with tempfile.TemporaryFile(dir=os.environ.get("TMPDIR", "/var/tmp")) as disk:
            disk.write(bytes(SCRATCH_BYTES))
    except OSError as error:
        raise MachineError(f"host: QEMU ended with exit code 1: {error}") from error


def record_of(session: Mapping[str, Any], host: Path, workload: str, repetition: int) -> record.Record:
    """A repetition of which nothing was measured."""
    spec = {key: session[key] for key in ("hypervisor", "options", "link", "guest", "host")}
    return record.Record(
        environment=session["environment"],
        system=session["system"],
        boot=session["boot"],
        workload=workload,
        repetition=repetition,
        status="ok",
        reason=None,
        started_at=datetime.now(UTC).isoformat(),
        order=record.Order(1, 1, 1, 1, 1),
        spec={**spec, "workload": session["workloads"][workload]},
        outputs={},
        cpu_time_s=None,
        proof={},
        facts={"emulator": json.loads(host.read_text())["acceleration"]},
    )


if __name__ == "__main__":
    program.main(
        measure,
        __doc__,
        program.json_argument("--session"),
        program.argument("--host", type=Path),
        program.argument("--plan", type=Path),
        program.argument("--pace", type=Path),
        program.argument("--guest", type=Path),
        program.argument("--state", type=Path),
        program.argument("--since", type=float),
        program.argument("--output-dir", type=Path),
    )
