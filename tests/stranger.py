"""A machine that this project has never seen: a stock Debian that boots from its own disk by GRUB.

It is emulated, but nothing of it is known to the project: it has its own kernel, boot menu, user and one
network card, over which it is administered as well as measured. Its packages come from a repository on its
own disk, since an emulated machine reaches nothing outside. It reboots as a real one does.

    namespace of the lab: tap0 198.19.9.1 ===== network card of the stranger 198.19.9.20 (later: bridge)
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvcost import debian, network
from hvcost.connections.local import LocalConnection, end_group
from hvcost.connections.ssh import SshAddress, SshConnection
from hvcost.deadline import Deadline
from hvcost.emulated import machine
from hvcost.emulated.image import HostImage
from hvcost.errors import MachineError

NAME = "stranger"
USER = "admin"
ADDRESS = "198.19.9.20"
NEIGHBOUR = "198.19.9.1"
TAP = "tap0"
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
# What its administrator's mirror offers.
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
    """The stranger's disk, and how it is reached: the folder is the home of its administrator."""

    disk: Path
    home: Path
    image: HostImage

    @property
    def address(self) -> SshAddress:
        return SshAddress(ADDRESS, USER, 22, self.home / ".ssh/id_ed25519", self.home / ".ssh/known_hosts")


def install(folder: Path, image: HostImage) -> Stranger:
    """Install it on a new disk, with a boot menu made by its own tools in its first boot."""
    computer = LocalConnection("this computer")
    disk, home = folder / "stranger.qcow2", folder / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    hook = f'sh -c {shlex.quote(REPOSITORY)} repository "$1" {shlex.join(OFFERED)}'
    with debian.scratch_folder(folder) as scratch:
        root = scratch / "root"
        debian.bootstrap(computer, PACKAGES, root, hook)
        release = debian.kernel_release(root)
        _configure(computer, root, home)
        kernel, initramfs = folder / "vmlinuz", folder / "initrd.img"
        kernel.write_bytes((root / f"boot/vmlinuz-{release}").read_bytes())
        initramfs.write_bytes((root / f"boot/initrd.img-{release}").read_bytes())
        debian.make_disk(computer, root, disk, 8, ROOT_LABEL)
    stranger = Stranger(disk, home, image)
    by_hand = [
        "-kernel", str(kernel), "-initrd", str(initramfs),
        "-append", f"root=LABEL={ROOT_LABEL} rw console=ttyS0",
    ]  # fmt: skip
    with (
        namespace(computer, f"hvcost-lab-{folder.name}") as lab,
        switched_on(stranger, lab, by_hand),
        contextlib.closing(connect(lab, stranger)) as host,
    ):
        host.run(["apt-get", "update"], timeout_s=300)
        host.run(["grub-install", "/dev/vda"], timeout_s=300)
        host.run(["update-grub"], timeout_s=300)
        host.run(["sync"])
    return stranger


@contextlib.contextmanager
def namespace(computer: LocalConnection, name: str) -> Iterator[str]:
    """The lab: a namespace with the near end of the wire to the stranger."""
    with network.namespace(computer, name) as lab:
        inside = LocalConnection("lab", computer.journal, lab)
        inside.run(["ip", "tuntap", "add", TAP, "mode", "tap"])
        inside.run(["ip", "address", "add", f"{NEIGHBOUR}/24", "dev", TAP])
        inside.run(["ip", "link", "set", TAP, "up"])
        yield lab


@contextlib.contextmanager
def switched_on(stranger: Stranger, lab: str, by_hand: Sequence[str] = ()) -> Iterator[Path]:
    """The stranger, from power-on to the pulled plug; the log of its console."""
    inside = LocalConnection("this computer", namespace=lab)
    console = stranger.disk.with_name("console.log")
    process = inside.start(
        [
            *stranger.image.qemu,
            "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", machine.TRANSLATED_CPU,
            "-smp", "2", "-m", "3072",
            "-drive", f"file={stranger.disk},format=qcow2,if=virtio,cache=unsafe",
            "-netdev", f"tap,id=card,ifname={TAP},script=no,downscript=no",
            "-device", "virtio-net-pci,netdev=card,mac=52:54:00:00:09:20,addr=2",
            "-device", "virtio-rng-pci",
            "-serial", f"file:{console}",
            *by_hand,
        ],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield console
    finally:
        end_group(process)


def connect(lab: str, stranger: Stranger) -> SshConnection:
    """Connection to the stranger, when it is up."""
    deadline = Deadline(BOOT_TIMEOUT_S, "boot of the stranger")
    while True:
        try:
            transport = network.open_tcp(lab, ADDRESS, 22, 5)
            return SshConnection(NAME, stranger.address, transport=transport)
        except (OSError, MachineError) as error:
            deadline.check(str(error))
            deadline.wait_a_little(1)


def _configure(computer: LocalConnection, root: Path, home: Path) -> None:
    """What its administrator has set: name, network, a user with sudo, the repository, the serial console."""
    settings = {
        "etc/hostname": f"{NAME}\n",
        "etc/hosts": f"127.0.0.1 localhost\n127.0.1.1 {NAME}\n",
        "etc/fstab": f"LABEL={ROOT_LABEL} / ext4 errors=remount-ro 0 1\n",
        "etc/network/interfaces": (
            "auto lo\niface lo inet loopback\n\n"
            f"auto {NIC}\niface {NIC} inet static\n    address {ADDRESS}/24\n    gateway {NEIGHBOUR}\n"
        ),
        "etc/apt/sources.list": "deb [trusted=yes] file:/srv/mirror ./\n",
        "etc/sudoers.d/admin": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
        "etc/default/grub.d/serial.cfg": (
            'GRUB_TIMEOUT=1\nGRUB_TERMINAL="serial"\nGRUB_CMDLINE_LINUX="console=ttyS0"\n'
            f'GRUB_CMDLINE_XEN_DEFAULT="{machine.XEN_SWITCHING}"\n'
        ),
    }
    for name, text in settings.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for source in root.glob("etc/apt/sources.list.d/*"):
        source.unlink()
    computer.run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", USER])
    key = home / ".ssh/id_ed25519"
    computer.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", USER, "-f", str(key)])
    authorized = root / f"home/{USER}/.ssh/authorized_keys"
    authorized.parent.mkdir(mode=0o700)
    authorized.write_bytes(key.with_suffix(".pub").read_bytes())
    computer.run(["chroot", str(root), "chown", "-R", f"{USER}:", f"/home/{USER}"])
    host_key = root / "etc/ssh/ssh_host_ed25519_key.pub"
    kind, public = host_key.read_text().split()[:2]
    (home / ".ssh/known_hosts").write_text(f"{ADDRESS} {kind} {public}\n")
    (home / ".ssh/config").write_text(
        f"Host {NAME}\n  HostName {ADDRESS}\n  User {USER}\n  IdentityFile {key}\n"
        f"  UserKnownHostsFile {home}/.ssh/known_hosts\n"
    )
