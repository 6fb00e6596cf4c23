"""GRUB on a disk image without a real disk, for machines that boot as a PC boots, from the first sector.

GRUB's boot code has two parts, and each holds the place of the other (GRUB's manual, section "Images").
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hvcost.machines.local import LocalConnection

FOLDER = "usr/lib/grub/i386-pc"
MODULES = ("biosdisk", "part_msdos", "ext2", "linux", "normal")
CORE = "tmp/core.img"
# The rest of the first sector is the partition table.
FIRST_BYTES = 440
SECTOR_BYTES = 512


@dataclass(frozen=True)
class BootCode:
    """What the BIOS loads from the first sector, and what that loads from the sectors after it."""

    first: bytes
    core: bytes

    def write(self, disk: Path) -> None:
        """Put it on a raw disk image that has its partition table."""
        with disk.open("r+b") as file:
            file.write(self.first)
            file.seek(SECTOR_BYTES)
            file.write(self.core)


def boot_code(computer: LocalConnection, root: Path) -> BootCode:
    """Boot code by GRUB of the Debian tree `root` (package grub-pc-bin); it reads the first partition."""
    computer.run(
        ["chroot", str(root), "grub-mkimage", "--format=i386-pc", f"--output=/{CORE}",
         "--prefix=(hd0,msdos1)/boot/grub", *MODULES],
    )  # fmt: skip
    core = (root / CORE).read_bytes()
    (root / CORE).unlink()
    return BootCode((root / FOLDER / "boot.img").read_bytes()[:FIRST_BYTES], core)


def configure(root: Path, kernel: Path, initramfs: Path, kernel_arguments: str) -> None:
    """Put kernel, initramfs and GRUB's configuration, which starts them at once, into the tree `root`."""
    folder = root / "boot/grub"
    folder.mkdir(parents=True)
    (root / "boot/vmlinuz").write_bytes(kernel.read_bytes())
    (root / "boot/initrd.img").write_bytes(initramfs.read_bytes())
    (folder / "grub.cfg").write_text(
        f"linux /boot/vmlinuz {kernel_arguments}\ninitrd /boot/initrd.img\nboot\n", encoding="utf-8"
    )
