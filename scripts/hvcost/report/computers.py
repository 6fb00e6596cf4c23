"""The computers and machines of an environment: what is told of them, and how unlike they are if several."""

from __future__ import annotations

from collections.abc import Mapping

from hvcost.analysis.measurements import computer_of
from hvcost.report.inputs import Place
from hvcost.report.words import listed
from hvcost.wording import counted

# Machines of which a session knows facts.
MACHINES = ("controller", "emulator", "host", "client", "guest", "software")
# Boots are counted in the tables; names of computers say nothing about a figure.
UNTOLD_FACTS = ("boot_id", "hostname")
# Facts of a computer that decide how fast it plays machines, with what they are called.
DECISIVE = {
    "cpu_model": "processor",
    "cpus": "number of processors",
    "memory_kib": "memory",
    "kernel": "kernel",
}


def several(place: Place) -> str:
    """What a reader has to know of several computers; empty if one played all, or none did."""
    facts: dict[str, Mapping[str, object]] = {}
    sessions: dict[str, list[str]] = {}
    for session in place.sessions:
        if session.record and (name := computer_of(session.record)):
            facts[name] = session.record.facts.get("controller") or {}
            sessions.setdefault(name, []).append(f"{session.system} boot {session.boot}")
    if len(sessions) < 2:
        return ""
    who = "; ".join(f"{name} ({listed(own)})" for name, own in sorted(sessions.items()))
    unlike = [
        f"{called} ({listed(sorted({str(each.get(fact, 'unknown')) for each in facts.values()}))})"
        for fact, called in DECISIVE.items()
        if len({each.get(fact) for each in facts.values()}) > 1
    ]
    likeness = f"They differ in {listed(unlike)}." if unlike else "They are of one kind."
    return (
        f"{counted(len(sessions), 'computer')} played the machines of {place.environment.id}: {who}. "
        f"{likeness} Systems are compared within each of them, so that a slow computer does not look like a "
        "slow system."
    ).replace("'", "’")
