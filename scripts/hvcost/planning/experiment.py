"""The checked experiment: what each program of the workflow is told of it.

The mappings that an `Experiment` hands out hold only what matters to the program that gets them, because the
workflow repeats a job when its mapping changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hvcost.errors import ConfigError
from hvcost.hypervisors import load_driver, names
from hvcost.model.description import Claim, Study
from hvcost.model.sweep import WORKLOAD, Sweep
from hvcost.tools import autostart_files, packages_of, tool_names
from hvcost.wording import listed

BARE_METAL = "bare-metal"
PROVIDED = "provided"
THIS_COMPUTER = "this_computer"
Spec = dict[str, Any]


@dataclass(frozen=True)
class System:
    """What is measured: a hypervisor with its options."""

    name: str
    hypervisor: str
    options: Spec

    @property
    def is_bare_metal(self) -> bool:
        """Whether it is the baseline of every ratio."""
        return self.hypervisor == BARE_METAL

    @property
    def has_guest(self) -> bool:
        """Whether there is a guest at all; otherwise nothing of the guest matters."""
        return load_driver(self.hypervisor).has_guest


@dataclass(frozen=True)
class Environment:
    """Where it is measured: a host, a client and the link between them."""

    name: str
    description: str
    systems: tuple[str, ...]
    link: Spec
    host: Spec
    client: Spec
    guest: Spec

    @property
    def is_emulated(self) -> bool:
        """Whether this computer plays the host."""
        return bool(self.host["connection"] == "emulated")

    @property
    def is_provided(self) -> bool:
        """Whether the host is left alone, and its guests are somebody else's."""
        return bool(self.host["connection"] == "provided")

    @property
    def computers(self) -> tuple[str, ...]:
        """The computers that a session keeps busy, as names of Snakemake resources."""
        return tuple(sorted({_computer(self.host), _computer(self.client)}))


@dataclass(frozen=True)
class Experiment:
    """A whole configuration, checked and complete.

    `results`: the folder of what is measured and of all that is made of it, from the checkout.
    """

    results: str
    seed: int
    boots: int
    repetitions: int
    workloads: Mapping[str, Spec]
    guest: Spec
    systems: Mapping[str, System]
    environments: Mapping[str, Environment]
    equivalence_margin: float
    claims: tuple[Claim, ...]
    study: Study | None = None
    sweeps: tuple[Sweep, ...] = ()

    @property
    def tools(self) -> list[str]:
        """Names of the tools that the workloads need."""
        return sorted({workload["tool"] for workload in self.workloads.values()})

    def environment(self, name: str) -> Environment:
        """Environment by name; ConfigError if there is none."""
        if name not in self.environments:
            raise ConfigError(f"there is no environment {name!r}; allowed: {listed(self.environments)}")
        return self.environments[name]

    def system(self, environment: str, name: str) -> System:
        """System of an environment by name; ConfigError if it is not measured there."""
        allowed = self.environment(environment).systems
        if name not in allowed:
            raise ConfigError(
                f"there is no system {name!r} in environment {environment!r}; allowed: {listed(allowed)}"
            )
        return self.systems[name]

    def has_guest(self, environment: str) -> bool:
        """Whether a system of this environment has a guest of our image."""
        return any(self.systems[name].has_guest for name in self.environment(environment).systems)

    def session_spec(self, environment: str, system: str, boot: int) -> Spec:
        """What one session measures: no description, no order, no way to reach a machine.

        The network cards belong to it: another one is another link.
        """
        place = self.environment(environment)
        what = self.system(environment, system)
        if not 1 <= boot <= self.boots:
            raise ConfigError(f"there is no boot {boot}; allowed: 1 to {self.boots} (key `boots`)")
        return {
            "environment": environment,
            "system": system,
            "boot": boot,
            "hypervisor": what.hypervisor,
            "options": what.options,
            "workloads": dict(self.workloads),
            "repetitions": self.repetitions,
            "guest": place.guest if what.has_guest else None,
            "link": place.link,
            "host": _hardware(place.host),
            "client": _hardware(place.client),
        }

    def preparation_spec(self, environment: str) -> Spec:
        """What the preparation of a host needs: machines, link, hypervisors and tools it must offer."""
        place = self.environment(environment)
        return {
            "environment": environment,
            "hypervisors": sorted({self.systems[name].hypervisor for name in place.systems}),
            "tools": self.tools,
            "link": place.link,
            "host": _without_description(place.host),
            "client": _without_description(place.client),
        }

    def machines_spec(self, environment: str) -> Spec:
        """What there is to check: what a preparation needs, and how guests of somebody else are reached."""
        place = self.environment(environment)
        systems = [self.systems[name] for name in place.systems]
        guests = {system.name: system.options for system in systems if system.hypervisor == PROVIDED}
        return self.preparation_spec(environment) | {"guests": guests}

    def figure_spec(self, environment: str) -> Spec:
        """What figures say about an environment."""
        place = self.environment(environment)
        return {
            "environment": environment,
            "description": place.description,
            "systems": [
                {"system": name, "hypervisor": self.systems[name].hypervisor} for name in place.systems
            ],
            "workloads": list(self.workloads),
            "guest": place.guest,
            "link": place.link,
            "host": place.host,
            "client": place.client,
            "sweeps": [
                asdict(sweep) for sweep in self.sweeps if sweep.kind == WORKLOAD or environment in sweep.names
            ],
        }

    def study_spec(self) -> Spec | None:
        """What figures and report say of the study that is repeated."""
        return asdict(self.study) if self.study else None

    def description(self) -> Spec:
        """What the analysis as a whole has to know, as results/experiment.json holds it."""
        return {
            "results": self.results,
            "seed": self.seed,
            "boots": self.boots,
            "repetitions": self.repetitions,
            "workloads": dict(self.workloads),
            "guest": self.guest,
            "systems": {
                name: {"hypervisor": system.hypervisor, "options": system.options}
                for name, system in self.systems.items()
            },
            "environments": [self.figure_spec(name) for name in self.environments],
            "analysis": {"equivalence_margin": self.equivalence_margin},
            "claims": [asdict(claim) for claim in self.claims],
            "study": self.study_spec(),
        }


def as_json(spec: object) -> str:
    """Text of a specification, the same for the same content in whatever order its keys were written."""
    return json.dumps(spec, sort_keys=True, ensure_ascii=False)


def packages_of_guest_image() -> list[str]:
    """Debian packages that all tools need in the guest: all experiments share its image."""
    return packages_of(tool_names())


def packages_of_host_image() -> Spec:
    """Debian packages that all hypervisors and tools need on a host, those of the suite sid apart.

    `left_out`: files of them by which a server would start by itself.
    """
    drivers = [load_driver(name) for name in names()]
    sid = {package for driver in drivers for package in driver.sid_packages}
    release = {package for driver in drivers for package in driver.packages} - sid
    return {
        "packages": sorted(release.union(packages_of(tool_names()))),
        "sid_packages": sorted(sid),
        "left_out": autostart_files(),
    }


def _computer(machine: Spec) -> str:
    if machine["connection"] not in ("ssh", "provided"):
        return THIS_COMPUTER
    # Of a host that is left alone nothing is known, not even whether it is another one than the next.
    address = machine.get("address", "provided")
    return "computer_" + "".join(letter if letter.isalnum() else "_" for letter in address)


def _hardware(machine: Spec) -> Spec:
    keys = ("connection", "cpus", "memory_mib", "accelerator", "interface")
    return {key: machine[key] for key in keys if machine.get(key) is not None}


def _without_description(machine: Spec) -> Spec:
    return {key: value for key, value in machine.items() if key != "description"}
