"""Ways in which a text goes wrong on its way: what a fuzzer does to recorded output.

Each takes a text, another one of the same parser, and where its random numbers come from. A text may hold
bytes that are no UTF-8, as lone surrogates (PEP 383); whoever reads it decides what becomes of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random

Mutation = Callable[[str, str, Random], str]

NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
WORD = re.compile(r"[A-Za-zµ%]+(?:/[a-z]+)?")
# What stands in the place of another, and looks as if it belonged there.
UNITS = (
    *("Bytes", "KBytes", "MBytes", "GBytes", "bits", "Kbits", "Mbits", "bits/sec", "Mbits/sec", "MBytes/sec"),
    *("sec", "ns", "µs", "us", "ms", "s", "m", "h", "pps", "%", "TCP", "UDP", "B", "KiB", "MiB"),
)
NUMBERS = (
    *("0", "1", "-1", "0.0", "1e3", "1E9", "1e999", "nan", "inf", "-inf", "NaN", "Infinity", "", ".", "0x10"),
    *("1_0", "+5", " 7", "007", "1.", ".5", "1.2.3", "99999999999999999999", "4294967295", "null", "true"),
    *("9" * 400, "9" * 5000),
)
# Digits of other scripts, which Python takes for numbers as well.
SCRIPTS = ("٠١٢٣٤٥٦٧٨٩", "０１２３４５６７８９", "०१२३४५६७८९", "⁰¹²³⁴⁵⁶⁷⁸⁹")
CHARACTERS = "0123456789.,:;-+ \t\n\r\0\x0b\x0c\x1c\x85\u2028\ufeff\"'{}[]()=/%\\#&*!éµ漢\U0001f600"


def damaged(text: str, other: str, random: Random) -> str:
    """The text after one of all mutations, or some of them one after the other."""
    for mutation in random.choices(MUTATIONS, k=random.choice((1, 1, 1, 1, 2, 3))):
        text = mutation(text, other, random)
    return text


def _cut_off(text: str, _other: str, random: Random) -> str:
    at = random.randint(0, len(text))
    return random.choice((text[:at], text[:at], text[at:]))


def _cut_out(text: str, _other: str, random: Random) -> str:
    at = random.randint(0, len(text))
    return text[:at] + text[at + random.choice((1, 1, 2, 8, 80)) :]


def _flip_bits(text: str, _other: str, random: Random) -> str:
    content = bytearray(text.encode("utf-8", "surrogateescape"))
    for _ in range(random.choice((1, 1, 1, 2, 8)) if content else 0):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return content.decode("utf-8", "surrogateescape")


def _insert(text: str, _other: str, random: Random) -> str:
    at = random.randint(0, len(text))
    return text[:at] + random.choice(CHARACTERS) + text[at:]


def _other_digit(text: str, _other: str, random: Random) -> str:
    found = _near(NUMBER, text, random)
    if found is None:
        return text
    at = random.randrange(*found.span())
    return text[:at] + random.choice("0123456789.") + text[at + 1 :]


def _other_number(text: str, _other: str, random: Random) -> str:
    return _put(NUMBER, text, random, lambda _said: random.choice(NUMBERS))


def _other_unit(text: str, _other: str, random: Random) -> str:
    return _put(WORD, text, random, lambda _said: random.choice(UNITS))


def _other_script(text: str, _other: str, random: Random) -> str:
    digits = random.choice(SCRIPTS)
    return _put(NUMBER, text, random, lambda said: said.translate(str.maketrans("0123456789", digits)))


def _decimal_commas(text: str, _other: str, random: Random) -> str:
    """As locales have them: one number, all of them, or thousands apart by points, commas or blanks."""
    if random.random() < 0.3:
        return re.sub(r"(?<=[0-9])\.(?=[0-9])", ",", text)
    if random.random() < 0.5:
        return _put(NUMBER, text, random, lambda said: said.replace(".", ","))
    mark = random.choice(".,' \u202f")
    return _put(NUMBER, text, random, lambda said: re.sub(r"(?<=[0-9])(?=(?:[0-9]{3})+$)", mark, said))


def _double_lines(text: str, _other: str, random: Random) -> str:
    lines = text.splitlines(keepends=True)
    at, count = random.randint(0, len(lines)), random.choice((1, 1, 2, 10))
    return "".join([*lines[: at + count], *lines[at:]])


def _drop_lines(text: str, _other: str, random: Random) -> str:
    lines = text.splitlines(keepends=True)
    at = random.randint(0, len(lines))
    return "".join([*lines[:at], *lines[at + random.choice((1, 1, 2, 10)) :]])


def _reorder_lines(text: str, _other: str, random: Random) -> str:
    lines = text.splitlines(keepends=True)
    if random.random() < 0.3:
        random.shuffle(lines)
    elif lines:
        lines.insert(random.randrange(len(lines)), lines.pop(random.randrange(len(lines))))
    return "".join(lines)


def _splice(text: str, other: str, random: Random) -> str:
    """The beginning of one and the end of the other, mostly at a line's end."""
    if random.random() < 0.3:
        return text[: random.randint(0, len(text))] + other[random.randint(0, len(other)) :]
    head, tail = text.splitlines(keepends=True), other.splitlines(keepends=True)
    return "".join(head[: random.randint(0, len(head))] + tail[random.randint(0, len(tail)) :])


def _other_version(text: str, other: str, random: Random) -> str:
    """A line, or a number, is that of another run at the same place."""
    mine, theirs = text.splitlines(keepends=True), other.splitlines(keepends=True)
    if not mine or not theirs:
        return text
    at = random.randrange(len(mine))
    line = theirs[min(at, len(theirs) - 1)]
    if random.random() < 0.5 and (number := _near(NUMBER, line, random)):
        line = _put(NUMBER, mine[at], random, lambda _said: number[0])
    mine[at] = line
    return "".join(mine)


def _other_ends_of_lines(text: str, _other: str, random: Random) -> str:
    return text.replace("\n", random.choice(("\r\n", "\r", " \n", "\n\n", "\u2028", "")))


MUTATIONS: tuple[Mutation, ...] = (
    *(_cut_off, _cut_out, _flip_bits, _insert, _other_digit, _other_digit, _other_number, _other_unit),
    *(_other_script, _decimal_commas, _double_lines, _drop_lines, _reorder_lines, _splice, _other_version),
    *(_other_version, _other_ends_of_lines),
)


def _near(pattern: re.Pattern[str], text: str, random: Random) -> re.Match[str] | None:
    """A match at a random place, None if there is none at all."""
    return pattern.search(text, random.randint(0, len(text))) or pattern.search(text)


def _put(pattern: re.Pattern[str], text: str, random: Random, replacement: Callable[[str], str]) -> str:
    """The text with something else in the place of one match."""
    found = _near(pattern, text, random)
    return text if found is None else text[: found.start()] + replacement(found[0]) + text[found.end() :]
