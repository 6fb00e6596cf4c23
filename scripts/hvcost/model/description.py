"""The experiment's description: what the analysis has to know of the configuration, as a file of the results.

Raw files say what one repetition was; what was planned, compared and claimed is in this file. With both,
everything else is made again on any computer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hvcost import files
from hvcost.errors import ConfigError
from hvcost.model import record
from hvcost.model.link import tcp_limit_bps
from hvcost.model.metric import RATIO, Compared
from hvcost.model.sweep import ENVIRONMENT, WORKLOAD, Sweep, origins, sweep_from
from hvcost.wording import listed

BASELINE = "bare-metal"
UNDER_XEN = "bare-metal-dom0"
PROVIDED = "provided"
# Who plays an emulated machine, by QEMU's accelerator.
PLAYERS = {"tcg": "QEMU's translator", "kvm": "KVM with nested virtualisation"}
FORMAT = 1


@dataclass(frozen=True)
class Claim:
    """What somebody said: a ratio of means is from `at_least` to `at_most` (None: no bound).

    Or their difference, in the metric's unit, if the metric is `compared` so.

    It is about one `metric` (None: the primary one) of each of `workloads`.
    Systems are compared `against` another in each of `environments`, or, where `against` is None, each with
    itself `between` two environments.

    `published`: the value that was published, None if there was none. `analogue`: what stands for what, where
    a system is not what was claimed about. `link_limited`: the link set both values when it was published.
    """

    name: str
    text: str
    systems: tuple[str, ...]
    against: str | None
    environments: tuple[str, ...]
    between: tuple[str, ...]
    at_least: float | None
    at_most: float | None
    workloads: tuple[str, ...]
    metric: str | None = None
    compared: Compared = RATIO
    published: float | None = None
    analogue: str = ""
    link_limited: bool = False

    def allows(self, effect: float) -> bool:
        """Whether an effect is in the range that is claimed."""
        is_low = self.at_least is not None and effect < self.at_least
        return not is_low and (self.at_most is None or effect <= self.at_most)

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
class Study:
    """A published study that is repeated. `software`: what it measured; what is measured here is of today."""

    citation: str
    software: str = ""
    remark: str = ""


@dataclass(frozen=True)
class Description:
    """A whole experiment as its analysis sees it; `content` is the file's own, for those who show it.

    `results`: the folder that it was measured in, from the checkout. `study`: what it repeats, None if
    nothing that was published.
    """

    results: str
    seed: int
    boots: int
    repetitions: int
    systems: Mapping[str, Mapping[str, Any]]
    environments: tuple[Environment, ...]
    equivalence_margin: float
    claims: tuple[Claim, ...]
    study: Study | None
    content: Mapping[str, Any]

    @property
    def links(self) -> Mapping[str, Mapping[str, Any]]:
        """Links by environment."""
        return {environment.id: environment.link for environment in self.environments}

    @property
    def sweeps(self) -> tuple[Sweep, ...]:
        """Sweeps of all environments and workloads, each once."""
        return tuple(dict.fromkeys(sweep for place in self.environments for sweep in place.sweeps))

    def raw_files(self, environment: Environment, system: str, boot: int) -> list[str]:
        """Planned files of a session, from the folder of results; what else is there is of another plan."""
        return [
            f"{environment.id}/raw/{system}/boot{boot}/{file}"
            for file in record.planned_files(environment.workloads, self.repetitions)
        ]

    def found_in(self, results: Path) -> dict[str, dict[str, list[Path]]]:
        """Planned raw files that are there, of each environment the systems that have any.

        ConfigError if there is none at all.
        """
        found = {each.id: self._found_of(each, results) for each in self.environments}
        if not any(found.values()):
            raise ConfigError(f"{results}: there are no raw files in {listed(found)}; was anything measured?")
        return found

    def all_found_in(self, results: Path) -> list[Path]:
        """The same files, of all environments and systems."""
        return [file for own in self.found_in(results).values() for files in own.values() for file in files]

    def _found_of(self, environment: Environment, results: Path) -> dict[str, list[Path]]:
        found = {
            system: [
                results / file
                for boot in range(1, self.boots + 1)
                for file in self.raw_files(environment, system, boot)
                if (results / file).is_file()
            ]
            for system in environment.hypervisors
        }
        return {system: files for system, files in found.items() if files}


def as_text(content: Mapping[str, Any]) -> str:
    """Text of the file, the same for the same content."""
    return json.dumps({"format": FORMAT} | dict(content), indent=1, ensure_ascii=False) + "\n"


def load(path: Path) -> Description:
    """Description from its file; ParseError says what is wrong with it."""
    remedy = f"snakemake makes it: snakemake {path}"
    return files.read_json(path, "an experiment's description", _description, remedy)


def _description(content: Mapping[str, Any]) -> Description:
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']} instead of {FORMAT}")
    return Description(
        # Before there were others, there was one.
        results=content.get("results", "results"),
        seed=content["seed"],
        boots=content["boots"],
        repetitions=content["repetitions"],
        systems=content["systems"],
        environments=tuple(map(environment_from, content["environments"])),
        equivalence_margin=content["analysis"]["equivalence_margin"],
        claims=tuple(_claim(claim, content["workloads"]) for claim in content["claims"]),
        study=study_from(content.get("study")),
        content=content,
    )


def study_from(content: Mapping[str, str] | None) -> Study | None:
    """Study from its keys in the configuration, None if there is none."""
    return Study(**content) if content else None


def _claim(content: Mapping[str, Any], workloads: Iterable[str]) -> Claim:
    """Claim as it was written; before there were metrics, each was about all workloads."""
    whole = {"workloads": tuple(workloads), **content}
    lists = {key: tuple(whole[key]) for key in ("systems", "environments", "between", "workloads")}
    return Claim(**{**whole, **lists})


@dataclass(frozen=True)
class Environment:
    """One environment of the resolved configuration, as far as figures show it.

    `sweeps`: those that it, or a workload, is a point of.
    """

    id: str
    description: str
    hypervisors: Mapping[str, str]
    workloads: tuple[str, ...]
    link: Mapping[str, Any]
    host: Mapping[str, Any]
    client: Mapping[str, Any]
    guest: Mapping[str, Any]
    sweeps: tuple[Sweep, ...] = ()

    @property
    def is_swept(self) -> bool:
        """Whether it is a point of a sweep of environments."""
        return self.id in origins(self.sweeps, ENVIRONMENT)

    @property
    def swept_workloads(self) -> frozenset[str]:
        """Workloads that are points of a sweep."""
        return frozenset(origins(self.sweeps, WORKLOAD))

    @property
    def emulated(self) -> bool:
        """Whether the host is a machine that a computer plays."""
        return self.host.get("connection") == "emulated"

    @property
    def player(self) -> str:
        """Who plays an emulated host; empty as long as that is not decided."""
        return PLAYERS.get(str(self.host.get("accelerator")), "") if self.emulated else ""

    def played_by(self, accelerator: str | None) -> Environment:
        """The same, now that it is known by which accelerator the host is played; None: nothing is known."""
        return replace(self, host={**self.host, "accelerator": accelerator}) if accelerator else self

    @property
    def title(self) -> str:
        """Name for titles; it never lets emulated machines pass for hardware."""
        name = f"{self.id}: {self.description}" if self.description else self.id
        return f"{name} (emulated machines)" if self.emulated else name

    @property
    def caveat(self) -> str:
        """What a reader must know before comparing the numbers with those of other computers."""
        if self.emulated:
            played = f", played by {self.player}" if self.player else ""
            return f"Emulated machines{played}: compare systems with each other, not with hardware."
        if self.host.get("connection") == self.client.get("connection") == "local":
            return "Host and client are one computer, joined by a virtual link."
        return ""

    @property
    def link_bps(self) -> float:
        """Rate of the link on the wire."""
        return float(self.link["rate_mbit"]) * 1e6

    @property
    def tcp_limit_bps(self) -> float:
        """Most that one TCP connection can carry over the link in full-sized packets."""
        return tcp_limit_bps(float(self.link["rate_mbit"]), float(self.link["mtu"]))


def environment_from(data: object) -> Environment:
    """Environment from what the workflow says about it; ConfigError names the key that is wrong.

    Needed are `environment` (its id), `systems` (a list of objects with `system` and `hypervisor`),
    `link`, `host` and `client`; `description`, `guest`, `workloads` (names) and `sweeps` are shown if there.
    """
    if not isinstance(data, Mapping):
        raise ConfigError("environment: expected an object")
    id = data.get("environment", "")
    for key in ("environment", "systems", "link", "host", "client"):
        if key not in data:
            raise ConfigError(f"environment {id}: `{key}` is missing")
    for key in ("link", "host", "client"):
        if not isinstance(data[key], Mapping):
            raise ConfigError(f"environment {id}: `{key}` is not an object")
    for key in ("rate_mbit", "mtu"):
        if not isinstance(data["link"].get(key), int | float):
            raise ConfigError(f"environment {id}: `link.{key}` is not a number")
    try:
        hypervisors = {str(item["system"]): str(item["hypervisor"]) for item in data["systems"]}
    except (KeyError, TypeError):
        raise ConfigError(
            f"environment {id}: `systems` is not a list of objects with `system` and `hypervisor`"
        ) from None
    try:
        sweeps = tuple(map(sweep_from, data.get("sweeps") or ()))
    except (KeyError, TypeError):
        raise ConfigError(f"environment {id}: `sweeps` is not a list of sweeps") from None
    return Environment(
        id=str(id),
        description=" ".join(str(data.get("description") or "").split()),
        hypervisors=hypervisors,
        workloads=tuple(map(str, data.get("workloads") or ())),
        link=data["link"],
        host=data["host"],
        client=data["client"],
        guest=data.get("guest") or {},
        sweeps=sweeps,
    )
