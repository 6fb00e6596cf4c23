"""Options of hypervisors, and what their drivers make of them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hvcost.errors import (
    CommandError,
    ConfigError,
    DeadlineExceeded,
    KernelPanic,
    MachineError,
    ProofError,
)
from hvcost.hypervisors import (
    Guest,
    GuestFiles,
    Hypervisor,
    SystemPlan,
    guest_programs,
    kvm,
    load_driver,
    names,
    nspawn,
    processor_time_s,
    versions,
    virtualbox,
    xen,
)
from hvcost.images import guest as guest_image
from hvcost.images.guest import GuestShape
from hvcost.machines import facts, translation
from hvcost.machines import guest as guest_system
from hvcost.machines.console import ConsoleConnection
from hvcost.machines.deadline import Deadline
from hvcost.machines.guest import BootedGuest
from hvcost.machines.local import LocalConnection
from hvcost.machines.stream import Stream
from hvcost.model.link import Link


@pytest.mark.parametrize(
    ("hypervisor", "options", "complaint"),
    [
        ("qemu", {"nick": "virtio"}, "nick: unknown option; allowed: nic, machine_type, cpu_model"),
        ("qemu", {"nic": "ne2k"}, "nic: 'ne2k' is not allowed; allowed: virtio, e1000, rtl8139"),
        ("qemu", {"cpu_model": 5}, "cpu_model: 5 is not allowed; allowed: a text"),
        ("qemu", {"vhost": True}, "vhost: unknown option"),
        ("kvm", {"vhost": "yes"}, "vhost: 'yes' is not allowed; allowed: true or false"),
        ("kvm", {"vhost": True, "nic": "e1000"}, "vhost: .* allowed: false with nic e1000"),
        ("kvm", {"vhost": True, "nic": "pcnet"}, "vhost: .* allowed: false with nic pcnet"),
        ("nspawn", {"network": "host"}, "network: 'host' is not allowed; allowed: bridge, nat"),
        ("kvm", {"queues": 2, "nic": "e1000"}, "queues: 2 is not allowed; allowed: 1 with nic e1000"),
        ("qemu", {"queues": 65}, "queues: 65 is not allowed; allowed: an integer, 1 to 64"),
        ("xen", {"type": "PV"}, "type: 'PV' is not allowed; allowed: pv, pvh, hvm"),
        ("virtualbox", {"nic": "e1000"}, "nic: 'e1000' is not allowed; allowed: virtio, 82540EM, Am79C973"),
        ("bare-metal", {"nic": "virtio"}, "nic: unknown option; allowed: none"),
        ("bare-metal-dom0", {"type": "pv"}, "type: unknown option; allowed: none"),
        ("nspawn", {"nic": "veth"}, "nic: unknown option; allowed: network"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(
    hypervisor: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_driver(hypervisor)(options)


def test_an_unknown_hypervisor_is_named_with_those_that_exist() -> None:
    with pytest.raises(
        ConfigError, match="'bochs' is not allowed; allowed: bare-metal, bare-metal-dom0, kvm, nspawn"
    ):
        load_driver("bochs")


XL_LIST = """\
Name                                        ID   Mem VCPUs	State	Time(s)
Domain-0                                     0  2304     2     r-----     148.6
hvcost-guest                                 1   128     1     -b----       9.1
"""


def test_processor_time_of_all_domains() -> None:
    assert xen.parse_list(XL_LIST) == {"Domain-0": 148.6, "hvcost-guest": 9.1}


def test_processor_time_of_a_guest_is_no_users() -> None:
    stat = "cpu  8000 100 6000 700000 300 0 900 0 2000 50\ncpu0 1 1 1 1 1 1 1 1 1 1\n"
    assert processor_time_s(stat) == {"user": 60.5, "system": 60.0, "interrupts": 9.0, "guests": 20.5}


def test_description_of_a_virtualbox_machine() -> None:
    text = 'name="hvcost-guest"\nmemory=128\n"disks-0-0"="/run/{3f48}.vdi"\nuart1="0x03f8,4"\n'
    assert virtualbox.parse_info(text) == {
        "name": "hvcost-guest",
        "memory": "128",
        "disks-0-0": "/run/{3f48}.vdi",
        "uart1": "0x03f8,4",
    }


@pytest.mark.parametrize(
    ("line", "mode", "paging"),
    [
        ("00:00:01.656923 HM: HMR3Init: AMD-V w/ nested paging", "hardware", "nested"),
        (
            "00:00:01.6 HM: HMR3Init: VT-x w/ nested paging and unrestricted guest execution",
            "hardware",
            "nested",
        ),
        ("00:00:01.6 HM: HMR3Init: AMD-V", "hardware", "other"),
        ("00:00:01.6 HM: HMR3Init: Falling back on IEM: AMD-V is not available", "other", "other"),
        ("00:00:01.6 NEM: something", "other", "other"),
    ],
)
def test_log_of_virtualbox_tells_how_the_guest_is_run(line: str, mode: str, paging: str) -> None:
    execution = virtualbox.parse_log(f"00:00:01.0 Log opened\n{line}\n")
    assert (execution["mode"], execution["paging"]) == (mode, paging)


def test_log_of_virtualbox_tells_how_often_timers_interrupt_the_guest() -> None:
    line = "00:00:01.155894   HostHzMax <integer> = 0x00000000000003e8 (1 000)"
    assert virtualbox.parse_log(f"00:00:01.0 Log opened\n{line}\n")["timer_hz_max"] == "1000"
    assert "timer_hz_max" not in virtualbox.parse_log("00:00:01.0 Log opened\n")


CRASHED = (Path(__file__).parent / "data/virtualbox/guru-meditation.log").read_text()
SHAPE = GuestShape(cpus=1, memory_mib=128, disk_gib=10)
PLAN = SystemPlan(
    name="env1 virtualbox",
    guest=Guest(SHAPE, GuestFiles("/guest/disk.qcow2", "/guest/vmlinuz", "/guest/initrd.img")),
    bridge="hvcost0",
    interface="eth1",
    host_address="198.18.1.2",
    link=Link(rate_mbit=1000, mtu=1500, network=IPv4Network("198.18.1.0/24"), congestion_control="cubic"),
    runtime="/run/hvcost",
)


class Scripted(LocalConnection):
    """A host that does nothing, and has a log of VirtualBox and one of the guest's serial port."""

    log = serial = ""

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        return 0, {"grep": self.log, "tail": self.serial}.get(argv[0], "").encode(), b""


class Silent(Stream):
    """A console on which nothing is ever said."""

    def send(self, data: bytes) -> None:
        pass

    def receive(self, timeout_s: float) -> bytes:
        raise DeadlineExceeded("nothing was said")

    def close(self) -> None:
        pass


def test_a_console_that_stays_silent_asks_whether_the_guest_lives() -> None:
    def check_alive() -> None:
        raise MachineError("the guest is dead")

    with pytest.raises(MachineError, match="the guest is dead"):
        guest = ConsoleConnection("guest", Silent(), check_alive=check_alive)
        guest.console.wait_until_ready(Deadline(60, "ready"))


def test_a_guest_that_virtualbox_stopped_is_seen_in_its_log() -> None:
    assert virtualbox.parse_crash(CRASHED) == "Guru Meditation 1155 (VINF_EM_TRIPLE_FAULT)"
    # A line of every log.
    assert (
        virtualbox.parse_crash("00:00:02.0 EMR3Init: fIemExecutesAll=false fGuruOnTripleFault=true") is None
    )


def booted_guest() -> BootedGuest:
    """A guest of VirtualBox that is up and never says anything."""
    return BootedGuest(ConsoleConnection("guest", Silent()), proof_of("virtualbox")["guest"], 1.0)


def with_boots(monkeypatch: pytest.MonkeyPatch, booted: Callable[..., object]) -> Hypervisor:
    """VirtualBox's driver, whose guests boot as `booted` does, and are believed."""
    monkeypatch.setattr(guest_system, "booted", booted)
    monkeypatch.setattr(virtualbox, "_listen", lambda host: Silent())
    driver = load_driver("virtualbox")({})
    monkeypatch.setattr(driver, "check_proof", lambda machine, proof: None)
    return driver


@pytest.mark.parametrize("crashes", [0, 1, virtualbox.RESTARTS, virtualbox.RESTARTS + 1])
def test_a_guest_that_virtualbox_stopped_while_it_booted_is_started_again(
    crashes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Scripted("host")
    left = iter(range(crashes))

    @contextmanager
    def booted(*_: object, check_alive: Callable[[], object], **__: object) -> Iterator[BootedGuest]:
        host.log = CRASHED if next(left, None) is not None else ""
        check_alive()
        yield booted_guest()

    driver = with_boots(monkeypatch, booted)
    if crashes > virtualbox.RESTARTS:
        with pytest.raises(MachineError, match="env1 virtualbox: VirtualBox stopped the guest: Guru Medit"):
            driver.started(host, PLAN).__enter__()
    else:
        with driver.started(host, PLAN) as system:
            said = (
                "env1 virtualbox: VirtualBox stopped the guest: Guru Meditation 1155 (VINF_EM_TRIPLE_FAULT)"
            )
            assert system.proof["crashes_while_booting"] == [said] * crashes


def test_a_guest_of_virtualbox_that_panics_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel says so on the serial port, which is not its channel."""
    host = Scripted("host")
    panics = iter([(Path(__file__).parent / "data/consoles/panic.txt").read_text(), ""])

    @contextmanager
    def booted(*_: object, check_alive: Callable[[], object], **__: object) -> Iterator[BootedGuest]:
        host.serial = next(panics)
        check_alive()
        yield booted_guest()

    driver = with_boots(monkeypatch, booted)
    with driver.started(host, PLAN) as system:
        (said,) = system.proof["crashes_while_booting"]
    assert said.startswith("env1 virtualbox: its kernel has panicked: Fatal exception in interrupt")


@pytest.mark.parametrize(
    ("vendor", "limited"), [(facts.TRANSLATED, True), ("KVMKVMKVM", False), ("none", False)]
)
def test_virtualbox_is_set_for_a_translated_processor_where_there_is_one(
    vendor: str, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def booted(*_: object, power_on: Callable[[], object], **__: object) -> Iterator[BootedGuest]:
        power_on()
        yield booted_guest()

    class Host(Scripted):
        def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
            if facts.SCRIPT in argv:
                return 0, f"cpuid_vendor={vendor}\n".encode(), b""
            return super()._execute(argv, timeout_s, stdin)

    driver = with_boots(monkeypatch, booted)
    host = Host("host")
    with driver.started(host, PLAN):
        done = [command.argv for command in host.journal.commands]
    assert limited == any("setextradata" in argv for argv in done)
    assert limited == any(virtualbox.PIN in argv for argv in done)


def test_the_guest_finds_the_channel_of_virtualbox() -> None:
    """Of its second card VirtualBox's address translation has 10.0.3.2, which is the host's loopback."""
    init = (guest_image.FILES / "init").read_text()
    assert f"nc 10.0.3.2 {virtualbox.CHANNEL_PORT} -e sh /{guest_image.CHANNEL}\n" in init


def test_a_taken_port_of_the_channel_is_named_before_a_guest_starts() -> None:
    with (
        socket.create_server((virtualbox.CHANNEL, virtualbox.CHANNEL_PORT)),
        pytest.raises(MachineError, match="here: another program listens at TCP port 2010, which"),
    ):
        virtualbox._listen(LocalConnection("here"))


def test_the_channel_is_the_first_ones_that_connects() -> None:
    stream = virtualbox._listen(LocalConnection("here"))
    with socket.create_connection((virtualbox.CHANNEL, virtualbox.CHANNEL_PORT)) as guest:
        guest.sendall(b"ready")
        assert stream.receive(10) == b"ready"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((virtualbox.CHANNEL, virtualbox.CHANNEL_PORT))
    stream.close()


def test_a_listener_that_a_killed_session_left_is_ended(tmp_path: Path) -> None:
    (tmp_path / "VBoxManage").write_text("#!/bin/sh\n")
    (tmp_path / "VBoxManage").chmod(0o755)
    left = subprocess.Popen(
        [*virtualbox.LISTENER, "STDIO", "TCP-LISTEN:0,bind=127.0.0.1"], stdin=subprocess.PIPE
    )
    remove = ["remove", virtualbox.MACHINE, "/guest/disk.vdi", " ".join(virtualbox.LISTENER)]
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", virtualbox.REMOVE, *remove], check=True, env=os.environ | {"PATH": path})
    left.communicate(timeout=60)
    assert left.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)


PROOFS = Path(__file__).parent / "data/proofs"


def proof_of(name: str) -> dict[str, Any]:
    """A proof that a real session recorded."""
    proof: dict[str, Any] = json.loads((PROOFS / f"{name}.json").read_text())
    return proof


def test_every_hypervisor_has_a_recorded_proof() -> None:
    assert {path.stem for path in PROOFS.glob("*.json")} == set(names())


@pytest.mark.parametrize(
    "trouble",
    [
        DeadlineExceeded("env1 virtualbox: boot of the guest: not within 300 s"),
        KernelPanic("env1 virtualbox: its kernel has panicked: Fatal exception"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
def test_a_guest_that_is_lost_while_it_boots_is_started_again(
    monkeypatch: pytest.MonkeyPatch, trouble: MachineError
) -> None:
    tries = iter([trouble])

    @contextmanager
    def booted(*_: object, **__: object) -> Iterator[BootedGuest]:
        if (hang := next(tries, None)) is not None:
            raise hang
        yield booted_guest()

    driver = with_boots(monkeypatch, booted)
    with driver.started(Scripted("host"), PLAN) as system:
        assert system.proof["crashes_while_booting"] == [str(trouble)]


HOTPLUG = "libxl: error: libxl_create.c:1727:domcreate_launch_dm: Domain 1:unable to add disk devices"


class Slow(Scripted):
    """A host under Xen whose scripts take libxl too long, so many times; or that fails for another reason."""

    def __init__(self, failures: int, stderr: str = HOTPLUG) -> None:
        super().__init__("host")
        self.failures = failures
        self.stderr = stderr
        self.destroyed = 0

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        self.destroyed += argv[:2] == ("xl", "destroy")
        if argv[:2] == ("xl", "create") and self.failures:
            self.failures -= 1
            return 3, b"", self.stderr.encode()
        return 0, b"1", b""


def test_devices_that_take_libxl_too_long_are_attached_at_another_try() -> None:
    host = Slow(xen.CREATE_TRIES - 1)
    xen._create(host, "guest.cfg")
    assert host.destroyed == xen.CREATE_TRIES - 1
    with pytest.raises(CommandError, match="unable to add disk devices"):
        xen._create(Slow(xen.CREATE_TRIES), "guest.cfg")
    other = Slow(1, "xl: not enough memory")
    with pytest.raises(CommandError, match="not enough memory"):
        xen._create(other, "guest.cfg")
    assert other.destroyed == 0


class HardOfHearing(LocalConnection):
    """A host that hears half of what a command is told on standard input, and only writes files."""

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        if "partial" not in argv[2] and "cat >" not in argv[2]:
            return 0, b"", b""
        return super()._execute(argv, timeout_s, stdin[: len(stdin) // 2])


def test_the_container_is_started_by_its_whole_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []

    @contextmanager
    def booted(name: str, *_: object, **__: object) -> Iterator[BootedGuest]:
        written.append((tmp_path / "container").read_text())
        raise MachineError("enough")
        yield

    monkeypatch.setattr(guest_system, "booted", booted)
    monkeypatch.setattr(HardOfHearing, "open_stream", lambda self, argv: Silent())
    driver = nspawn.Driver({})
    plan = replace(PLAN, runtime=str(tmp_path))
    with pytest.raises(MachineError, match="enough"), driver.started(HardOfHearing("host"), plan):
        pass
    assert shlex.split(written[0]) == driver.command_line(plan)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("other", names())
def test_only_the_proof_of_the_system_itself_is_accepted(name: str, other: str) -> None:
    driver = load_driver(name)({})
    if name == other:
        driver.check_proof("host", proof_of(name))
    else:
        with pytest.raises(ProofError, match=r"^host: "):
            driver.check_proof("host", proof_of(other))


@pytest.mark.parametrize(
    ("name", "options", "path", "value"),
    [
        ("kvm", {}, "query-kvm.enabled", False),
        ("kvm", {}, "guest.cpuid_vendor", "TCGTCGTCGTCG"),
        ("kvm", {"nic": "e1000"}, "guest.driver", "virtio_net"),
        ("kvm", {"nic": "pcnet"}, "guest.driver", "8139cp"),
        ("kvm", {"vhost": True}, "vhost", {"devices": 0, "workers": 0}),
        ("kvm", {"vhost": True}, "vhost", {"devices": 1, "workers": 0}),
        ("qemu", {}, "query-kvm.enabled", True),
        ("virtualbox", {}, "execution.mode", "other"),
        ("virtualbox", {}, "execution.paging", "other"),
        ("virtualbox", {}, "guest.dmi_product", "Standard PC"),
        ("virtualbox", {"nic": "82540EM"}, "guest.driver", "virtio_net"),
        ("xen", {"type": "pvh"}, "domain.config.c_info.type", "pv"),
        ("xen", {}, "guest.hypervisor_type", None),
        ("nspawn", {}, "scope.ActiveState", "inactive"),
        ("nspawn", {}, "processes", ""),
        ("nspawn", {"network": "nat"}, "translation", ""),
        ("nspawn", {"network": "nat"}, "route", "203.0.113.0/29 dev eth0 scope link"),
        ("provided", {"detected": "vmware"}, "detected", "kvm"),
        ("provided", {}, "detected", "none"),
        ("provided", {}, "detected", ""),
        ("provided", {"prove": "vmware -v", "expect": "ESXi"}, "proved", "Workstation"),
        ("bare-metal", {}, "boot_mode", "xen"),
        ("bare-metal", {}, "guests", ["process 4711 (qemu-system-x86)"]),
        ("bare-metal-dom0", {}, "boot_mode", "native"),
    ],
)
def test_a_proof_that_does_not_fit_is_refused(
    name: str, options: dict[str, Any], path: str, value: object
) -> None:
    proof = proof_of(name)
    *folders, last = path.split(".")
    place = proof
    for key in folders:
        place = place[key]
    place[last] = value
    with pytest.raises(ProofError, match=r"^host: "):
        load_driver(name)(options).check_proof("host", proof)


OPEN_FILES = """\
pid 1033
total 0
lrwx------ 1 root root 64 Nov 28 18:02 0 -> /dev/null
lrwx------ 1 root root 64 Nov 28 18:02 10 -> anon_inode:kvm-vm
lrwx------ 1 root root 64 Nov 28 18:02 14 -> /dev/net/tun
lrwx------ 1 root root 64 Nov 28 18:02 15 -> /dev/vhost-net
"""
# As Linux 6.12 has it, whose vhost is a thread of QEMU; that of 6.1 has the same name among all processes.
THREADS = "systemd\nkthreadd\nqemu-system-x86\nqemu-system-x86\nCPU 0/KVM\nvhost-1033\n"


@pytest.mark.parametrize(
    ("said", "devices", "workers"),
    [
        (OPEN_FILES + THREADS, 1, 1),
        (OPEN_FILES + THREADS.replace("vhost-1033", "vhost-999"), 1, 0),
        (OPEN_FILES.replace("vhost-net", "vhost-vsock") + THREADS, 0, 1),
        ("pid 1033\n", 0, 0),
    ],
)
def test_vhost_is_at_work_if_qemu_has_its_device_and_a_thread_of_its_own(
    said: str, devices: int, workers: int
) -> None:
    found = kvm.parse_vhost(said)
    assert found == {"devices": devices, "workers": workers}
    driver, proof = kvm.Driver({"vhost": True}), proof_of("kvm") | {"vhost": found}
    if devices and workers:
        driver.check_proof("host", proof)
    else:
        with pytest.raises(ProofError, match=r"^host: vhost is not at work"):
            driver.check_proof("host", proof)


def test_the_question_after_vhost_finds_what_a_process_has_open(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    said = LocalConnection("host").run(["sh", "-c", kvm.VHOST, "vhost", str(tmp_path)]).stdout
    lines = said.splitlines()
    assert lines[0] == f"pid {os.getpid()}"
    assert any(" -> " in line for line in lines)
    assert Path("/proc/self/comm").read_text().strip() in lines


# What nft of Debian 13 lists of the rules.
TRANSLATION = """\
table ip hvcost {
\tchain prerouting {
\t\ttype nat hook prerouting priority dstnat; policy accept;
\t\tiifname "hvcost-br0" ip daddr 198.18.1.3 counter packets 0 bytes 0 dnat to 203.0.113.3
\t}
}
"""


def test_a_container_behind_the_host_is_proved_by_both() -> None:
    proof = proof_of("nspawn") | {
        "translation": TRANSLATION,
        "route": "default via 203.0.113.2 dev eth0 \n203.0.113.0/29 dev eth0 scope link  src 203.0.113.3 \n",
    }
    load_driver("nspawn")({"network": "nat"}).check_proof("host", proof)
    with pytest.raises(ProofError, match="translation"):
        load_driver("nspawn")({"network": "nat"}).check_proof("host", proof_of("nspawn"))


def test_what_comes_over_the_link_s_bridge_to_the_guest_is_sent_on() -> None:
    inner = replace(PLAN.link, network=translation.NETWORK)
    assert 'iifname "hvcost0" ip daddr 198.18.1.3 counter dnat to 203.0.113.3' in translation.rules(
        PLAN.bridge, PLAN.link, inner
    )


def test_bare_metal_looks_for_the_guests_of_every_hypervisor_that_has_a_program_for_them() -> None:
    assert guest_programs() == ["VBoxHeadless", "qemu-system", "systemd-nspawn"]


def test_versions_have_the_names_of_facts_that_results_have_already() -> None:
    assert set(versions()) == {"qemu_version", "virtualbox_version", "xen_version"}


def test_the_version_of_a_hypervisor_is_what_its_program_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (
        "QEMU emulator version 10.0.3 (Debian 1:10.0.3+ds-0+deb13u1)\nCopyright (c) 2003-2025 Fabrice Bellard"
    )
    for program, text in (
        ("qemu-system-x86_64", said),
        ("VBoxManage", "WARNING: no module\n7.0.20r163906"),
    ):
        (tmp_path / program).write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = facts.versions(LocalConnection("lab host"), versions())
    assert found["qemu_version"] == "10.0.3 (Debian 1:10.0.3+ds-0+deb13u1)"
    assert found["virtualbox_version"] == "7.0.20r163906"


def test_a_hypervisor_that_needs_nothing_of_the_processor_works_on_every_host() -> None:
    assert load_driver("qemu").examine(LocalConnection("lab host")) == ""


@pytest.mark.parametrize("hypervisor", ["kvm", "virtualbox"])
def test_a_host_without_virtualisation_is_named_with_what_cannot_work(
    hypervisor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "grep").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "grep").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(MachineError, match=f"^lab host: {hypervisor} does not work on this machine"):
        load_driver(hypervisor).examine(LocalConnection("lab host"))
