"""Where a run is: which of all steps, and how long the rest takes by what this computer was seen to do.

The workflow's process hears from Snakemake when a step begins and ends (`StepLog`). The program that measures
sees how its session goes (`SessionWatch`). Whoever says how long it takes works it out anew each time, from
the plan and the pace, so that what was expected wrongly is put right by what is seen next.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hvcost.planning import pace as paces
from hvcost.planning import plan as plans
from hvcost.planning import usual
from hvcost.planning.pace import Pace
from hvcost.planning.plan import Plan, Step
from hvcost.wording import counted, listed, minutes

log = logging.getLogger(__name__)

# What is late is not over, nor is what takes less than one says.
LEAST_S = 1.0


def step_s(step: Step, pace: Pace) -> float:
    """Expected duration of a step, in s."""
    return sum(map(pace.expected_s, step.parts))


def left_s(plan: Plan, pace: Pace, now_s: float, known_s: Mapping[str, float] | None = None) -> float:
    """Expected time from `now_s`, Unix time, to the end of the last step, in s; 0 when all are over.

    `known_s`: of steps that are under way, what is left of them, if it is known by other means than the plan.
    """
    rest_s = {step.name: step_s(step, pace) for step in plan.steps if step.name not in plan.ended}
    for name in rest_s.keys() & plan.running.keys():
        rest_s[name] = max(LEAST_S, rest_s[name] - (now_s - plan.running[name]))
    rest_s |= {name: max(LEAST_S, duration_s) for name, duration_s in (known_s or {}).items()}
    return sum(_duration_s(plan, rest_s, stage) for stage in {step.stage for step in plan.steps})


def as_text(plan: Plan, pace: Pace) -> str:
    """What is printed before anything starts: what is measured, how long that takes with all other steps."""
    if not plan.steps:
        return "There is nothing to measure: all sessions are there."
    total = f"about {minutes(left_s(plan, pace, 0.0))}{_by(plan, pace)}"
    if not plan.todo:
        return f"There is nothing to measure. The rest: {counted(len(plan.steps), 'step')}, {total}"
    before = [step for step in plan.steps if step.rule in usual.PREPARATIONS]
    after = len(plan.steps) - len(before) - len(plan.todo)
    runs = sum(step.runs for step in plan.todo)
    lines = [f"To measure: {counted(len(plan.todo), 'session')}, {counted(runs, 'run')}, {total}"]
    if before:
        before_s = sum(step_s(step, pace) for step in before)
        lines.append(f"  before that: {listed(step.name for step in before)}, about {minutes(before_s)}")
    for number, step in enumerate(plan.todo, 1):
        lines.append(
            f"  {number}. {_title(step)}: {counted(step.runs, 'run')}, about {minutes(step_s(step, pace))}"
        )
    if after:
        lines.append(f"  after that: {counted(after, 'step')} of analysis")
    return "\n".join(lines)


def _by(plan: Plan, pace: Pace) -> str:
    """What an expected duration is from."""
    parts = [part for step in plan.steps for part in step.parts]
    seen = sum(pace.has_seen(part) for part in parts)
    if not seen:
        return ", as on a usual computer: nothing was seen of this one yet"
    return ", by what this computer was seen to do" + ("" if seen == len(parts) else ", the rest as usual")


def left_text(duration_s: float) -> str:
    """How long it takes, for people; never nothing."""
    return f"about {minutes(max(LEAST_S, duration_s))} left"


class StepLog(logging.Handler):
    """A handler for Snakemake's logger: prints a line for each step that begins, and notes what steps took.

    It is the only one that writes the plan while it is carried out.
    """

    def __init__(
        self, plan: Plan, plan_file: Path, pace_file: Path, now: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self._plan = plan
        self._plan_file = plan_file
        self._pace_file = pace_file
        self._now = now
        self._names: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Hear a message: those about jobs have an `event` (snakemake-interface-logger-plugins)."""
        event: Any = getattr(record, "event", None)
        try:
            if event == "job_info":
                wildcards: Mapping[str, str] = getattr(record, "wildcards", None) or {}
                name = " ".join((record.__dict__["rule_name"], *wildcards.values()))
                self._names[record.__dict__["jobid"]] = name
                self._begun(name)
            elif event == "job_finished":
                self._over(self._names.pop(record.__dict__["job_id"], ""), is_well=True)
            elif event == "job_error":
                self._over(self._names.pop(record.__dict__["jobid"], ""), is_well=False)
        except OSError:
            # What a run says of itself is no reason to end it.
            self.handleError(record)

    def _begun(self, name: str) -> None:
        step = self._plan.step(name)
        if step is None:
            return
        now_s = self._now()
        self._plan = self._plan.begun(name, now_s)
        plans.write(self._plan, self._plan_file)
        number = len(self._plan.running) + len(self._plan.ended)
        left = left_text(left_s(self._plan, paces.load_pace(self._pace_file), now_s))
        line = f"step {number} of {len(self._plan.steps)}: {_title(step)}, {left}"
        print(line, file=sys.stderr, flush=True)

    def _over(self, name: str, *, is_well: bool) -> None:
        step = self._plan.step(name)
        if step is None:
            return
        began_s = self._plan.running.get(name)
        # A session's parts are noted by the program that sees them.
        if is_well and began_s is not None and len(step.parts) == 1:
            paces.note(self._pace_file, paces.observed(step.parts[0], self._now() - began_s))
        self._plan = self._plan.done(name)
        plans.write(self._plan, self._plan_file)


class SessionWatch:
    """Watches a session's runs from inside: says how far they are, and notes what start and runs took.

    `session` as of `Experiment.session_spec`. A session that is run by hand is no step of the plan: then it
    is all that is left.
    """

    def __init__(
        self,
        plan_file: Path,
        pace_file: Path,
        session: Mapping[str, Any],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._plan_file = plan_file
        self._pace_file = pace_file
        self._now = now
        self._start, self._runs = usual.session_parts(session)
        self._round_s = [usual.run_s(workload) for workload in session["workloads"].values()]
        about = (session["environment"], session["system"], str(session["boot"]))
        count = session["repetitions"] * len(self._round_s)
        self._step = Step(usual.MEASURE, about, (), (self._start, self._runs), count)
        self._began_s = now()
        self._first_s: float | None = None

    def begins(self, run: int, runs: int) -> None:
        """A run begins, the first being 1, of so many of this session: say so, and note what was seen."""
        now_s = self._now()
        if self._first_s is None:
            self._first_s = now_s
            paces.note(self._pace_file, paces.observed(self._start, now_s - self._began_s))
        if run == runs > 1:
            paces.note(self._pace_file, paces.observed(self._runs, self._all_runs_s(run, now_s)))
        log.info("%s: run %d of %d, %s", _title(self._step), run, runs, left_text(self.left_s(run, now_s)))

    def left_s(self, run: int, now_s: float) -> float:
        """Expected time from the begin of a run, `now_s`, to the end of all steps, in s."""
        share = 1.0 - self._usual_s(run - 1) / self._usual_s(self._step.runs)
        rest_s = share * self._all_runs_s(run, now_s)
        plan = plans.load_plan(self._plan_file)
        if self._step.name not in plan.running:
            return max(LEAST_S, rest_s)
        return left_s(plan, paces.load_pace(self._pace_file), now_s, {self._step.name: rest_s})

    def _all_runs_s(self, run: int, now_s: float) -> float:
        """Expected duration of all runs of the session, by those before this one if there are any."""
        if run == 1 or self._first_s is None:
            return paces.load_pace(self._pace_file).expected_s(self._runs)
        return (now_s - self._first_s) * self._usual_s(self._step.runs) / self._usual_s(run - 1)

    def _usual_s(self, runs: int) -> float:
        """Usual duration of the first runs; a round of them has each workload once."""
        rounds, others = divmod(runs, len(self._round_s))
        return rounds * sum(self._round_s) + sum(self._round_s[:others])


def _title(step: Step) -> str:
    """A step as people know it."""
    if step.rule != usual.MEASURE:
        return step.name
    session = step.session
    return f"{session.environment} {session.system} boot {session.boot}"


def _duration_s(plan: Plan, rest_s: Mapping[str, float], stage: int) -> float:
    """Duration of a stage's steps, which start in this order once a core and their computers are free."""
    core_free_s = [0.0] * plan.cores
    computer_free_s: dict[str, float] = {}
    for step in plan.steps:
        if step.stage != stage or step.name not in rest_s:
            continue
        core = core_free_s.index(min(core_free_s))
        start_s = max(core_free_s[core], *(computer_free_s.get(name, 0.0) for name in step.computers))
        end_s = start_s + rest_s[step.name]
        core_free_s[core] = end_s
        computer_free_s.update(dict.fromkeys(step.computers, end_s))
    return max([*core_free_s, *computer_free_s.values()])
