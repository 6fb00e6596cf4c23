"""Pairs of machines of which each measures bare metal, reached by OpenSSH's own servers (see `openssh`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import openssh
import yaml
from hvcost.model.record import Record
from workspace import Workspace

RUNS = 2
CONFIG = "pairs.yaml"


@dataclass(frozen=True)
class Span:
    """When the first run of a pair's session began, and when its last one ended."""

    pair: str
    began: datetime
    ended: datetime


def addresses(pairs: int) -> dict[str, str]:
    """Of the machines of so many pairs, by name."""
    ends = {"host": 10, "client": 20}
    return {
        f"{end}{number}": f"198.18.77.{first + number}"
        for number in range(1, pairs + 1)
        for end, first in ends.items()
    }


def experiment(pairs: int, boots: int = 1) -> dict[str, Any]:
    """Bare metal of each pair."""
    return {
        "boots": boots,
        "repetitions": RUNS,
        "workloads": {"tcp": {"tool": "iperf", "duration_s": 1}},
        "systems": {"bare-metal": {"hypervisor": "bare-metal"}},
        "environments": {
            f"pair{number}": {
                "link": {"rate_mbit": 10000, "network": f"198.18.{77 + number}.0/24"},
                "host": {"connection": "ssh", "address": f"host{number}", "interface": openssh.INTERFACE},
                "client": {"connection": "ssh", "address": f"client{number}", "interface": openssh.INTERFACE},
            }
            for number in range(1, pairs + 1)
        },
    }


def project(folder: Path, within: tuple[str, ...], content: Mapping[str, Any]) -> Workspace:
    """The project in the new folder, with such an experiment's configuration, as CONFIG."""
    folder.mkdir()
    workspace = Workspace(folder, within)
    workspace.link_project()
    (folder / CONFIG).write_text(yaml.safe_dump(content, sort_keys=False))
    return workspace


def table(pair: str) -> str:
    """What a pair's sessions are measured for."""
    return f"results/{pair}/measurements/bare-metal.csv"


def spans(pair: str, records: Sequence[Record]) -> list[Span]:
    """That of each session of a pair, in the order of time, which is drawn by lot."""
    found = []
    for boot in sorted({each.boot for each in records}):
        own = sorted(
            (datetime.fromisoformat(each.started_at), each.outputs["client"].duration_s or 0.0)
            for each in records
            if each.boot == boot
        )
        (first, _), (last, took_s) = own[0], own[-1]
        found.append(Span(pair, first, last + timedelta(seconds=took_s)))
    return sorted(found, key=lambda span: span.began)


def at_once(every: Sequence[Span]) -> list[tuple[Span, Span]]:
    """Sessions of which one began before the other had ended."""
    return [(a, b) for a, b in combinations(every, 2) if a.began < b.ended and b.began < a.ended]
