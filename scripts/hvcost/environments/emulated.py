"""An emulated machine: switched on, reached by SSH, switched off.

QEMU runs in the far namespace of the link. Its second network interface is the measured one, a tap in the
switch of that namespace; the first is for management, forwarded on the namespace's own loopback and cut off
from everything else. The flags are explained in docs/emulated-machines.md.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hvcost.environments import network
from hvcost.environments.acceleration import PROCESSORS
from hvcost.errors import DeadlineExceeded, MachineError
from hvcost.hypervisors import BootMode
from hvcost.images.host import HOST_NAME, KERNEL_ARGUMENTS, MANAGEMENT_NETWORK, HostImage
from hvcost.machines.idleness import Idleness
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection, cpu_time_s, end_group
from hvcost.machines.ssh import SshAddress, SshConnection

log = logging.getLogger(__name__)

TAP = "tap0"
GUEST_DISK = "/dev/vdb"
INTERFACE = "eth1"
SSH_PORT = 2222
# A machine that takes longer than the first to boot, and its emulator more than the second of the processor,
# hangs; or when its emulator idles. A slow or busy computer gives it less of its processor in the same time.
BOOT_TIMEOUT_S = 300.0
BOOT_CPU_TIME_S = 600.0
LOST_TIMER_WARNINGS = 3
# A machine that hangs while it boots is switched on again: nothing was measured yet.
BOOT_TRIES = 3
# What a boot takes on the computer for which time limits are meant.
USUAL_BOOT_S = 7.0
POWER_OFF_TIMEOUT_S = 120.0
BANNER_TIMEOUT_S = 10.0
POLL_S = 0.2
SEEN_CHARACTERS = 2000
XEN_AND_GUEST_MIB = 768
# When Xen switches SIMD registers lazily, as it does on AMD, some of them are lost under translation:
# programs of dom0 and of guests compute nonsense once in some hundred times, and crash.
XEN_SWITCHING = "spec-ctrl=eager-fpu"


@dataclass(frozen=True)
class Hardware:
    """What the emulated machine consists of, and how it is played: see `acceleration`."""

    cpus: int
    memory_mib: int
    accelerator: str


def command_line(
    hardware: Hardware,
    image: HostImage,
    disk: Path,
    boot_mode: BootMode,
    console_log: Path,
    *,
    guest_disk: Path | None = None,
    keep_changes: bool,
) -> list[str]:
    """QEMU's arguments for the machine; `keep_changes` off: whatever it writes to its disk is forgotten.

    `guest_disk` holds the guest's files; the machine cannot write to it.
    """
    snapshot = "off" if keep_changes else "on"
    return [
        *image.qemu,
        "-name", HOST_NAME,
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35", *PROCESSORS[hardware.accelerator],
        "-smp", str(hardware.cpus), "-m", str(hardware.memory_mib),
        *_boot(image, boot_mode, hardware),
        "-drive", f"file={disk},format=qcow2,if=virtio,snapshot={snapshot},cache=unsafe",
        *(["-drive", f"file={guest_disk},format=raw,if=virtio,readonly=on"] if guest_disk else []),
        "-netdev", f"user,id=management,net={MANAGEMENT_NETWORK},restrict=on,"
                   f"hostfwd=tcp:127.0.0.1:{SSH_PORT}-:22",
        "-device", "virtio-net-pci,netdev=management,mac=52:54:00:00:00:01",
        "-netdev", f"tap,id=measured,ifname={TAP},script=no,downscript=no",
        "-device", "virtio-net-pci,netdev=measured,mac=52:54:00:00:00:02",
        "-device", "virtio-rng-pci",
        "-serial", f"file:{console_log}",
    ]  # fmt: skip


def _boot(image: HostImage, boot_mode: BootMode, hardware: Hardware) -> list[str]:
    """Kernel, initramfs and their arguments; Xen is loaded with both as modules (multiboot)."""
    if boot_mode == "native":
        return [
            "-kernel", str(image.kernel), "-initrd", str(image.initramfs),
            "-append", f"{KERNEL_ARGUMENTS} console=ttyS0",
        ]  # fmt: skip
    # QEMU splits the modules at commas, but for two in a row, which are one.
    dom0 = f"{image.kernel} {KERNEL_ARGUMENTS} console=hvc0".replace(",", ",,")
    modules = f"{dom0},{image.initramfs}"
    dom0_mib = hardware.memory_mib - XEN_AND_GUEST_MIB
    return [
        "-kernel", str(image.xen), "-initrd", modules,
        "-append", f"dom0_mem={dom0_mib}M,max:{dom0_mib}M dom0_max_vcpus={hardware.cpus} "
                   f"{XEN_SWITCHING} com1=115200,8n1 console=com1",
    ]  # fmt: skip


@contextlib.contextmanager
def switched_on(
    name: str,
    computer: LocalConnection,
    far: str,
    arguments: list[str],
    image: HostImage,
    console_log: Path,
    *,
    orderly: bool,
) -> Iterator[SshConnection]:
    """The machine in the namespace `far`, from power-on to power-off, as an SSH connection to root.

    `orderly`: it is shut down, so that its disk keeps what was written; otherwise its plug is pulled.
    """
    inside = LocalConnection(computer.name, computer.journal, far)
    for tries_left in reversed(range(BOOT_TRIES)):
        process = _power_on(inside, arguments, console_log)
        try:
            watch = Boot(name, process, console_log)
            try:
                connection = _wait_for_ssh(name, process, far, image, watch, console_log, computer.journal)
            except DeadlineExceeded as error:
                if not tries_left:
                    raise
                log.warning("%s; it is switched on again", error)
                continue
            connection.slowness = max(1.0, watch.elapsed_s / USUAL_BOOT_S)
            log.info("%s: emulated machine is up after %.0f s", name, watch.elapsed_s)
            with contextlib.closing(connection):
                yield connection
                if orderly:
                    _power_off(connection, process)
            return
        finally:
            end_group(process)


def _power_on(inside: LocalConnection, arguments: list[str], console_log: Path) -> subprocess.Popen[bytes]:
    console_log.unlink(missing_ok=True)
    with console_log.with_suffix(".qemu").open("wb") as stderr:
        return inside.start(arguments, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)


def _power_off(connection: SshConnection, process: subprocess.Popen[bytes]) -> None:
    connection.run(["systemctl", "poweroff", "--no-block"])
    try:
        process.wait(POWER_OFF_TIMEOUT_S * connection.slowness)
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded(
            f"{connection.name}: not switched off within {POWER_OFF_TIMEOUT_S:g} s"
        ) from error


def _wait_for_ssh(
    name: str,
    process: subprocess.Popen[bytes],
    far: str,
    image: HostImage,
    watch: Boot,
    console_log: Path,
    journal: Journal,
) -> SshConnection:
    address = SshAddress(HOST_NAME, "root", 22, image.key, image.known_hosts)
    while True:
        if (exit_code := process.poll()) is not None:
            said = _end_of(console_log.with_suffix(".qemu")) or _end_of(console_log)
            raise MachineError(f"{name}: QEMU ended with exit code {exit_code}: {said}")
        transport: socket.socket | None = None
        try:
            transport = network.open_tcp(far, "127.0.0.1", SSH_PORT, BANNER_TIMEOUT_S)
            # User-mode networking accepts at once; the banner shows that the machine's sshd is there.
            transport.settimeout(BANNER_TIMEOUT_S)
            if transport.recv(4, socket.MSG_PEEK) == b"SSH-":
                transport.settimeout(None)
                return SshConnection(name, address, journal, transport)
        except OSError as error:
            log.debug("%s: not yet: %s", name, error)
        if transport:
            transport.close()
        if watch.hangs():
            raise DeadlineExceeded(f"{watch}; its console's end: {_end_of(console_log)}")
        time.sleep(POLL_S)


class Boot:
    """A boot that is under way, by the clock, its emulator's processor time, and what its kernel says."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], console_log: Path) -> None:
        self._name = name
        self._process = process
        self._console_log = console_log
        self._idleness = Idleness(process)
        self._start_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._start_s

    def hangs(self) -> bool:
        """Whether it lost its timer, or goes on for long and not because it got little of the processor."""
        if self._console_log.is_file() and _lost_timer(self._console_log.read_text(errors="replace")):
            return True
        is_idle = self._idleness.lasts()
        return self.elapsed_s > BOOT_TIMEOUT_S and (is_idle or self.cpu_time_s > BOOT_CPU_TIME_S)

    def __str__(self) -> str:
        return (
            f"{self._name}: boot of the emulated machine: not within {self.elapsed_s:.0f} s, in which its "
            f"emulator used {self.cpu_time_s:.0f} s of the processor"
        )

    @property
    def cpu_time_s(self) -> float:
        return cpu_time_s(self._process)


def _lost_timer(console: str) -> bool:
    """Whether the kernel says again and again that a timer of its own does not fire (RCU's stall warnings).

    Now and then QEMU loses a processor's timer. The machine goes on without it, and never gets up.
    """
    return console.count("timer wakeup didn't happen") >= LOST_TIMER_WARNINGS


def _end_of(path: Path) -> str:
    return path.read_text(errors="replace")[-SEEN_CHARACTERS:].strip() if path.is_file() else ""
