"""What two results differ in beside their figures: versions, kernels, processors, options, the link.

No computer is named: where another one played the machines, its mark differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from hvcost.analysis.measured import Measured
from hvcost.analysis.measurements import computer_of
from hvcost.analysis.rows import NEW, OLD
from hvcost.hypervisors import load_driver
from hvcost.model.description import Description
from hvcost.model.record import Record, accelerator_of
from hvcost.report.computers import MACHINES, UNTOLD_FACTS
from hvcost.wording import listed

# Of whom there are facts, in the order in which they are told: what was planned comes first.
PLAN = "plan"
SYSTEM = "system"
LINK = "link"
PLAYER = "who played the machines"
COMPUTER = "mark of the computer"
OWNERS = (PLAN, SYSTEM, LINK, PLAYER, "software", "emulator", "host", "guest", "client", "controller")
# What is told of machines first, beside the versions of programs.
FIRST = ("commit", "kernel", "cpu_model", "cpus")
# Told as the player, and why it is it; and how guests of somebody else are reached, by names of computers.
UNTOLD = {
    "emulator": ("accelerator", "accelerator_reason"),
    SYSTEM: ("address", "ssh", "start", "stop", "prove", "expect"),
}
# Facts that are a set of words, or of lines that end with a semicolon, in whatever order.
WORDS = ("offloads_on", "congestion_controls")
LINES = ("route",)
# The memory that a kernel finds, and what it derives from it, may differ by so much from boot to boot.
OF_MEMORY = ("memory_kib", "tcp_rmem", "tcp_wmem")
MEMORY_TOLERANCE = 0.01
NONE = "none"

# Environment and system.
Place = tuple[str, str]
# Of whom it is, and its name.
Fact = tuple[str, str]
Found = Mapping[Fact, Mapping[Place, frozenset[str]]]


@dataclass(frozen=True)
class Difference:
    """A fact that differs: `name` of `owners`. `where`: in which systems; empty: in all that both have."""

    owners: tuple[str, ...]
    name: str
    old: str
    new: str
    where: str

    @property
    def title(self) -> str:
        """What differs, in words."""
        return f"{listed(self.owners)}: {self.name.replace('_', ' ')}"


@dataclass(frozen=True)
class Circumstances:
    """`differences` of what both say, and names of what only one of both says, since the other is older."""

    differences: tuple[Difference, ...]
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]


def circumstances(old: Measured, new: Measured) -> Circumstances:
    """What differs where both have measured the same system in the same environment."""
    places = {_place(each) for each in old.firsts} & {_place(each) for each in new.firsts}
    found_old, found_new = _found(old, places), _found(new, places)
    facts = sorted(found_old.keys() & found_new, key=_rank)
    differences = [
        each for fact in facts for each in _differences(fact, found_old[fact], found_new[fact], places)
    ]
    return Circumstances(
        tuple(_merged(differences)),
        tuple(_names(found_old.keys() - found_new.keys())),
        tuple(_names(found_new.keys() - found_old.keys())),
    )


def _place(record: Record) -> Place:
    return record.environment, record.system


def _rank(fact: Fact) -> tuple[bool, int, str]:
    """Place of a fact: what was asked for, then versions, kernels and processors, then everything else."""
    owner, name = fact
    is_first = owner in (PLAN, SYSTEM, LINK, PLAYER) or name in FIRST or name.endswith("_version")
    return not is_first, OWNERS.index(owner), name


def _names(facts: Iterable[Fact]) -> Iterator[str]:
    for owner, name in sorted(facts, key=_rank):
        yield f"{name.replace('_', ' ')} of the {owner}"


def _found(measured: Measured, places: Iterable[Place]) -> Found:
    found: dict[Fact, dict[Place, set[str]]] = {}
    wanted = set(places)
    for each in measured.firsts:
        place = _place(each)
        if place in wanted:
            for fact, value in (*_planned(measured.experiment), *_facts(each)):
                found.setdefault(fact, {}).setdefault(place, set()).add(_told(fact, value))
    return {fact: {place: frozenset(said) for place, said in own.items()} for fact, own in found.items()}


def _planned(experiment: Description) -> Iterator[tuple[Fact, object]]:
    yield (PLAN, "sessions of each system"), experiment.boots
    yield (PLAN, "repetitions in a session"), experiment.repetitions
    yield (PLAN, "margin of equivalence"), experiment.equivalence_margin


def _facts(record: Record) -> Iterator[tuple[Fact, object]]:
    """Everything that a record says of what it was measured on, under which options."""
    spec = record.spec
    yield (SYSTEM, "hypervisor"), spec["hypervisor"]
    # Older files lack options that there were not yet: these have their defaults.
    options = asdict(load_driver(spec["hypervisor"]).Options()) | dict(spec.get("options") or {})
    parts = [(SYSTEM, options), (LINK, spec.get("link") or {})]
    for machine in ("host", "client", "guest"):
        planned = {f"planned {name}": value for name, value in (spec.get(machine) or {}).items()}
        planned.pop("planned accelerator", None)
        parts += [(machine, planned)]
    parts += [(machine, record.facts.get(machine) or {}) for machine in MACHINES]
    for owner, facts in parts:
        for name, value in facts.items():
            if name not in UNTOLD_FACTS and name not in UNTOLD.get(owner, ()):
                yield (owner, name), value
    if accelerator := accelerator_of(spec, record.facts):
        yield (PLAYER, "accelerator"), accelerator
    if computer := computer_of(record):
        yield (PLAYER, COMPUTER), computer


def _told(fact: Fact, value: object) -> str:
    """A value as it is compared and shown: the same whatever the order of what has none."""
    if not isinstance(value, str):
        return json.dumps(value)
    if fact[1] in WORDS:
        return " ".join(sorted(value.split()))
    if fact[1] in LINES:
        return "; ".join(sorted(" ".join(line.split()) for line in value.split(";") if line.strip()))
    return " ".join(value.split())


def _differences(
    fact: Fact,
    old: Mapping[Place, frozenset[str]],
    new: Mapping[Place, frozenset[str]],
    places: Iterable[Place],
) -> Iterator[Difference]:
    """The differences of one fact; places that differ alike are told together."""
    owner, name = fact
    said = [place for place in sorted(places) if place in old or place in new]
    unlike: dict[tuple[frozenset[str], frozenset[str]], list[Place]] = {}
    for place in said:
        pair = old.get(place, frozenset()), new.get(place, frozenset())
        if not _is_alike(name, *pair):
            unlike.setdefault(pair, []).append(place)
    for (before, after), where in unlike.items():
        told = "" if where == said else _where(where, said)
        yield Difference((owner,), name, _values(before), _values(after), told)


def _is_alike(name: str, old: frozenset[str], new: frozenset[str]) -> bool:
    if old == new or name not in OF_MEMORY or not (old and new):
        return old == new
    said = [value.split() for value in old | new]
    if len(set(map(len, said))) > 1 or not all(part.isdigit() for parts in said for part in parts):
        return False
    columns = (list(map(int, column)) for column in zip(*said, strict=True))
    return all(max(column) <= (1 + MEMORY_TOLERANCE) * min(column) for column in columns)


def _values(values: Iterable[str]) -> str:
    return " or ".join(sorted(values)) or NONE


def _where(places: list[Place], said: list[Place]) -> str:
    """Where that is: environments by their names if it is in all of their systems."""
    environments: dict[str, list[str]] = {}
    for environment in dict.fromkeys(environment for environment, _ in places):
        own = [system for of, system in places if of == environment]
        is_whole = len(own) == sum(of == environment for of, _ in said)
        environments.setdefault("" if is_whole else f"{listed(own)} in ", []).append(environment)
    return "; ".join(f"{who}{listed(where)}" for who, where in environments.items())


def _merged(differences: Iterable[Difference]) -> list[Difference]:
    """The same difference of several machines is one: this computer may be the client as well."""
    found: dict[tuple[str, str, str, str], Difference] = {}
    for each in differences:
        key = each.name, each.old, each.new, each.where
        known = found.get(key)
        owners = (*known.owners, *each.owners) if known else each.owners
        found[key] = Difference(owners, each.name, each.old, each.new, each.where)
    return list(found.values())


def sentences(found: Circumstances) -> list[str]:
    """The differences as lines of a text."""
    lines = [
        f"{each.title}: {each.old} → {each.new}" + (f" ({each.where})" if each.where else "")
        for each in found.differences
    ]
    return [*(lines or ["nothing that both recorded"]), *unsaid(found)]


def unsaid(found: Circumstances) -> list[str]:
    """What cannot be compared, since only one of both recorded it."""
    sides = ((OLD, found.only_old), (NEW, found.only_new))
    return [f"recorded in {name} only: {listed(names)}" for name, names in sides if names]
