"""A million bad texts: recorded output is damaged, and whatever a parser takes of it is judged by another.

    PYTHONPATH=scripts python tests/fuzz.py --texts 1000000 --seed 1

A text has to be refused with an error of ours, or what was taken of it has to stand in it (judges.py). One
for which that is not so is printed with what is wrong, and as few of its lines as still show that. The same
seed makes the same texts. Prints a table; the exit code says whether anything was found.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from captures import Capture, Figures, all_parsers
from hvcost.errors import HvcostError
from judges import Texts
from mutations import damaged

# Parsers that take a hundred times as long as the others for a text get a hundredth of their texts.
SHARES = {"configuration": 0.05, "raw files": 0.25, "measurements.csv": 0.5, "other tables": 0.5}


@dataclass(frozen=True)
class Fault:
    """A text that a parser should not have taken as it did: what is wrong, and the text, shrunk."""

    parser: str
    capture: str
    what: str
    texts: Texts

    def __str__(self) -> str:
        shown = json.dumps(dict(self.texts), indent=1, ensure_ascii=False)
        return f"{self.parser}, {self.capture}: {self.what}\n{shown}"


@dataclass
class Tally:
    """What became of a parser's texts; `same`: taken, and with the figures that the whole one has."""

    texts: int = 0
    taken: int = 0
    same: int = 0
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)


def texts_of(name: str, captures: Sequence[Capture], seed: int) -> Iterator[tuple[Capture, Texts]]:
    """Damaged texts of a parser, without end: each time one of a capture's texts is."""
    random = Random(f"{seed} {name}")
    while True:
        capture, other = random.choice(captures), random.choice(captures)
        which = random.choice([key for key, text in capture.texts.items() if text] or list(capture.texts))
        text = damaged(capture.texts[which], other.texts.get(which, ""), random)
        yield capture, {**capture.texts, which: text}


def tried(capture: Capture, texts: Texts) -> tuple[Figures | None, str]:
    """What is taken of a capture's texts, None if they are refused; and what is wrong with that."""
    try:
        figures = capture.read(texts)
    except HvcostError as error:
        return None, "" if str(error) else "it is refused without a word"
    except Exception as error:
        return None, f"it is no error of ours: {error!r}"
    try:
        return figures, "; ".join(capture.judge(texts, figures))
    except Exception as error:
        return figures, f"{figures} was taken, but its judge says: {error!r}"


def fuzz(name: str, captures: Sequence[Capture], count: int, seed: int) -> Tally:
    """Try so many texts of a parser."""
    whole = {id(capture): tried(capture, capture.texts)[0] for capture in captures}
    tally = Tally()
    began_s = time.process_time()
    for capture, texts in itertools.islice(texts_of(name, captures, seed), count):
        figures, wrong = tried(capture, texts)
        tally.texts += 1
        tally.taken += figures is not None
        tally.same += figures is not None and figures == whole[id(capture)]
        if wrong:
            tally.faults.append(Fault(name, capture.name, wrong, _least(capture, texts)))
    tally.seconds = time.process_time() - began_s
    return tally


def shares(names: Sequence[str], count: int) -> dict[str, int]:
    """How many of so many texts each parser gets; all of them together."""
    weights = [SHARES.get(name, 1.0) for name in names]
    bounds = [round(count * sum(weights[:n]) / sum(weights)) for n in range(len(names) + 1)]
    return {name: bounds[n + 1] - bounds[n] for n, name in enumerate(names)}


def shrunk(text: str, is_faulty: Callable[[str], bool]) -> str:
    """As few of a text's lines as leave it faulty, by leaving out ever fewer at once (Zeller 2002, ddmin)."""
    lines = text.splitlines(keepends=True)
    size = len(lines) // 2
    while size:
        at = 0
        while at < len(lines):
            fewer = lines[:at] + lines[at + size :]
            if is_faulty("".join(fewer)):
                lines = fewer
            else:
                at += size
        size //= 2
    return "".join(lines)


def _least(capture: Capture, texts: Texts) -> Texts:
    """Only what was damaged, and no more of it than is needed."""
    least = dict(texts)
    for key, text in texts.items():
        if text != capture.texts[key]:

            def is_faulty(fewer: str, key: str = key) -> bool:
                return bool(tried(capture, {**least, key: fewer})[1])

            least[key] = shrunk(text, is_faulty)
    return {key: text for key, text in least.items() if text != capture.texts[key]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=1_000_000, help="how many, of all parsers together")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print("| parser | captures | texts | taken | of these the same | refused | faults | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    tallies = []
    with tempfile.TemporaryDirectory() as folder:
        parsers = all_parsers(Path(folder))
        for name, count in shares(list(parsers), given.texts).items():
            tally = fuzz(name, parsers[name], count, given.seed)
            tallies.append(tally)
            print(_row(name, str(len(parsers[name])), tally), flush=True)
    total = Tally(
        texts=sum(each.texts for each in tallies),
        taken=sum(each.taken for each in tallies),
        same=sum(each.same for each in tallies),
        seconds=sum(each.seconds for each in tallies),
        faults=[fault for each in tallies for fault in each.faults],
    )
    print(_row("all", "", total))
    for fault in total.faults:
        print(f"\n{fault}")
    sys.exit(bool(total.faults))


def _row(name: str, captures: str, tally: Tally) -> str:
    counts = (tally.texts, tally.taken, tally.same, tally.texts - tally.taken, len(tally.faults))
    return " | ".join([f"| {name}", captures, *(f"{count:,}" for count in counts), f"{tally.seconds:.0f} |"])


if __name__ == "__main__":
    main()
