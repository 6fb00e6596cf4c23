"""Hypervisors: how a guest is started, proved to run under what the configuration says, and stopped.

Each file of this folder is one hypervisor, named as the configuration names it, with a class `Driver`.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from hvcost.errors import ConfigError, MachineError, ParseError, ProofError, shown
from hvcost.images.guest import GuestShape
from hvcost.machines import guest as guest_system
from hvcost.machines.base import Connection
from hvcost.machines.local import TICKS_PER_S
from hvcost.model.link import Link
from hvcost.model.options import checked

FOLDER = Path(__file__).parent
_PROCESSORS = re.compile(r"cpu +(?:[0-9]{1,18} ){9}[0-9]{1,18}")

# What the host has to be booted as: the plain kernel, or the kernel as dom0 of Xen.
BootMode = Literal["native", "xen"]
DiskFormat = Literal["raw", "vdi"]


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

    `guest` is None for a system without one of ours. `interface` is the measured one, a port of `bridge`,
    `host_address` the host's. `runtime` is a folder on the host that only this session uses and that is
    removed afterwards.
    """

    name: str
    guest: Guest | None
    bridge: str
    interface: str
    host_address: str
    link: Link
    runtime: str


@dataclass(frozen=True)
class RunningSystem:
    """A system that is up and proved: the server's machine and address, and a folder there to write to.

    `proof` holds the evidence, in the hypervisor's own words and in the guest's. `inner_address`: the one
    that it has itself, if the network translates; empty if that is `address`, by which the client knows it.
    """

    server: Connection
    address: str
    proof: Mapping[str, Any]
    runtime: str = guest_system.RUNTIME
    inner_address: str = ""


class Hypervisor(ABC):
    """What a session needs of a hypervisor. `Options` is a dataclass as `hvcost.model.options` has it."""

    Options: ClassVar[type[Any]]
    boot_mode: ClassVar[BootMode] = "native"
    # Whether the guest is made of our image.
    has_guest: ClassVar[bool] = True
    # Whether it is started on the host; otherwise its commands are run on this computer.
    needs_host: ClassVar[bool] = True
    # Whether the host has to be another machine than this computer, of which a session has namespaces only.
    needs_machine: ClassVar[bool] = False
    # Debian packages that a host needs for it, beside those of envs/host-packages.txt.
    packages: ClassVar[tuple[str, ...]] = ()
    # Those of them that an emulated host takes from Debian's suite sid, since its release has none that fit.
    sid_packages: ClassVar[tuple[str, ...]] = ()
    # How the program that runs a guest is called, so that bare metal can tell whether there are any.
    guest_program: ClassVar[str] = ""
    # By the fact's name, a shell command that prints its version on a host; nothing if it is not installed.
    versions: ClassVar[Mapping[str, str]] = {}
    # For the plan: expected time until the guest is ready in an emulated machine, beyond that machine's own.
    ready_nested_s: ClassVar[float] = 100.0

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = self.check_options(options)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> Any:
        """The options as `Options`; ConfigError that names the key and what is allowed."""
        return checked(cls.Options, options)

    def check_guest(self, cpus: int) -> None:  # noqa: B027
        """ConfigError, as of an option, if the options do not go with a guest of so many processors."""

    @classmethod
    def examine(cls, host: Connection) -> str:
        """What of a host it depends on, in words, empty if nothing; changes nothing.

        Raises MachineError if it cannot work on this machine.
        """
        return ""

    def prepare(self, host: Connection) -> list[str]:
        """Make the host ready for this hypervisor until its next boot; says what was changed. Repeatable."""
        return []

    def prepare_files(self, host: Connection, files: GuestFiles) -> list[str]:
        """Make what this hypervisor needs of the guest's files beside them; says what. Repeatable."""
        return []

    @abstractmethod
    def started(self, host: Connection, plan: SystemPlan) -> AbstractContextManager[RunningSystem]:
        """The system, from start to stop.

        Guarantees: what an earlier session left of it is removed first; proved before it is handed out;
        ready to run the server; nothing of it left on the host afterwards, however the block ends. Raises
        MachineError, with the hypervisor's own words, if it does not start, ProofError if it is another.
        """

    @abstractmethod
    def check_proof(self, machine: str, proof: Mapping[str, Any]) -> None:
        """Raise ProofError unless the evidence, the hypervisor's and the guest's, is that of this system."""

    # Shell command on the host that says what its processors have spent since its boot; empty if none can.
    cpu_time_command: ClassVar[str] = 'read -r line </proc/stat && echo "$line"'

    @staticmethod
    def cpu_time_s(said: str) -> dict[str, float]:
        """Processor time in s, by who spent it, from what that command says."""
        return processor_time_s(said)


def expect(machine: str, proof: Mapping[str, Any], path: str, wanted: object) -> None:
    """Raise ProofError unless the evidence at `path`, keys joined by dots, is `wanted`."""
    seen: Any = proof
    for key in path.split("."):
        seen = seen.get(key) if isinstance(seen, Mapping) else None
    if seen != wanted:
        raise ProofError(f"{machine}: the proof has {path} {seen!r}, not {wanted!r}")


def disk_as(files: GuestFiles, kind: DiskFormat) -> str:
    """Path of the guest's disk in another format, beside the original."""
    return str(PurePosixPath(files.disk).with_suffix(f".{kind}"))


def convert_disk(host: Connection, files: GuestFiles, kind: DiskFormat) -> list[str]:
    """Make the guest's disk in another format, the same content, unless it is there; says what."""
    disk = disk_as(files, kind)
    if host.succeeds(["test", "-e", disk]):
        return []
    host.run(["qemu-img", "convert", "-f", "qcow2", "-O", kind, files.disk, f"{disk}.partial"], timeout_s=600)
    host.run(["mv", f"{disk}.partial", disk])
    return [f"converted {disk}"]


def hardware_virtualisation(host: Connection, hypervisor: str) -> Literal["AMD-V", "VT-x"]:
    """What the host's processor offers; MachineError if it has neither."""
    flags = host.run(["sh", "-c", "grep -Eom1 'svm|vmx' /proc/cpuinfo || true"]).stdout.strip()
    if not flags:
        raise MachineError(
            f"{host.name}: {hypervisor} does not work on this machine: its processor shows neither AMD-V "
            "(svm) nor VT-x (vmx); enable it in the firmware, or leave this system out of the configuration"
        )
    return "AMD-V" if flags == "svm" else "VT-x"


def processor_time_s(stat: str) -> dict[str, float]:
    """Time in s that all processors spent, from /proc/stat (proc(5)): a guest's is no user's.

    ParseError if its first line is not that of all processors.
    """
    first = stat.partition("\n")[0].strip()
    if not _PROCESSORS.fullmatch(first):
        raise ParseError(f"not the first line of /proc/stat: {shown([first])}")
    user, nice, system, _idle, _iowait, irq, softirq, _steal, guest, guest_nice = (
        int(ticks) / TICKS_PER_S for ticks in first.split()[1:]
    )
    return {
        "user": round(user + nice - guest - guest_nice, 2),
        "system": system,
        "interrupts": round(irq + softirq, 2),
        "guests": round(guest + guest_nice, 2),
    }


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


def guest_programs() -> list[str]:
    """Programs that run guests, of all hypervisors."""
    programs = {load_driver(name).guest_program for name in names()}
    return sorted(filter(None, programs))


def versions() -> dict[str, str]:
    """Shell commands that print the versions of all hypervisors that a host may have, by the fact's name."""
    return {fact: command for name in names() for fact, command in load_driver(name).versions.items()}
