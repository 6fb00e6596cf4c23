"""The kernel of an image as it runs: unpacked, and its modules without what costs time to load them.

On a computer that is translated, to unpack and to verify takes longer than all the rest of a boot.
"""

from __future__ import annotations

import lzma
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from hvcost.errors import MachineError
from hvcost.machines.local import LocalConnection

SIGNATURE_MAGIC = b"~Module signature appended~\n"
SIGNATURE_HEADER_BYTES = 12
ZSTD_MAGIC = bytes.fromhex("28b52ffd")
SECTOR_BYTES = 512
# Places in a bzImage (Linux, Documentation/arch/x86/boot.rst): number of sectors of the part that runs in
# real mode, without the first; place of the packed kernel after them, and its length.
SECTORS_AT, PAYLOAD_AT = 0x1F1, 0x248
# What a kernel does at its start and plays no part in a measurement: tests of its own cryptography, encrypted
# keys, certificates to check modules by. That takes seconds under translation, and half a minute where the
# processor is translated twice. Its test of the timer interrupt counts ticks within a time that such a
# processor may spend elsewhere, and panics if it misses them; a guest of KVM does not make it either.
WITHOUT_THE_UNNEEDED = (
    "cryptomgr.notests no_timer_check "
    "initcall_blacklist=jent_mod_init,crypto_kdf108_init,init_encrypted,load_system_certificate_list"
)
# What follows the packed kernel: the length of the unpacked one.
TRAILER_BYTES = 4


def unpack(computer: LocalConnection, root: Path, release: str, target: Path) -> None:
    """Write the kernel of the tree `root` (which has zstd) as the ELF file that its bzImage holds packed.

    QEMU boots it by its PVH entry point, Xen as dom0. MachineError if it is packed in another way.
    """
    packed = root / "tmp/vmlinux.zst"
    packed.write_bytes(payload((root / f"boot/vmlinuz-{release}").read_bytes()))
    computer.run(
        ["chroot", str(root), "zstd", "-q", "--decompress", "--rm", "/tmp/vmlinux.zst"], timeout_s=300
    )
    shutil.move(packed.with_suffix(""), target)


def payload(image: bytes) -> bytes:
    """The packed kernel in a bzImage; MachineError unless it is packed by zstd."""
    offset, length = struct.unpack_from("<II", image, PAYLOAD_AT)
    start = (image[SECTORS_AT] + 1) * SECTOR_BYTES + offset
    packed = image[start : start + length - TRAILER_BYTES]
    if not packed.startswith(ZSTD_MAGIC):
        raise MachineError("this computer: the kernel of the image is not packed by zstd")
    return packed


def install_modules(
    computer: LocalConnection, root: Path, release: str, wanted: Sequence[str], tree: Path
) -> None:
    """Copy modules of the tree `root` with all that they need into `tree`, unpacked and unsigned."""
    source = root / "usr/lib/modules" / release
    modules = tree / "usr/lib/modules" / release
    for path in with_dependencies(source, wanted):
        target = modules / path.removesuffix(".xz")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(without_signature(lzma.decompress((source / path).read_bytes())))
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / name, modules / name)
    computer.run(["depmod", "--basedir", str(tree), release])


def without_signature(module: bytes) -> bytes:
    """A kernel module without what is appended to sign it, so that nobody computes its checksum.

    The last bytes are a struct module_signature, whose last field is the signature's length, and a magic text
    (Linux, scripts/sign-file.c).
    """
    if not module.endswith(SIGNATURE_MAGIC):
        return module
    end = len(module) - len(SIGNATURE_MAGIC)
    length = int.from_bytes(module[end - 4 : end], "big")
    return module[: end - SIGNATURE_HEADER_BYTES - length]


def with_dependencies(source: Path, wanted: Sequence[str]) -> list[str]:
    """Paths below `source` of kernel modules and of all that they need (modules.dep, depmod(8))."""
    needs: dict[str, list[str]] = {}
    paths: dict[str, str] = {}
    for line in (source / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        paths[Path(path).name.split(".")[0].replace("-", "_")] = path
    builtin = {
        Path(line).name.split(".")[0].replace("-", "_")
        for line in (source / "modules.builtin").read_text().splitlines()
    }
    found: set[str] = set()
    for name in (module.replace("-", "_") for module in wanted):
        if name in paths:
            found |= {paths[name], *needs[paths[name]]}
        elif name not in builtin:
            raise MachineError(f"this computer: the image's kernel has no module {name}")
    return sorted(found)
