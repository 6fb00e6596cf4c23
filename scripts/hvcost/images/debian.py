"""Debian trees and disk images, made from packages without booting, mounting or partitioning a real disk.

mmdebstrap(1) takes its mirror from this computer's own configuration.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hvcost.errors import ConfigError, MachineError
from hvcost.images.grub import BootCode
from hvcost.machines.local import LocalConnection
from hvcost.machines.user_namespace import check_ids

RELEASE = "trixie"
EPOCH_S = 1262304000  # 2010-01-01: no file of an image is younger, so that equal content has equal bytes
EPOCH = f"@{EPOCH_S}"
FAKE_TIME = f"E2FSPROGS_FAKE_TIME={EPOCH_S}"
BOOTSTRAP_TIMEOUT_S = 1800
PARTITION_START_BYTES = 1 << 20
PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+._-]+")


def read_package_list(path: Path) -> tuple[str, ...]:
    """Package names of a list with one per line and `#` comments; ConfigError for anything else."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    packages = tuple(line for line in lines if line)
    for package in packages:
        if not PACKAGE_NAME.fullmatch(package):
            raise ConfigError(f"{path}: {package!r} is not the name of a Debian package")
    return packages


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """An empty folder below `folder`, removed afterwards; a killed build's is removed first."""
    scratch = folder / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)


def bootstrap(
    computer: LocalConnection,
    packages: Sequence[str],
    root: Path,
    hook: str = "true",
    release: str = RELEASE,
    left_out: Sequence[str] = (),
) -> None:
    """Install Debian with `packages` into the new folder `root`, without documentation and translations.

    `hook` is a shell command that is run at the end, with the folder as its argument. `left_out`: further
    files of the packages that are not wanted.
    """
    check_ids()
    texts = (f"/usr/share/{folder}/*" for folder in ("doc", "locale", "man", "info", "lintian", "bug"))
    computer.run(
        [
            # Whatever is mounted for the installation is unmounted with it, however it ends.
            "unshare",
            "--mount",
            "mmdebstrap",
            "--variant=minbase",
            "--format=directory",
            f"--include={','.join(packages)}",
            '--aptopt=Apt::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude={file}" for file in (*texts, *left_out)),
            f"--customize-hook={hook}",
            release,
            str(root),
        ],
        timeout_s=BOOTSTRAP_TIMEOUT_S,
    )


def installed_packages(computer: LocalConnection, root: Path) -> Mapping[str, str]:
    """Version of every package that is installed in the tree `root`."""
    listed = computer.run(
        [
            "dpkg-query",
            f"--admindir={root}/var/lib/dpkg",
            "--show",
            "--showformat=${binary:Package} ${Version}\\n",
        ]
    ).stdout
    return dict(line.split() for line in listed.splitlines())


def kernel_release(root: Path) -> str:
    """Release of the one kernel that is installed in the tree `root`."""
    releases = sorted(path.name for path in (root / "usr/lib/modules").iterdir())
    if len(releases) != 1:
        raise MachineError(f"this computer: {root} should hold one kernel, but holds {releases}")
    return releases[0]


def set_times(root: Path) -> None:
    """Give every file under `root` a time that does not depend on when the tree was made."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            os.utime(Path(folder) / name, (EPOCH_S, EPOCH_S), follow_symlinks=False)
    os.utime(root, (EPOCH_S, EPOCH_S))


def make_disk(
    computer: LocalConnection,
    root: Path,
    image: Path,
    size_gib: int,
    label: str,
    boot_code: BootCode | None = None,
    features: Sequence[str] = (),
) -> None:
    """Write the tree `root` as the only partition, ext4, of a sparse disk `image` in qcow2 format.

    `features` as of mke2fs -O, beside the usual ones. The identifiers are fixed, so that equal trees and boot
    codes give equal images.
    """
    raw = image.with_name(image.name + ".raw")
    size_bytes = size_gib << 30
    set_times(root)
    try:
        with raw.open("wb") as file:
            file.truncate(size_bytes)
        table = f"label: dos\nlabel-id: 0x20100101\nstart={PARTITION_START_BYTES // 512}, type=83, bootable\n"
        computer.run(["sfdisk", "--quiet", str(raw)], stdin=table.encode())
        identity = "20100101-0000-4000-8000-000000000001"
        computer.run(
            [
                "env",
                FAKE_TIME,
                "mke2fs",
                "-q",
                "-t",
                "ext4",
                *(["-O", ",".join(features)] if features else []),
                "-d",
                str(root),
                "-L",
                label,
                "-U",
                identity,
                # A lazily initialised table would be written in the background, during a measurement.
                "-E",
                f"offset={PARTITION_START_BYTES},hash_seed={identity},lazy_itable_init=0,nodiscard",
                "-N",
                "65536",
                str(raw),
                f"{(size_bytes - PARTITION_START_BYTES) >> 10}k",
            ],
            timeout_s=600,
        )
        _set_inode_times(computer, raw)
        if boot_code:
            boot_code.write(raw)
        computer.run(
            ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd",
             str(raw), str(image)],
            timeout_s=600,
        )  # fmt: skip
    finally:
        raw.unlink(missing_ok=True)


def _set_inode_times(computer: LocalConnection, raw: Path) -> None:
    """Overwrite the times that depend on when the source tree was made and read (mke2fs before 1.47.1)."""
    # Not dumpe2fs, whose 1.47.2 takes the offset for the name of a label.
    file_system = f"{raw}?offset={PARTITION_START_BYTES}"
    header = computer.run(["debugfs", "-R", "show_super_stats -h", file_system]).stdout
    counts = dict(re.findall(r"^(Inode count|Free inodes): +(\d+)$", header, re.MULTILINE))
    if len(counts) != 2:
        raise MachineError(f"{computer.name}: debugfs does not say how many inodes {file_system} has")
    used = int(counts["Inode count"]) - int(counts["Free inodes"])
    commands = "".join(
        f"sif <{inode}> {field} {value}\n"
        for inode in range(1, used + 1)
        for field, value in (("atime", EPOCH), ("ctime", EPOCH), ("ctime_extra", "0"))
    )
    computer.run(
        ["env", FAKE_TIME, "debugfs", "-w", "-f", "/dev/stdin", file_system],
        stdin=commands.encode(),
        timeout_s=300,
    )
