"""Hypervisors: how a guest is started, proved to run under what the configuration says, and stopped.

Each file of this folder is one hypervisor, named as the configuration names it, with a class `Driver`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from hvcost.connections.base import Connection
from hvcost.errors import ConfigError, ProofError
from hvcost.guest.image import GuestShape
from hvcost.network import Link

FOLDER = Path(__file__).parent

# What the host has to be booted as: the plain kernel, or the kernel as dom0 of Xen.
BootMode = Literal["native", "xen"]


@dataclass(frozen=True)
class GuestFiles:
    """The guest's files on the host."""

    disk: str
    kernel: str
    initramfs: str


@dataclass(frozen=True)
class Guest:
    """A guest that is to be started: its virtual hardware and its files."""

    shape: GuestShape
    files: GuestFiles


@dataclass(frozen=True)
class SystemPlan:
    """What a driver has to start, and what it finds on the host.

    `guest` is None for a system without one. `runtime` is a folder on the host that only this session uses
    and that is removed afterwards.
    """

    name: str
    guest: Guest | None
    bridge: str
    link: Link
    runtime: str


@dataclass(frozen=True)
class RunningSystem:
    """A system that is up and proved: the server's machine and address, and a folder there to write to.

    `proof` holds the evidence, in the hypervisor's own words and in the guest's.
    """

    server: Connection
    address: str
    interface: str
    runtime: str
    proof: Mapping[str, Any]


class Hypervisor(ABC):
    """What a session needs of a hypervisor. `Options` is a frozen dataclass with a default for every field.

    A field's metadata may hold `allowed`, a tuple of values.
    """

    Options: ClassVar[type[Any]]
    boot_mode: BootMode = "native"
    # Debian packages that a host needs for it, beside those of envs/host-packages.txt.
    packages: ClassVar[tuple[str, ...]] = ()
    # For the plan: expected time until the guest is ready in an emulated machine, beyond that machine's own.
    ready_nested_s: ClassVar[float] = 100.0

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = self.check_options(options)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Any:
        """The options as `Options`; ConfigError that names the key and what is allowed."""
        known = {field.name: field for field in fields(cls.Options)}
        for key, value in options.items():
            if key not in known:
                allowed = ", ".join(known) or "none"
                raise ConfigError(f"{key}: unknown option; allowed: {allowed}")
            default = known[key].default
            if type(value) is not type(default):
                raise ConfigError(f"{key}: {value!r} is not allowed; allowed: {_kind(default)}")
            choice = known[key].metadata.get("allowed")
            if choice and value not in choice:
                raise ConfigError(f"{key}: {value!r} is not allowed; allowed: {', '.join(map(str, choice))}")
        return cls.Options(**options)

    def prepare(self, host: Connection) -> list[str]:
        """Make the host ready for this hypervisor until its next boot; says what was changed. Repeatable."""
        return []

    def prepare_files(self, host: Connection, files: GuestFiles) -> list[str]:
        """Make what this hypervisor needs of the guest's files beside them; says what. Repeatable."""
        return []

    @abstractmethod
    def started(self, host: Connection, plan: SystemPlan) -> AbstractContextManager[RunningSystem]:
        """The system, from start to stop.

        Guarantees: proved before it is handed out (ProofError otherwise); ready to run the server; nothing
        of it left on the host afterwards, however the block ends. Raises MachineError if it does not start.
        """


def expect_in_guest(host: Connection, proof: Mapping[str, Any], fact: str, value: str) -> None:
    """Raise ProofError unless the guest's own view, `guest` in the proof, has this value for a fact."""
    seen = proof["guest"].get(fact)
    if seen != value:
        raise ProofError(f"{host.name}: the guest sees {fact} {seen!r}, not {value!r}")


def names() -> list[str]:
    """Hypervisors as the configuration names them: one per file."""
    return sorted(path.stem.replace("_", "-") for path in FOLDER.glob("[a-z]*.py"))


def load_driver(name: str) -> type[Hypervisor]:
    """Driver class of a hypervisor by its name in the configuration; ConfigError for an unknown one."""
    module = name.replace("-", "_")
    if name not in names():
        raise ConfigError(f"hypervisor {name!r} is not allowed; allowed: {', '.join(names())}")
    driver: type[Hypervisor] = importlib.import_module(f"{__name__}.{module}").Driver
    return driver


def _kind(value: object) -> str:
    return {bool: "true or false", int: "an integer", str: "a text"}[type(value)]
