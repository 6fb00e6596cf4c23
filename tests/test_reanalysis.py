"""Analysis anywhere: real raw files of the default experiment, analysed again with nothing but Python.

tests/data/study.tar.xz holds what a run of config/config.yaml left: experiment.json, and of each environment
host.json and raw/. tests/data/study/ holds the tables that were made of it.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hvcost.analysis import rows

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"
# The study's kernels were not read for what TCP sent again, and its runs were of one stream.
NEVER_MEASURED = {"retransmissions", "fairness"}
TABLES = ("env1/statistics.csv", "env2/statistics.csv", "comparisons.csv", "claims.csv")


def unpacked(folder: Path) -> Path:
    """The sample in a folder of its own."""
    with tarfile.open(DATA / "study.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def reanalysed(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The folder after scripts/reanalyse.py, on a computer without a single other program."""
    nothing = folder.parent / "nothing"
    nothing.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, ROOT / "scripts/reanalyse.py", folder],
        env={"PATH": str(nothing), "HOME": str(nothing)} | environment,
        cwd=nothing,
        capture_output=True,
        text=True,
        check=False,
    )


def change_description(folder: Path, **changes: Any) -> None:
    """Change the folder's experiment.json as another configuration would have it."""
    path = folder / "experiment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, analysed; not to be changed."""
    folder = unpacked(tmp_path_factory.mktemp("one") / "study")
    said = reanalysed(folder)
    assert said.returncode == 0, said.stderr
    return folder


def test_tables_are_those_that_were_recorded(study: Path) -> None:
    for table in TABLES:
        assert (study / table).read_text() == (DATA / "study" / table).read_text(), table


@pytest.mark.parametrize("table", TABLES)
def test_figures_of_throughput_are_those_of_the_time_when_there_was_no_other_metric(
    study: Path, table: str
) -> None:
    """study-one-metric/ holds the tables as they were then.

    Its columns named bit/s in themselves, and what is an `effect` now was always a ratio.
    """
    with (DATA / "study-one-metric" / table).open(newline="") as old, (study / table).open(newline="") as new:
        before = [
            {re.sub("^ratio", "effect", name.removesuffix("_bps")): value for name, value in row.items()}
            for row in csv.DictReader(old)
        ]
        now = [row for row in csv.DictReader(new) if row["metric"] == "throughput"]
    assert before
    assert [{name: row[name] for name in before[0]} for row in now] == before


def test_everything_is_the_same_bytes_elsewhere(study: Path, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "a longer way" / "to the study")
    again = {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "COLUMNS": "40"}
    assert reanalysed(folder, **again).returncode == 0
    assert contents(folder) == contents(study)


def test_raw_files_are_not_touched(study: Path, tmp_path: Path) -> None:
    before = contents(unpacked(tmp_path / "before"))
    after = contents(study)
    assert {name: after[name] for name in before} == before


def test_all_repetitions_of_the_study_are_there(study: Path) -> None:
    cells = [
        cell
        for environment in ("env1", "env2")
        for cell in rows.read(rows.CellStatistics, study / environment / "statistics.csv")
    ]
    assert {(cell.planned, cell.failed) for cell in cells} == {(10, 0)}
    assert {cell.metric for cell in cells if cell.ok != 10} == NEVER_MEASURED
    assert [cell.metric for cell in cells].count("throughput") == 10
    assert [cell.metric for cell in cells].count("host_cpu") == 10


def test_a_system_without_raw_files_is_left_out_and_named(study: Path, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "study")
    for environment in ("env1", "env2"):
        shutil.rmtree(folder / environment / "raw/virtualbox")
    assert reanalysed(folder).returncode == 0
    page = (folder / "report.html").read_text()
    assert "VirtualBox was planned, but" in page
    claims = [row for row in rows.read(rows.ClaimVerdict, folder / "claims.csv") if row.claim == "C1"]
    assert {row.claim_verdict for row in claims} == {rows.INCONCLUSIVE}
    assert [row.note for row in claims] == [f"virtualbox in env{n} was not measured" for n in (1, 2)]


def test_an_environment_without_raw_files_is_left_out(study: Path, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "study")
    shutil.rmtree(folder / "env2")
    assert reanalysed(folder).returncode == 0
    assert not (folder / "env2").exists()
    assert "was planned, but" in (folder / "report.html").read_text()


def test_leftovers_of_an_older_configuration_are_left_out_and_named(tmp_path: Path) -> None:
    """More repetitions, sessions, workloads and systems were measured than are planned now."""
    old, clean = (unpacked(tmp_path / name / "study") for name in ("old", "clean"))
    for session in list(old.glob("env*/raw/*/boot1")):
        for raw in list(session.iterdir()):
            another = json.loads(raw.read_text()) | {"workload": "upload"}
            (session / raw.name.replace("tcp", "upload")).write_text(json.dumps(another))
            second = json.loads(raw.read_text()) | {"boot": 2}
            path = session.with_name("boot2") / raw.name
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(second))
    for raw in clean.glob("env*/raw/*/boot1/*"):
        if int(raw.stem.removeprefix("tcp-")) > 5:
            raw.unlink()
    shutil.rmtree(clean / "env2/raw/kvm")
    for folder in (old, clean):
        environments = json.loads((folder / "experiment.json").read_text())["environments"]
        environments[1]["systems"] = [each for each in environments[1]["systems"] if each["system"] != "kvm"]
        change_description(folder, repetitions=5, environments=environments)
    said = reanalysed(old)
    assert said.returncode == 0, said.stderr
    assert reanalysed(clean).returncode == 0
    made, expected = contents(old), contents(clean)
    assert {name: made[name] for name in expected} == expected
    left_out = set(made) - set(expected)
    assert {Path(name).parts[1] for name in left_out} == {"raw"}
    assert (
        f"left out {len(left_out)} raw files that experiment.json does not plan, such as env" in said.stderr
    )


def test_what_only_leftovers_are_there_of_was_not_measured(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "study")
    for raw in (folder / "env2/raw").glob("*/boot1/*.json"):
        raw.rename(raw.with_name(raw.name.replace("tcp", "upload")))
    for raw in (folder / "env1/raw/kvm/boot1").glob("*.json"):
        raw.rename(raw.with_name(raw.name.replace("tcp", "upload")))
    said = reanalysed(folder)
    assert said.returncode == 0, said.stderr
    assert not (folder / "env2/statistics.csv").exists()
    assert "KVM was planned, but" in (folder / "report.html").read_text()


def test_one_session_of_ten_is_not_taken_for_ten_values(study: Path, tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "study")
    shutil.rmtree(folder / "env2")
    change_description(folder, boots=10)
    assert reanalysed(folder).returncode == 0
    every = rows.read(rows.CellStatistics, folder / "env1/statistics.csv")
    cells = [cell for cell in every if cell.metric not in NEVER_MEASURED]
    assert {(cell.level, cell.values, cell.effect_low) for cell in cells} == {("session", 1, None)}
    comparisons = rows.read(rows.PairComparison, folder / "comparisons.csv")
    assert {row.verdict for row in comparisons} == {rows.TOO_FEW}
    claims = rows.read(rows.ClaimVerdict, folder / "claims.csv")
    assert {row.verdict for row in claims} == {rows.INCONCLUSIVE}
    assert "A value is the mean of a session" in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("remove", "complaint"),
    [
        ("experiment.json", "experiment.json: not an experiment's description"),
        ("env1/host.json", "env1/host.json: not facts of a host"),
        ("env*/raw", "there are no raw files in env1, env2"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, remove: str, complaint: str) -> None:
    folder = unpacked(tmp_path / "study")
    for path in folder.glob(remove):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = reanalysed(folder)
    assert said.returncode == 1
    assert complaint in said.stderr
    assert "Traceback" not in said.stderr
