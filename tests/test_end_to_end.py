"""The real thing in an emulated machine: real iperf against real guests of every hypervisor.

The images are built once; the experiment runs through Snakemake as a user runs it. That user has no
privilege, also where an administrator runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hvcost.environments import emulated as machine
from hvcost.environments import network
from hvcost.environments.place import Operation
from hvcost.errors import DeadlineExceeded, MachineError, ParseError
from hvcost.images.emulator import PROGRAM
from hvcost.images.host import load
from hvcost.machines import witness
from hvcost.model.record import Witness
from workspace import ROOT, Workspace, evidence

# Of config/quick.yaml.
WORKLOADS = ("tcp", "round-trip")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]


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
    results = emulated.folder / emulated.results
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
    prepared = json.loads((emulated.folder / emulated.results / "quick/host.json").read_text())
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


def test_an_emulator_that_is_stopped_or_killed_is_named(operation: Operation, emulated: Workspace) -> None:
    """The last of the machine's tests: it is gone then."""
    (emulator,) = (pid for pid, line in emulated.processes().items() if PROGRAM in line)
    os.kill(emulator, signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded, match="quick host: `true` was not done within "):
        operation.host.run(["true"], timeout_s=1)
    os.kill(emulator, signal.SIGCONT)
    assert operation.host.succeeds(["true"])
    os.kill(emulator, signal.SIGKILL)
    with pytest.raises(MachineError, match="quick host: "):
        operation.host.run(["true"])
