"""The report at the end of a run: what was measured, what failed, and why."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest
from factories import raw_record, raw_records, write_raw
from hvcost.model import record
from hvcost.planning import outcome
from hvcost.planning.plan import Plan, Step

LOG_OF_A_FAILURE = """\
2026-11-23 10:00:00,000 DEBUG hvcost.program: on n7
2026-11-23 10:00:00,000 INFO hvcost.session: begins
2026-11-23 10:00:01,000 ERROR hvcost.program: env1 host: KVM does not work on this machine
2026-11-23 10:00:01,001 DEBUG hvcost.program: where it came from
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of a run: bare metal is whole, one repetition of xen failed, kvm did not start."""
    records = raw_records({"bare-metal": 5e8, "xen": 2e8}, failed=[("xen", 7)])
    write_raw(records, tmp_path / "results")
    log = tmp_path / "logs/measure_session/env1/kvm/boot1.log"
    log.parent.mkdir(parents=True)
    log.write_text(LOG_OF_A_FAILURE)
    return tmp_path


def report(folder: Path, *systems: str, since_s: float = 0.0) -> str:
    steps = tuple(Step("measure_session", ("env1", name, "1"), (), (), 10) for name in systems)
    plan = Plan(2010, 1, tuple(step.session for step in steps), steps)
    results = folder / "results"
    return outcome.as_text(outcome.of_run(plan, results, folder / "logs", since_s), results)


def test_a_run_that_went_well_is_one_line(folder: Path) -> None:
    assert report(folder, "bare-metal") == "Measured: 1 of 1 session, 10 of 10 runs ok"


def test_what_failed_is_told_with_its_reason_and_what_to_do(folder: Path) -> None:
    first, *lines, advice = report(folder, "bare-metal", "kvm", "xen").splitlines()
    assert first == "Measured: 2 of 3 sessions, 19 of 30 runs ok"
    assert lines == [
        "  failed: env1 kvm boot 1: env1 host: KVM does not work on this machine",
        "  failed run: env1 xen boot 1: tcp-7: the guest was not ready after 300 s",
    ]
    assert "The same command tries again" in advice
    assert advice.endswith(f"python scripts/reanalyse.py {folder / 'results'}")


def test_what_an_earlier_run_left_is_not_taken_for_this_one(folder: Path) -> None:
    later = (folder / "logs/measure_session/env1/kvm/boot1.log").stat().st_mtime + 3600
    text = report(folder, "bare-metal", "kvm", since_s=later)
    assert text.startswith("Measured: 0 of 2 sessions, 0 of 20 runs ok")
    assert text.count("it was not started") == 2


def test_a_damaged_raw_file_is_no_success(folder: Path) -> None:
    (folder / "results/env1/raw/bare-metal/boot1/tcp-3.json").write_text("{")
    text = report(folder, "bare-metal")
    assert "9 of 10 runs ok" in text
    assert "failed run: env1 bare-metal boot 1: tcp-3: " in text


def test_nothing_to_measure(folder: Path) -> None:
    assert report(folder) == "Measured: there was nothing to measure"


def test_a_session_that_was_killed_is_not_said_to_be_not_started(folder: Path) -> None:
    """By the kernel, say, which had no memory left for it."""
    log = folder / "logs/measure_session/env1/qemu/boot1.log"
    log.parent.mkdir(parents=True)
    log.write_text(LOG_OF_A_FAILURE.splitlines()[0])
    text = report(folder, "qemu")
    assert "failed: env1 qemu boot 1: it was ended before it could say why; what it did is in " in text
    assert str(log) in text


def test_a_session_is_measured_if_all_of_it_is_of_this_run(folder: Path) -> None:
    began_s = datetime.datetime.fromisoformat(raw_record().started_at).timestamp()
    session = folder / "results/env1/raw/xen/boot1"
    names = [file.name for file in record.files_in(session)]
    assert outcome.is_measured(session, names, began_s)
    assert not outcome.is_measured(session, names, began_s + 0.001)
    assert not outcome.is_measured(session, [*names, "tcp-11.json"], began_s)
    (session / names[3]).write_text("{")
    assert not outcome.is_measured(session, names, began_s)


def test_a_repetition_of_an_earlier_session_makes_none_measured(folder: Path) -> None:
    session = folder / "results/env1/raw/xen/boot1"
    names = [file.name for file in record.files_in(session)]
    shutil.copy(folder / "results/env1/raw/bare-metal/boot1/tcp-3.json", session)
    assert not outcome.is_measured(session, names, 0.0)


def test_where_a_block_failed_is_known_from_its_sessions_logs(folder: Path) -> None:
    logs = folder / "logs"
    whole = "2026-11-23 10:00:00,000 DEBUG hvcost.program: on n8\n"
    for path, text in {"env1/xen/boot1": whole, "env1/xen/boot2": LOG_OF_A_FAILURE}.items():
        log = logs / f"measure_session/{path}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text(text)
    assert outcome.failed_on(logs, "env1", 1, 0.0) == ["n7"]
    later = (logs / "measure_session/env1/kvm/boot1.log").stat().st_mtime + 3600
    assert outcome.failed_on(logs, "env1", 1, later) == []
    assert outcome.failed_on(logs, "env2", 1, 0.0) == []
