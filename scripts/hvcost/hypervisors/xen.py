"""Xen: the guest is a domain beside the host, dom0: paravirtualised as in the study, or by hardware."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from hvcost.errors import CommandError, MachineError, ParseError, shown
from hvcost.files import decoded
from hvcost.hypervisors import (
    BootMode,
    GuestFiles,
    Hypervisor,
    RunningSystem,
    SystemPlan,
    convert_disk,
    disk_as,
    expect,
)
from hvcost.images.guest import PARAVIRTUAL, SERIAL_PORT, kernel_arguments
from hvcost.machines import guest as guest_system
from hvcost.machines.base import Connection
from hvcost.machines.stream import Stream

log = logging.getLogger(__name__)

DOMAIN = "hvcost-guest"
MAC = "00:16:3e:20:10:03"  # in the range that is Xen's
# Debian's `xl` is a script of scripts that looks for this one. They take longer than it does.
XL_ITSELF = (
    "read -r major </sys/hypervisor/version/major; read -r minor </sys/hypervisor/version/minor; "
    '"/usr/lib/xen-$major.$minor/bin/xl"'
)
XL_LOG = f"/var/log/xen/xl-{DOMAIN}.log"
CREATE_TIMEOUT_S = 180.0
READY_TIMEOUT_S = 600.0
CREATE_TRIES = 3
CONSOLES = {"pv": PARAVIRTUAL, "pvh": PARAVIRTUAL, "hvm": SERIAL_PORT}
# The first four disks of an HVM guest are IDE disks as well, and those cannot be read-only.
DISKS = {"pv": "xvda", "pvh": "xvda", "hvm": "xvde"}
# Where XenStore has the pseudo-terminal of the guest's console. (xl's own console wants a terminal itself.)
TERMINALS = {"pv": "console/tty", "pvh": "console/tty", "hvm": "serial/0/tty"}

_DOMAINS = re.compile(r"Name +ID +Mem +VCPUs\s+State\s+Time\(s\)")
_DOMAIN = re.compile(r"(\S+) +[0-9]+ +[0-9]+ +[0-9]+ +\S+ +([0-9]{1,12}\.[0-9])", re.ASCII)


@dataclass(frozen=True)
class Options:
    """`type` as in xl.cfg(5): `pv` is what the study ran, `pvh` and `hvm` need AMD-V or VT-x."""

    type: str = field(default="pv", metadata={"allowed": ("pv", "pvh", "hvm")})


class Driver(Hypervisor):
    """A domain made by `xl`; the host has to be booted under Xen."""

    Options = Options
    boot_mode: ClassVar[BootMode] = "xen"
    needs_machine = True
    ready_nested_s = 45.0  # dom0 takes longer to boot than the plain host
    packages = ("xen-system-amd64", "qemu-system-xen", "qemu-utils")
    versions: ClassVar[Mapping[str, str]] = {
        "xen_version": "! cd /sys/hypervisor/version 2>/dev/null || "
        'echo "$(cat major).$(cat minor)$(cat extra)"'
    }
    # Those of Debian 13 want its Python, which VirtualBox's packages replace.
    sid_packages = ("xen-system-amd64",)

    def prepare_files(self, host: Connection, files: GuestFiles) -> list[str]:
        """The disk as a raw file, which Xen's block back end serves without another program in between."""
        return convert_disk(host, files, "raw")

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        _destroy(host)
        file = f"{plan.runtime}/guest.cfg"
        text = self.configuration(plan)
        host.write_text(file, text)
        try:
            # Paused until its console has a listener.
            _create(host, file)
            with guest_system.booted(
                plan.name,
                self._open_console(host),
                host,
                plan.link,
                READY_TIMEOUT_S,
                power_on=lambda: host.run(["xl", "unpause", DOMAIN]),
            ) as guest:
                proof = {
                    "hypervisor": "xen",
                    "configuration": text,
                    "xl_info": parse_info(host.run(["xl", "info"]).stdout),
                    "domain": parse_domain(host.run(["xl", "list", "-l", DOMAIN]).stdout),
                    "guest": dict(guest.facts),
                    "ready_after_s": guest.ready_after_s,
                }
                self.check_proof(host.name, proof)
                yield RunningSystem(guest.console, str(plan.link.guest), proof)
        except MachineError as error:
            raise MachineError(f"{error}; Xen says: {_last_words(host)}") from error
        finally:
            _destroy(host)

    def check_proof(self, machine: str, proof: Mapping[str, Any]) -> None:
        expect(machine, proof, "hypervisor", "xen")
        expect(machine, proof, "domain.config.c_info.type", self.options.type)
        expect(machine, proof, "guest.hypervisor_type", "xen")
        expect(machine, proof, "guest.driver", "vif")

    # Of all domains: dom0 sees no time but its own.
    cpu_time_command = f"{XL_ITSELF} list"

    @staticmethod
    def cpu_time_s(said: str) -> dict[str, float]:
        return parse_list(said)

    def configuration(self, plan: SystemPlan) -> str:
        """The domain's configuration (xl.cfg(5))."""
        assert plan.guest
        shape, files = plan.guest.shape, plan.guest.files
        settings: dict[str, Any] = {
            "name": DOMAIN,
            "type": self.options.type,
            "kernel": files.kernel,
            "ramdisk": files.initramfs,
            "extra": kernel_arguments(CONSOLES[self.options.type]),
            "memory": shape.memory_mib,
            "vcpus": shape.cpus,
            # The guest mounts it read-only: every session begins with the same disk.
            "disk": [f"format=raw,vdev={DISKS[self.options.type]},access=ro,target={disk_as(files, 'raw')}"],
            "vif": [f"mac={MAC},bridge={plan.bridge}"],
            "on_poweroff": "destroy",
            "on_reboot": "destroy",
            "on_crash": "destroy",
        }
        if self.options.type == "hvm":
            settings |= {"serial": "pty", "vga": "none"}
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())

    def _open_console(self, host: Connection) -> Stream:
        domain_id = host.run(["xl", "domid", DOMAIN]).stdout.strip()
        path = f"/local/domain/{domain_id}/{TERMINALS[self.options.type]}"
        terminal = host.run(["xenstore-read", path]).stdout.strip()
        return host.open_stream(["socat", "STDIO", f"OPEN:{terminal},rawer"])


def parse_list(text: str) -> dict[str, float]:
    """Processor time in s of each domain, from `xl list`; ParseError if the text is not whole."""
    head, *lines = [line.rstrip() for line in text.splitlines() if line.strip()] or [""]
    rows = [_DOMAIN.fullmatch(line) for line in lines]
    times = {row[1]: float(row[2]) for row in rows if row}
    if not _DOMAINS.fullmatch(head) or not lines or len(times) != len(lines):
        raise ParseError(f"not what `xl list` prints: {shown([text])}")
    return times


def parse_domain(text: str) -> dict[str, Any]:
    """The one domain of `xl list -l`; ParseError if the text does not say one."""
    try:
        found = decoded(text)
    except (RecursionError, ValueError) as error:
        raise ParseError(f"not what `xl list -l` prints: {error}") from error
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
        raise ParseError(f"`xl list -l` does not name one domain: {shown([text])}")
    return found[0]


def parse_info(text: str) -> dict[str, str]:
    """`xl info` as names and values."""
    return dict(re.findall(r"^(\w+)[^\S\n]*:[^\S\n]*(.*?)[^\S\n]*$", text, re.MULTILINE))


def _create(host: Connection, file: str) -> None:
    """Create the domain, paused.

    libxl gives the scripts that attach its devices 40 s on any machine (LIBXL_HOTPLUG_TIMEOUT), which a very
    slow one needs for itself. The next try finds them in memory.
    """
    for tries_left in reversed(range(CREATE_TRIES)):
        try:
            host.run(["xl", "create", "-p", file], timeout_s=CREATE_TIMEOUT_S)
            return
        except CommandError as error:
            if not tries_left or "unable to add" not in error.stderr:
                raise
            log.warning("%s; it is tried again", error)
            _destroy(host)


def _destroy(host: Connection) -> None:
    """Remove the domain, if it is there."""
    if host.succeeds(["xl", "domid", DOMAIN]):
        host.run(["xl", "destroy", DOMAIN], timeout_s=CREATE_TIMEOUT_S)


def _last_words(host: Connection) -> str:
    """What the hypervisor and the tool that watches the domain said last."""
    said = [
        *host.run(["xl", "dmesg"], check=False).stdout.strip().splitlines()[-5:],
        *host.run(["tail", "-n", "5", XL_LOG], check=False).stdout.strip().splitlines(),
    ]
    return " / ".join(said)
