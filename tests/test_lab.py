"""Real machines, as far as an emulated one can be real: a stock Debian, prepared, measured and given back.

    scripts/test.sh -m lab

Not part of the usual run: with the images it takes some ten minutes.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import stranger
import yaml
from hvcost.connections.local import LocalConnection
from hvcost.emulated import image
from stranger import Stranger
from workspace import Workspace

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

SYSTEMS = ("bare-metal", "kvm", "qemu", "xen")
CONFIG = {
    "repetitions": 2,
    "workloads": {"tcp": {"tool": "iperf", "duration_s": 3}},
    "systems": {name: {"hypervisor": name} for name in SYSTEMS},
    "environments": {
        "lab": {
            "link": {"rate_mbit": 10000, "network": "198.18.9.0/24"},
            "host": {"connection": "ssh", "address": stranger.NAME, "interface": stranger.NIC},
            "client": {"connection": "local", "interface": stranger.TAP},
        }
    },
}
# What must be the same before and after: packages, boot menu, network, settings.
STATE = r"""
dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' | grep -v not-installed
cat /boot/grub/grub.cfg
grub-editenv /boot/grub/grubenv list
ls /etc/default/grub.d /etc/modules-load.d
ip -o address | sed 's/valid_lft.*//'
ip route
cat /sys/hypervisor/type 2>/dev/null || echo native
"""


@dataclass(frozen=True)
class Lab:
    """The controller's place: a namespace with the wire to the stranger, and a workspace."""

    name: str
    machine: Stranger
    workspace: Workspace

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Snakemake as the administrator runs it in the lab."""
        return subprocess.run(
            [
                *("ip", "netns", "exec", self.name, "env", f"HOME={self.machine.home}"),
                *(sys.executable, "-m", "snakemake", *arguments, "--configfile", "lab.yaml"),
            ],
            cwd=self.workspace.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def state(self) -> str:
        """What of the stranger must not change."""
        with contextlib.closing(stranger.connect(self.name, self.machine)) as host:
            return host.run(["sh", "-c", STATE]).stdout


@pytest.fixture(scope="module")
def lab(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    workspace.run("results/host-image/manifest.json", "--configfile", "config/quick.yaml")
    host_image = image.load(workspace.folder / "results/host-image/manifest.json")
    machine = stranger.install(tmp_path_factory.mktemp("lab"), host_image)
    (workspace.folder / "lab.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    computer = LocalConnection("this computer")
    with (
        stranger.namespace(computer, f"hvcost-lab-{os.getpid()}") as name,
        stranger.switched_on(machine, name),
    ):
        stranger.connect(name, machine).close()
        yield Lab(name, machine, workspace)


@pytest.fixture(scope="module")
def before(lab: Lab) -> str:
    """The stranger's state before anybody touched it."""
    return lab.state()


@pytest.fixture(scope="module")
def measured(lab: Lab, before: str) -> str:
    """The output of the whole experiment."""
    finished = lab.snakemake("--cores", "1", "all")
    assert finished.returncode == 0, finished.stdout
    return finished.stdout


def test_check_finds_what_is_to_be_done_and_changes_nothing(lab: Lab, before: str) -> None:
    checked = lab.snakemake("check")
    assert checked.returncode == 0, checked.stdout
    for line in (
        "lab host: works: reached by SSH as root: Debian GNU/Linux 13 (trixie), booted natively",
        f"lab host: will be changed: {stranger.NIC}: its addresses are on a bridge during each session",
        "lab host: will be changed: packages for every session are installed: iperf, ethtool, socat",
        "lab host: works: kvm: AMD-V",
        "lab host: will be changed: xen: the host is rebooted into Xen and back by GRUB",
        "To measure: 4 sessions, 8 runs, about ",
    ):
        assert line in checked.stdout, checked.stdout
    assert lab.state() == before


def test_all_systems_are_measured_and_proved(lab: Lab, measured: str) -> None:
    for system in SYSTEMS:
        records = lab.workspace.records("lab", system)
        assert [(one.status, one.reason) for one in records] == [("ok", None)] * 2
    xen = lab.workspace.records("lab", "xen")[0]
    assert (xen.facts["host"] or {})["hypervisor_type"] == "xen"
    assert xen.proof["guest"]["driver"] == "vif"
    assert lab.workspace.records("lab", "kvm")[0].proof["query-kvm"]["enabled"] is True
    assert measured.count("rebooting, since it has to be booted as") in (1, 2)


def test_the_network_is_given_back_after_every_session(lab: Lab, before: str, measured: str) -> None:
    addresses = [line for line in before.splitlines() if stranger.NIC in line]
    assert addresses
    after = lab.state().splitlines()
    assert [line for line in after if stranger.NIC in line] == addresses
    assert not any("hvcost-br0" in line for line in after)


def test_everything_is_taken_back(lab: Lab, before: str, measured: str) -> None:
    restored = lab.snakemake("restore")
    assert restored.returncode == 0, restored.stdout
    assert lab.state() == before
