"""What a run of the workflow says: warnings, what it is about to do, and what came of it.

The workflow hands over which jobs it has to do, and prints the texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hvcost.environments import acceleration
from hvcost.errors import ConfigError
from hvcost.machines import user_namespace
from hvcost.model.record import is_played
from hvcost.planning import outcome, pace, plan, progress, sweeps, usual
from hvcost.planning.experiment import Experiment
from hvcost.planning.progress import StepLog

# Rules that nothing is measured for: one only says how long everything takes, one takes changes back.
CHECK = "check"
RESTORE = "restore"


@dataclass(frozen=True)
class Job:
    """A job that is to be done: its rule, and the rule's wildcards by name."""

    rule: str
    wildcards: Mapping[str, str]


def check_folder(experiment: Experiment, checkout: Path) -> None:
    """ConfigError if another experiment's results are where this one's are to be.

    Folders of experiments and of the environments of the one in `results` are beside each other there.
    """
    results = checkout / experiment.results
    if results.parent != checkout and any((results / name).exists() for name in ("host.json", "raw")):
        raise ConfigError(
            f"results: {experiment.results} holds an environment of another experiment; "
            "allowed: a folder of its own; take another name, or move that one away"
        )
    for name in experiment.environments:
        if any((results / name / file).exists() for file in ("experiment.json", "plan.json")):
            raise ConfigError(
                f"environments.{name}: {experiment.results}/{name} holds another experiment; "
                "allowed: a folder of its own; take another name, or move that one away"
            )


def played_otherwise(experiment: Experiment, results: Path) -> dict[str, dict[str, str]]:
    """By environment, what played the host of sessions for which it is now played in another way."""
    return {name: acceleration.measured_otherwise(host) for name, host in _hosts(experiment, results).items()}


def warnings(experiment: Experiment, results: Path, otherwise: Mapping[str, Mapping[str, str]]) -> list[str]:
    """What a reader has to know whatever is run; `otherwise` as of `played_otherwise`.

    Raw files whose host is not prepared stay as they are. Sessions are measured again if their host is now
    played in another way.
    """
    missing = [
        f"{host} is missing: what was measured in {name} stays as it is, whatever changes. "
        f"Prepare the host again: snakemake --force {host}"
        for name, host in _hosts(experiment, results).items()
        if not host.is_file() and any(host.parent.glob("raw/*/*/*.json"))
    ]
    played = [f"{name} host: {acceleration.said_of(found)}" for name, found in otherwise.items() if found]
    return missing + played


def at_start(
    experiment: Experiment,
    jobs: Iterable[Job],
    cores: int,
    plan_file: Path,
    pace_file: Path,
    *,
    is_here: bool = True,
) -> tuple[str, StepLog | None]:
    """What is printed before the first job, and what watches the jobs then; the plan is written for them.

    `is_here`: whether jobs are done on this computer. MachineError, before anything is done, if it does not
    let this user do one; the nodes of a cluster say so themselves.
    """
    every = list(jobs)
    rules = {job.rule for job in every}
    if RESTORE in rules:
        return "", None
    seen = pace.load_pace(pace_file)
    if CHECK in rules:
        return progress.as_text(plan.whole(experiment, cores), seen), None
    if is_here and any(_is_apart(experiment, job) for job in every):
        user_namespace.check()
    made = plan.make(experiment, [(job.rule, tuple(job.wildcards.values())) for job in every], cores)
    plan.write(made, plan_file)
    said = filter(None, (progress.as_text(made, seen), sweeps.as_text(experiment.sweeps)))
    return "\n".join(said), StepLog(made, plan_file, pace_file)


def at_end(plan_file: Path, results: Path, logs: Path, since_s: float) -> str:
    """What is printed after the last job of a run that began at `since_s`, Unix time.

    Nothing if it ended before its plan was made.
    """
    if not plan_file.is_file() or plan_file.stat().st_mtime < since_s:
        return ""
    return outcome.as_text(outcome.of_run(plan.load_plan(plan_file), results, logs, since_s), results)


def _is_apart(experiment: Experiment, job: Job) -> bool:
    """Whether a job does its work in namespaces of its own."""
    if job.rule in (usual.PREPARE, usual.MEASURE):
        return is_played(experiment.environment(job.wildcards["env"]).host)
    return job.rule in usual.BUILD_S


def _hosts(experiment: Experiment, results: Path) -> dict[str, Path]:
    return {name: results / name / "host.json" for name in experiment.environments}
