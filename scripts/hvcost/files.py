"""Files that one step hands to the next: written whole or not at all, and refused in one sentence."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hvcost.errors import ParseError

Content = TypeVar("Content")


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
    except OSError as error:
        # A write to a full disk does not say of what.
        error.filename = error.filename or str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(
    path: Path, what: str, content: Callable[[dict[str, Any]], Content], remedy: str = ""
) -> Content:
    """What `content` makes of the JSON object in a file.

    ParseError if the file cannot be read or is not `what`; it ends with `remedy`, what to do then.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise _not(str(path), what, error.strerror, remedy) from error
    except UnicodeDecodeError as error:
        raise _not(str(path), what, str(error), remedy) from error
    return parse_json(text, str(path), what, content, remedy)


def parse_json(
    text: str, source: str, what: str, content: Callable[[dict[str, Any]], Content], remedy: str = ""
) -> Content:
    """What `content` makes of a JSON object; ParseError, as of `read_json`, says where the text is from."""
    try:
        data = decoded(text)
        if not isinstance(data, dict):
            raise ValueError("no JSON object")
        return content(data)
    except KeyError as error:
        raise _not(source, what, f"`{error.args[0]}` is missing", remedy) from error
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise _not(source, what, str(error), remedy) from error


def decoded(text: str) -> Any:
    """What a text of JSON says; ValueError if it is none.

    Python reads numbers that JSON has not (RFC 8259, 6), and takes some that are too great for infinite.
    """
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _not(source: str, what: str, reason: str | None, remedy: str) -> ParseError:
    return ParseError("; ".join(filter(None, (f"{source}: not {what}: {reason}", remedy))))


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
        # It is not there if somebody has moved the folder away meanwhile.
        (partial / seal).stat()
        (folder / seal).unlink(missing_ok=True)
        for path in sorted(partial.iterdir(), key=lambda path: (path.name == seal, path)):
            target = folder / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
    finally:
        shutil.rmtree(partial)
