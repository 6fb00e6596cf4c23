"""A workflow in trouble: what ends or hinders it in any stage, done to real ones that measure this computer.

Then the same command goes on where it was: what had been measured is as it was, by its checksums, and nothing
of the run before is left.
"""

from __future__ import annotations

import dataclasses
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hvcost.machines.deadline import Deadline
from workspace import BARE_METAL, BESIDE, ROOT, SMALL, Workspace, small

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

CONFIGURED = ("--configfile", f"{SMALL}.yaml")
TABLE = (f"results/{SMALL}/measurements/{BARE_METAL}.csv", *CONFIGURED)
GUEST = ("results/guest/manifest.json", "--configfile", "config/local.yaml")
# What Ctrl-C, an administrator or a batch system, and the kernel send.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
# Rules in their order.
STAGES = (
    "prepare_host",
    "measure_session",
    "parse_repetitions",
    "analyse_environment",
    "make_report",
)
IN_A_RUN = "run 1 of 1"
FAILED = f"failed: {SMALL} {BARE_METAL} boot [12]: "


def wait_for_output(workspace: Workspace, running: subprocess.Popen[str], text: str, times: int = 1) -> None:
    """Wait until a workflow has said something so many times."""
    deadline = Deadline(120, f"output with {text!r}")
    while workspace.output().count(text) < times:
        assert running.poll() is None, workspace.output()
        deadline.wait_a_little(0.02)


def wait_for_program(workspace: Workspace, running: subprocess.Popen[str], rule: str) -> None:
    """Wait until the program of a rule runs."""
    deadline = Deadline(120, f"the program of {rule}")
    while not any(f"scripts/{rule}.py" in line for line in workspace.processes().values()):
        assert running.poll() is None, workspace.output()
        deadline.wait_a_little(0.02)


def end(workspace: Workspace, running: subprocess.Popen[str], how: signal.Signals) -> None:
    """End a workflow with all its programs, and wait until nothing of it is left."""
    os.killpg(running.pid, how)
    assert running.wait() != 0
    workspace.await_end()


def in_its_second_session(folder: Path) -> tuple[Workspace, subprocess.Popen[str], dict[str, str]]:
    """A workflow of two sessions that is in the run of the second, and the checksums of the first."""
    workspace = small(folder, boots=2)
    running = workspace.start(*TABLE)
    wait_for_output(workspace, running, IN_A_RUN, times=2)
    before = workspace.digests()
    assert len(before) == 2
    return workspace, running, before


def goes_on(workspace: Workspace, before: dict[str, str], *target: str) -> None:
    """The same command makes the rest; what was there before is not measured again."""
    workspace.run(*target)
    assert [one.status for one in workspace.records(SMALL, BARE_METAL)] == ["ok"] * 2
    assert before.items() <= workspace.digests().items()
    assert workspace.left_behind() == []


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with one session and its table; not to be changed."""
    workspace = small(tmp_path_factory.mktemp("measured") / "project", boots=1)
    workspace.run(*TABLE)
    return workspace


@pytest.fixture
def workspace(measured: Workspace, tmp_path: Path) -> Workspace:
    """A copy of it, to be changed by one test."""
    return Workspace(shutil.copytree(measured.folder, tmp_path / "project", symlinks=True), BESIDE)


@pytest.mark.parametrize("how", ENDING, ids=lambda how: how.name)
def test_whatever_stage_it_is_ended_in_the_same_command_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    """Ended in each stage, one after the other; in that of sessions, in a run of the second."""
    workspace = small(tmp_path / "project", boots=2)
    before: dict[str, str] = {}
    for rule in STAGES:
        running = workspace.start("all", *CONFIGURED)
        if rule == "measure_session":
            wait_for_output(workspace, running, IN_A_RUN, times=2)
        else:
            wait_for_program(workspace, running, rule)
        before = before or workspace.digests()
        end(workspace, running, how)
        assert before.items() <= workspace.digests().items()
    assert len(before) == 2
    goes_on(workspace, before, "all", *CONFIGURED)
    assert (workspace.folder / "results/report.html").is_file()


def test_an_image_build_that_fails_or_is_ended_begins_anew(tmp_path: Path) -> None:
    """Without a package repository: no network, and a list of sources that names a server that is not there.

    Then packages are installed for real, and it is ended. The last build may take an earlier image.
    """
    workspace = small(tmp_path / "project", boots=1)
    guest, cache = workspace.folder / "results/guest", tmp_path / "cache"
    alone = dataclasses.replace(workspace, within=("env", f"XDG_CACHE_HOME={cache}"))
    (tmp_path / "apt").mkdir()
    (tmp_path / "apt/sources.list").write_text("deb [trusted=yes] http://198.18.0.1/debian trixie main\n")
    away = f'mount --bind {tmp_path / "apt"} /etc/apt && exec "$@"'
    within = (*alone.within, "unshare", "--mount", "--net", "sh", "-c", away, "away")
    assert dataclasses.replace(workspace, within=within).start(*GUEST).wait() != 0
    assert re.search("this computer: `unshare --mount mmdebstrap .* ended with exit code", workspace.output())
    assert [*guest.glob("*"), *cache.glob("guest-*"), *workspace.left_behind()] == []
    for how in ENDING:
        running = alone.start(*GUEST)
        deadline = Deadline(120, "packages of the guest")
        while not (guest / "partial/scratch/root/usr").exists():
            assert running.poll() is None, workspace.output()
            deadline.wait_a_little()
        end(workspace, running, how)
        assert str(tmp_path) not in Path("/proc/mounts").read_text()
        assert list(guest.glob("*.*")) == []
    workspace.run(*GUEST)
    assert not (guest / "partial").exists()


def test_a_session_that_is_measured_again_and_killed_keeps_what_was_there(workspace: Workspace) -> None:
    before = workspace.digests()
    running = workspace.start(*TABLE, "-R", "measure_session")
    wait_for_output(workspace, running, IN_A_RUN)
    end(workspace, running, signal.SIGKILL)
    assert workspace.digests() == before
    workspace.run(*TABLE)
    assert [one.status for one in workspace.records(SMALL, BARE_METAL)] == ["ok"]


def test_a_session_without_memory_fails_and_is_named(tmp_path: Path) -> None:
    """From the middle of its run on, its program gets none, nor does any program that it starts."""
    workspace, running, before = in_its_second_session(tmp_path / "project")
    own = Path("/proc/self/ns/pid").readlink()
    (program,) = (
        pid
        for pid, line in workspace.processes().items()
        if re.match(r"\S*python\S* scripts/measure_session\.py", line)
        and Path(f"/proc/{pid}/ns/pid").readlink() != own
    )
    resource.prlimit(program, resource.RLIMIT_AS, (1, 1))
    assert running.wait() != 0
    assert re.search(f"{FAILED}(?!it was not started)", workspace.output()), workspace.output()
    workspace.await_end()
    assert workspace.digests() == before
    goes_on(workspace, before, *TABLE)


def test_a_damaged_raw_file_is_named_with_what_to_do(workspace: Workspace) -> None:
    """By each step that reads it; whoever removes it has its session measured again, and no other."""
    small(workspace.folder, boots=2)
    workspace.run(*TABLE)
    first, second = (
        workspace.folder / f"results/{SMALL}/raw/{BARE_METAL}/boot{n}/tcp-1.json" for n in (1, 2)
    )
    before = {name: digest for name, digest in workspace.digests().items() if "boot2" in name}
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    assert workspace.start(*TABLE).wait() != 0
    advice = "tcp-1.json: not a raw record: .*; remove it, and the same command measures its session again"
    assert re.search(advice, workspace.output()), workspace.output()
    first.unlink()
    goes_on(workspace, before, *TABLE)
    assert second.is_file()


def test_results_that_cannot_be_written_to_are_named(workspace: Workspace) -> None:
    before = workspace.digests()
    small(workspace.folder, boots=2)
    read_only = 'mount --bind results results && mount -o remount,bind,ro results && exec "$@"'
    within = (*BESIDE, "unshare", "--mount", "sh", "-c", read_only, "read-only")
    hindered = dataclasses.replace(workspace, within=within)
    assert hindered.start(*TABLE).wait() != 0
    assert "Write-protected output files" in workspace.output() and TABLE[0] in workspace.output()
    (workspace.folder / TABLE[0]).unlink()
    assert hindered.start(*TABLE).wait() != 0
    assert "this computer: [Errno 30] Read-only file system: 'results/" in workspace.output()
    assert workspace.digests() == before
    goes_on(workspace, before, *TABLE)


@contextmanager
def own_disk(folder: Path, size: str) -> Iterator[tuple[str, ...]]:
    """A small disk at a folder, and the beginning of command lines that see it; nobody else does."""
    mounts = f"mount -t tmpfs none /run/lock && mount -t tmpfs -o size={size} none {folder} && echo there"
    holder_argv = ["unshare", "--mount", "sh", "-c", f"{mounts} && exec sleep 600"]
    with subprocess.Popen(holder_argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "there\n"
        yield ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "env", "-C", str(folder.parent))
        holder.kill()


def test_a_disk_that_gets_full_in_a_run_fails_the_session_and_is_named(tmp_path: Path) -> None:
    workspace = small(tmp_path / "project", boots=2)
    results = workspace.folder / "results"
    results.mkdir()
    with own_disk(results, "20m") as within:
        workspace = dataclasses.replace(workspace, within=within)

        def checksums() -> list[str]:
            command = f"sha256sum results/{SMALL}/raw/{BARE_METAL}/boot*/*.json"
            done = subprocess.run([*within, "sh", "-c", command], check=True, capture_output=True, text=True)
            return done.stdout.splitlines()

        running = workspace.start(*TABLE)
        wait_for_output(workspace, running, IN_A_RUN, times=2)
        before = checksums()
        fill = "cat /dev/zero >results/full 2>/dev/null || true"
        subprocess.run([*within, "sh", "-c", fill], check=True)
        assert running.wait() != 0
        assert re.search(f"{FAILED}.*No space left on device: 'results/", workspace.output())
        workspace.await_end()
        assert checksums() == before
        subprocess.run([*within, "rm", "results/full"], check=True)
        workspace.run(*TABLE)
        assert set(before) < set(checksums()) and len(checksums()) == 2 * len(before)
        assert workspace.left_behind() == []


def test_results_that_are_moved_in_a_run_are_left_alone(tmp_path: Path) -> None:
    workspace, running, before = in_its_second_session(tmp_path / "project")
    results, elsewhere = workspace.folder / "results", workspace.folder / "elsewhere"
    results.rename(elsewhere)
    assert running.wait() != 0
    assert re.search(FAILED, workspace.output()), workspace.output()
    workspace.await_end()
    assert workspace.digests("elsewhere") == before
    shutil.rmtree(results, ignore_errors=True)
    elsewhere.rename(results)
    goes_on(workspace, before, *TABLE)


def test_a_log_without_room_ends_nothing(tmp_path: Path) -> None:
    output = tmp_path / "experiment.json"
    program = ROOT / "scripts/describe_experiment.py"
    arguments = ("--experiment", "{}", "--output", str(output), "--log", "/dev/full")
    subprocess.run([sys.executable, str(program), *arguments], check=True, capture_output=True)
    assert output.read_text() == '{\n "format": 1\n}\n'
