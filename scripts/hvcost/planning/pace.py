"""How long things take on this computer: what was seen, as a ratio to what is usual.

What was seen is kept in a file that all experiments share, outside of what the workflow tracks. Each line is
an observation. The first of a computer's speed is the host's preparation, which starts a machine. Without
the file, everything is expected to take what is usual.
"""

from __future__ import annotations

import functools
import hashlib
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from hvcost.planning.usual import Part

FILE = "pace.jsonl"
# The last ones only: a computer may be busier than it was, or hvcost itself faster.
LAST = 3
WHAT_IT_IS = (Path("/etc/machine-id"), Path("/proc/cpuinfo"))
CHANGES = ("cpu MHz", "bogomips")


@dataclass(frozen=True)
class Observation:
    """What a part of a step took on a computer, beside what is usual; what is fixed is in neither. In s."""

    computer: str
    kind: tuple[str, ...]
    usual_s: float
    took_s: float


@dataclass(frozen=True)
class Pace:
    """What was seen of this computer, the oldest first."""

    seen: tuple[Observation, ...] = ()

    def expected_s(self, part: Part) -> float:
        """Expected duration of a part of a step, in s."""
        return max(0.0, part.fixed_s + part.usual_s * self.ratio(part.kind))

    def ratio(self, kind: tuple[str, ...]) -> float:
        """How many times as long as usual such a part takes; 1 if nothing like it was seen.

        It is the median of the last that were seen of this kind. If there are none, it is that of the kinds
        that are most like it: the same hypervisor elsewhere, any start, anything on that computer.
        """
        for length in range(len(kind), 0, -1):
            ratios: dict[tuple[str, ...], list[float]] = {}
            for each in self.seen:
                if each.kind[:length] == kind[:length]:
                    ratios.setdefault(each.kind, []).append(each.took_s / each.usual_s)
            if ratios:
                return statistics.median(statistics.median(each[-LAST:]) for each in ratios.values())
        return 1.0

    def has_seen(self, part: Part) -> bool:
        """Whether anything like it was seen."""
        return any(each.kind[0] == part.kind[0] for each in self.seen)


def load_pace(path: Path) -> Pace:
    """What was seen of this computer. A line that is no observation is passed over: it may be cut short."""
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    observations = (_observation(line) for line in text.splitlines())
    return Pace(tuple(each for each in observations if each and each.computer == this_computer()))


def observed(part: Part, took_s: float) -> Observation:
    """What is to be learned from a part of a step that took so long here."""
    return Observation(this_computer(), part.kind, part.usual_s, round(took_s - part.fixed_s, 2))


def note(path: Path, observation: Observation) -> None:
    """Add an observation to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(observation), sort_keys=True) + "\n")


@functools.cache
def this_computer() -> str:
    """A mark of this computer: results may be copied to another one, of which they tell nothing."""
    texts = (path.read_text(errors="replace") for path in WHAT_IT_IS if path.is_file())
    lines = (line for text in texts for line in text.splitlines() if not line.startswith(CHANGES))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _observation(line: str) -> Observation | None:
    try:
        data = json.loads(line)
        usual_s, took_s = float(data["usual_s"]), float(data["took_s"])
        observation = Observation(data["computer"], tuple(data["kind"]), usual_s, took_s)
    except (KeyError, TypeError, ValueError):
        return None
    return observation if usual_s > 0.0 and observation.kind else None
