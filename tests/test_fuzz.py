"""Bad texts: a share of those of fuzz.py; those that were once taken wrongly; and judges that can say no."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import captures
import fuzz
import pytest
from captures import PARSERS, Capture, all_parsers
from hypothesis import given, settings
from hypothesis import strategies as st

TEXTS = 20_000
SEED = 1
# Texts that were once taken for what they do not say, or brought another error than ours, by parser: what was
# wrong, and in which texts of which capture.
FOUND = json.loads((captures.DATA / "bad-texts.json").read_text(encoding="utf-8"))
NAMES = list(PARSERS)
every_parser = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def parsers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Capture]]:
    return all_parsers(tmp_path_factory.mktemp("files"))


@every_parser
def test_no_bad_text_becomes_a_number_that_it_does_not_say(
    parsers: dict[str, list[Capture]], name: str
) -> None:
    count = fuzz.shares(NAMES, TEXTS)[name]
    tally = fuzz.fuzz(name, parsers[name], count, SEED)
    assert not tally.faults, "\n".join(map(str, tally.faults))
    assert tally.texts == count
    assert tally.taken > 0


def test_all_texts_of_ci_are_shared_out() -> None:
    assert sum(fuzz.shares(NAMES, TEXTS).values()) == TEXTS


@pytest.mark.parametrize("found", FOUND, ids=lambda found: f"{found['parser']}: {found['was']}")
def test_texts_that_were_once_taken_wrongly(parsers: dict[str, list[Capture]], found: dict[str, Any]) -> None:
    (capture,) = [each for each in parsers[found["parser"]] if each.name == found["capture"]]
    assert fuzz.tried(capture, {**capture.texts, **found["texts"]})[1] == ""


@every_parser
def test_undamaged_texts_are_as_their_judge_reads_them(parsers: dict[str, list[Capture]], name: str) -> None:
    outcomes = [fuzz.tried(capture, capture.texts) for capture in parsers[name]]
    assert [wrong for _, wrong in outcomes if wrong] == []
    assert any(figures for figures, _ in outcomes)


@every_parser
def test_a_judge_notices_any_other_figure(parsers: dict[str, list[Capture]], name: str) -> None:
    """Each figure of each capture in turn is a little different, as a wrong parser would have it."""
    capture, figures = next(
        (capture, figures)
        for capture in parsers[name]
        if (figures := fuzz.tried(capture, capture.texts)[0]) is not None
    )
    for key, value in figures.items():
        if other := list(_others(value)):
            assert capture.judge(capture.texts, {**figures, key: other[0]}), key


def _others(value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        yield value + "!"
    elif type(value) in (int, float):
        yield value * 1.013 + 0.0017


@every_parser
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_any_text_is_refused_or_says_what_is_taken(
    parsers: dict[str, list[Capture]], name: str, data: st.DataObject
) -> None:
    """Also those that nobody would call damaged: anything at all, beside lines of the parser's own."""
    capture = data.draw(st.sampled_from([each for each in parsers[name] if any(each.texts.values())]))
    key = data.draw(st.sampled_from([key for key, text in capture.texts.items() if text]))
    lines = st.sampled_from(capture.texts[key].splitlines(keepends=True))
    text = data.draw(st.lists(lines | st.text(), max_size=12).map("".join))
    assert fuzz.tried(capture, {**capture.texts, key: text})[1] == ""


@every_parser
def test_the_same_seed_makes_the_same_texts(parsers: dict[str, list[Capture]], name: str) -> None:
    first, again, other = (
        [texts for _, texts in itertools.islice(fuzz.texts_of(name, parsers[name], seed), 20)]
        for seed in (SEED, SEED, SEED + 1)
    )
    assert first == again != other


def test_a_text_is_shrunk_to_what_is_wrong_with_it() -> None:
    text = "".join(f"{number}\n" for number in range(100))
    assert fuzz.shrunk(text, lambda left: "17\n" in left and "83\n" in left) == "17\n83\n"
