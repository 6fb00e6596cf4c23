"""An initramfs of BusyBox, a few modules and one script, for a boot on hardware that is known."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hvcost.images import debian, kernel
from hvcost.machines.local import LocalConnection

# What the first programs of the images need.
APPLETS = ("cat", "findfs", "ip", "modprobe", "mount", "poweroff", "sh", "sleep", "switch_root")


def write(
    computer: LocalConnection,
    root: Path,
    release: str,
    modules: Sequence[str],
    init: Path,
    scratch: Path,
    archive: Path,
) -> None:
    """Write `archive` from the tree `root`, which has busybox-static, with `init` as its first program.

    It is not packed: a copy is faster than to unpack it under translation.
    """
    tree = scratch / "initramfs"
    for name in ("dev", "proc", "sys", "root", "usr/bin"):
        (tree / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib"):
        (tree / name).symlink_to("usr/bin" if name != "lib" else "usr/lib")
    shutil.copy(root / "usr/bin/busybox", tree / "usr/bin/busybox")
    for applet in APPLETS:
        (tree / "usr/bin" / applet).symlink_to("busybox")
    kernel.install_modules(computer, root, release, modules, tree)
    # BusyBox reads the texts.
    for index in (tree / "usr/lib/modules" / release).glob("modules.*.bin"):
        index.unlink()
    shutil.copy(init, tree / "init")
    (tree / "init").chmod(0o755)
    debian.set_times(tree)
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    computer.run(
        ["cpio", "--create", "--quiet", "--format=newc", "--reproducible", "--owner=+0:+0",
         "--directory", str(tree), "--file", str(archive.resolve())],
        stdin="\n".join(names).encode(),
    )  # fmt: skip
