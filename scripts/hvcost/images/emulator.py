"""The QEMU that plays emulated machines: Debian's own, unpacked beside the machines' image.

Every computer plays the machines with the same version, and with one that is known to be right: 7.2 (of
Debian 12) corrupts the registers of nested guests at once, and under 10.0.2 (of its backports) some of
VirtualBox's guests end in a triple fault after minutes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from hvcost.errors import MachineError
from hvcost.images.debian import RELEASE
from hvcost.machines.local import LocalConnection

FOLDER = "emulator"
PACKAGES = ("ipxe-qemu", "qemu-system-data", "qemu-system-x86", "seabios")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
PROGRAM = "usr/bin/qemu-system-x86_64"
DATA = ("usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu")
UNPACK_TIMEOUT_S = 900.0


def unpack(computer: LocalConnection, root: Path) -> str:
    """Unpack QEMU with all its libraries into the new folder `root`; its version."""
    computer.run(
        ["mmdebstrap", "--variant=extract", "--format=directory", f"--include={','.join(PACKAGES)}",
         RELEASE, str(root)],
        timeout_s=UNPACK_TIMEOUT_S,
    )  # fmt: skip
    # Beside programs and data there are devices, which cannot be copied.
    for path in root.iterdir():
        if path.name != "usr":
            shutil.rmtree(path)
    said = computer.run([*command(root), "--version"]).stdout
    found = re.search(r"version (\S+)", said)
    if not found:
        raise MachineError(f"{computer.name}: the QEMU in {root} does not start: {said!r}")
    return found[1]


def command(root: Path) -> Sequence[str]:
    """How the unpacked QEMU is started: with the loader and the libraries that came with it."""
    loader = root / LIBRARIES / "ld-linux-x86-64.so.2"
    data = [argument for folder in DATA for argument in ("-L", str(root / folder))]
    return [str(loader), "--library-path", str(root / LIBRARIES), str(root / PROGRAM), *data]
