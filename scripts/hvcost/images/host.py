"""The disk of an emulated machine: a Debian with OpenSSH, as an administrator would have installed it.

It is booted by QEMU with kernel and initramfs from outside. Its keys are made here and stay beside it.
"""

from __future__ import annotations

import gzip
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hvcost.errors import MachineError
from hvcost.images import debian, emulator, initramfs, kernel, manifest
from hvcost.machines.local import LocalConnection

# A machine that is reached by SSH, boots a Debian kernel and can be given further modules for it; the
# hypervisors' packages come on top.
BASE_PACKAGES = (
    "busybox-static",
    "dkms",
    "initramfs-tools",
    "kmod",
    "linux-headers-amd64",
    "linux-image-amd64",
    "openssh-server",
    "openssh-sftp-server",
    "procps",
    "systemd-sysv",
    "udev",
    "zstd",
)
OWN_FILES = Path(__file__).parent / "files/host"
DISK_GIB = 20
ROOT_LABEL = "host-root"
HOST_NAME = "hvcost-host"
MANAGEMENT_NETWORK = "198.19.255.0/24"
MANAGEMENT_ADDRESS = "198.19.255.15/24"
# The kernel hands what it does not know to its first program, in the environment.
KERNEL_ARGUMENTS = f"rw quiet net.ifnames=0 management={MANAGEMENT_ADDRESS} {kernel.WITHOUT_THE_UNNEEDED}"
FILES = ("disk.qcow2", "vmlinux", "initrd.img", "xen", "id_ed25519", "known_hosts")
EMULATOR = f"{emulator.FOLDER}/{emulator.PROGRAM}"
# Units of systemd that nobody needs here: they search for hardware that is known, wait for people at a
# terminal, load drivers that a session loads itself, or would work in the background of a measurement.
MASKED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "fstrim.timer",
    "getty.target",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@efi_pstore.service",
    "modprobe@fuse.service",
    "run-lock.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-udev-load-credentials.service",
    "systemd-udev-trigger.service",
    "virtualbox.service",
    "xendomains.service",
)
# All but the one for services without a unit, as Xen's.
MASKED_GENERATORS = (
    "systemd-cryptsetup-generator",
    "systemd-debug-generator",
    "systemd-fstab-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-import-generator",
    "systemd-rc-local-generator",
    "systemd-run-generator",
    "systemd-ssh-generator",
    "systemd-system-update-generator",
    "systemd-tpm2-generator",
)
MACHINE_ID = "20100101000040008000000000000002"


@dataclass(frozen=True)
class HostImage:
    """A built host image: paths on this computer, and the QEMU that plays machines with it."""

    disk: Path
    kernel: Path
    initramfs: Path
    xen: Path
    key: Path
    known_hosts: Path
    qemu: Sequence[str]
    qemu_version: str


def build(
    packages: Sequence[str], sid_packages: Sequence[str], left_out: Sequence[str], folder: Path
) -> None:
    """Build the files of FILES and manifest.json in the new `folder`. Needs root.

    `sid_packages` come from Debian's suite sid; the kernel does not. `left_out`: files of packages.
    """
    computer = LocalConnection("this computer")
    hook = f'sh {shlex.quote(str(OWN_FILES / "install-from-sid"))} "$1" {shlex.join(sid_packages)}'
    with debian.scratch_folder(folder) as scratch:
        root = scratch / "root"
        debian.bootstrap(computer, (*BASE_PACKAGES, *packages), root, hook, left_out=left_out)
        release = debian.kernel_release(root)
        _configure(root)
        _make_keys(computer, root, folder)
        kernel.unpack(computer, root, release, folder / "vmlinux")
        modules = debian.read_package_list(OWN_FILES / "modules")
        init = OWN_FILES / "initramfs-init"
        initramfs.write(computer, root, release, modules, init, scratch, folder / "initrd.img")
        _unpack_xen(root, folder / "xen")
        debian.make_disk(computer, root, folder / "disk.qcow2", DISK_GIB, ROOT_LABEL)
        qemu_version = emulator.unpack(computer, folder / emulator.FOLDER)
        installed = dict(debian.installed_packages(computer, root))
    listed = [name for name in FILES if name != "id_ed25519"]
    manifest.write(folder, listed, kernel=release, qemu=qemu_version, packages=installed)


def load(path: Path) -> HostImage:
    """The host image that a manifest describes; MachineError if its files are not beside it."""
    folder = path.parent
    qemu_version = manifest.load(path, "host", lambda data: str(data["qemu"]), (*FILES, EMULATOR))
    return HostImage(
        disk=folder / "disk.qcow2",
        kernel=folder / "vmlinux",
        initramfs=folder / "initrd.img",
        xen=folder / "xen",
        key=folder / "id_ed25519",
        known_hosts=folder / "known_hosts",
        qemu=emulator.command(folder.resolve() / emulator.FOLDER),
        qemu_version=qemu_version,
    )


def _configure(root: Path) -> None:
    """What an administrator would set on a new machine: name, keys only, and no services but those needed."""
    settings = {
        "etc/hostname": f"{HOST_NAME}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {HOST_NAME}\n",
        "etc/systemd/journald.conf.d/volatile.conf": "[Journal]\nStorage=volatile\n",
        "etc/ssh/sshd_config.d/keys-only.conf": "PasswordAuthentication no\nUseDNS no\n",
        "etc/machine-id": f"{MACHINE_ID}\n",
        # As systemd-update-done.service(8) writes it: what is done once after an update was done here.
        "etc/.updated": f"TIMESTAMP_NSEC={debian.EPOCH_S}000000000\n",
        "var/.updated": f"TIMESTAMP_NSEC={debian.EPOCH_S}000000000\n",
        # Who is let in finds everything up.
        "etc/systemd/system/ssh.service.d/last.conf": "[Unit]\nAfter=xen.service\n",
        "etc/systemd/system/xen.service.d/when.conf": "[Unit]\nConditionPathExists=/sys/hypervisor/type\n",
    }
    for name, text in settings.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for folder, names in (("system", MASKED), ("system-generators", MASKED_GENERATORS)):
        (root / "etc/systemd" / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (root / "etc/systemd" / folder / name).symlink_to("/dev/null")


def _make_keys(computer: LocalConnection, root: Path, folder: Path) -> None:
    """A key pair for root's login, and the known_hosts line of the machine's own key."""
    key = folder / "id_ed25519"
    computer.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hvcost", "-f", str(key)])
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(key.with_suffix(".pub"), ssh / "authorized_keys")
    (ssh / "authorized_keys").chmod(0o600)
    host_key = root / "etc/ssh/ssh_host_ed25519_key"
    if not host_key.exists():
        computer.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host_key)])
    public = host_key.with_suffix(".pub").read_text().split()
    (folder / "known_hosts").write_text(f"{HOST_NAME} {public[0]} {public[1]}\n")


def _unpack_xen(root: Path, target: Path) -> None:
    """The hypervisor, unpacked, since QEMU's multiboot loader takes no compressed file."""
    found = sorted((root / "boot").glob("xen-*-amd64.gz"))
    if len(found) != 1:
        raise MachineError(f"this computer: the host image holds {len(found)} hypervisors Xen, not one")
    target.write_bytes(gzip.decompress(found[0].read_bytes()))
