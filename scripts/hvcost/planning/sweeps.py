"""Sweeps of the configuration: entries with `sweep`, each expanded to plain ones, one for each value.

So everything that plans, measures and compares knows no sweeps. What was made of one entry is described by
`Sweep`s, for those who draw and judge curves.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hvcost import tools
from hvcost.errors import ConfigError
from hvcost.model.options import number, numeric
from hvcost.model.sweep import ENVIRONMENT, WORKLOAD, Kind, Sweep
from hvcost.wording import counted, listed

Spec = dict[str, Any]
KEY = "sweep"
# Options say their unit at the end of their names, the longer ones first.
UNITS = {
    "_mbit": "Mbit/s",
    "_kbit": "kbit/s",
    "_mib": "MiB",
    "_bytes": "byte",
    "_ms": "ms",
    "_us": "us",
    "_s": "s",
}
PER_SECOND = "_per_s"
TITLES = {
    "link.mtu": ("MTU", "byte"),
    "link.rate_mbit": ("link rate", "Mbit/s"),
    "guest.cpus": ("processors of the guest", ""),
    "guest.memory_mib": ("memory of the guest", "MiB"),
}
# What a sweep of an environment has a say in. The wire of a real machine has the rate that it has.
OF_HOST = {
    "emulated": tuple(TITLES),
    "local": tuple(TITLES),
    "ssh": tuple(key for key in TITLES if key != "link.rate_mbit"),
    "provided": (),
}


@dataclass(frozen=True)
class Expanded:
    """Entries of the configuration in which none has a sweep, what was made of sweeps, and what is wrong."""

    entries: Mapping[str, Spec]
    sweeps: tuple[Sweep, ...]
    complaints: tuple[str, ...]


def workloads(given: Mapping[str, Spec]) -> Expanded:
    """Workloads with all options of their tools, and complaints of those that are wrong."""
    return _expanded(
        given, WORKLOAD, _wrong_workload, lambda spec, values: tools.completed({**spec, **values})
    )


def environments(complete: Mapping[str, Spec], given: Mapping[str, Spec], guest: Spec) -> Expanded:
    """Environments, each with its own `guest`; `given` are those that were written, without defaults."""

    def wrong(name: str, spec: Spec) -> Iterator[str]:
        return _wrong_environment(spec, given[name])

    def made(spec: Spec, values: Mapping[str, Any]) -> Spec:
        place = copy.deepcopy(spec) | {"guest": dict(guest)}
        for key, value in values.items():
            section, _, option = key.partition(".")
            place[section][option] = value
        return place

    return _expanded(complete, ENVIRONMENT, wrong, made)


def as_text(sweeps: Iterable[Sweep]) -> str:
    """What is said of the sweeps before anything starts: how many workloads and environments they make."""
    lines = []
    for (kind, origin), group in itertools.groupby(sweeps, key=lambda sweep: (sweep.kind, sweep.origin)):
        curves = list(group)
        points = counted(sum(len(curve.names) for curve in curves), kind)
        along = f"over {curves[0].parameter}: {points}"
        lines.append(
            f"  sweep of {kind} {origin} {along}" + (f", {len(curves)} curves" if len(curves) > 1 else "")
        )
    return "\n".join(lines)


# A value as a number, and as it was written.
_Value = tuple[float, Any]


def _expanded(
    given: Mapping[str, Spec],
    kind: Kind,
    wrong: Callable[[str, Spec], Iterable[str]],
    made: Callable[[Spec, Mapping[str, Any]], Spec],
) -> Expanded:
    """`wrong` has complaints of an entry's sweep; `made` is the plain entry with values of what is swept."""
    entries: dict[str, Spec] = {}
    sweeps: list[Sweep] = []
    complaints: list[str] = []
    for origin, spec in given.items():
        place = f"{kind}s.{origin}"
        if found := [f"{place}.{complaint}" for complaint in wrong(origin, spec)]:
            complaints += found
            continue
        plain = {key: value for key, value in spec.items() if key != KEY}
        axes = {key: _values(values) for key, values in spec.get(KEY, {}).items()}
        for combination in itertools.product(*axes.values()):
            values = {key: raw for key, (_number, raw) in zip(axes, combination, strict=True)}
            name = _name(origin, values)
            if name in entries or (name != origin and name in given):
                complaints.append(f"{place}.{KEY}: makes a second {kind} {name}; allowed: names of their own")
            try:
                entries[name] = made(plain, values)
            except ConfigError as error:
                is_swept = str(error).partition(":")[0] in values
                complaints.append(f"{place}.{KEY}.{error}" if is_swept else f"{place}.{error}")
        sweeps += _curves(kind, origin, axes)
    return Expanded(entries, tuple(sweeps), tuple(complaints))


def _curves(kind: Kind, origin: str, axes: Mapping[str, Sequence[_Value]]) -> Iterator[Sweep]:
    """Curves along the first of the axes, one for each combination of the others' values."""
    if not axes:
        return
    (first, along), *others = axes.items()
    title, unit = _title(first)
    for combination in itertools.product(*(values for _key, values in others)):
        fixed = {key: value for (key, _values), value in zip(others, combination, strict=True)}
        written = {key: raw for key, (_number, raw) in fixed.items()}
        yield Sweep(
            kind=kind,
            origin=origin,
            name=_name(f"{origin}-{_slug(first)}", written),
            parameter=first,
            title=title,
            unit=unit,
            others=listed(f"{key} {raw}" for key, raw in written.items()),
            values=tuple(number for number, _raw in along),
            names=tuple(_name(origin, {first: raw, **written}) for _number, raw in along),
        )


def _values(written: Iterable[Any]) -> list[_Value]:
    """Values in rising order; what is no number is left out."""
    found = [(number(raw), raw) for raw in written]
    return sorted((value, raw) for value, raw in found if value is not None)


def _name(origin: str, values: Mapping[str, Any]) -> str:
    """Name of an entry with these values."""
    return "-".join([origin, *(_slug(part) for key, raw in values.items() for part in (key, raw))])


def _slug(part: object) -> str:
    """A key, without its section, or a value, as part of a name."""
    return re.sub("[^a-z0-9]+", "-", str(part).rpartition(".")[2].lower())


def _title(key: str) -> tuple[str, str]:
    """What people call a key of the configuration, and its unit as far as its name tells it."""
    if key in TITLES:
        return TITLES[key]
    if key.endswith(PER_SECOND):
        noun = key.removesuffix(PER_SECOND).replace("_", " ")
        return f"{noun} per second", f"{noun}/s"
    suffix = next((each for each in UNITS if key.endswith(each)), "")
    return key.removesuffix(suffix).replace("_", " "), UNITS.get(suffix, "")


def _wrong_workload(_name: str, spec: Spec) -> Iterator[str]:
    """Complaints of a workload's sweep; those of its options are the tool's."""
    try:
        allowed = numeric(tools.load_tool(spec["tool"]).Options)
    except ConfigError:
        return
    for key, values in spec.get(KEY, {}).items():
        if key not in allowed:
            yield f"{KEY}.{key}: not a numeric option of {spec['tool']}; allowed: {listed(allowed) or 'none'}"
            continue
        if key in spec:
            yield f"{key}: is swept as well; allowed: a value, or a sweep"
        yield from _wrong_values(key, values)


def _wrong_environment(spec: Spec, given: Spec) -> Iterator[str]:
    """Complaints of an environment's sweep; the schema has seen keys and values."""
    connection = spec["host"]["connection"]
    for key, values in spec.get(KEY, {}).items():
        if key not in OF_HOST[connection]:
            yield (
                f"{KEY}.{key}: cannot be set where the host's connection is {connection}; "
                f"allowed: {listed(OF_HOST[connection]) or 'no sweep'}"
            )
        section, _, option = key.partition(".")
        if option in given.get(section, {}):
            yield f"{key}: is swept as well; allowed: a value, or a sweep"
        yield from _wrong_values(key, values)


def _wrong_values(key: str, values: Sequence[Any]) -> Iterator[str]:
    seen: dict[float, Any] = {}
    for raw in values:
        value = number(raw)
        if value is None:
            yield f"{KEY}.{key}: {raw!r} is not allowed; allowed: numbers"
        elif value in seen:
            yield f"{KEY}.{key}: {raw!r} is {seen[value]!r} again; allowed: each value once"
        else:
            seen[value] = raw
