"""The figures, each a pure function of the configuration, the host's facts and the tables.

A figure module has `draw(...) -> Picture`; `style.rendered` makes a picture's files. Both are
called within `style.house_style()`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hvcost.errors import ConfigError
from hvcost.link import tcp_limit_bps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hvcost.statistics.rows import CellStatistics
    from hvcost.tables import Repetition

BASELINE = "bare-metal"
UNDER_XEN = "bare-metal-dom0"
PROVIDED = "provided"


@dataclass(frozen=True)
class Environment:
    """One environment of the resolved configuration, as far as figures show it."""

    id: str
    description: str
    hypervisors: Mapping[str, str]
    workloads: tuple[str, ...]
    link: Mapping[str, Any]
    host: Mapping[str, Any]
    client: Mapping[str, Any]
    guest: Mapping[str, Any]

    @property
    def emulated(self) -> bool:
        """Whether the host is a machine that a computer plays."""
        return self.host.get("connection") == "emulated"

    @property
    def title(self) -> str:
        """Name for titles; it never lets emulated machines pass for hardware."""
        name = f"{self.id}: {self.description}" if self.description else self.id
        return f"{name} (emulated machines)" if self.emulated else name

    @property
    def caveat(self) -> str:
        """What a reader must know before comparing the numbers with those of other computers."""
        if self.emulated:
            return "Emulated machines: compare systems with each other, not with hardware."
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


@dataclass(frozen=True)
class Picture:
    """A figure with the stem of its files and what is said to those who cannot see it."""

    name: str
    title: str
    description: str
    figure: Figure


def environment(data: object) -> Environment:
    """Environment from what the workflow says about it; ConfigError names the key that is wrong.

    Needed are `environment` (its id), `systems` (a list of objects with `system` and `hypervisor`),
    `link`, `host` and `client`; `description`, `guest` and `workloads` (names) are shown if there.
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
    return Environment(
        id=str(id),
        description=" ".join(str(data.get("description") or "").split()),
        hypervisors=hypervisors,
        workloads=tuple(map(str, data.get("workloads") or ())),
        link=data["link"],
        host=data["host"],
        client=data["client"],
        guest=data.get("guest") or {},
    )


def emulated_note(environments: Sequence[Environment]) -> str:
    """What the title of a figure of these environments ends with if some of them are emulated."""
    emulated = [environment.id for environment in environments if environment.emulated]
    if not emulated:
        return ""
    if len(emulated) == len(environments):
        return " (emulated machines)"
    return f" ({', '.join(emulated)}: emulated machines)"


def environment_notes(environments: Sequence[Environment]) -> list[str]:
    """What the environments' names stand for, and what must be known before their numbers are used."""
    caveats = dict.fromkeys(environment.caveat for environment in environments)
    return [
        *(f"{environment.title}." for environment in environments),
        *(caveat for caveat in caveats if caveat),
    ]


def limit_note(environments: Sequence[Environment]) -> str:
    """How the TCP limit comes from the link's rate."""
    mtus = sorted({int(environment.link["mtu"]) for environment in environments})
    return (
        "TCP limit: link rate × (MTU − 52) / (MTU + 38), with MTU "
        f"{' or '.join(map(str, mtus))}. 52 bytes of each packet are IPv4 and TCP headers with "
        "timestamps, 38 bytes are Ethernet's framing around it."
    )


def alike_links(environments: Sequence[Environment]) -> list[list[Environment]]:
    """Environments by their links, in the order of the first of each."""
    links: dict[tuple[float, float], list[Environment]] = {}
    for environment in environments:
        links.setdefault((environment.link_bps, environment.tcp_limit_bps), []).append(environment)
    return list(links.values())


def systems_shown(
    environments: Sequence[Environment], measurements: Sequence[Repetition | CellStatistics]
) -> dict[str, str]:
    """Systems and their hypervisors: in the configuration's order, then those only measured."""
    measured = {each.system: each.hypervisor for each in measurements}
    shown: dict[str, str] = {}
    for environment in environments:
        shown |= environment.hypervisors
    return shown | {name: measured[name] for name in sorted(measured.keys() - shown)}


def workloads_shown(environments: Sequence[Environment], repetitions: Sequence[Repetition]) -> list[str]:
    """Workloads: in the configuration's order, then those only measured."""
    configured = [name for environment in environments for name in environment.workloads]
    measured = sorted({point.workload for point in repetitions})
    return list(dict.fromkeys([*configured, *measured]))


def parsed_json(text: str, option: str) -> object:
    """Value of an option that is JSON; ConfigError names the option if it is not."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{option}: not JSON: {error}") from error


def replace_files(folder: Path, stems: Sequence[str], files: Mapping[str, bytes]) -> None:
    """Write files to a folder and remove older figures of these stems, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        for suffix in (".svg", ".png"):
            for old in folder.glob(stem + suffix):
                old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
