"""How time and memory of the analysis grow: synthetic raw files, and every step from them to the report.

    PYTHONPATH=scripts python tests/measure_scale.py    # 1,000 and 10,000 repetitions; 400 MB in /tmp

Prints a line per step of the workflow, and one of scripts/reanalyse.py, which does all of them in one
process: seconds of processor time, which other work on the computer changes less than the time on the clock,
and the largest memory of a process. A step that takes more than ten times as long for ten times the
repetitions is worse than linear.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from factories import HOST, raw_records, witness, write_raw
from hvcost.model import description
from hvcost.model.record import Command
from hvcost.planning import config

SCRIPTS = Path(__file__).parents[1] / "scripts"

CONFIG = SCRIPTS.parent / "config"
MEANS_BPS = {"bare-metal": 567e6, "xen": 416e6, "virtualbox": 30e6, "kvm": 184e6, "qemu": 41e6}
# As many command lines as a session of the default experiment has before and in a repetition.
COMMAND = Command("env1 host", ("ip", "link", "show", "dev", "measured0", "x" * 200), 0, 0.01)
START, OWN = (COMMAND,) * 50, (COMMAND,) * 10
WITNESSES = {role: witness(f"env1 {role}") for role in ("client", "server", "host")}


@dataclass(frozen=True)
class Step:
    """What one program took: processor time, and the largest memory of its process."""

    name: str
    cpu_s: float
    memory_mib: float


def results_of(repetitions: int, folder: Path) -> None:
    """A folder of results with so many repetitions in all: five systems, two environments, ten boots."""
    content = yaml.safe_load((CONFIG / "config.yaml").read_text())
    content |= {"boots": 10, "repetitions": repetitions // 100}
    content["workloads"] = {"tcp": content["workloads"]["tcp"]}
    experiment = config.experiment(content, CONFIG / "schema.yaml")
    folder.mkdir(parents=True)
    (folder / "experiment.json").write_text(description.as_text(experiment.description()))
    for environment in experiment.environments:
        records = raw_records(
            MEANS_BPS, environment=environment, boots=10, repetitions=experiment.repetitions
        )
        write_raw(
            [replace(record, start=START, commands=OWN, witnesses=WITNESSES) for record in records], folder
        )
        (folder / environment / "host.json").write_text(json.dumps(HOST | {"environment": environment}))


def steps(folder: Path) -> list[Step]:
    """Every program of the analysis as the workflow runs it, one after the other."""
    experiment = json.loads((folder / "experiment.json").read_text())
    specs = {spec["environment"]: json.dumps(spec) for spec in experiment["environments"]}
    taken = []
    for name, spec in specs.items():
        place = folder / name
        parts = [place / f"measurements/{system}.csv" for system in MEANS_BPS]
        for part in parts:
            raw = ("--raw", place / "raw" / part.stem, "--workloads", *experiment["workloads"])
            plan = ("--boots", experiment["boots"], "--repetitions", experiment["repetitions"])
            taken.append(run("parse_repetitions", *raw, *plan, "--output", part))
        planned = ("--environment", spec, "--boots", 10, "--seed", 2010, "--host", place / "host.json")
        taken.append(run("analyse_environment", *planned, "--output", place, *parts))
    described = ("--experiment", folder / "experiment.json", "--results", folder)
    taken.append(run("make_report", *described, "--output", folder / "report.html"))
    return taken


def run(name: str, *arguments: object) -> Step:
    """One program in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, SCRIPTS / f"{name}.py", *map(str, arguments)], stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} ended with exit code {os.waitstatus_to_exitcode(status)}")
    return Step(name, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main() -> None:
    """Measure both sizes and print them side by side."""
    columns, whole = [], []
    for repetitions in (1_000, 10_000):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch, "results")
            results_of(repetitions, folder)
            columns.append(steps(folder))
            whole.append(run("reanalyse", folder))
    print(f"{'step':22}{'1,000 repetitions':>24}{'10,000 repetitions':>24}")
    for name in dict.fromkeys(step.name for step in columns[0]):
        print(
            f"{name:22}"
            + "".join(_cell([step for step in column if step.name == name]) for column in columns)
        )
    print(f"{'all':22}" + "".join(_cell(column) for column in columns))
    print(f"{'reanalyse':22}" + "".join(_cell([step]) for step in whole))


def _cell(taken: list[Step]) -> str:
    cpu_s = sum(step.cpu_s for step in taken)
    return f"{cpu_s:12.1f} s{max(step.memory_mib for step in taken):6.0f} MiB"


if __name__ == "__main__":
    main()
