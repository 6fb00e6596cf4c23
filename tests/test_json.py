"""Files that another step has written are refused in one sentence, whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hvcost.errors import ParseError
from hvcost.files import parse_json, read_json


def number_of(content: dict[str, Any]) -> int:
    return int(content["a"]["number"])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff", "can't decode"),
        (b"[]", "no JSON object"),
        (b"{}", "`a` is missing"),
        (b'{"a": {"number": "x"}}', "invalid literal"),
        (b'{"a": {"number": NaN}}', "NaN is no number"),
        (b'{"a": {"number": 1e999}}', "1e999 is no number"),
        (b'{"a": 1}', "not subscriptable"),
        (b'{"a":' * 100_000, ""),
        (b'{"a": ' + b"1" * 5000 + b"}", ""),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named(
    tmp_path: Path, text: bytes | None, reason: str
) -> None:
    path = tmp_path / "host.json"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(ParseError, match=rf"{path}: not a number: .*{reason}.*; make it$"):
        read_json(path, "a number", number_of, "make it")


def test_a_text_of_a_machine_is_named_by_where_it_is() -> None:
    with pytest.raises(ParseError, match=r"^host: /changes: not a list: `a` is missing$"):
        parse_json("{}", "host: /changes", "a list", number_of)
    assert parse_json('{"a": {"number": 3}}', "host", "a list", number_of) == 3
