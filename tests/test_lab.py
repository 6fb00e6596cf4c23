"""Real machines, as far as emulated ones can be real: two stock Debians, prepared, measured and given back.

    scripts/test.sh -m lab

Not part of the usual run: it takes most of an hour.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import stranger
import yaml
from hvcost.images import host as image
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection
from hvcost.machines.ssh import SshConnection
from stranger import Stranger
from workspace import Workspace

pytestmark = [
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

SYSTEMS = ("bare-metal", "kvm", "qemu", "xen")
RUNS = 2
SECONDS = 4
TABLE = "results/lab/measurements/bare-metal.csv"
RUN_TIMEOUT_S = 900
CONFIG: dict[str, Any] = {
    "repetitions": RUNS,
    "workloads": {"tcp": {"tool": "iperf", "duration_s": SECONDS}},
    "systems": {name: {"hypervisor": name} for name in SYSTEMS},
    "environments": {
        "lab": {
            "link": {"rate_mbit": 10000, "network": "198.18.9.0/24"},
            "host": {"connection": "ssh", "address": "desktop", "interface": stranger.NIC},
            "client": {"connection": "ssh", "address": "notebook", "interface": stranger.NIC},
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


class Plug:
    """The power of a machine."""

    def __init__(self, machine: Stranger, lab: str) -> None:
        self._machine = machine
        self._lab = lab
        self._power = contextlib.ExitStack()

    def put_in(self) -> None:
        """Switch the machine on and wait until it is up."""
        self._power.enter_context(stranger.switched_on(self._machine, self._lab))
        stranger.connect(self._lab, self._machine).close()

    def pull(self) -> None:
        """Take the power from the machine."""
        self._power.close()


@dataclass(frozen=True)
class Lab:
    """The controller's place: a namespace with the switch of both machines, and a workspace."""

    name: str
    host: Stranger
    client: Stranger
    plug_of_host: Plug
    workspace: Workspace

    def snakemake(self, *arguments: str) -> str:
        """Output of Snakemake as the administrator runs it in the lab; it has to end well."""
        return self.workspace.run(*arguments, "--configfile", "lab.yaml")

    def start(self) -> subprocess.Popen[str]:
        """Measure bare metal again."""
        return self.workspace.start(TABLE, "-R", "measure_session", "--configfile", "lab.yaml")

    def state(self, machine: Stranger) -> str:
        """What of a machine must not change."""
        with self.connected(machine) as connection:
            return connection.run(["sh", "-c", STATE]).stdout

    @contextlib.contextmanager
    def connected(self, machine: Stranger) -> Iterator[SshConnection]:
        """A connection of the administrator's own."""
        with contextlib.closing(stranger.connect(self.name, machine)) as connection:
            yield connection


@pytest.fixture(scope="module", params=["trixie", "bookworm"])
def lab(
    request: pytest.FixtureRequest, workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Lab]:
    host_image = image.load(workspace.folder / "results/host-image/manifest.json")
    folder, home = tmp_path_factory.mktemp("lab"), stranger.make_home(tmp_path_factory.mktemp("home"))
    host, client = (
        Stranger(name, number, folder / f"{name}.qcow2", home, host_image)
        for number, name in enumerate(("desktop", "notebook"))
    )
    stranger.install(host, request.param, offered=stranger.OFFERED)
    stranger.install(client, "bookworm", installed=("iperf", "iputils-ping"))
    with stranger.namespace(LocalConnection("this computer"), f"hvcost-lab-{os.getpid()}") as name:
        plugs = [Plug(machine, name) for machine in (host, client)]
        with contextlib.ExitStack() as stack:
            for plug in plugs:
                stack.callback(plug.pull)
                plug.put_in()
            within = ("ip", "netns", "exec", name, "env", f"HOME={home}")
            inside = dataclasses.replace(workspace, within=within)
            for results in ("lab", "rack"):
                shutil.rmtree(inside.folder / "results" / results, ignore_errors=True)
            (inside.folder / "lab.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
            yield Lab(name, host, client, plugs[0], inside)


@pytest.fixture(scope="module")
def before(lab: Lab) -> str:
    """The host's state before anybody touched it."""
    return lab.state(lab.host)


@pytest.fixture(scope="module")
def client_before(lab: Lab) -> str:
    """The client's state before anybody touched it."""
    return lab.state(lab.client)


@pytest.fixture(scope="module")
def measured(lab: Lab, before: str, client_before: str) -> str:
    """The output of the whole experiment."""
    return lab.snakemake("--cores", "1", "all")


@pytest.fixture(scope="module")
def native(lab: Lab, measured: str) -> None:
    """The host as itself, whatever was measured last: a reboot would cut the connections of these tests."""
    assert lab.start().wait(RUN_TIMEOUT_S) == 0, lab.workspace.output()


def test_check_finds_what_is_to_be_done_and_changes_nothing(lab: Lab, before: str) -> None:
    said = lab.snakemake("check")
    for line in (
        "lab host: works: reached by SSH as root: Debian GNU/Linux 1",
        f"lab host: will be changed: {stranger.NIC}: its addresses are on a bridge during each session",
        "lab host: will be changed: packages for every session are installed: ethtool, socat, iperf",
        "lab host: works: kvm: AMD-V",
        "lab host: will be changed: xen: the host is rebooted into Xen and back by GRUB",
        "lab client: works: iperf version 2",
        f"To measure: 4 sessions, {4 * RUNS} runs, about ",
    ):
        assert line in said, said
    assert lab.state(lab.host) == before


def test_all_systems_are_measured_and_proved(lab: Lab, measured: str) -> None:
    for system in SYSTEMS:
        records = lab.workspace.records("lab", system)
        assert [(one.status, one.reason) for one in records] == [("ok", None)] * RUNS
    xen = lab.workspace.records("lab", "xen")[0]
    assert (xen.facts["host"] or {})["hypervisor_type"] == "xen"
    assert xen.proof["guest"]["driver"] == "vif"
    assert lab.workspace.records("lab", "kvm")[0].proof["query-kvm"]["enabled"] is True
    assert (xen.facts["client"] or {})["hostname"] == "notebook"
    assert measured.count("it is rebooted to be") in (1, 2)
    assert (lab.workspace.folder / "results/report.html").is_file()


def network_of(state: str) -> list[str]:
    return [line for line in state.splitlines() if stranger.NIC in line or "hvcost-br0" in line]


def is_given_back(lab: Lab, before: str) -> None:
    """Wait until the host's network is as it was."""
    deadline = Deadline(90, "network as it was")
    while network_of(lab.state(lab.host)) != network_of(before):
        deadline.wait_a_little()


def test_both_networks_are_given_back_after_every_session(
    lab: Lab, before: str, client_before: str, measured: str
) -> None:
    is_given_back(lab, before)
    assert lab.state(lab.client) == client_before


def test_a_guest_that_is_there_is_measured_by_the_same_protocol(lab: Lab, measured: str) -> None:
    rack = {
        "link": {"rate_mbit": 10000, "network": "198.19.9.0/24"},
        "host": {"connection": "provided"},
        "client": CONFIG["environments"]["lab"]["client"],
    }
    options = {"address": lab.host.address, "ssh": lab.host.name, "detected": "qemu"}
    systems = {"box": {"hypervisor": "provided", "options": options}}
    content = CONFIG | {"systems": systems, "environments": {"rack": rack}}
    (lab.workspace.folder / "rack.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    lab.workspace.run("results/rack/measurements/box.csv", "--configfile", "rack.yaml")
    records = lab.workspace.records("rack", "box")
    assert [(one.status, one.reason) for one in records] == [("ok", None)] * RUNS
    assert records[0].proof["guest"]["hostname"] == lab.host.name


def in_run(
    lab: Lab, process: subprocess.Popen[str], number: int, there: SshConnection, act: Callable[[], object]
) -> None:
    """Do something to a machine, which `there` is connected to, while a run of bare metal transfers."""
    deadline = Deadline(RUN_TIMEOUT_S, f"run {number}")
    while f"run {number} of {RUNS}" not in lab.workspace.output() or not transfers(there):
        assert process.poll() is None, lab.workspace.output()
        deadline.wait_a_little(0.05)
    act()


def transfers(there: SshConnection) -> bool:
    """Whether a run of iperf goes on."""
    look = "ss -Htn state established '( sport = :5001 or dport = :5001 )' | grep -q ."
    return there.succeeds(["sh", "-c", look])


@pytest.mark.parametrize("stepped", ["host", "client"])
def test_a_clock_is_stepped_in_a_run(lab: Lab, before: str, native: None, stepped: str) -> None:
    machine = lab.host if stepped == "host" else lab.client
    with lab.connected(machine) as there:
        process = lab.start()
        in_run(lab, process, 1, there, lambda: there.run(["date", "--set", "+2 seconds"]))
        in_run(lab, process, 2, there, lambda: there.run(["date", "--set", "-2 seconds"]))
    assert process.wait(RUN_TIMEOUT_S) == 0, lab.workspace.output()
    records = lab.workspace.records("lab", "bare-metal")
    assert [one.status for one in records] == ["failed"] * RUNS, [one.outputs for one in records]
    is_given_back(lab, before)


GIVEN_UP = r"failed: lab bare-metal boot 1: session given up in run 1 .*lab host: .*`"


def test_the_host_reboots_by_itself(lab: Lab, before: str, native: None) -> None:
    with lab.connected(lab.host) as there:
        process = lab.start()
        in_run(lab, process, 1, there, lambda: there.run(["systemctl", "reboot", "--no-block"]))
    assert process.wait(RUN_TIMEOUT_S) != 0
    assert re.search(GIVEN_UP, lab.workspace.output()), lab.workspace.output()
    # It is waited for until it is up again.
    assert lab.start().wait(RUN_TIMEOUT_S) == 0, lab.workspace.output()
    assert [one.status for one in lab.workspace.records("lab", "bare-metal")] == ["ok"] * RUNS
    is_given_back(lab, before)


def test_the_host_loses_its_power(lab: Lab, before: str, client_before: str, native: None) -> None:
    with lab.connected(lab.host) as there:
        process = lab.start()
        in_run(lab, process, 1, there, lab.plug_of_host.pull)
    assert process.wait(RUN_TIMEOUT_S) != 0
    assert re.search(GIVEN_UP, lab.workspace.output()), lab.workspace.output()
    assert lab.state(lab.client) == client_before
    lab.plug_of_host.put_in()
    assert lab.start().wait(RUN_TIMEOUT_S) == 0, lab.workspace.output()
    assert [one.status for one in lab.workspace.records("lab", "bare-metal")] == ["ok"] * RUNS
    is_given_back(lab, before)


def test_everything_is_taken_back(lab: Lab, before: str, client_before: str, measured: str) -> None:
    lab.snakemake("restore")
    assert lab.state(lab.host) == before
    assert lab.state(lab.client) == client_before
