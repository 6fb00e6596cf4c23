"""The real thing on this computer alone: real iperf against the host and real guests, and what befalls them.

The guest is built once; each experiment runs through Snakemake as a user runs it. That user has no privilege,
also where an administrator runs the tests.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hvcost.machines.deadline import Deadline
from workspace import ROOT, Workspace, evidence, with_locks_in

# Of config/local.yaml.
WORKLOADS = ("tcp", "round-trip")
NO_KVM = "KVM does not work on this machine"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


@pytest.fixture(scope="module")
def workspace(with_guest: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the guest's image, whose sessions take turns with each other and with nobody else."""
    locks = with_locks_in(tmp_path_factory.mktemp("locks"))
    return replace(with_guest, within=(*locks, *with_guest.within))


@pytest.fixture(scope="module")
def local(workspace: Workspace) -> Workspace:
    """The workspace with config/local.yaml measured."""
    workspace.run("all", "--configfile", "config/local.yaml")
    return replace(workspace, results="results/local")


def test_a_guest_is_built_again_from_its_record(workspace: Workspace, tmp_path: Path) -> None:
    record = workspace.folder / "results/guest/manifest.json"
    program = str(ROOT / "scripts/rebuild_guest_image.py")
    command = [sys.executable, program, "--record", str(record), "--output", str(tmp_path / "again")]
    subprocess.run(command, check=True)
    first, again = (json.loads(file.read_text()) for file in (record, tmp_path / "again/manifest.json"))
    assert again["files"] == first["files"]
    assert again["packages"] == first["packages"]


def test_an_interrupted_image_build_leaves_no_mount_and_no_file(tmp_path: Path) -> None:
    output = tmp_path / "guest"
    command: list[str | Path] = [
        sys.executable,
        "build_guest_image.py",
        "--output",
        output,
        "--log",
        tmp_path / "log",
    ]
    command += ["--disk-gib", "10"]
    command += ["--packages", ROOT / "envs/guest-packages.txt"]
    command += ["--tools", '["iperf"]']
    building = subprocess.Popen(command, cwd=ROOT / "scripts", start_new_session=True)
    deadline = Deadline(120, "packages of the guest")
    while not (output / "partial/scratch/root/usr/bin/busybox").exists():
        deadline.wait_a_little()
    os.killpg(building.pid, signal.SIGTERM)
    assert building.wait() == 130
    assert list(output.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_local_experiment_measures_and_proves_every_repetition(local: Workspace) -> None:
    for system in ("bare-metal", "qemu"):
        for workload in WORKLOADS:
            measured = local.records("local", system, workload)
            assert [(one.status, one.reason) for one in measured] == [("ok", None)] * 3
        records = local.records("local", system, "tcp")
        for one in records:
            client, server = one.outputs["client"], one.outputs["server"]
            assert client.argv[:2] == ("iperf", "-c")
            assert server.argv[:2] == ("iperf", "-s") and server.argv[-1] == client.argv[2]
            assert "congctl cubic" in str((one.facts["client"] or {})["route"])
            assert any("iperf" in command.argv for command in one.commands)
    expected = {"enabled": False, "status": "running", "vendor": "TCGTCGTCGTCG", "driver": "virtio_net"}
    assert [evidence(one) for one in local.records("local", "qemu", "tcp")] == [expected] * 3
    boots = {(one.facts["guest"] or {})["boot_id"] for one in local.records("local", "qemu", "tcp")}
    assert len(boots) == 1


def test_local_experiment_ends_with_the_figures(local: Workspace) -> None:
    figures = {path.name for path in (local.folder / "results/local/local/figures").iterdir()}
    names = ("topology", "repetitions-tcp", "repetitions-with-bare-metal-tcp")
    assert {f"{name}.{kind}" for name in names for kind in ("svg", "png")} <= figures
    assert (local.folder / "results/local/figures/means-tcp.svg").is_file()


def test_local_experiment_ends_with_the_report(local: Workspace) -> None:
    page = (local.folder / "results/local/report.html").read_text()
    assert "QEMU costs about" in page
    assert "3 repetitions with a value, an interval needs 6" in page


def test_local_experiment_leaves_nothing_behind_and_nothing_to_do(local: Workspace) -> None:
    assert local.left_behind() == []
    assert "Nothing to be done" in local.run("all", "--configfile", "config/local.yaml")


def test_figures_rebuilt_from_real_records_have_the_same_bytes(local: Workspace) -> None:
    folder = local.folder / "results/local/local/figures"
    before = {path.name: path.read_bytes() for path in folder.glob("*.*g")}
    local.run("results/local/local/figures", "--force", "--configfile", "config/local.yaml")
    assert {path.name: path.read_bytes() for path in folder.glob("*.*g")} == before


def variant(workspace: Workspace, name: str, systems: dict[str, Any], **place: Any) -> list[str]:
    """Arguments for config/local.yaml with other systems and keys of its environment, measured once."""
    config = yaml.safe_load((ROOT / "config/local.yaml").read_text())
    config |= {"results": "results", "systems": systems, "repetitions": 1}
    config["workloads"] = {"tcp": config["workloads"]["tcp"]}
    config["environments"] = {name: config["environments"]["local"] | place}
    path = workspace.folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return ["--configfile", path.name]


def test_kvm_is_proved_or_refused_with_that_sentence(workspace: Workspace) -> None:
    arguments = variant(workspace, "kvm-here", {"kvm": {"hypervisor": "kvm"}})
    finished = workspace.start("results/kvm-here/measurements/kvm.csv", *arguments)
    if finished.wait() == 0:
        assert [evidence(one)["enabled"] for one in workspace.records("kvm-here", "kvm")] == [True]
    else:
        assert NO_KVM in workspace.output()
        assert workspace.records("kvm-here", "kvm") == []
    assert workspace.left_behind() == []


@pytest.mark.parametrize("nic", ["e1000", "rtl8139"])
def test_nic_model_is_what_the_options_say(workspace: Workspace, nic: str) -> None:
    systems = {f"qemu-{nic}": {"hypervisor": "qemu", "options": {"nic": nic}}}
    name = f"nic-{nic}"
    workspace.run(f"results/{name}/measurements/qemu-{nic}.csv", *variant(workspace, name, systems))
    assert [one.status for one in workspace.records(name, f"qemu-{nic}")] == ["ok"]


def test_a_guest_s_card_has_as_many_queues_as_the_options_say(workspace: Workspace) -> None:
    systems = {"qemu-mq": {"hypervisor": "qemu", "options": {"queues": 2}}}
    arguments = variant(workspace, "mq", systems, sweep={"guest.cpus": [2, 3]})
    workspace.run("results/mq-cpus-2/measurements/qemu-mq.csv", *arguments)
    (one,) = workspace.records("mq-cpus-2", "qemu-mq")
    assert (one.status, one.proof["guest"]["cpus"], one.proof["guest"]["rx_queues"]) == ("ok", 2, 2)


def in_its_first_run(workspace: Workspace, name: str) -> tuple[subprocess.Popen[str], list[str]]:
    """A session of a guest that is in its first run, and the arguments for Snakemake."""
    systems = {"qemu": {"hypervisor": "qemu"}}
    arguments = [f"results/{name}/measurements/qemu.csv", *variant(workspace, name, systems)]
    running = workspace.start(*arguments)
    deadline = Deadline(120, "first run")
    while "run 1 of 1" not in workspace.output():
        assert running.poll() is None, workspace.output()
        deadline.wait_a_little(0.05)
    return running, arguments


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_session_leaves_nothing_behind(workspace: Workspace, how: signal.Signals) -> None:
    running, _ = in_its_first_run(workspace, f"by-{how.name.lower()}")
    os.killpg(running.pid, how)
    assert running.wait() != 0
    workspace.await_end()


def test_what_is_ended_while_its_guest_boots_is_measured_by_the_next_run(workspace: Workspace) -> None:
    arguments = variant(workspace, "by-boot", {"qemu": {"hypervisor": "qemu"}})
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        running = workspace.start("results/by-boot/measurements/qemu.csv", *arguments)
        deadline = Deadline(120, "start of the guest")
        while not any(line.startswith("qemu-system-") for line in workspace.processes().values()):
            assert running.poll() is None, workspace.output()
            deadline.wait_a_little(0.05)
        os.killpg(running.pid, how)
        assert running.wait() != 0
        workspace.await_end()
        assert workspace.records("by-boot", "qemu") == []
    workspace.run("results/by-boot/measurements/qemu.csv", *arguments)
    assert [one.status for one in workspace.records("by-boot", "qemu")] == ["ok"]
    assert workspace.left_behind() == []


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["workflow", "workflow-and-programs"])
def test_what_is_killed_leaves_nothing_and_is_measured_by_the_next_run(
    workspace: Workspace, kill: Callable[[int, int], None]
) -> None:
    name = f"killed-by-{kill.__name__}"
    running, arguments = in_its_first_run(workspace, name)
    kill(running.pid, signal.SIGKILL)
    running.wait()
    workspace.await_end()
    workspace.run(*arguments)
    assert [one.status for one in workspace.records(name, "qemu")] == ["ok"]
    assert workspace.left_behind() == []


def test_two_checkouts_take_turns_on_one_computer(workspace: Workspace) -> None:
    other = workspace.beside("other-checkout")
    running = []
    for one in (workspace, other):
        arguments = variant(one, "at-once", {"bare-metal": {"hypervisor": "bare-metal"}})
        running.append(one.start("results/at-once/measurements/bare-metal.csv", *arguments))
    assert [process.wait() for process in running] == [0, 0], workspace.output() + other.output()
    spans = []
    for one in (workspace, other):
        (only,) = one.records("at-once", "bare-metal")
        assert only.status == "ok" and only.outputs["client"].duration_s
        start = datetime.datetime.fromisoformat(only.started_at)
        spans.append((start, start + datetime.timedelta(seconds=only.outputs["client"].duration_s)))
    first, second = sorted(spans)
    assert first[1] < second[0]
    assert workspace.left_behind() + other.left_behind() == []


def test_a_guest_that_is_killed_is_a_failed_repetition(workspace: Workspace) -> None:
    systems = {"qemu": {"hypervisor": "qemu"}}
    name = "killed-guest"
    running = workspace.start(f"results/{name}/measurements/qemu.csv", *variant(workspace, name, systems))
    deadline = Deadline(120, "first run")
    log = workspace.folder / f"logs/measure_session/{name}/qemu/boot1.log"
    while "run 1 of 1" not in workspace.output() or "start 4 5" not in log.read_text():
        deadline.wait_a_little(0.05)
    (guest,) = (pid for pid, line in workspace.processes().items() if line.startswith("qemu-system-"))
    os.kill(guest, signal.SIGKILL)
    assert running.wait() == 0, workspace.output()
    (failed,) = workspace.records(name, "qemu")
    assert failed.status == "failed"
    assert failed.reason and f"{name} guest qemu: it is gone" in failed.reason
    table = (workspace.folder / f"results/{name}/measurements/qemu.csv").read_text()
    assert len(re.findall(",failed,", table)) == len(table.splitlines()) - 1
    assert workspace.left_behind() == []
