"""The experiment from its configuration, checked before anything starts.

The schema (config/schema.yaml) says what is allowed and fills in defaults; what it cannot say is
checked here. Every complaint names the key and the allowed values. The mappings that an
`Experiment` hands out hold only what matters to the program that gets them, because the workflow
repeats a job when its mapping changes.
"""

from __future__ import annotations

import copy
import ipaddress
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator, validators  # type: ignore[import-untyped]

from hvcost.description import Claim
from hvcost.errors import ConfigError
from hvcost.hypervisors import load_driver, names

BARE_METAL = "bare-metal"
PROVIDED = "provided"
THIS_COMPUTER = "this_computer"
BENCHMARKING_NETWORK = ipaddress.IPv4Network("198.18.0.0/15")
# The client is .1, the host .2, the guest .3; a /29 is the smallest network that holds them.
LONGEST_PREFIX = 29
KINDS = {
    "array": "a list",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "a text",
}
RESERVED_ENVIRONMENTS = ("figures", "guest", "host-image", "machines")

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
    """A whole configuration, checked and complete."""

    seed: int
    boots: int
    repetitions: int
    workloads: Mapping[str, Spec]
    guest: Spec
    systems: Mapping[str, System]
    environments: Mapping[str, Environment]
    equivalence_margin: float
    claims: tuple[Claim, ...]

    def environment(self, name: str) -> Environment:
        """Environment by name; ConfigError if there is none."""
        if name not in self.environments:
            raise ConfigError(f"there is no environment {name!r}; allowed: {_listed(self.environments)}")
        return self.environments[name]

    def system(self, environment: str, name: str) -> System:
        """System of an environment by name; ConfigError if it is not measured there."""
        allowed = self.environment(environment).systems
        if name not in allowed:
            raise ConfigError(
                f"there is no system {name!r} in environment {environment!r}; allowed: {_listed(allowed)}"
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
            "guest": self.guest if what.has_guest else None,
            "link": place.link,
            "host": _hardware(place.host),
            "client": _hardware(place.client),
        }

    def preparation_spec(self, environment: str) -> Spec:
        """What the preparation of a host needs: machines, link, hypervisors it must offer."""
        place = self.environment(environment)
        return {
            "environment": environment,
            "hypervisors": sorted({self.systems[name].hypervisor for name in place.systems}),
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
            "guest": self.guest,
            "link": place.link,
            "host": place.host,
            "client": place.client,
        }

    def description(self) -> Spec:
        """What the analysis as a whole has to know, as results/experiment.json holds it."""
        return {
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
        }


def read(path: Path, schema_path: Path) -> Experiment:
    """Experiment from a configuration file; ConfigError if there is anything wrong with it."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    return experiment(config, schema_path)


def experiment(config: Any, schema_path: Path) -> Experiment:
    """Experiment from a configuration as YAML gives it, which is left as it is."""
    complete = _complete(config, schema_path)
    systems = {
        name: System(name, spec["hypervisor"], spec["options"]) for name, spec in complete["systems"].items()
    }
    environments = {
        name: Environment(
            name,
            spec["description"],
            tuple(spec.get("systems", systems)),
            spec["link"],
            spec["host"],
            spec["client"],
        )
        for name, spec in complete["environments"].items()
    }
    result = Experiment(
        seed=complete["seed"],
        boots=complete["boots"],
        repetitions=complete["repetitions"],
        workloads=complete["workloads"],
        guest=complete["guest"],
        systems=systems,
        environments=environments,
        equivalence_margin=float(complete["analysis"]["equivalence_margin"]),
        claims=tuple(_claim(name, spec, environments) for name, spec in complete["claims"].items()),
    )
    _raise_all([*_wrong_systems(result), *_wrong_environments(result), *_wrong_claims(result)])
    return result


def as_json(spec: object) -> str:
    """Text of a specification, the same for the same content in whatever order its keys were written."""
    return json.dumps(spec, sort_keys=True, ensure_ascii=False)


@cache
def _schema(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def packages_of_hypervisors() -> Spec:
    """Debian packages that all hypervisors together need on a host, those of the suite sid apart."""
    drivers = [load_driver(name) for name in names()]
    sid = {package for driver in drivers for package in driver.sid_packages}
    release = {package for driver in drivers for package in driver.packages} - sid
    return {"packages": sorted(release), "sid_packages": sorted(sid)}


def _complete(config: Any, schema_path: Path) -> Any:
    schema = _schema(schema_path)
    complete = copy.deepcopy(config)
    validator = validators.extend(Draft202012Validator, {"properties": _properties_with_defaults})
    errors = sorted(validator(schema).iter_errors(complete), key=lambda error: error.json_path)
    _raise_all([_complaint(error, schema) for error in errors])
    return complete


def _properties_with_defaults(
    validator: Any, properties: Mapping[str, Any], instance: Any, schema: Any
) -> Iterator[Any]:
    if isinstance(instance, dict):
        for key, value in properties.items():
            if "default" in value:
                instance.setdefault(key, copy.deepcopy(value["default"]))
    yield from Draft202012Validator.VALIDATORS["properties"](validator, properties, instance, schema)


def _complaint(error: Any, root: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    key = path or "the configuration"
    prefix = f"{path}." if path else ""
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = [f"{prefix}{name}" for name in error.instance if name not in known]
        return f"{_listed(unknown)}: unknown key; allowed in {key}: {_listed(known)}"
    if error.validator == "required":
        missing = [name for name in error.validator_value if name not in error.instance]
        return "\n".join(
            f"{prefix}{name}: this key is missing; "
            f"allowed: {_allowed(error.schema['properties'][name], root)}"
            for name in missing
        )
    if "propertyNames" in error.absolute_schema_path:
        key = f"{key}: the name"
    return f"{key}: {error.instance!r} is not allowed; allowed: {_allowed(error.schema, root)}"


def _allowed(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """The allowed values of a key in words."""
    if "$ref" in schema:
        return _allowed(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "enum" in schema:
        return _listed(schema["enum"])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    text = " or ".join(KINDS[kind] for kind in kinds)
    if "minimum" in schema:
        text += f", {schema['minimum']}"
        text += f" to {schema['maximum']}" if "maximum" in schema else " or more"
    if "exclusiveMinimum" in schema:
        text += f", above {schema['exclusiveMinimum']}"
        text += f", up to {schema['maximum']}" if "maximum" in schema else ""
    if schema.get("minProperties") or schema.get("minItems"):
        text += " with at least one entry"
    if schema.get("uniqueItems"):
        text += ", none twice"
    if "properties" in schema:
        text += f" with the keys {_listed(schema['properties'])}"
    elif "string" in kinds and "description" in schema:
        text += f": {schema['description']}"
    return text


def _wrong_systems(experiment: Experiment) -> Iterator[str]:
    for name, system in experiment.systems.items():
        try:
            driver = load_driver(system.hypervisor)
        except ConfigError as error:
            yield f"systems.{name}.hypervisor: {error}"
            continue
        try:
            driver.check_options(system.options)
        except ConfigError as error:
            yield f"systems.{name}.options.{error}"
    baselines = [name for name, system in experiment.systems.items() if system.is_bare_metal]
    if len(baselines) > 1:
        yield (
            f"systems: {_listed(baselines)} all have the hypervisor {BARE_METAL}; "
            "allowed: at most one, the baseline"
        )


def _wrong_environments(experiment: Experiment) -> Iterator[str]:
    networks: dict[str, ipaddress.IPv4Network] = {}
    for name, environment in experiment.environments.items():
        key = f"environments.{name}"
        if name in RESERVED_ENVIRONMENTS:
            yield (
                f"{key}: this name is taken by a folder of results; "
                f"allowed: any but {_listed(RESERVED_ENVIRONMENTS)}"
            )
        for system in environment.systems:
            if system not in experiment.systems:
                yield (
                    f"{key}.systems: there is no system {system!r}; allowed: {_listed(experiment.systems)}"
                )
        yield from _wrong_machines(key, environment, experiment.guest)
        yield from _wrong_provided(key, environment, experiment)
        try:
            network = _network(environment)
        except ValueError as error:
            yield f"{key}.link.network: {error}"
            continue
        if environment.is_provided:
            yield from _outside(key, environment, experiment, network)
            continue
        for other, taken in networks.items():
            if network.overlaps(taken):
                yield (
                    f"{key}.link.network: {network} overlaps with that of environment {other} "
                    f"({taken}); allowed: a network of its own for each environment"
                )
        networks[name] = network


def _wrong_machines(key: str, environment: Environment, guest: Spec) -> Iterator[str]:
    host, client = environment.host, environment.client
    if host["connection"] in ("ssh", "provided"):
        if client["connection"] == "local" and client["interface"] is None:
            yield (
                f"{key}.client.interface: this key is missing; "
                "allowed: this computer's network interface that is wired to the host"
            )
        return
    if client["connection"] != "local":
        yield (
            f"{key}.client.connection: {client['connection']!r} is not allowed with a host whose "
            f"connection is {host['connection']}; allowed: local"
        )
    elif client["interface"] is not None:
        yield (
            f"{key}.client.interface: {client['interface']!r} is not allowed with a host whose "
            f"connection is {host['connection']}; allowed: null"
        )
    if environment.is_emulated and guest["memory_mib"] >= host["memory_mib"]:
        yield (
            f"guest.memory_mib: {guest['memory_mib']} is not allowed; allowed: less than "
            f"{key}.host.memory_mib, which is {host['memory_mib']}"
        )


def _wrong_provided(key: str, environment: Environment, experiment: Experiment) -> Iterator[str]:
    """Guests of somebody else, and hosts that are left alone, go with each other."""
    for name in environment.systems:
        hypervisor = experiment.systems[name].hypervisor if name in experiment.systems else None
        if environment.is_provided and hypervisor not in (None, PROVIDED, BARE_METAL):
            yield (
                f"{key}.systems: {name!r} ({hypervisor}) is not allowed on a host that is left alone; "
                f"allowed: systems with the hypervisor {PROVIDED} or {BARE_METAL}"
            )
        elif not environment.is_provided and hypervisor == PROVIDED:
            yield (
                f"{key}.systems: {name!r} ({hypervisor}) is not allowed on a host whose connection is "
                f"{environment.host['connection']}; allowed: on one with host.connection: provided"
            )
        elif environment.is_provided and hypervisor == BARE_METAL and not environment.host["bare_metal"]:
            yield (
                f"{key}.host.bare_metal: this key is missing, since {name!r} is measured there; allowed: a "
                "mapping with the keys address, ssh"
            )


def _outside(
    key: str, environment: Environment, experiment: Experiment, network: ipaddress.IPv4Network
) -> Iterator[str]:
    """Complaints of servers that are not on the measured link."""
    servers = {
        f"systems.{name}.options.address": experiment.systems[name].options.get("address")
        for name in environment.systems
        if name in experiment.systems and experiment.systems[name].hypervisor == PROVIDED
    }
    if environment.host["bare_metal"]:
        servers[f"{key}.host.bare_metal.address"] = environment.host["bare_metal"]["address"]
    for place, address in servers.items():
        try:
            is_inside = ipaddress.IPv4Address(address) in network
        except ValueError:
            is_inside = False
        if not is_inside:
            yield (
                f"{place}: {address!r} is not allowed; allowed: an address in {key}.link.network, "
                f"which is {network}"
            )


def _claim(name: str, spec: Spec, environments: Mapping[str, Environment]) -> Claim:
    compared = {*spec["systems"], spec["against"]}
    everywhere = [place.name for place in environments.values() if compared.issubset(place.systems)]
    return Claim(
        name=name,
        text=spec["text"],
        systems=tuple(spec["systems"]),
        against=spec["against"],
        environments=tuple(spec["environments"] or everywhere) if spec["against"] else (),
        between=tuple(spec["between"] or ()),
        at_least=spec["ratio"].get("at_least"),
        at_most=spec["ratio"].get("at_most"),
    )


def _wrong_claims(experiment: Experiment) -> Iterator[str]:
    for claim in experiment.claims:
        key = f"claims.{claim.name}"
        if bool(claim.against) == bool(claim.between):
            yield f"{key}: allowed: either `against` with a system, or `between` with two environments"
            continue
        if claim.against and not claim.environments:
            yield f"{key}: in no environment are all its systems measured; allowed: {_measured(experiment)}"
        low, high = claim.at_least or 0, claim.at_most or math.inf
        if low > high:
            yield f"{key}.ratio.at_least: {low} is not allowed; allowed: at most {high}, which is at_most"
        for environment, system in dict.fromkeys(itertools.chain.from_iterable(claim.pairs())):
            place = experiment.environments.get(environment)
            if place is None or system not in place.systems:
                yield (
                    f"{key}: {system!r} in {environment!r} is not measured; allowed: {_measured(experiment)}"
                )


def _measured(experiment: Experiment) -> str:
    return "; ".join(
        f"in {place.name} {_listed(place.systems)}" for place in experiment.environments.values()
    )


def _network(environment: Environment) -> ipaddress.IPv4Network:
    """The network of an environment's link; ValueError with the allowed values if it is unfit."""
    text = environment.link["network"]
    is_real = environment.host["connection"] in ("ssh", "provided")
    allowed = f"an IPv4 network of at most {LONGEST_PREFIX} bits"
    if not is_real:
        allowed += f" inside {BENCHMARKING_NETWORK}, such as 198.18.1.0/24"
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not allowed ({error}); allowed: {allowed}") from error
    is_inside = is_real or network.subnet_of(BENCHMARKING_NETWORK)
    if network.prefixlen > LONGEST_PREFIX or not is_inside:
        raise ValueError(f"{text!r} is not allowed; allowed: {allowed}")
    return network


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


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in names)


def _raise_all(complaints: list[str]) -> None:
    if complaints:
        raise ConfigError("\n".join(dict.fromkeys(complaints)))
