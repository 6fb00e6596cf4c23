"""Output files that are either complete or not there: whoever reads one never gets half of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends well (rename(2)).

    Until then, and if it ends with an error, `path` is what it was. Its folder is made if it is not there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def filled(folder: Path, seal: str) -> Iterator[Path]:
    """A new folder to fill, whose files and folders move into `folder` when the block ends well.

    Until then, and if it ends with an error, `folder` is what it was. The file `seal` goes first of what is
    replaced and comes last, so that whatever is beside it belongs to it.
    """
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        (folder / seal).unlink(missing_ok=True)
        for path in sorted(partial.iterdir(), key=lambda path: (path.name == seal, path)):
            target = folder / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
    finally:
        shutil.rmtree(partial)
