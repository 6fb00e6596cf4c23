"""A Debian machine to install and remove packages on: this computer's files, where every change is lost.

It has mounts of its own (unshare(1)) with an empty layer over /boot, /etc, /usr and /var, and one repository
of small packages that the test makes.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvcost.machines.local import LocalConnection

LAYERS = """
set -eu
mount -t tmpfs tmpfs /mnt
for folder in boot etc usr var; do
    mkdir "/mnt/$folder" "/mnt/$folder.work"
    mount -t overlay -o "lowerdir=/$folder,upperdir=/mnt/$folder,workdir=/mnt/$folder.work" overlay "/$folder"
done
rm -rf /etc/apt/sources.list.d/* /var/lib/apt/lists/* /var/lib/hvcost
echo "deb [trusted=yes] file:$1 ./" >/etc/apt/sources.list
# Its own user may not read the folder of a test.
echo 'APT::Sandbox::User "root";' >/etc/apt/apt.conf.d/99-hvcost-test
echo ready
cat >/dev/null
"""


@dataclass(frozen=True)
class Package:
    """A package that has no files but a `conffile`. `preinst` and `postinst` are run before and after."""

    name: str
    depends: str = ""
    preinst: str = ""
    conflicts: str = ""
    postinst: str = ""
    conffile: str = ""


class Debian(LocalConnection):
    """The machine; `first` is a process that has its mounts."""

    def __init__(self, first: int) -> None:
        super().__init__("lab host")
        self.first = first

    def command_line(self, argv: Sequence[str]) -> list[str]:
        return ["nsenter", f"--mount=/proc/{self.first}/ns/mnt", *argv]


@contextlib.contextmanager
def debian(folder: Path, packages: Sequence[Package]) -> Iterator[Debian]:
    """The machine, with a repository of these packages in `folder`, where their files are called NAME.deb."""
    (folder / "Packages").write_text("".join(_made(folder, package) for package in packages))
    first = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", LAYERS, "sh", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with first:
        assert first.stdout
        assert first.stdout.readline() == b"ready\n"
        yield Debian(first.pid)


def _made(folder: Path, package: Package) -> str:
    """Make a package; its entry in the repository's list."""
    control = (
        f"Package: {package.name}\nVersion: 1\nArchitecture: all\nMaintainer: tests <tests@example.net>\n"
        + (f"Depends: {package.depends}\n" if package.depends else "")
        + (f"Conflicts: {package.conflicts}\n" if package.conflicts else "")
        + "Description: made by a test\n"
    )
    scripts = folder / package.name / "DEBIAN"
    scripts.mkdir(parents=True)
    (scripts / "control").write_text(control)
    for when, script in (("preinst", package.preinst), ("postinst", package.postinst)):
        if script:
            (scripts / when).write_text(f"#!/bin/sh\n{script}\n")
            (scripts / when).chmod(0o755)
    if package.conffile:
        (scripts / "conffiles").write_text(f"{package.conffile}\n")
        path = scripts.parent / package.conffile.lstrip("/")
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    file = folder / f"{package.name}.deb"
    subprocess.run(["dpkg-deb", "--build", scripts.parent, file], check=True, stdout=subprocess.DEVNULL)
    content = file.read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    return f"{control}Filename: ./{file.name}\nSize: {len(content)}\nSHA256: {checksum}\n\n"
