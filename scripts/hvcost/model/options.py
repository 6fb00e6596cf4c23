"""Options of a hypervisor or a tool: a frozen dataclass that says what is allowed, and the one check of them.

Every field has a default. Its type is bool, int or str, or one of them `| None`. Its metadata may hold
`allowed`, a tuple of values; `minimum` and `maximum` of an integer; `pattern`, a regular expression that a
whole text has to match, with `form`, the same in words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import Field, fields
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from hvcost.errors import ConfigError
from hvcost.wording import listed

Options = TypeVar("Options")

SIZES = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
KINDS = {bool: "true or false", int: "an integer", str: "a text", type(None): "null"}


def checked(kind: type[Options], given: Mapping[str, Any]) -> Options:
    """The options as their dataclass; ConfigError that names the key and what is allowed."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    hints = _hints(kind)  # type: ignore[arg-type]
    for key, value in given.items():
        if key not in known:
            raise ConfigError(f"{key}: unknown option; allowed: {listed(known) if known else 'none'}")
        types = get_args(hints[key]) if isinstance(hints[key], UnionType) else (hints[key],)
        if not _is_allowed(value, types, known[key].metadata):
            raise ConfigError(f"{key}: {value!r} is not allowed; allowed: {_allowed(types, known[key])}")
    return kind(**given)


def number(value: object) -> float | None:
    """The number that a value is, or that a text of digits stands for; K, M and G after them are of 1024."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    found = re.fullmatch("([0-9]+)([KMG]?)", value) if isinstance(value, str) else None
    return int(found[1]) * SIZES[found[2]] if found else None


def numeric(kind: type[Any]) -> list[str]:
    """Names of the options that are numbers: integers, and texts that may be a size such as 64K."""
    hints = get_type_hints(kind)
    return [field.name for field in fields(kind) if _is_numeric(hints[field.name], field.metadata)]


def _is_numeric(hint: Any, limits: Mapping[str, Any]) -> bool:
    types = get_args(hint) or (hint,)
    return int in types or ("pattern" in limits and bool(re.fullmatch(limits["pattern"], "64K")))


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """Types of a dataclass's fields: there is one check for every raw record."""
    return get_type_hints(kind)


def _is_allowed(value: object, types: tuple[type, ...], limits: Mapping[str, Any]) -> bool:
    if type(value) not in types:
        return False
    if "allowed" in limits and value not in limits["allowed"]:
        return False
    if isinstance(value, int) and not limits.get("minimum", value) <= value <= limits.get("maximum", value):
        return False
    return not isinstance(value, str) or bool(re.fullmatch(limits.get("pattern", r"(?s:.*)"), value))


def _allowed(types: tuple[type, ...], field: Field[Any]) -> str:
    """The allowed values of a field in words."""
    limits = field.metadata
    if "allowed" in limits:
        return listed(limits["allowed"])
    words = [KINDS[each] for each in types]
    if "minimum" in limits:
        words[0] += f", {limits['minimum']} to {limits['maximum']}"
    if "form" in limits:
        words[0] = limits["form"]
    return " or ".join(words)
