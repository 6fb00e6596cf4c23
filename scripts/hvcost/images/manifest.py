"""What a built image says of itself: the file manifest.json beside its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hvcost.errors import MachineError
from hvcost.files import read_json

Content = TypeVar("Content")


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
