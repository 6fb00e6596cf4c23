"""VirtualBox: a guest that boots from its disk as a PC does, in a process of the host."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hvcost.errors import DeadlineExceeded, KernelPanic, MachineError
from hvcost.hypervisors import (
    GuestFiles,
    Hypervisor,
    RunningSystem,
    SystemPlan,
    convert_disk,
    disk_as,
    expect,
    hardware_virtualisation,
)
from hvcost.machines import facts
from hvcost.machines import guest as guest_system
from hvcost.machines.base import Connection
from hvcost.machines.stream import Stream

MACHINE = "hvcost-guest"
# In the range that is VirtualBox's.
MAC = "080027201003"
CHANNEL_MAC = "080027201004"
# A serial port, the only console that VirtualBox has, takes an exit for each character, and under nested
# translation a guest is lost after some thousands of them. So commands have a card of their own, behind
# VirtualBox's address translation. The guest connects to the host's loopback (images/files/guest/init).
CHANNEL = "127.0.0.1"
CHANNEL_PORT = 2010
# The host's end has a name of ours: one that waits for a guest outlives the session that was killed.
LISTENER = ("socat", "-lp", "hvcost-channel")
# VirtualBox interrupts a guest as often as the guest's timers want it, three times as often while the guest's
# clock is late, and up to 20,000 times a second. A translated processor does little else then, and is late.
TIMER_HZ_MAX = ("VBoxInternal/TM/HostHzMax", "1000")
# A guest whose thread moves from one translated processor to another ends in a triple fault before long. So
# each has a processor of its own, from the last one down. Argument: the machine.
PIN = """
for pid in $(pgrep -x VBoxHeadless); do
    grep -qsF "$1" "/proc/$pid/cmdline" || continue
    cpu=$(nproc)
    for task in "/proc/$pid/task/"*; do
        grep -qs '^EMT' "$task/comm" || continue
        cpu=$((cpu > 0 ? cpu - 1 : $(nproc) - 1))
        taskset -c -p "$cpu" "${task##*/}"
    done
done
"""
MODULES = ("vboxdrv", "vboxnetflt")
COMMAND_TIMEOUT_S = 180.0
# Of one try: now and then a guest hangs before it has said anything (a lost interrupt of nested translation).
READY_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
# A guest that VirtualBox stopped while it booted, or that hangs, is started again this often.
RESTARTS = 2
# By VirtualBox's name of the model, the driver that the guest has for it.
NIC_DRIVERS = {"virtio": "virtio_net", "82540EM": "e1000", "Am79C973": "pcnet32"}

# VBoxManage wants to know whose machines it manages (its manual, section "VBoxManage").
MANAGE = ("env", "HOME=/root", "USER=root", "VBoxManage")

# The variable of UEFI that says whether only signed code is booted: four bytes of attributes, then 0 or 1.
SECURE_BOOT = (
    "cat /sys/firmware/efi/efivars/SecureBoot-* 2>/dev/null | od -An -tu1 | tr -s ' ' | cut -d' ' -f6"
)
# Arguments: machine, disk, which is kept. A machine stays locked for a moment after its end. VirtualBox's
# service, which comes and goes, was seen to have both still after one pass. Third: the channel's listener.
REMOVE = r"""
export HOME=/root USER=root
pkill -f "^$3 "
VBoxManage --version >/dev/null || exit
while true; do
    known=$(VBoxManage list vms && VBoxManage list hdds) || { sleep 0.5; continue; }
    case $known in *"\"$1\""* | *" $2"*) ;; *) break ;; esac
    VBoxManage controlvm "$1" poweroff
    VBoxManage unregistervm "$1" --delete
    VBoxManage closemedium disk "$2"
    sleep 0.5
done
"""

log = logging.getLogger(__name__)


class GuruMeditation(MachineError):
    """VirtualBox stopped the guest for a fault that it cannot handle."""


@dataclass(frozen=True)
class Options:
    """`nic`: virtio, or a model of a real one; `Am79C973` is what VirtualBox gave to a guest in 2010."""

    nic: str = field(default="virtio", metadata={"allowed": tuple(NIC_DRIVERS)})


class Driver(Hypervisor):
    """A machine made, started and removed by `VBoxManage`."""

    Options = Options
    ready_nested_s = 20.0
    packages = ("virtualbox", "virtualbox-dkms", "qemu-utils")
    guest_program = "VBoxHeadless"
    versions: ClassVar[Mapping[str, str]] = {
        "virtualbox_version": "! command -v VBoxManage >/dev/null || "
        f"{shlex.join(MANAGE)} --version | tail -n 1"
    }
    # No release of Debian has it.
    sid_packages = ("virtualbox", "virtualbox-dkms")

    @classmethod
    def examine(cls, host: Connection) -> str:
        found = hardware_virtualisation(host, "virtualbox")
        if host.run(["sh", "-c", SECURE_BOOT]).stdout.strip() == "1":
            raise MachineError(
                f"{host.name}: virtualbox: secure boot is on, which refuses its unsigned kernel modules; "
                "turn it off"
            )
        return found

    def prepare(self, host: Connection) -> list[str]:
        """Load VirtualBox's kernel modules."""
        hardware_virtualisation(host, "VirtualBox")
        changes = []
        for module in MODULES:
            if not host.succeeds(["test", "-e", f"/sys/module/{module}"]):
                host.run(["modprobe", module])
                changes.append(f"loaded kernel module {module}")
        return changes

    def prepare_files(self, host: Connection, files: GuestFiles) -> list[str]:
        """The disk in VirtualBox's own format."""
        return convert_disk(host, files, "vdi")

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        crashes: list[str] = []
        try:
            with ExitStack() as stack:
                guest = self._boot(host, plan, stack, crashes)
                proof = {
                    "hypervisor": "virtualbox",
                    "version": host.run([*MANAGE, "--version"]).stdout.strip(),
                    "machine": parse_info(_manage(host, "showvminfo", MACHINE, "--machinereadable")),
                    "execution": parse_log(host.run(["cat", _log(plan)]).stdout),
                    "guest": dict(guest.facts),
                    "ready_after_s": guest.ready_after_s,
                    "crashes_while_booting": crashes,
                }
                self.check_proof(host.name, proof)
                yield RunningSystem(guest.console, str(plan.link.guest), proof)
        except MachineError as error:
            raise MachineError(f"{error}; VirtualBox says: {_last_words(host, plan)}") from error
        finally:
            _remove(host, plan)

    def _boot(
        self, host: Connection, plan: SystemPlan, stack: ExitStack, crashes: list[str]
    ) -> guest_system.BootedGuest:
        """The booted guest, whose end is the stack's.

        Nothing was measured yet, so one that crashed or hangs is started again, and the proof says so (in
        `crashes`).
        """
        is_translated = facts.collect(host, plan.interface).get("cpuid_vendor") == facts.TRANSLATED
        while True:
            _remove(host, plan)
            for arguments in self.command_lines(plan):
                host.run([*MANAGE, *arguments], timeout_s=COMMAND_TIMEOUT_S)
            if is_translated:
                _manage(host, "setextradata", MACHINE, *TIMER_HZ_MAX)
            booted = guest_system.booted(
                plan.name,
                _listen(host),
                host,
                plan.link,
                READY_TIMEOUT_S,
                power_on=lambda: _power_on(host, is_translated),
                check_alive=lambda: _check_alive(host, plan),
            )
            try:
                return stack.enter_context(booted)
            except (GuruMeditation, DeadlineExceeded, KernelPanic) as error:
                if len(crashes) == RESTARTS:
                    raise
                log.warning("%s; it is started again", error)
                crashes.append(str(error))

    def command_lines(self, plan: SystemPlan) -> list[list[str]]:
        """Arguments of VBoxManage that make the machine.

        Its disk is immutable: what a guest writes is forgotten.
        """
        assert plan.guest
        shape = plan.guest.shape
        return [
            ["createvm", "--name", MACHINE, "--ostype", "Debian_64", "--basefolder", plan.runtime,
             "--register"],
            ["modifyvm", MACHINE,
             "--memory", str(shape.memory_mib), "--cpus", str(shape.cpus),
             "--graphicscontroller", "none", "--audio-enabled", "off",
             "--boot1", "disk", "--boot2", "none", "--boot3", "none", "--boot4", "none",
             # The host's own interface: VirtualBox has a bridge of its own.
             "--nic1", "bridged", "--bridgeadapter1", plan.interface,
             "--nictype1", self.options.nic, "--macaddress1", MAC,
             "--nic2", "nat", "--nictype2", "virtio", "--macaddress2", CHANNEL_MAC,
             "--nat-localhostreachable2", "on",
             "--uart1", "0x3F8", "4", "--uartmode1", "file", _serial(plan)],
            ["storagectl", MACHINE, "--name", "disks", "--add", "ide"],
            ["storageattach", MACHINE, "--storagectl", "disks", "--port", "0", "--device", "0",
             "--type", "hdd", "--medium", disk_as(plan.guest.files, "vdi"), "--mtype", "immutable"],
        ]  # fmt: skip

    def check_proof(self, machine: str, proof: Mapping[str, Any]) -> None:
        expect(machine, proof, "hypervisor", "virtualbox")
        expect(machine, proof, "machine.VMState", "running")
        expect(machine, proof, "execution.mode", "hardware")
        expect(machine, proof, "execution.paging", "nested")
        expect(machine, proof, "guest.dmi_product", "VirtualBox")
        expect(machine, proof, "guest.driver", NIC_DRIVERS[self.options.nic])


def parse_info(text: str) -> dict[str, str]:
    """`VBoxManage showvminfo --machinereadable` as names and values."""
    return {
        name.strip('"'): value.strip().strip('"')
        for name, value in re.findall(r'^("[^"\n]*"|[^=\n]+)=(.*)$', text, re.MULTILINE)
    }


def parse_log(text: str) -> dict[str, str]:
    """How VirtualBox runs the guest, from VBox.log: its own line, and what it means.

    `mode` is `hardware` with AMD-V or VT-x, and otherwise `other`, such as the interpreter it falls back on.
    `timer_hz_max`: how often its timers interrupt the guest at most, if not as often as VirtualBox wants.
    """
    line = re.search(r"HM: HMR3Init: (.*)", text)
    said = line[1].strip() if line else "nothing"
    timer = re.search(r"HostHzMax +<integer> = 0x[0-9a-f]+ \(([0-9 ]+)\)", text)
    return {
        "said": said,
        "mode": "hardware" if re.match(r"(AMD-V|VT-x)\b", said) else "other",
        "paging": "nested" if "nested paging" in said else "other",
        **({"timer_hz_max": timer[1].replace(" ", "")} if timer else {}),
    }


def _manage(host: Connection, *arguments: str) -> str:
    return host.run([*MANAGE, *arguments], timeout_s=COMMAND_TIMEOUT_S).stdout


def _power_on(host: Connection, is_translated: bool) -> None:
    _manage(host, "startvm", MACHINE, "--type", "headless")
    if is_translated:
        host.run(["sh", "-c", PIN, "pin", MACHINE])


def _listen(host: Connection) -> Stream:
    """The channel's end on the host, which takes the first that connects, and nobody after it."""
    with host.shell() as shell:
        port = f"{CHANNEL_PORT:04X}"
        if shell.ask(f"! is_taken tcp {port} || echo taken"):
            raise MachineError(
                f"{host.name}: another program listens at TCP port {CHANNEL_PORT}, "
                "which the guest of VirtualBox needs; end it"
            )
        listen = f"TCP-LISTEN:{CHANNEL_PORT},bind={CHANNEL},reuseaddr"
        stream = host.open_stream([*LISTENER, "STDIO", listen])
        shell.ask(f"until is_taken tcp {port}; do sleep 0.1; done", timeout_s=30)
    return stream


def _remove(host: Connection, plan: SystemPlan) -> None:
    """End the machine, if it is there, and forget it and its disk."""
    assert plan.guest
    disk = disk_as(plan.guest.files, "vdi")
    arguments = (MACHINE, disk, " ".join(LISTENER))
    host.run(["sh", "-c", REMOVE, "remove", *arguments], timeout_s=STOP_TIMEOUT_S)


def parse_crash(log_text: str) -> str | None:
    """Why VirtualBox stopped the guest, from VBox.log; None if it did not."""
    said = re.search(r"!!\s+VCPU\d+: (Guru Meditation .*)", log_text)
    return said[1].strip() if said else None


def _check_alive(host: Connection, plan: SystemPlan) -> None:
    """GuruMeditation or KernelPanic, if that is what has become of the guest."""
    lines = host.run(["grep", "--max-count=1", "Guru Meditation", _log(plan)], check=False).stdout
    if crash := parse_crash(lines):
        raise GuruMeditation(f"{plan.name}: VirtualBox stopped the guest: {crash}")
    guest_system.check_panic(plan.name, host, _serial(plan))


def _last_words(host: Connection, plan: SystemPlan) -> str:
    text = host.run(["tail", "-q", "-n", "5", _serial(plan), _log(plan)], check=False).stdout
    return " / ".join(text.strip().splitlines()) or "nothing"


def _serial(plan: SystemPlan) -> str:
    return f"{plan.runtime}/serial.log"


def _log(plan: SystemPlan) -> str:
    return f"{plan.runtime}/{MACHINE}/Logs/VBox.log"
