"""What came of a run: which sessions were measured, which were not, and why."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hvcost.errors import ParseError
from hvcost.model import record
from hvcost.planning.plan import Plan, Session
from hvcost.wording import counted

# The lines that a program begins with, and ends with when it fails (see `program`).
BEGIN = re.compile(r"^\S+ \S+ DEBUG hvcost\.program: on (\S+)$", re.MULTILINE)
FAILURE = re.compile(r"^\S+ \S+ ERROR hvcost\.program: (.*)", re.MULTILINE)

ADVICE = (
    "  Everything else was measured. The same command tries again what failed, and then makes the tables, "
    "figures and report. To make them now, of what is there: python scripts/reanalyse.py {results}"
)


@dataclass(frozen=True)
class Outcome:
    """What came of one session. `reason` is why there is nothing new of it, None if it was measured."""

    session: Session
    runs: int
    ok: int
    failed_runs: tuple[str, ...]
    reason: str | None


def of_run(plan: Plan, results: Path, logs: Path, since_s: float) -> tuple[Outcome, ...]:
    """Outcome of every session that was to be run; what is older than `since_s`, Unix time, is not of it."""
    return tuple(_of_session(step.session, step.runs, results, logs, since_s) for step in plan.todo)


def as_text(outcomes: Iterable[Outcome], results: Path) -> str:
    """The report of a run for people, a line for whatever is not as planned. `results`: their folder."""
    every = list(outcomes)
    if not every:
        return "Measured: there was nothing to measure"
    runs = sum(outcome.runs for outcome in every)
    ok = sum(outcome.ok for outcome in every)
    done = [outcome for outcome in every if outcome.reason is None]
    lines = [f"Measured: {len(done)} of {counted(len(every), 'session')}, {ok} of {counted(runs, 'run')} ok"]
    for outcome in every:
        session = outcome.session
        name = f"{session.environment} {session.system} boot {session.boot}"
        if outcome.reason:
            lines.append(f"  failed: {name}: {outcome.reason}")
        lines += [f"  failed run: {name}: {reason}" for reason in outcome.failed_runs]
    if len(done) < len(every):
        lines.append(ADVICE.format(results=results))
    return "\n".join(lines)


def is_measured(folder: Path, names: Iterable[str], since_s: float) -> bool:
    """Whether a session's folder has all its repetitions, each begun at `since_s`, Unix time, or later."""
    try:
        records = list(record.read_all(folder / name for name in names))
    except ParseError:
        return False
    return all(datetime.datetime.fromisoformat(each.started_at).timestamp() >= since_s for each in records)


def failed_on(logs: Path, environment: str, boot: int, since_s: float) -> list[str]:
    """Computers on which the last try since `since_s`, Unix time, of a session of a block failed.

    A block is one boot of all systems of an environment.
    """
    block = logs.joinpath("measure_session", environment).glob(f"*/boot{boot}.log")
    said = [log.read_text(encoding="utf-8", errors="replace") for log in block if _is_new(log, since_s)]
    return sorted({name for text in said if FAILURE.search(text) for name in BEGIN.findall(text)})


def _of_session(session: Session, runs: int, results: Path, logs: Path, since_s: float) -> Outcome:
    place = Path(session.system, f"boot{session.boot}")
    log = (logs / "measure_session" / session.environment / place).with_suffix(".log")
    is_begun = _is_new(log, since_s)
    if is_begun:
        said = FAILURE.findall(log.read_text(encoding="utf-8", errors="replace"))
        if said:
            return Outcome(session, runs, 0, (), said[-1])
    files = record.files_in(results / session.environment / "raw" / place)
    new = [file for file in files if _is_new(file, since_s)]
    if len(new) < runs:
        # Killed, by the kernel for want of memory or by somebody.
        ended = f"it was ended before it could say why; what it did is in {log}"
        return Outcome(session, runs, 0, (), ended if is_begun else "it was not started")
    reasons = tuple(f"{file.stem}: {reason}" for file in new if (reason := _failure(file)))
    return Outcome(session, runs, runs - len(reasons), reasons, None)


def _is_new(file: Path, since_s: float) -> bool:
    return file.is_file() and file.stat().st_mtime >= since_s


def _failure(raw: Path) -> str | None:
    """Why a repetition has no value, None if it has one."""
    try:
        return record.read(raw).reason
    except ParseError as error:
        return str(error)
