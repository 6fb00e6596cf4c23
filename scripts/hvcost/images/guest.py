"""The guest's disk, kernel and initramfs: the same disk content for every hypervisor.

Building twice from the same packages gives the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hvcost.images import debian, grub, initramfs, kernel, manifest
from hvcost.machines import shell
from hvcost.machines.local import LocalConnection

# VirtualBox keeps to the speed of a serial port; 9600 bits a second, which is the default, take 1 ms a byte.
SERIAL_PORT = "ttyS0,115200"
# A console of Xen or Virtio takes a line at once, a serial port an interrupt for each character.
PARAVIRTUAL = "hvc0"


FILES = Path(__file__).parent / "files/guest"
# What there is beside the manifest.
BUILT = ("disk.qcow2", "initrd.img", "vmlinux")
ROOT_LABEL = "guest-root"
# A journal and checksums take seconds to mount where the processor is translated twice, and nobody writes to
# this disk: the guest mounts it read-only.
FEATURES = ("^has_journal", "^metadata_csum")
INIT = "usr/lib/hvcost/init"
CHANNEL = "usr/lib/hvcost/channel"
SHELL = "usr/lib/hvcost/shell"
APPLETS_FOLDER = "usr/lib/hvcost/bin"
# Programs that commands in the guest use and that play no part in what is measured.
APPLETS = (
    "base64", "cat", "dd", "grep", "head", "hostname", "ip", "mkdir", "nc", "poweroff", "readlink", "rm",
    "sed", "setsid", "sh", "sleep", "sort", "stty", "tail", "timeout", "tr", "uname",
)  # fmt: skip
# What a package's installation leaves behind that differs from one time to the next, or that nothing needs.
REMOVED = (
    "boot",
    "etc/hostname",
    "etc/machine-id",
    "etc/resolv.conf",
    "initrd.img",
    "initrd.img.old",
    "usr/lib/grub",
    "usr/lib/modules",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg/info",
    "var/lib/initramfs-tools",
    "var/log",
    "vmlinuz",
    "vmlinuz.old",
)


@dataclass(frozen=True)
class GuestShape:
    """The virtual hardware of the guest."""

    cpus: int
    memory_mib: int
    disk_gib: int


@dataclass(frozen=True)
class GuestImage:
    """A built guest: where its files are on this computer, and their checksums."""

    disk: Path
    kernel: Path
    initramfs: Path
    checksums: dict[str, str]


def build(disk_gib: int, packages: Sequence[str], folder: Path) -> None:
    """Build disk.qcow2, vmlinux, initrd.img and manifest.json in `folder`. Needs root."""
    computer = LocalConnection("this computer")
    with debian.scratch_folder(folder) as scratch:
        root = scratch / "root"
        debian.bootstrap(computer, packages, root)
        installed = dict(debian.installed_packages(computer, root))
        release = debian.kernel_release(root)
        packed = shutil.copyfile(root / f"boot/vmlinuz-{release}", scratch / "vmlinuz")
        kernel.unpack(computer, root, release, folder / "vmlinux")
        modules = debian.read_package_list(FILES / "modules")
        init = FILES / "initramfs-init"
        initramfs.write(computer, root, release, modules, init, scratch, folder / "initrd.img")
        boot_code = grub.boot_code(computer, root)
        for name in REMOVED:
            _remove(root / name)
        # Nodes that only an administrator can make; the guest's kernel has its own.
        for node in sorted((root / "dev").iterdir()):
            _remove(node)
        grub.configure(root, packed, folder / "initrd.img", kernel_arguments(SERIAL_PORT))
        for name in ("etc/machine-id", "etc/resolv.conf"):
            (root / name).touch()
        (root / INIT).parent.mkdir(parents=True)
        shutil.copy(FILES / "init", root / INIT)
        shutil.copy(FILES / "channel", root / CHANNEL)
        shutil.copy(shell.SCRIPT, root / SHELL)
        (root / INIT).chmod(0o755)
        (root / APPLETS_FOLDER).mkdir()
        for applet in APPLETS:
            (root / APPLETS_FOLDER / applet).symlink_to("/usr/bin/busybox")
        debian.make_disk(computer, root, folder / "disk.qcow2", disk_gib, ROOT_LABEL, boot_code, FEATURES)
    inputs = {"disk_gib": disk_gib, "packages": list(packages)}
    manifest.write(folder, BUILT, kernel=release, build=inputs, packages=installed)


def load(path: Path) -> GuestImage:
    """The guest that a manifest describes; MachineError if its files are not beside it."""
    checksums = manifest.load(
        path, "guest", lambda data: {name: entry["sha256"] for name, entry in data["files"].items()}
    )
    folder = path.parent
    return GuestImage(
        disk=folder / "disk.qcow2",
        kernel=folder / "vmlinux",
        initramfs=folder / "initrd.img",
        checksums=checksums,
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def kernel_arguments(*consoles: str) -> str:
    """Kernel command line: the kernel speaks on all `consoles`, and the guest takes commands on the last.

    Quiet, since serial ports are slow.
    """
    spoken = " ".join(f"console={console}" for console in consoles)
    return f"{spoken} quiet nokaslr ipv6.disable=1 {kernel.WITHOUT_THE_UNNEEDED}"
