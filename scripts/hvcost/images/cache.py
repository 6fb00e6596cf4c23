"""Images that were built before from the same inputs, for every checkout of one user.

An entry is a folder named after all that decides an image but for the day: what Debian's mirrors hold
changes, and whoever wants its newest packages removes the entry. Images are copied to and from it, never
linked: the workflow tells by a file's time whether it has to be made again, and links share theirs.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from hvcost import files
from hvcost.errors import ParseError
from hvcost.images import manifest
from hvcost.machines.base import sha256_of
from hvcost.machines.locks import locked

log = logging.getLogger(__name__)

SCRIPTS = Path(__file__).parents[2]
KEPT = 3


def folder_of_user() -> Path:
    """Where the images are kept, as the XDG Base Directory Specification has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hvcost"


def fingerprint(inputs: Mapping[str, Any], sources: Iterable[Path]) -> str:
    """SHA-256 of an image's inputs and of files of this software, wherever it lies, in hexadecimal."""
    content = {
        "inputs": inputs,
        "files": {os.path.relpath(path, SCRIPTS): sha256_of(path) for path in sources},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def fill(folder: Path, kind: str, key: str, build: Callable[[Path], object], cache: Path) -> None:
    """Fill `folder` with the image `kind` of the inputs `key`, from `cache` or by `build`.

    The manifest of an image lists checksums of its files. The newest three images of each kind are kept. Two
    checkouts that want the same one at once build it once. A cache that cannot be used is said to be so, and
    does without.
    """
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        log.warning("this computer: images are not kept for other checkouts: %s", error)
        with files.filled(folder, manifest.NAME) as partial:
            build(partial)
        return
    entry = cache / f"{kind}-{key[:16]}"
    with locked(cache / f"{kind}.lock", f"the image of the {kind} is being built"):
        if _is_whole(entry):
            built_at = datetime.datetime.fromtimestamp((entry / manifest.NAME).stat().st_mtime)
            log.info(
                "%s image: as it was built on %s from the same inputs; for Debian's packages of today, "
                "remove %s and build it again",
                kind,
                built_at.strftime("%Y-%m-%d"),
                entry,
            )
            with files.filled(folder, manifest.NAME) as partial:
                shutil.copytree(entry, partial, symlinks=True, copy_function=_copy, dirs_exist_ok=True)
            os.utime(entry)
            return
        with files.filled(folder, manifest.NAME) as partial:
            build(partial)
            _store(partial, entry)
        _remove_old(cache, kind)


def _copy(source: str, target: str) -> None:
    """Copy a file as a new one: the workflow tells by its time when it was made."""
    shutil.copyfile(source, target)
    shutil.copymode(source, target)


def _is_whole(entry: Path) -> bool:
    """Whether the entry is there, as it was stored."""
    if not (entry / manifest.NAME).is_file():
        return False
    try:
        checksums = files.read_json(
            entry / manifest.NAME,
            "the manifest of an image",
            lambda data: {name: about["sha256"] for name, about in data["files"].items()},
        )
        return all(sha256_of(entry / name) == checksum for name, checksum in checksums.items())
    except FileNotFoundError:
        return False
    except (OSError, ParseError) as error:
        log.warning("this computer: %s is broken and is made again: %r", entry, error)
        return False


def _store(folder: Path, entry: Path) -> None:
    """Keep an image, as far as there is room."""
    try:
        shutil.rmtree(entry, ignore_errors=True)
        with files.filled(entry, manifest.NAME) as partial:
            shutil.copytree(folder, partial, symlinks=True, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        shutil.rmtree(entry, ignore_errors=True)
        log.warning("this computer: the image is not kept for other checkouts: %s", error)


def _remove_old(cache: Path, kind: str) -> None:
    entries = sorted(
        (path for path in cache.glob(f"{kind}-*") if path.is_dir()), key=lambda path: path.stat().st_mtime
    )
    for entry in entries[:-KEPT]:
        shutil.rmtree(entry, ignore_errors=True)
