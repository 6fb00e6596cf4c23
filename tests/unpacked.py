"""Debian packages unpacked into a folder: to install a server would start it on a developer's computer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hvcost.machines.local import LocalConnection

FETCH_TIMEOUT_S = 600


def unpack(computer: LocalConnection, folder: Path, packages: Sequence[str]) -> Path:
    """Root of a tree with these packages of this computer's release, and all that they need and it lacks."""
    cache, root = folder / "cache", folder / "root"
    (cache / "archives/partial").mkdir(parents=True)
    apt = ["apt-get", "-qq", "-o", f"Dir::Cache={cache}", "-o", "APT::Sandbox::User=root"]
    # Nothing is installed, so that nobody has to wait, nor to be root.
    apt += ["-o", "Debug::NoLocking=1"]
    fetch = ["install", "--yes", "--download-only", "--no-install-recommends", *packages]
    if computer.run([*apt, *fetch], timeout_s=FETCH_TIMEOUT_S, check=False).exit_code != 0:
        # This computer's lists are missing, or so old that the archive has a newer package by now.
        (folder / "lists/partial").mkdir(parents=True)
        apt += ["-o", f"Dir::State::Lists={folder / 'lists'}"]
        computer.run([*apt, "update"], timeout_s=FETCH_TIMEOUT_S)
        computer.run([*apt, *fetch], timeout_s=FETCH_TIMEOUT_S)
    for package in cache.glob("archives/*.deb"):
        computer.run(["dpkg-deb", "--extract", str(package), str(root)])
    return root
