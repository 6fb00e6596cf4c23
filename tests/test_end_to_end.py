"""The real thing: real iperf against real guests, on this computer and in an emulated machine.

The images are built once; each experiment runs through Snakemake as a user runs it. Needs root.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hvcost.environments import emulated as machine
from hvcost.environments import network
from hvcost.environments.place import Operation
from hvcost.errors import MachineError, ParseError
from hvcost.images.host import load
from hvcost.machines import witness
from hvcost.machines.deadline import Deadline
from hvcost.model import record
from hvcost.model.record import Witness
from workspace import ROOT, Workspace

# Of config/quick.yaml and config/local.yaml.
WORKLOADS = ("tcp", "round-trip")
NO_KVM = "KVM does not work on this machine"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


def evidence(one: record.Record) -> dict[str, Any]:
    return {
        "enabled": one.proof["query-kvm"]["enabled"],
        "status": one.proof["query-status"]["status"],
        "vendor": one.proof["guest"]["cpuid_vendor"],
        "driver": one.proof["guest"]["driver"],
    }


def test_guest_built_twice_is_the_same_guest(workspace: Workspace) -> None:
    manifest = workspace.folder / "results/guest/manifest.json"
    first = manifest.read_bytes()
    workspace.run("--force", str(manifest.relative_to(workspace.folder)), "--configfile", "config/local.yaml")
    assert manifest.read_bytes() == first


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
    command += ["--guest", '{"cpus": 1, "memory_mib": 128, "disk_gib": 10}']
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
    figures = {path.name for path in (local.folder / "results/local/figures").iterdir()}
    names = ("topology", "repetitions-tcp", "repetitions-with-bare-metal-tcp")
    assert {f"{name}.{kind}" for name in names for kind in ("svg", "png")} <= figures
    assert (local.folder / "results/figures/means-tcp.svg").is_file()


def test_local_experiment_ends_with_the_report(local: Workspace) -> None:
    page = (local.folder / "results/report.html").read_text()
    assert "QEMU costs about" in page
    assert "3 repetitions with a value, an interval needs 6" in page


def test_local_experiment_leaves_nothing_behind_and_nothing_to_do(local: Workspace) -> None:
    assert local.left_behind() == []
    assert "Nothing to be done" in local.run("all", "--configfile", "config/local.yaml")


def test_figures_rebuilt_from_real_records_have_the_same_bytes(local: Workspace) -> None:
    folder = local.folder / "results/local/figures"
    before = {path.name: path.read_bytes() for path in folder.glob("*.*g")}
    local.run("results/local/figures", "--force", "--configfile", "config/local.yaml")
    assert {path.name: path.read_bytes() for path in folder.glob("*.*g")} == before


def variant(workspace: Workspace, name: str, systems: dict[str, Any], **place: Any) -> list[str]:
    """Arguments for config/local.yaml with other systems and keys of its environment, measured once."""
    config = yaml.safe_load((ROOT / "config/local.yaml").read_text())
    config |= {"systems": systems, "repetitions": 1, "workloads": {"tcp": config["workloads"]["tcp"]}}
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
    running, arguments = in_its_first_run(workspace, f"by-{how.name.lower()}")
    os.killpg(running.pid, how)
    assert running.wait() != 0
    workspace.await_end()
    if how == signal.SIGHUP:
        # Snakemake itself knows no order for it.
        workspace.run(*arguments, "--unlock")


@pytest.mark.parametrize("kill", [os.kill, os.killpg], ids=["workflow", "workflow-and-programs"])
def test_what_is_killed_leaves_nothing_and_is_measured_by_the_next_run(
    workspace: Workspace, kill: Callable[[int, int], None]
) -> None:
    name = f"killed-by-{kill.__name__}"
    running, arguments = in_its_first_run(workspace, name)
    kill(running.pid, signal.SIGKILL)
    running.wait()
    workspace.await_end()
    workspace.run(*arguments, "--unlock")
    workspace.run(*arguments)
    assert [one.status for one in workspace.records(name, "qemu")] == ["ok"]
    assert workspace.left_behind() == []


def test_two_checkouts_take_turns_on_one_computer(workspace: Workspace) -> None:
    other = Workspace(workspace.folder.with_name("other-checkout"))
    other.folder.mkdir()
    other.link_project()
    shutil.copytree(workspace.folder / "results/guest", other.folder / "results/guest")
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


def test_emulated_experiment_measures_and_proves_every_repetition(emulated: Workspace) -> None:
    for system in ("bare-metal", "xen", "virtualbox", "qemu", "kvm", "nspawn"):
        for workload in WORKLOADS:
            measured = emulated.records("quick", system, workload)
            assert [(one.system, one.status, one.reason) for one in measured] == [(system, "ok", None)] * 2
        records = emulated.records("quick", system, "tcp")
        vendor = "XenVMMXenVMM" if system == "xen" else "TCGTCGTCGTCG"
        assert {(one.facts["host"] or {})["cpuid_vendor"] for one in records} == {vendor}
        for one in records:
            assert one.cpu_time_s and sum(one.cpu_time_s.values()) > 0
    assert [evidence(one)["enabled"] for one in emulated.records("quick", "qemu", "tcp")] == [False] * 2
    kvm = {"enabled": True, "status": "running", "vendor": "KVMKVMKVM", "driver": "virtio_net"}
    assert [evidence(one) for one in emulated.records("quick", "kvm", "tcp")] == [kvm] * 2
    for one in emulated.records("quick", "xen", "tcp"):
        assert one.proof["domain"]["config"]["c_info"]["type"] == "pv"
        assert one.proof["guest"]["hypervisor_type"] == "xen"
        assert one.proof["guest"]["driver"] == "vif"
        assert set(one.cpu_time_s or {}) == {"Domain-0", "hvcost-guest"}
    for one in emulated.records("quick", "virtualbox", "tcp"):
        assert one.proof["execution"]["said"] == "AMD-V w/ nested paging"
        assert one.proof["machine"]["nic1"] == "bridged"
        assert one.proof["guest"]["dmi_product"] == "VirtualBox"
    for one in emulated.records("quick", "nspawn", "tcp"):
        assert one.proof["scope"]["MemoryMax"] == str(128 << 20)
        assert one.proof["guest"]["kernel"] == (one.facts["host"] or {})["kernel"]


def test_all_systems_ran_on_one_kernel_and_one_emulator(emulated: Workspace) -> None:
    every = [one for path in ("xen", "virtualbox", "kvm") for one in emulated.records("quick", path, "tcp")]
    assert len({(one.facts["host"] or {})["kernel"] for one in every}) == 1
    assert len({(one.facts["emulator"] or {})["qemu_version"] for one in every}) == 1


def test_emulated_experiment_leaves_nothing_behind_and_nothing_to_do(emulated: Workspace) -> None:
    assert emulated.left_behind() == []
    assert "Nothing to be done" in emulated.run("all", "--configfile", "config/quick.yaml")


def test_everything_is_made_again_from_the_raw_files_alone(emulated: Workspace, tmp_path: Path) -> None:
    results = emulated.folder / "results"
    folder = tmp_path / "elsewhere"
    (folder / "quick").mkdir(parents=True)
    for name in ("experiment.json", "quick/host.json"):
        shutil.copy(results / name, folder / name)
    shutil.copytree(results / "quick/raw", folder / "quick/raw")
    subprocess.run([sys.executable, ROOT / "scripts/reanalyse.py", folder], check=True)
    made = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert Path("report.html") in made and Path("quick/figures/order-tcp.svg") in made
    for path in made:
        assert (folder / path).read_bytes() == (results / path).read_bytes(), path


def test_snakemakes_own_report_has_every_figure_with_its_caption(emulated: Workspace) -> None:
    emulated.run("--report", "workflow.html", "--configfile", "config/quick.yaml")
    page = (emulated.folder / "workflow.html").read_text()
    for text in ("Environment quick, order-tcp.", "ratios-tcp, all environments.", "The answer in words"):
        assert text in page


def test_preparing_a_host_again_changes_nothing_that_is_there(emulated: Workspace) -> None:
    prepared = json.loads((emulated.folder / "results/quick/host.json").read_text())
    assert prepared["problems"] == []
    assert [change for change in prepared["changes"] if change.startswith("installed")] == []
    assert prepared["facts"]["driver"] == "virtio_net"


@pytest.fixture(scope="module")
def operation(emulated: Workspace) -> Iterator[Operation]:
    with emulated.machine() as opened:
        yield opened


JUMPING = """
import sys
from pathlib import Path
from hvcost.machines.ssh import SshAddress, SshConnection
connection = SshConnection("inner", SshAddress("inner"), config_file=Path(sys.argv[1]))
print(connection.run(["sh", "-c", "echo $SSH_CLIENT"]).stdout, end="")
connection.close()
"""


def test_ssh_goes_by_the_user_s_configuration_and_its_jump_hosts(
    operation: Operation, emulated: Workspace, tmp_path: Path
) -> None:
    image = load(emulated.folder / "results/host-image/manifest.json")
    far = f"{network.prefix_of(emulated.state)}quick-far"
    key = image.known_hosts.read_text().split(maxsplit=1)[1]
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{machine.SSH_PORT} {key}127.0.0.1 {key}")
    config = tmp_path / "config"
    config.write_text(
        f"Host outer\n  HostName 127.0.0.1\n  Port {machine.SSH_PORT}\n"
        "Host inner\n  HostName 127.0.0.1\n  ProxyJump outer\n"
        f"Host *\n  User root\n  IdentityFile {image.key}\n  UserKnownHostsFile {known_hosts}\n"
    )
    # Inside the namespace the machine is at port 2222; its own port 22 is reached only through it.
    seen = subprocess.run(
        ["ip", "netns", "exec", far, sys.executable, "-c", JUMPING, config],
        cwd=ROOT / "scripts",
        capture_output=True,
        text=True,
    )
    assert seen.stdout.startswith("127.0.0.1 "), seen.stderr


def test_ssh_upload_is_whole_and_compared(operation: Operation, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(os.urandom(1_000_000))
    operation.host.put(source, "/tmp/uploaded")
    size = operation.host.run(["stat", "--format=%s", "/tmp/uploaded"]).stdout
    assert int(size) == 1_000_000
    with pytest.raises(MachineError, match="/nowhere/file"):
        operation.host.put(source, "/nowhere/file")


STEP = """
at=$EPOCHREALTIME
us=$((${at%.*}${at#*.} + $1))
date --set "@${us%??????}.${us#"${us%??????}"}"
"""


@pytest.mark.parametrize(("step_us", "direction"), [("60000000", "forwards"), ("-200000", "backwards")])
def test_a_real_clock_that_is_stepped_is_noticed(operation: Operation, step_us: str, direction: str) -> None:
    host, interface = operation.host, operation.host_interface
    with host.shell() as shell:
        before = witness.ask(shell, interface)
        witness.check_clocks(Witness(before, witness.ask(shell, interface)))
        host.run(["bash", "-c", STEP, "step", step_us])
        with pytest.raises(ParseError, match=f"host: its clock was stepped {direction}"):
            witness.check_clocks(Witness(before, witness.ask(shell, interface)))


def test_emulated_machine_reaches_nothing_outside(operation: Operation) -> None:
    routes = operation.host.run(["ip", "-json", "route", "show", "default"]).stdout
    assert json.loads(routes or "[]") == []
