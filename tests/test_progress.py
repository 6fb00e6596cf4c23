"""Estimates that are true: of a run on a computer of any speed, and what people are told of it.

Runs are played on a clock that the test sets. No time of this computer is in it.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hvcost.planning import config, pace, plan, progress, usual
from hvcost.planning.experiment import Experiment
from hvcost.planning.usual import Part

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "config/schema.yaml"
LINK = {"link": {"rate_mbit": 1000, "network": "198.18.1.0/24"}}
ENDS = {"host": {"connection": "emulated"}, "client": {"connection": "local"}}
SYSTEMS = ("bare-metal", "xen", "virtualbox", "qemu", "kvm")
ANALYSIS = ("describe_experiment", "parse_repetitions", "analyse_environment", "make_report")
BUILDS = ("build_guest_image", "build_host_image")


def experiment(**changes: Any) -> Experiment:
    """The default experiment with another seed, or with whatever is changed."""
    environments = {
        f"env{number}": {"link": {"rate_mbit": 1000, "network": f"198.18.{number}.0/24"}} | ENDS
        for number in (1, 2)
    }
    content = {
        "systems": {name: {"hypervisor": name} for name in SYSTEMS},
        "environments": environments,
    }
    return config.experiment(content | changes, SCHEMA)


def machines(name: str) -> dict[str, Any]:
    """Two real machines."""
    return {
        end: {"connection": "ssh", "address": f"{name}-{end}.example", "interface": "eth1"} for end in ENDS
    }


def plan_of(content: Experiment, cores: int = 1) -> plan.Plan:
    """The plan of a run from nothing to the report."""
    sessions = [(s.environment, s.system, str(s.boot)) for s in plan.sessions(content)]
    jobs: list[tuple[str, tuple[str, ...]]] = [
        *((rule, ()) for rule in (*ANALYSIS, *BUILDS)),
        *((usual.MEASURE, session) for session in reversed(sessions)),
        *((usual.PREPARE, (name,)) for name in content.environments),
    ]
    return plan.make(content, jobs, cores)


@dataclass(frozen=True)
class Said:
    """What was said at a moment: the time of it, and how long the rest was expected to take. In s.

    `hypervisors`: of how many there had been runs by then.
    """

    at_s: float
    left_s: float
    hypervisors: int = 0


# How long a part of a step takes, in s.
Truth = Callable[[Part], float]


class Computer:
    """Plays runs on a clock of its own, step by step as Snakemake and the programs do it on a real one."""

    def __init__(self, folder: Path, truth: Truth) -> None:
        self.plan_file = folder / "plan.json"
        self.pace_file = folder / "pace.jsonl"
        self.truth = truth
        self.now_s = 1_000_000.0
        self.said: list[Said] = []
        self.hypervisors: set[str] = set()

    def clock(self) -> float:
        return self.now_s

    def run(self, content: Experiment) -> list[Said]:
        """Play all steps; what was said meanwhile."""
        current = plan_of(content)
        plan.write(current, self.plan_file)
        self.said = []
        self.say(progress.left_s(current, pace.load_pace(self.pace_file), self.now_s))
        log = progress.StepLog(current, self.plan_file, self.pace_file, self.clock)
        for number, step in enumerate(current.steps):
            keys = ("env", "system", "boot")
            wildcards = dict(zip(keys, step.about, strict=False))
            log.emit(event("job_info", rule_name=step.rule, wildcards=wildcards, jobid=number))
            seen = pace.load_pace(self.pace_file)
            self.say(progress.left_s(plan.load_plan(self.plan_file), seen, self.now_s))
            if step.rule == usual.MEASURE:
                self.measure(content.session_spec(step.about[0], step.about[1], int(step.about[2])))
            else:
                self.now_s += self.truth(step.parts[0])
            log.emit(event("job_finished", job_id=number))
        return self.said

    def say(self, left_s: float) -> None:
        self.said.append(Said(self.now_s, left_s, len(self.hypervisors)))

    def measure(self, session: dict[str, Any]) -> None:
        watch = progress.SessionWatch(self.plan_file, self.pace_file, session, self.clock)
        start, runs = usual.session_parts(session)
        self.now_s += self.truth(start)
        count = session["repetitions"] * len(session["workloads"])
        duration_s = self.truth(runs)
        for run in range(1, count + 1):
            watch.begins(run, count)
            self.say(watch.left_s(run, self.now_s))
            self.now_s += duration_s / count
        self.hypervisors.add(session["hypervisor"])


def event(name: str, **about: Any) -> logging.LogRecord:
    """A message of Snakemake's logger."""
    record = logging.LogRecord("snakemake", logging.INFO, __file__, 1, "", (), None)
    record.__dict__.update(event=name, **about)
    return record


def times(k: float) -> Truth:
    """Everything takes k times as long, but for the seconds that a tool measures."""
    return lambda part: part.fixed_s + k * part.usual_s


def times_all(k: float) -> Truth:
    """Everything takes k times as long, even a tool's seconds."""
    return lambda part: k * (part.fixed_s + part.usual_s)


def uneven(seed: int) -> Truth:
    """Hypervisors are slowed down unequally, as was seen on a slow computer; nothing is steady."""
    start = {"qemu": 3.2, "virtualbox": 1.2, "kvm": 1.0, "xen": 1.4, "bare-metal": 1.5}
    between = {"qemu": 4.0, "virtualbox": 3.0, "kvm": 2.0, "xen": 2.0, "bare-metal": 1.0}
    draw = random.Random(seed)

    def duration_s(part: Part) -> float:
        ratio = 2.0
        if "start" in part.kind:
            ratio = start[part.kind[2]]
        elif "runs" in part.kind:
            ratio = between[part.kind[2]]
        return part.fixed_s + part.usual_s * ratio * draw.uniform(0.9, 1.1)

    return duration_s


def check_true(said: list[Said], end_s: float, slack_s: float = 0.0) -> None:
    """Whether everything that was said is within 25 % of what was left, or within some seconds of it."""
    assert said
    for one in said:
        true_s = end_s - one.at_s
        assert abs(one.left_s - true_s) <= max(0.25 * true_s, slack_s), (one, true_s)


@pytest.mark.parametrize("truth", [times, times_all])
@pytest.mark.parametrize("k", [0.5, 1.0, 3.0, 10.0])
def test_time_left_is_true_in_the_second_half(
    k: float, truth: Callable[[float], Truth], tmp_path: Path
) -> None:
    computer = Computer(tmp_path, truth(k))
    said = computer.run(experiment())
    half_s = (said[0].at_s + computer.now_s) / 2
    late = [one for one in said if one.at_s >= half_s]
    check_true(late, computer.now_s, slack_s=progress.LEAST_S)
    assert min(one.left_s for one in said) >= 1.0


@pytest.mark.parametrize("seed", range(6))
def test_time_left_is_true_when_each_hypervisor_was_seen_once(seed: int, tmp_path: Path) -> None:
    computer = Computer(tmp_path, uneven(seed))
    said = computer.run(experiment(seed=seed))
    half_s = (said[0].at_s + computer.now_s) / 2
    late = [one for one in said if one.at_s >= half_s and one.hypervisors == len(SYSTEMS)]
    check_true(late, computer.now_s, slack_s=10.0)


def test_next_plan_knows_the_computer(tmp_path: Path) -> None:
    computer = Computer(tmp_path, uneven(1))
    computer.run(experiment())
    said = computer.run(experiment(repetitions=20, workloads={"tcp": {"tool": "iperf", "duration_s": 3}}))
    check_true(said, computer.now_s)


def test_workloads_of_different_durations(tmp_path: Path) -> None:
    workloads = {name: {"tool": "iperf", "duration_s": s} for name, s in (("short", 3), ("long", 60))}
    content = experiment(
        workloads=workloads, systems={"kvm": {"hypervisor": "kvm"}}, environments={"here": LINK | ENDS}
    )
    durations_s = [usual.run_s(workload) for workload in workloads.values()] * content.repetitions
    computer = Computer(tmp_path, times(1.0))
    plan.write(plan.make(content, [], 1), computer.plan_file)
    session = content.session_spec("here", "kvm", 1)
    watch = progress.SessionWatch(computer.plan_file, computer.pace_file, session, computer.clock)
    for run, duration_s in enumerate(durations_s, 1):
        watch.begins(run, len(durations_s))
        assert watch.left_s(run, computer.now_s) == pytest.approx(sum(durations_s[run - 1 :]))
        computer.now_s += duration_s


def test_lines_name_the_step_and_can_be_read_in_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    computer = Computer(tmp_path, times(3.0))
    content = experiment(seed=2010)
    computer.run(content)
    lines = capsys.readouterr().err.splitlines()
    names = [
        f"{step.about[0]} {step.about[1]} boot {step.about[2]}" if step.runs else step.name
        for step in plan_of(content).steps
    ]
    assert len(lines) == len(names) == 18
    for number, (line, name) in enumerate(zip(lines, names, strict=True), 1):
        assert line.startswith(f"step {number} of 18: {name}, about ")
    assert len(caplog.messages) == 100
    assert caplog.messages[0].startswith(f"{names[4]}: run 1 of 10, about ")
    for line in (*lines, *caplog.messages):
        assert line.endswith(" left")
        assert line.isprintable()
        assert "about 0 s" not in line


def test_steps_come_in_the_order_in_which_they_are_run() -> None:
    content = experiment()
    current = plan_of(content)
    rules = [step.rule for step in current.steps]
    assert rules[:4] == [*BUILDS, usual.PREPARE, usual.PREPARE]
    assert [step.session for step in current.todo] == list(plan.sessions(content))
    assert sorted(rules[-4:]) == sorted(ANALYSIS)


def test_a_step_that_failed_is_over_and_teaches_nothing(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    current = plan_of(experiment())
    plan.write(current, file)
    log = progress.StepLog(current, file, tmp_path / pace.FILE, lambda: 0.0)
    log.emit(event("job_info", rule_name=usual.PREPARE, wildcards={"env": "env1"}, jobid=7))
    assert plan.load_plan(file).running == {"prepare_host env1": 0.0}
    log.emit(event("job_error", jobid=7))
    assert plan.load_plan(file).ended == ("prepare_host env1",)
    assert not pace.load_pace(tmp_path / pace.FILE).seen


def test_what_is_no_step_of_the_plan_is_not_heard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = (tmp_path / "plan.json", tmp_path / pace.FILE)
    log = progress.StepLog(plan_of(experiment()), *files, lambda: 0.0)
    log.emit(event("job_info", rule_name="all", wildcards=None, jobid=1))
    log.emit(event("job_finished", job_id=1))
    log.emit(event("job_finished", job_id=2))
    log.emit(event("progress", done=1, total=2))
    assert not capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_step_that_is_late_is_not_over() -> None:
    content = experiment(systems={"kvm": {"hypervisor": "kvm"}}, environments={"here": LINK | ENDS})
    current = plan.whole(content, 1).begun("measure_session here kvm 1", 0.0)
    assert progress.left_s(current, pace.Pace(), 10_000.0) == progress.LEAST_S
    assert progress.left_s(current.done("measure_session here kvm 1"), pace.Pace(), 0.0) == 0.0


def test_session_that_is_run_by_hand_is_all_that_is_left(tmp_path: Path) -> None:
    content = experiment()
    file = tmp_path / "plan.json"
    plan.write(plan.make(content, [], 1), file)
    session = content.session_spec("env1", "kvm", 1)
    watch = progress.SessionWatch(file, tmp_path / pace.FILE, session, lambda: 0.0)
    _, runs = usual.session_parts(session)
    assert watch.left_s(1, 0.0) == runs.usual_s + runs.fixed_s


def test_kinds_that_are_most_alike_say_how_long_it_takes(tmp_path: Path) -> None:
    def part(*kind: str) -> Part:
        return Part(kind, 10.0)

    seen = {
        ("here", "prepare", "env1"): 20.0,
        ("here", "start", "kvm", "env1"): 30.0,
        ("here", "start", "qemu", "env1"): 70.0,
        ("there", "start", "kvm", "env2"): 990.0,
    }
    for kind, took_s in seen.items():
        pace.note(tmp_path / pace.FILE, pace.observed(part(*kind), took_s))
    known = pace.load_pace(tmp_path / pace.FILE)
    assert known.expected_s(part("here", "start", "kvm", "env1")) == 30.0
    assert known.expected_s(part("here", "start", "qemu", "env2")) == 70.0
    assert known.expected_s(part("here", "start", "xen", "env1")) == 50.0
    assert known.expected_s(part("here", "analysis")) == 30.0
    assert known.expected_s(part("builds")) == 10.0


def test_a_computer_that_became_busy_is_noticed(tmp_path: Path) -> None:
    kind = Part(("here", "start", "kvm"), 10.0)
    for took_s in (10.0, 10.0, 10.0, 10.0, 40.0, 40.0):
        pace.note(tmp_path / pace.FILE, pace.observed(kind, took_s))
    assert pace.load_pace(tmp_path / pace.FILE).expected_s(kind) == 40.0


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "{}", '{"computer": "elsewhere", "kind": ["a"], "usual_s": 1.0, "took_s": 9.0}']
)
def test_what_is_no_observation_of_this_computer_says_nothing(line: str, tmp_path: Path) -> None:
    file = tmp_path / pace.FILE
    assert not pace.load_pace(file).seen
    pace.note(file, pace.observed(Part(("a",), 1.0), 2.0))
    with file.open("a") as stream:
        stream.write(line)
    assert pace.load_pace(file).expected_s(Part(("a",), 1.0)) == 2.0


# --- the plan in words ---------------------------------------------------------------------------


def test_text_of_a_new_computer() -> None:
    first, before, *sessions, after = progress.as_text(plan_of(experiment()), pace.Pace()).splitlines()
    assert first.startswith("To measure: 10 sessions, 100 runs, about ")
    assert first.endswith("as on a usual computer: nothing was seen of this one yet")
    assert "build_guest_image, build_host_image, prepare_host env1, prepare_host env2, about " in before
    assert len(sessions) == 10
    assert any("env1 kvm boot 1: 10 runs, about 2 min" in line for line in sessions)
    assert after.strip() == "after that: 4 steps of analysis"


def test_text_says_what_it_is_from(tmp_path: Path) -> None:
    Computer(tmp_path, times(3.0)).run(experiment())
    known = pace.load_pace(tmp_path / pace.FILE)
    text = progress.as_text(plan_of(experiment()), known)
    assert text.splitlines()[0].endswith("by what this computer was seen to do")
    lab = {"link": {"rate_mbit": 1000, "network": "198.18.9.0/24"}} | machines("lab")
    mixed = plan_of(experiment(environments={"lab": lab, "env1": LINK | ENDS}))
    assert "by what this computer was seen to do, the rest as usual" in progress.as_text(mixed, known)


def test_text_with_nothing_to_measure() -> None:
    nothing = plan.make(experiment(), [], 1)
    assert progress.as_text(nothing, pace.Pace()) == "There is nothing to measure: all sessions are there."
    rest = plan.make(experiment(), [("make_report", ()), ("analyse_environment", ())], 1)
    text = progress.as_text(rest, pace.Pace())
    assert text.startswith("There is nothing to measure. The rest: 2 steps, about 16 s, as on a usual")


# --- sessions and computers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "hypervisor", "start_s"),
    [
        ("emulated", "bare-metal", 10.0),
        ("emulated", "kvm", 18.0),
        ("emulated", "qemu", 120.0),
        ("local", "bare-metal", 5.0),
        ("local", "qemu", 20.0),
    ],
)
def test_usual_start_of_a_session(connection: str, hypervisor: str, start_s: float) -> None:
    content = experiment(
        systems={"one": {"hypervisor": hypervisor}},
        environments={"here": LINK | ENDS | {"host": {"connection": connection}}},
    )
    start, runs = usual.session_parts(content.session_spec("here", "one", 1))
    assert start.usual_s == start_s
    assert (runs.fixed_s, runs.usual_s) == (100.0, 10 * usual.BETWEEN_RUNS_S)


@pytest.mark.parametrize(("connection", "prepare_s"), [("emulated", 20.0), ("local", 5.0)])
def test_preparation_that_starts_no_machine_is_no_measure_of_one(connection: str, prepare_s: float) -> None:
    here = LINK | ENDS | {"host": {"connection": connection}}
    content = experiment(systems={"one": {"hypervisor": "bare-metal"}}, environments={"here": here})
    (part,) = usual.parts(content, usual.PREPARE, ("here",))
    assert part.usual_s == prepare_s


def test_one_computer_gains_nothing_from_cores() -> None:
    one, many = (progress.left_s(plan.whole(experiment(), cores), pace.Pace(), 0.0) for cores in (1, 8))
    assert one == many


def test_computers_of_their_own_work_at_the_same_time() -> None:
    environments = {
        name: {
            "link": {"rate_mbit": 1000, "network": f"198.18.{number}.0/24"},
            **machines(name),
        }
        for number, name in enumerate(("lab1", "lab2"), 1)
    }
    one, two, many = (
        progress.left_s(plan.whole(experiment(environments=environments), cores), pace.Pace(), 0.0)
        for cores in (1, 2, 10**18)
    )
    assert two < 0.8 * one
    assert many < 0.8 * one
