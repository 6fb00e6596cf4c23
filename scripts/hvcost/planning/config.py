"""The experiment from its configuration, checked before anything starts.

The schema (config/schema.yaml) says what is allowed and fills in defaults; what it cannot say is
checked here. Every complaint names the key and the allowed values. The mappings that an
`Experiment` hands out hold only what matters to the program that gets them, because the workflow
repeats a job when its mapping changes.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hvcost.analysis.metrics import analysed, known
from hvcost.errors import ConfigError
from hvcost.hypervisors import load_driver
from hvcost.model.description import Claim, study_from
from hvcost.model.metric import DIFFERENCE, RATIO, no_limit
from hvcost.model.record import is_played
from hvcost.model.sweep import ENVIRONMENT, origins
from hvcost.planning import sweeps
from hvcost.planning.experiment import BARE_METAL, PROVIDED, Environment, Experiment, Spec, System
from hvcost.planning.schema import completed, raise_all
from hvcost.wording import listed

BENCHMARKING_NETWORK = ipaddress.IPv4Network("198.18.0.0/15")
# The client is .1, the host .2, the guest .3; a /29 is the smallest network that holds them.
LONGEST_PREFIX = 29
# Folders that experiments share, or that every experiment has.
RESERVED = ("figures", "guest", "host-image", "machines")


def read(path: Path, schema_path: Path) -> Experiment:
    """Experiment from a configuration file; ConfigError if there is anything wrong with it."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    return experiment(config, schema_path)


def experiment(config: Any, schema_path: Path) -> Experiment:
    """Experiment from a configuration as YAML gives it, which is left as it is."""
    complete = completed(config, schema_path)
    workloads = sweeps.workloads(complete["workloads"])
    places = sweeps.environments(complete["environments"], config["environments"], complete["guest"])
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
            spec["guest"],
        )
        for name, spec in places.entries.items()
    }
    result = Experiment(
        results=complete["results"],
        seed=complete["seed"],
        boots=complete["boots"],
        repetitions=complete["repetitions"],
        workloads=workloads.entries,
        guest=complete["guest"],
        systems=systems,
        environments=environments,
        equivalence_margin=float(complete["analysis"]["equivalence_margin"]),
        claims=tuple(
            _claim(name, spec, environments, workloads.entries) for name, spec in complete["claims"].items()
        ),
        study=study_from(complete["study"]),
        sweeps=(*workloads.sweeps, *places.sweeps),
    )
    raise_all(
        [
            *workloads.complaints,
            *places.complaints,
            *_wrong_folder(result),
            *_wrong_systems(result),
            *_wrong_environments(result),
            *_wrong_claims(result),
        ]
    )
    return result


def _wrong_folder(experiment: Experiment) -> Iterator[str]:
    name = experiment.results.rpartition("/")[2]
    if name in RESERVED:
        yield (
            f"results: {experiment.results!r} is not allowed: another folder has this name; "
            f"allowed: results, or a folder in it but for {listed(RESERVED)}"
        )


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
            f"systems: several have the hypervisor {BARE_METAL}: {listed(baselines)}; "
            "allowed: at most one, the baseline"
        )


def _wrong_environments(experiment: Experiment) -> Iterator[str]:
    networks: dict[str, ipaddress.IPv4Network] = {}
    # Those of a sweep are the same machines, take turns and share their addresses.
    origin = origins(experiment.sweeps, ENVIRONMENT)
    for name, environment in experiment.environments.items():
        key = f"environments.{name}"
        if name in RESERVED:
            yield f"{key}: a folder of the results has this name; allowed: any but {listed(RESERVED)}"
        for system in environment.systems:
            if system not in experiment.systems:
                yield (f"{key}.systems: there is no system {system!r}; allowed: {listed(experiment.systems)}")
        yield from _wrong_machines(key, environment)
        yield from _wrong_provided(key, environment, experiment)
        if environment.link.get("offloads") and is_played(environment.host):
            yield (
                f"{key}.link.offloads: true is not allowed on a link that this computer plays: its shaper "
                "counts whole frames; allowed: false, or leave it out"
            )
        yield from _wrong_guests(key, environment, experiment)
        try:
            network = _network(environment)
        except ValueError as error:
            yield f"{key}.link.network: {error}"
            continue
        if environment.is_provided:
            yield from _outside(key, environment, experiment, network)
            continue
        for other, taken in networks.items():
            if network.overlaps(taken) and not (name in origin and origin[name] == origin.get(other)):
                yield (
                    f"{key}.link.network: {network} overlaps with that of environment {other} "
                    f"({taken}); allowed: a network of its own for each environment"
                )
        networks[name] = network


def _wrong_machines(key: str, environment: Environment) -> Iterator[str]:
    host, client, guest = environment.host, environment.client, environment.guest
    if host["connection"] in ("ssh", "provided"):
        if client["connection"] == "local" and client["interface"] is None:
            yield (
                f"{key}.client.interface: this key is missing; "
                "allowed: the network interface of this computer that is wired to the host"
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


def _wrong_guests(key: str, environment: Environment, experiment: Experiment) -> Iterator[str]:
    """Systems that this environment's host cannot run, and options that do not go with its guest."""
    for name in environment.systems:
        try:
            system = experiment.systems[name]
            driver = load_driver(system.hypervisor)(system.options)
        except (KeyError, ConfigError):
            # What is wrong with the system itself is said elsewhere.
            continue
        if driver.needs_machine and environment.host["connection"] == "local":
            yield (
                f"{key}.systems: {name!r} ({system.hypervisor}) is not allowed on this computer itself "
                "(host.connection: local); allowed: on a host whose connection is emulated or ssh"
            )
        try:
            driver.check_guest(environment.guest["cpus"])
        except ConfigError as error:
            yield f"systems.{name}.options.{error}"


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


def _claim(name: str, spec: Spec, environments: Mapping[str, Environment], workloads: Iterable[str]) -> Claim:
    systems = {*spec["systems"], spec["against"]}
    everywhere = [place.name for place in environments.values() if systems.issubset(place.systems)]
    compared = DIFFERENCE if DIFFERENCE in spec else RATIO
    return Claim(
        name=name,
        text=spec["text"],
        systems=tuple(spec["systems"]),
        against=spec["against"],
        environments=tuple(spec["environments"] or everywhere) if spec["against"] else (),
        between=tuple(spec["between"] or ()),
        at_least=spec[compared].get("at_least"),
        at_most=spec[compared].get("at_most"),
        workloads=tuple(spec["workloads"] or workloads),
        metric=spec["metric"],
        compared=compared,
        published=spec["published"],
        analogue=spec["analogue"],
        link_limited=spec["link_limited"],
    )


def _wrong_claims(experiment: Experiment) -> Iterator[str]:
    for claim in experiment.claims:
        key = f"claims.{claim.name}"
        if bool(claim.against) == bool(claim.between):
            yield f"{key}: allowed: either `against` with a system, or `between` with two environments"
            continue
        if claim.against and not claim.environments:
            yield f"{key}: no environment measures all its systems; allowed: {_measured(experiment)}"
        yield from _wrong_measures(key, claim, experiment)
        low, high = claim.at_least, claim.at_most
        if low is not None and high is not None and low > high:
            place_of = f"{key}.{claim.compared}.at_least"
            yield f"{place_of}: {low} is not allowed; allowed: up to at_most, which is {high}"
        if claim.published is not None and not claim.allows(claim.published):
            yield f"{key}.published: {claim.published} is not allowed; allowed: in the range that is claimed"
        for environment, system in dict.fromkeys(itertools.chain.from_iterable(claim.pairs())):
            place = experiment.environments.get(environment)
            if place is None or system not in place.systems:
                yield (
                    f"{key}: {system!r} in {environment!r} is not measured; allowed: {_measured(experiment)}"
                )


def _wrong_measures(key: str, claim: Claim, experiment: Experiment) -> Iterator[str]:
    """Workloads that are not run, and a metric that they do not have, or that is not compared so."""
    for workload in claim.workloads:
        if workload not in experiment.workloads:
            yield (
                f"{key}.workloads: there is no workload {workload!r}; allowed: {listed(experiment.workloads)}"
            )
            continue
        allowed = analysed(experiment.workloads[workload]["tool"])
        if claim.metric is not None and claim.metric not in allowed:
            yield (
                f"{key}.metric: {claim.metric!r} is not measured by workload {workload}; "
                f"allowed: null (the primary metric), {listed(allowed)}"
            )
            continue
        metric = known()[claim.metric or allowed[0]]
        if claim.link_limited and metric.limit is no_limit:
            yield (
                f"{key}.link_limited: true is not allowed; "
                f"allowed: false of {metric.name!r}, which no link limits"
            )
        if metric.compared != claim.compared:
            yield (
                f"{key}.{claim.compared}: {metric.name!r} of workload {workload} is not compared so; "
                f"allowed: {metric.compared}"
            )


def _measured(experiment: Experiment) -> str:
    return "; ".join(f"in {place.name} {listed(place.systems)}" for place in experiment.environments.values())


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
