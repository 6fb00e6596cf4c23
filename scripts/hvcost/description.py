"""The experiment's description: what the analysis has to know of the configuration, as a file of the results.

Raw files say what one repetition was; what was planned, compared and claimed is in this file. With both,
everything else is made again on any computer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hvcost import figures
from hvcost.errors import ConfigError

FORMAT = 1


@dataclass(frozen=True)
class Claim:
    """What somebody said: a ratio of throughputs is from `at_least` to `at_most` (None: no bound).

    Systems are compared `against` another in each of `environments`, or, where `against` is None, each with
    itself `between` two environments.
    """

    name: str
    text: str
    systems: tuple[str, ...]
    against: str | None
    environments: tuple[str, ...]
    between: tuple[str, ...]
    at_least: float | None
    at_most: float | None

    def pairs(self) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
        """What is compared, each as (environment, system)."""
        for system in self.systems:
            if self.against is None:
                first, second = self.between
                yield (first, system), (second, system)
            else:
                for environment in self.environments:
                    yield (environment, system), (environment, self.against)


@dataclass(frozen=True)
class Description:
    """A whole experiment as its analysis sees it; `content` is the file's own, for those who show it."""

    seed: int
    boots: int
    repetitions: int
    systems: Mapping[str, Mapping[str, Any]]
    environments: tuple[figures.Environment, ...]
    equivalence_margin: float
    claims: tuple[Claim, ...]
    content: Mapping[str, Any]

    @property
    def links(self) -> Mapping[str, Mapping[str, Any]]:
        """Links by environment."""
        return {environment.id: environment.link for environment in self.environments}

    def raw_files(self, environment: figures.Environment, system: str, boot: int) -> list[str]:
        """Planned files of a session, from the folder of results; what else is there is of another plan."""
        return [
            f"{environment.id}/raw/{system}/boot{boot}/{workload}-{repetition}.json"
            for workload in environment.workloads
            for repetition in range(1, self.repetitions + 1)
        ]


def as_text(content: Mapping[str, Any]) -> str:
    """Text of the file, the same for the same content."""
    return json.dumps({"format": FORMAT} | dict(content), indent=1, ensure_ascii=False) + "\n"


def load(path: Path) -> Description:
    """Description from its file; ConfigError says what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']} instead of {FORMAT}")
        return Description(
            seed=content["seed"],
            boots=content["boots"],
            repetitions=content["repetitions"],
            systems=content["systems"],
            environments=tuple(map(figures.environment, content["environments"])),
            equivalence_margin=content["analysis"]["equivalence_margin"],
            claims=tuple(_claim(claim) for claim in content["claims"]),
            content=content,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: not an experiment's description ({error}); snakemake makes it: snakemake {path}"
        ) from error


def _claim(content: Mapping[str, Any]) -> Claim:
    lists = {key: tuple(content[key]) for key in ("systems", "environments", "between")}
    return Claim(**{**content, **lists})
