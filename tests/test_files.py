"""Outputs are complete or not there: every program of the analysis on a disk that is full."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hvcost import files
from workspace import ROOT

pytestmark = pytest.mark.slow

# Less than any output has; the log has to fit.
ROOM_BYTES = 600
# What each rule of the analysis writes, from the folder of results, and how its program is called there.
RULES = {
    "parse_repetitions": (
        "env1/measurements/kvm.csv",
        "--output {output} --raw env1/raw/kvm --boots 1 --repetitions 10 --workloads tcp",
    ),
    "collect_measurements": (
        "env1/measurements.csv",
        "--output {output} env1/measurements/kvm.csv env1/measurements/bare-metal.csv",
    ),
    "describe_experiment": ("described.json", "--experiment {experiment} --output {output}"),
    "compute_statistics": (
        "env1/statistics.csv",
        "--environment {environment} --boots 1 --seed 1 --measurements env1/measurements.csv "
        "--output {output}",
    ),
    "compare_systems": (
        "comparisons.csv",
        "--experiment experiment.json --output {output} env1/measurements.csv env2/measurements.csv",
    ),
    "judge_claims": (
        "claims.csv",
        "--experiment experiment.json --output {output} env1/measurements.csv env2/measurements.csv",
    ),
    "plot_environment": (
        "env1/figures",
        "--environment {environment} --measurements env1/measurements.csv --host env1/host.json "
        "--output {output}",
    ),
    "plot_comparison": (
        "figures",
        "--environments {environments} --statistics env1/statistics.csv env2/statistics.csv "
        "--output {output} -- env1/measurements.csv env2/measurements.csv",
    ),
    "make_report": ("report.html", "--experiment experiment.json --results . --output {output}"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample study, analysed; not to be changed."""
    folder = tmp_path_factory.mktemp("full") / "results"
    with tarfile.open(ROOT / "tests/data/study.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    subprocess.run([sys.executable, ROOT / "scripts/reanalyse.py", folder], check=True, capture_output=True)
    return folder


def run(rule: str, folder: Path, room_bytes: int) -> int:
    """Exit code of a rule's program where no file may grow beyond so many bytes."""
    output, line = RULES[rule]
    experiment = json.loads((folder / "experiment.json").read_text())
    values = {
        "output": output,
        "experiment": json.dumps(experiment),
        "environment": json.dumps(experiment["environments"][0]),
        "environments": json.dumps(experiment["environments"]),
    }
    arguments = [part.format(**values) if part.startswith("{") else part for part in line.split()]
    return subprocess.run(
        [sys.executable, ROOT / f"scripts/{rule}.py", *arguments],
        cwd=folder,
        capture_output=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, resource.RLIM_INFINITY)),
    ).returncode


def content(path: Path) -> dict[str, bytes]:
    """Files below a path, or the file itself."""
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return {str(file): file.read_bytes() for file in found if file.is_file()}


@pytest.mark.parametrize("rule", RULES)
def test_on_a_full_disk_an_output_is_what_it_was_or_not_there(
    rule: str, results: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    output = folder / RULES[rule][0]
    if rule == "describe_experiment":
        shutil.copy(folder / "experiment.json", output)
    before = content(output)
    assert run(rule, folder, ROOM_BYTES) != 0
    assert content(output) == before
    shutil.rmtree(output) if output.is_dir() else output.unlink()
    assert run(rule, folder, ROOM_BYTES) != 0
    assert content(output) == {}
    assert not list(folder.rglob("*.partial"))
    assert run(rule, folder, 2**30) == 0
    assert content(output)


def test_every_rule_of_the_analysis_is_tried() -> None:
    rules = [
        line.removeprefix("rule ").removesuffix(":")
        for part in ("analyse", "report")
        for line in (ROOT / f"rules/{part}.smk").read_text().splitlines()
        if line.startswith("rule ")
    ]
    assert sorted(rules) == sorted(RULES)


def test_a_file_is_what_it_was_when_its_writer_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "new/file"
    files.write_text(path, "before")
    with pytest.raises(KeyboardInterrupt), files.replaced(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert content(tmp_path) == {str(path): b"before"}
