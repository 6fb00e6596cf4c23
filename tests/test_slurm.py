"""Sessions on the nodes of a cluster: a real Slurm on this computer, with programs that only sleep."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import slurm
import stand_ins
from hvcost.machines.deadline import Deadline
from slurm import Cluster
from stand_ins import Project

BOOTS = 3
# The plugin looks at its jobs after 40 s otherwise.
PROFILE = (
    *("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "5"),
    # There is no accounting here.
    *("--slurm-status-command", "squeue"),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Snakemake's executor for Slurm, beside the environment: who has no cluster does not have it."""
    folder = tmp_path_factory.mktemp("plugin")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    lock = stand_ins.ROOT / "requirements-cluster.lock"
    subprocess.run([*install, "--target", folder, "-r", lock], check=True)
    return folder


@pytest.fixture
def cluster(plugin: Path) -> Iterator[Cluster]:
    # Not below pytest's own folder: paths of sockets are short.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, slurm.running(Path(folder), 2) as cluster:
        yield replace(cluster, environment={**cluster.environment, "PYTHONPATH": str(plugin)})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = stand_ins.make(tmp_path / "project")
    made.change_config(lambda content: content.update(boots=BOOTS))
    return made


def started(project: Project, cluster: Cluster, *arguments: str) -> subprocess.Popen[bytes]:
    with (project.folder / "output.txt").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *PROFILE, *arguments],
            cwd=project.folder,
            env=os.environ | dict(cluster.environment),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def sessions(project: Project) -> list[dict[str, Any]]:
    return [entry for entry in project.ran() if entry["job"].startswith("measure_session ")]


def all_are_there_once(project: Project) -> None:
    """Each session has its files, and none was measured again that had come to its end."""
    done = [entry["job"] for entry in sessions(project)]
    assert len(done) == len(set(done)) == 2 * 3 * BOOTS
    assert project.to_do() == set()


def test_a_boot_of_all_systems_is_on_one_node_and_both_nodes_work(project: Project, cluster: Cluster) -> None:
    (project.folder / "session-takes-s").write_text("1")
    running = started(project, cluster, "all")
    assert running.wait() == 0, (project.folder / "output.txt").read_text()
    all_are_there_once(project)
    nodes: dict[str, set[str]] = {}
    for entry in sessions(project):
        environment, _, boot = entry["job"].split()[1:]
        nodes.setdefault(f"{environment} {boot}", set()).add(entry["node"])
    assert all(len(own) == 1 for own in nodes.values()), nodes
    assert set().union(*nodes.values()) == {"n1", "n2"}
    for one, other in combinations(sessions(project), 2):
        if one["node"] == other["node"]:
            assert one["to_s"] <= other["from_s"] or other["to_s"] <= one["from_s"]


def test_what_a_lost_node_measured_is_measured_again_elsewhere(project: Project, cluster: Cluster) -> None:
    (project.folder / "session-takes-s").write_text("3")
    running = started(project, cluster, "all")
    deadline = Deadline(600, "sessions on both nodes")
    ran = project.folder / "ran.jsonl"
    while not ran.exists() or {entry["node"] for entry in sessions(project)} < {"n1", "n2"}:
        assert running.poll() is None, (project.folder / "output.txt").read_text()
        deadline.wait_a_little()
    cluster.lose("n1")
    lost_at = len(sessions(project))
    assert running.wait() == 0, (project.folder / "output.txt").read_text()
    assert {entry["node"] for entry in sessions(project)[lost_at:]} == {"n2"}
    done = {entry["job"] for entry in sessions(project)}
    assert len(done) == 2 * 3 * BOOTS
    assert project.to_do() == set()
