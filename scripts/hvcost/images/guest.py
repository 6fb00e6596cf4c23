"""The guest's disk, kernel and initramfs: the same disk content for every hypervisor.

Building twice from the same packages gives the same bytes.
"""

from __future__ import annotations

import json
import lzma
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hvcost.errors import MachineError, ParseError
from hvcost.files import write_text
from hvcost.images import debian, grub, kernel
from hvcost.machines.base import sha256_of
from hvcost.machines.local import LocalConnection

SERIAL_PORT = "ttyS0"


FILES = Path(__file__).parent / "files/guest"
# What there is beside the manifest.
BUILT = ("disk.qcow2", "initrd.img", "vmlinuz")
ROOT_LABEL = "guest-root"
INIT = "usr/lib/hvcost/init"
CHANNEL = "usr/lib/hvcost/channel"
APPLETS_FOLDER = "usr/lib/hvcost/bin"
# Programs that commands in the guest use and that play no part in what is measured.
APPLETS = (
    "base64", "basename", "cat", "dd", "grep", "head", "hostname", "mkdir", "readlink", "rm", "sed",
    "setsid", "sh", "sleep", "sort", "stty", "tail", "timeout", "tr", "uname",
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


def build(shape: GuestShape, packages: Sequence[str], folder: Path) -> None:
    """Build disk.qcow2, vmlinuz, initrd.img and manifest.json in `folder`. Needs root."""
    computer = LocalConnection("this computer")
    with debian.scratch_folder(folder) as scratch:
        root = scratch / "root"
        debian.bootstrap(computer, packages, root)
        installed = dict(debian.installed_packages(computer, root))
        release = debian.kernel_release(root)
        shutil.copyfile(root / f"boot/vmlinuz-{release}", folder / "vmlinuz")
        _make_initramfs(computer, root, release, scratch, folder / "initrd.img")
        boot_code = grub.boot_code(computer, root)
        for name in REMOVED:
            _remove(root / name)
        grub.configure(root, folder / "vmlinuz", folder / "initrd.img", kernel_arguments(SERIAL_PORT))
        for name in ("etc/machine-id", "etc/resolv.conf"):
            (root / name).touch()
        (root / INIT).parent.mkdir(parents=True)
        shutil.copy(FILES / "init", root / INIT)
        shutil.copy(FILES / "channel", root / CHANNEL)
        (root / INIT).chmod(0o755)
        (root / APPLETS_FOLDER).mkdir()
        for applet in APPLETS:
            (root / APPLETS_FOLDER / applet).symlink_to("/usr/bin/busybox")
        debian.make_disk(computer, root, folder / "disk.qcow2", shape.disk_gib, ROOT_LABEL, boot_code)
    manifest = {
        "format": 1,
        "release": debian.RELEASE,
        "kernel": release,
        "build": asdict(shape) | {"packages": list(packages)},
        "files": {
            name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
            for name in BUILT
        },
        "packages": installed,
    }
    write_text(folder / "manifest.json", json.dumps(manifest, indent=1, sort_keys=True) + "\n")


def load(manifest: Path) -> GuestImage:
    """The guest that a manifest describes; MachineError if its files are not beside it."""
    try:
        data: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        checksums = {name: entry["sha256"] for name, entry in data["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParseError(f"{manifest}: not the manifest of a guest image: {error!r}") from error
    folder = manifest.parent
    for name in checksums:
        if not (folder / name).is_file():
            raise MachineError(
                f"this computer: {folder / name} is missing; build it with `snakemake -f {manifest}`"
            )
    return GuestImage(
        disk=folder / "disk.qcow2",
        kernel=folder / "vmlinuz",
        initramfs=folder / "initrd.img",
        checksums=checksums,
    )


def _make_initramfs(
    computer: LocalConnection, root: Path, release: str, scratch: Path, archive: Path
) -> None:
    """Write an initramfs with BusyBox, the modules of files/modules, unpacked, and files/initramfs-init."""
    tree = scratch / "initramfs"
    modules = tree / "usr/lib/modules" / release
    for name in ("dev", "proc", "sys", "root", "usr/bin"):
        (tree / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib"):
        (tree / name).symlink_to("usr/bin" if name != "lib" else "usr/lib")
    shutil.copy(root / "usr/bin/busybox", tree / "usr/bin/busybox")
    for applet in computer.run([str(root / "usr/bin/busybox"), "--list"]).stdout.split():
        if applet != "busybox":
            (tree / "usr/bin" / applet).symlink_to("busybox")
    wanted = debian.read_package_list(FILES / "modules")
    source = root / "usr/lib/modules" / release
    for path in kernel.with_dependencies(source, wanted):
        target = modules / path.removesuffix(".xz")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(kernel.without_signature(lzma.decompress((source / path).read_bytes())))
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / name, modules / name)
    computer.run(["depmod", "--basedir", str(tree), release])
    for index in modules.glob("modules.*.bin"):
        index.unlink()
    shutil.copy(FILES / "initramfs-init", tree / "init")
    (tree / "init").chmod(0o755)
    debian.set_times(tree)
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    computer.run(
        ["cpio", "--create", "--quiet", "--format=newc", "--reproducible", "--owner=+0:+0",
         "--directory", str(tree), "--file", str(archive.resolve())],
        stdin="\n".join(names).encode(),
    )  # fmt: skip


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def kernel_arguments(console: str) -> str:
    """Kernel command line; the guest takes commands on `console`. Quiet, since serial ports are slow.

    The kernel's tests of its own cryptography take half a minute where the processor is translated twice.
    """
    tests = "cryptomgr.notests initcall_blacklist=jent_mod_init,crypto_kdf108_init"
    return f"console={console} quiet nokaslr ipv6.disable=1 {tests}"
