"""Sessions on the nodes of a cluster: a real Slurm on this computer, with programs that only sleep."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import slurm
import stand_ins
from hvcost.machines.deadline import Deadline
from slurm import Cluster
from stand_ins import Project

# Of three systems each.
BLOCKS = 3
SESSIONS = 3 * BLOCKS
HOST = "results/env1/host.json"
TABLE = "results/env1/measurements.csv"
Start = Callable[..., subprocess.Popen[bytes]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    plugin = slurm.executor(tmp_path_factory.mktemp("plugin"))
    # Not below pytest's own folder: paths of sockets are short.
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        slurm.running(Path(folder), 2, plugin) as cluster,
    ):
        yield cluster


@pytest.fixture
def cluster(own_cluster: Cluster) -> Cluster:
    """Two nodes that nothing is the matter with."""
    own_cluster.mend()
    return own_cluster


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with images and a host, and nothing measured; not to be changed."""
    made = stand_ins.make(tmp_path_factory.mktemp("prepared") / "project")
    made.change_config(lambda content: content.update(boots=BLOCKS))
    made.change_config(lambda content: content["environments"].pop("env2"))
    made.run(HOST)
    return made


@pytest.fixture
def project(prepared: Project, tmp_path: Path) -> Project:
    made = Project(Path(shutil.copytree(prepared.folder, tmp_path / "project", symlinks=True)))
    (made.folder / "session-takes-s").write_text("2")
    return made


@pytest.fixture
def start(cluster: Cluster, project: Project) -> Iterator[Start]:
    """Starts Snakemake for targets, which ends with the test at the latest."""
    processes = []

    def started(*arguments: str) -> subprocess.Popen[bytes]:
        with (project.folder / "output.txt").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *slurm.PROFILE, *arguments],
                cwd=project.folder,
                env=os.environ | dict(cluster.environment),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.wait()


def ended(project: Project, running: subprocess.Popen[bytes]) -> int:
    """Its exit code, with what it said if the test fails."""
    code = running.wait()
    print(said(project))
    return code


def said(project: Project) -> str:
    return (project.folder / "output.txt").read_text()


def sessions(project: Project) -> list[dict[str, Any]]:
    """Sessions that came to their end, in order."""
    return [entry for entry in project.ran() if entry["job"].startswith("measure_session ")]


def in_the_middle(project: Project, start: Start) -> tuple[subprocess.Popen[bytes], dict[Path, str]]:
    """A run whose block on n1 has ended a session and hangs in the next, and sums of what was measured."""
    project.folder.joinpath("n1-hangs").touch()
    running = start(TABLE)
    deadline = Deadline(600, "a session that hangs")
    while not hung(project).exists():
        assert running.poll() is None, said(project)
        deadline.wait_a_little()
    return running, sums(project)


def hung(project: Project) -> Path:
    return project.folder / "n1-hung"


def nodes(project: Project) -> dict[str, list[str]]:
    """On which node each session of each block, by its boot, came to its end, in order."""
    found: dict[str, list[str]] = {}
    for entry in sessions(project):
        found.setdefault(entry["job"].split()[-1], []).append(entry["node"])
    return found


def sums(project: Project) -> dict[Path, str]:
    """SHA-256 of the files of all sessions that came to their end."""
    found = {}
    for entry in sessions(project):
        environment, system, boot = entry["job"].split()[1:]
        for file in (project.folder / f"results/{environment}/raw/{system}/boot{boot}").iterdir():
            found[file] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def check_all_is_there_once(project: Project, before: dict[Path, str] | None = None) -> None:
    """Each session came to its end once, and nothing was altered that was there `before`."""
    done = [entry["job"] for entry in sessions(project)]
    assert len(done) == len(set(done)) == SESSIONS
    assert project.to_do(TABLE) == set()
    after = sums(project)
    assert len(after) == SESSIONS * 3
    assert before is None or before.items() <= after.items()


def test_a_boot_of_all_systems_is_on_one_node_and_both_nodes_work(project: Project, start: Start) -> None:
    # Nodes build the images and prepare the host as well.
    shutil.rmtree(project.folder / "results")
    assert ended(project, start("all")) == 0
    assert project.to_do() == set()
    check_all_is_there_once(project)
    assert {tuple(each) for each in nodes(project).values()} == {("n1",) * 3, ("n2",) * 3}
    for one, other in combinations(sessions(project), 2):
        if one["node"] == other["node"]:
            assert one["to_s"] <= other["from_s"] or other["to_s"] <= one["from_s"]


def test_what_a_lost_node_did_not_end_is_measured_elsewhere(
    project: Project, cluster: Cluster, start: Start
) -> None:
    running, before = in_the_middle(project, start)
    cluster.lose("n1")
    assert ended(project, running) == 0
    check_all_is_there_once(project, before)
    assert [each for each in nodes(project).values() if "n1" in each] == [["n1", "n2", "n2"]]


def test_a_block_over_its_time_is_ended_elsewhere(project: Project, cluster: Cluster, start: Start) -> None:
    running, before = in_the_middle(project, start)
    (job,) = cluster.ask("squeue", "--noheader", "--states=running", "--nodelist=n1", "--format=%A").split()
    cluster.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    assert ended(project, running) == 0
    assert cluster.ask("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T") == "TIMEOUT\n"
    check_all_is_there_once(project, before)
    assert ["n1", "n2", "n2"] in nodes(project).values()


def test_what_a_full_scratch_disk_stops_is_measured_elsewhere(
    project: Project, cluster: Cluster, start: Start
) -> None:
    running, before = in_the_middle(project, start)
    cluster.fill_scratch("n1")
    hung(project).unlink()
    assert ended(project, running) == 0
    assert "No space left on device" in said(project)
    check_all_is_there_once(project, before)
    assert [each for each in nodes(project).values() if "n1" in each] == [["n1", "n1", "n2"]]


def test_a_drained_node_ends_its_block_and_gets_no_other(
    project: Project, cluster: Cluster, start: Start
) -> None:
    running, before = in_the_middle(project, start)
    cluster.drain("n1")
    hung(project).unlink()
    assert ended(project, running) == 0
    check_all_is_there_once(project, before)
    assert sorted(nodes(project).values()) == [["n1"] * 3, *[["n2"] * 3] * (BLOCKS - 1)]


def test_a_system_that_fails_takes_no_other_of_its_block_down(project: Project, start: Start) -> None:
    (project.folder / "session-takes-s").write_text("0")
    failing = project.folder / "session-fails"
    failing.write_text("kvm")
    assert ended(project, start(TABLE, "--retries", "1")) != 0
    before = sums(project)
    assert {entry["job"].split()[2] for entry in sessions(project)} == {"bare-metal", "qemu"}
    assert f"Measured: {SESSIONS * 2 // 3} of {SESSIONS} sessions" in said(project)
    failing.unlink()
    assert ended(project, start(TABLE)) == 0
    check_all_is_there_once(project, before)
