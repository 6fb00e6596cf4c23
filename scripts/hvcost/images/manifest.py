"""What a built image says of itself: the file manifest.json beside its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hvcost.errors import MachineError
from hvcost.files import read_json, write_text
from hvcost.images.debian import RELEASE
from hvcost.machines.base import sha256_of

Content = TypeVar("Content")

NAME = "manifest.json"


def write(folder: Path, names: Iterable[str], **about: object) -> None:
    """Write the manifest of the image in `folder`: checksums and sizes of these files, and more about it."""
    content = {
        "format": 1,
        "release": RELEASE,
        "files": {
            name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
            for name in names
        },
    }
    write_text(folder / NAME, json.dumps(content | about, indent=1, sort_keys=True) + "\n")


def load(
    manifest: Path, kind: str, content: Callable[[dict[str, Any]], Content], unlisted: Sequence[str] = ()
) -> Content:
    """What `content` makes of the manifest of an image of this kind.

    ParseError if it is none. MachineError unless its files, listed and `unlisted`, are beside it.
    """
    listed, found = read_json(
        manifest, f"the manifest of a {kind} image", lambda data: (tuple(data["files"]), content(data))
    )
    for file in (manifest.parent / name for name in (*listed, *unlisted)):
        if not file.is_file():
            raise MachineError(f"this computer: {file} is missing; build it with `snakemake -f {manifest}`")
    return found
