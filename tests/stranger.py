"""Machines that this project has never seen: a stock Debian that boots from its own disk by GRUB.

They are emulated, but nothing of them is known to the project: each has its own kernel, boot menu, user and
one network card, over which it is administered as well as measured. Their packages come from a repository
on their own disk, since an emulated machine reaches nothing outside. They reboot as real ones do.

    namespace of the lab: bridge lan0 198.19.9.1 -+- tap0 ==== network card of the first, 198.19.9.20
                                                  +- tap1 ==== network card of the second, 198.19.9.21
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvcost.environments import emulated, network
from hvcost.environments.acceleration import PROCESSORS
from hvcost.errors import MachineError
from hvcost.images import debian
from hvcost.images.host import HostImage
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection, end_group
from hvcost.machines.ssh import SshAddress, SshConnection
from hvcost.machines.waiting import awaited

USER = "admin"
NEIGHBOUR = "198.19.9.1"
SWITCH = "lan0"
NIC = "enp0s2"
ROOT_LABEL = "stranger-root"
BOOT_TIMEOUT_S = 300
# What an installation of Debian with the SSH server has, as far as it matters here.
PACKAGES = (
    "grub-pc",
    "ifupdown",
    "initramfs-tools",
    "iproute2",
    "kmod",
    "linux-image-amd64",
    "openssh-server",
    "openssh-sftp-server",
    "procps",
    "sudo",
    "systemd-sysv",
    "udev",
    "zstd",
)
# What a host needs of its administrator's mirror.
OFFERED = (
    "ethtool",
    "iperf",
    "qemu-system-x86",
    "qemu-system-xen",
    "qemu-utils",
    "socat",
    "xen-system-amd64",
)
REPOSITORY = r"""
set -e
root=$1; shift
chroot "$root" apt-get install --yes --download-only --no-install-recommends "$@"
mkdir -p "$root/srv/mirror"
mv "$root"/var/cache/apt/archives/*.deb "$root/srv/mirror/"
cd "$root/srv/mirror"
for deb in *.deb; do
    dpkg-deb --field "$deb"
    printf 'Filename: ./%s\nSize: %s\n' "$deb" "$(stat --format=%s "$deb")"
    printf 'SHA256: %s\n\n' "$(sha256sum <"$deb" | cut -d' ' -f1)"
done >Packages
"""


@dataclass(frozen=True)
class Stranger:
    """A machine by its name and number: its disk, and how it is reached. `home` is its administrator's."""

    name: str
    number: int
    disk: Path
    home: Path
    image: HostImage

    @property
    def address(self) -> str:
        return f"198.19.9.{20 + self.number}"

    @property
    def tap(self) -> str:
        return f"tap{self.number}"

    @property
    def console(self) -> Path:
        """Log of what its console says."""
        return self.disk.with_name(f"{self.name}.log")


def make_home(folder: Path) -> Path:
    """A home with a new key; `install` adds to its configuration what is needed to log in."""
    ssh = folder / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    key = str(ssh / "id_ed25519")
    LocalConnection("this computer").run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", USER, "-f", key]
    )
    return folder


def install(
    stranger: Stranger, release: str, installed: Sequence[str] = (), offered: Sequence[str] = ()
) -> None:
    """Install it on its new disk, with a boot menu made by its own tools in its first boot.

    `installed`: packages beside the usual ones; `offered`: what its administrator's mirror has.
    """
    computer = LocalConnection("this computer")
    folder = stranger.disk.parent / stranger.name
    hook = f'sh -c {shlex.quote(REPOSITORY)} repository "$1" {shlex.join(offered)}' if offered else "true"
    with debian.scratch_folder(folder) as scratch:
        root = scratch / "root"
        debian.bootstrap(computer, (*PACKAGES, *installed), root, hook, release)
        kernel_release = debian.kernel_release(root)
        _configure(computer, root, stranger)
        kernel, initramfs = folder / "vmlinuz", folder / "initrd.img"
        kernel.write_bytes((root / f"boot/vmlinuz-{kernel_release}").read_bytes())
        initramfs.write_bytes((root / f"boot/initrd.img-{kernel_release}").read_bytes())
        debian.make_disk(computer, root, stranger.disk, 8, ROOT_LABEL)
    by_hand = [
        "-kernel", str(kernel), "-initrd", str(initramfs),
        "-append", f"root=LABEL={ROOT_LABEL} rw console=ttyS0",
    ]  # fmt: skip
    with (
        namespace(computer, f"hvcost-{stranger.name}-{os.getpid()}") as lab,
        switched_on(stranger, lab, by_hand),
        contextlib.closing(connect(lab, stranger)) as host,
    ):
        if offered:
            host.run(["apt-get", "update"], timeout_s=300)
        host.run(["grub-install", "/dev/vda"], timeout_s=300)
        host.run(["update-grub"], timeout_s=300)
        host.run(["sync"])


@contextlib.contextmanager
def namespace(computer: LocalConnection, name: str) -> Iterator[str]:
    """The lab: a namespace with a switch."""
    with network.namespace(computer, name) as lab:
        inside = LocalConnection("lab", computer.journal, lab)
        inside.run(["ip", "link", "add", SWITCH, "type", "bridge", "stp_state", "0", "forward_delay", "0"])
        inside.run(["ip", "address", "add", f"{NEIGHBOUR}/24", "dev", SWITCH])
        inside.run(["ip", "link", "set", SWITCH, "up"])
        yield lab


@contextlib.contextmanager
def switched_on(stranger: Stranger, lab: str, by_hand: Sequence[str] = ()) -> Iterator[None]:
    """The stranger at the lab's switch, from power-on to the pulled plug."""
    inside = LocalConnection("this computer", namespace=lab)
    inside.run(["ip", "tuntap", "add", stranger.tap, "mode", "tap"])
    inside.run(["ip", "link", "set", stranger.tap, "master", SWITCH, "up"])
    card = f"virtio-net-pci,netdev=card,mac=52:54:00:00:09:{20 + stranger.number},addr=2"
    process = inside.start(
        [
            *stranger.image.qemu,
            "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35", *PROCESSORS["tcg"],
            "-smp", "2", "-m", "3072",
            "-drive", f"file={stranger.disk},format=qcow2,if=virtio,cache=unsafe",
            "-netdev", f"tap,id=card,ifname={stranger.tap},script=no,downscript=no",
            "-device", card,
            "-device", "virtio-rng-pci",
            "-serial", f"file:{stranger.console}",
            *by_hand,
        ],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        end_group(process)
        inside.run(["ip", "link", "delete", stranger.tap])


def connect(lab: str, stranger: Stranger) -> SshConnection:
    """Connection to the stranger, when it is up."""
    ssh = stranger.home / ".ssh"
    address = SshAddress(stranger.address, USER, 22, ssh / "id_ed25519", ssh / "known_hosts")

    def log_in() -> SshConnection:
        try:
            transport = network.open_tcp(lab, stranger.address, 22, 5)
        except OSError as error:
            raise MachineError(f"{stranger.name}: {error}") from error
        return SshConnection(stranger.name, address, transport=transport)

    return awaited(log_in, Deadline(BOOT_TIMEOUT_S, f"boot of {stranger.name}"))


def _configure(computer: LocalConnection, root: Path, stranger: Stranger) -> None:
    """What its administrator has set: name, network, a user with sudo, the repository, the serial console."""
    settings = {
        "etc/hostname": f"{stranger.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {stranger.name}\n",
        "etc/fstab": f"LABEL={ROOT_LABEL} / ext4 errors=remount-ro 0 1\n",
        "etc/network/interfaces": (
            "auto lo\niface lo inet loopback\n\n"
            f"auto {NIC}\niface {NIC} inet static\n"
            f"    address {stranger.address}/24\n    gateway {NEIGHBOUR}\n"
        ),
        "etc/apt/sources.list": "deb [trusted=yes] file:/srv/mirror ./\n",
        "etc/sudoers.d/admin": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
        "etc/default/grub.d/serial.cfg": (
            'GRUB_TIMEOUT=1\nGRUB_TERMINAL="serial"\nGRUB_CMDLINE_LINUX="console=ttyS0"\n'
            f'GRUB_CMDLINE_XEN_DEFAULT="{emulated.XEN_SWITCHING}"\n'
        ),
    }
    for name, text in settings.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for source in root.glob("etc/apt/sources.list.d/*"):
        source.unlink()
    computer.run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", USER])
    ssh = stranger.home / ".ssh"
    key = ssh / "id_ed25519"
    authorized = root / f"home/{USER}/.ssh/authorized_keys"
    authorized.parent.mkdir(mode=0o700)
    authorized.write_bytes(key.with_suffix(".pub").read_bytes())
    computer.run(["chroot", str(root), "chown", "-R", f"{USER}:", f"/home/{USER}"])
    kind, public = (root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
    with (ssh / "known_hosts").open("a") as file:
        file.write(f"{stranger.address} {kind} {public}\n")
    with (ssh / "config").open("a") as file:
        file.write(
            f"Host {stranger.name}\n  HostName {stranger.address}\n  User {USER}\n  IdentityFile {key}\n"
            f"  UserKnownHostsFile {ssh / 'known_hosts'}\n"
        )
