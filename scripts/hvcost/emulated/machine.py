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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hvcost import network
from hvcost.connections.base import Journal
from hvcost.connections.local import LocalConnection, end_group
from hvcost.connections.ssh import SshAddress, SshConnection
from hvcost.deadline import Deadline
from hvcost.emulated.image import HOST_NAME, MANAGEMENT_NETWORK, ROOT_LABEL, HostImage
from hvcost.errors import DeadlineExceeded, MachineError
from hvcost.hypervisors import BootMode

log = logging.getLogger(__name__)

TAP = "tap0"
INTERFACE = "eth1"
SSH_PORT = 2222
BOOT_TIMEOUT_S = 300.0
POWER_OFF_TIMEOUT_S = 120.0
SEEN_CHARACTERS = 2000
XEN_AND_GUEST_MIB = 768
# Without 5-level paging VirtualBox's BIOS boots; without RDTSCP Xen can emulate what its guests do.
TRANSLATED_CPU = "max,-la57,-rdtscp"
# When Xen switches SIMD registers lazily, as it does on AMD, some of them are lost under translation:
# programs of dom0 and of guests compute nonsense once in some hundred times, and crash.
XEN_SWITCHING = "spec-ctrl=eager-fpu"


@dataclass(frozen=True)
class Hardware:
    """What the emulated machine consists of. `accelerator`: `tcg`, or `kvm` with nested virtualisation."""

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
    keep_changes: bool,
) -> list[str]:
    """QEMU's arguments for the machine; `keep_changes` off: whatever it writes to its disk is forgotten."""
    cpu = "host" if hardware.accelerator == "kvm" else TRANSLATED_CPU
    accelerator = "kvm" if hardware.accelerator == "kvm" else "tcg,thread=multi"
    snapshot = "off" if keep_changes else "on"
    return [
        *image.qemu,
        "-name", HOST_NAME,
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-machine", "q35", "-accel", accelerator, "-cpu", cpu,
        "-smp", str(hardware.cpus), "-m", str(hardware.memory_mib),
        *_boot(image, boot_mode, hardware),
        "-drive", f"file={disk},format=qcow2,if=virtio,snapshot={snapshot},cache=unsafe",
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
    linux = f"root=LABEL={ROOT_LABEL} rw quiet net.ifnames=0"
    if boot_mode == "native":
        return [
            "-kernel", str(image.kernel), "-initrd", str(image.initramfs),
            "-append", f"{linux} console=ttyS0",
        ]  # fmt: skip
    # QEMU splits the modules at commas.
    modules = f"{image.kernel} {linux} console=hvc0,{image.initramfs}"
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
    errors = console_log.with_suffix(".qemu")
    with errors.open("wb") as stderr:
        process = inside.start(arguments, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)
    try:
        deadline = Deadline(BOOT_TIMEOUT_S, f"{name}: boot of the emulated machine")
        connection = _wait_for_ssh(name, process, far, image, deadline, console_log, computer.journal)
        log.info("%s: emulated machine is up after %.0f s", name, deadline.elapsed_s)
        with contextlib.closing(connection):
            yield connection
            if orderly:
                _power_off(connection, process)
    finally:
        end_group(process)


def _power_off(connection: SshConnection, process: subprocess.Popen[bytes]) -> None:
    connection.run(["systemctl", "poweroff", "--no-block"])
    try:
        process.wait(POWER_OFF_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise DeadlineExceeded(
            f"{connection.name}: not switched off within {POWER_OFF_TIMEOUT_S:g} s"
        ) from error


def _wait_for_ssh(
    name: str,
    process: subprocess.Popen[bytes],
    far: str,
    image: HostImage,
    deadline: Deadline,
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
            transport = network.open_tcp(far, "127.0.0.1", SSH_PORT, deadline.remaining_s)
            # User-mode networking accepts at once; the banner shows that the machine's sshd is there.
            transport.settimeout(2)
            if transport.recv(4, socket.MSG_PEEK) == b"SSH-":
                transport.settimeout(None)
                return SshConnection(name, address, journal, transport)
        except OSError as error:
            log.debug("%s: not yet: %s", name, error)
        if transport:
            transport.close()
        try:
            deadline.wait_a_little()
        except DeadlineExceeded as error:
            raise DeadlineExceeded(f"{error}; its console's end: {_end_of(console_log)}") from error


def _end_of(path: Path) -> str:
    return path.read_text(errors="replace")[-SEEN_CHARACTERS:].strip() if path.is_file() else ""
