"""Xen: the guest is a domain beside the host, dom0: paravirtualised as in the study, or by hardware."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from hvcost.connections.base import Connection
from hvcost.connections.console import ConsoleConnection
from hvcost.deadline import Deadline
from hvcost.errors import MachineError, ProofError
from hvcost.guest import system as guest_system
from hvcost.hosts import facts
from hvcost.hypervisors import (
    BootMode,
    GuestFiles,
    Hypervisor,
    RunningSystem,
    SystemPlan,
    expect_in_guest,
)

log = logging.getLogger(__name__)

DOMAIN = "hvcost-guest"
MAC = "00:16:3e:20:10:03"  # in the range that is Xen's
CREATE_TIMEOUT_S = 180.0
READY_TIMEOUT_S = 600.0
CONSOLES = {"pv": "hvc0", "pvh": "hvc0", "hvm": "ttyS0"}
# Where XenStore has the pseudo-terminal of the guest's console. (xl's own console wants a terminal itself.)
TERMINALS = {"pv": "console/tty", "pvh": "console/tty", "hvm": "serial/0/tty"}


@dataclass(frozen=True)
class Options:
    """`type` as in xl.cfg(5): `pv` is what the study ran, `pvh` and `hvm` need AMD-V or VT-x."""

    type: str = field(default="pv", metadata={"allowed": ("pv", "pvh", "hvm")})


class Driver(Hypervisor):
    """A domain made by `xl`; the host has to be booted under Xen."""

    Options = Options
    boot_mode: BootMode = "xen"
    ready_nested_s = 150.0  # dom0 takes longer to boot than the plain host
    packages = (
        "xen-hypervisor-4.20-amd64",
        "xen-utils-4.20",
        "xen-utils-common",
        "qemu-system-xen",
        "qemu-utils",
    )

    def prepare_files(self, host: Connection, files: GuestFiles) -> list[str]:
        """The disk as a raw file, which Xen's block back end serves without another program in between."""
        raw = _raw(files)
        if host.succeeds(["test", "-e", raw]):
            return []
        host.run(["qemu-img", "convert", "-O", "raw", files.disk, f"{raw}.partial"], timeout_s=600)
        host.run(["mv", f"{raw}.partial", raw])
        return [f"converted {raw}"]

    @contextmanager
    def started(self, host: Connection, plan: SystemPlan) -> Iterator[RunningSystem]:
        _destroy(host)
        file = f"{plan.runtime}/guest.cfg"
        text = self.configuration(plan)
        host.run(["sh", "-c", 'cat >"$1"', "configuration", file], stdin=text.encode())
        try:
            # Paused until its console has a listener.
            host.run(["xl", "create", "-p", file], timeout_s=CREATE_TIMEOUT_S)
            domain_id = host.run(["xl", "domid", DOMAIN]).stdout.strip()
            path = f"/local/domain/{domain_id}/{TERMINALS[self.options.type]}"
            terminal = host.run(["xenstore-read", path]).stdout.strip()
            stream = host.open_stream(["socat", "STDIO", f"OPEN:{terminal},rawer"])
            console = ConsoleConnection(plan.name, stream, host.journal)
            try:
                host.run(["xl", "unpause", DOMAIN])
                deadline = Deadline(READY_TIMEOUT_S, f"{plan.name}: boot of the guest")
                console.wait_until_ready(deadline)
                ready_after_s = round(deadline.elapsed_s, 1)
                log.info("%s: guest is ready after %.0f s", plan.name, ready_after_s)
                interface = guest_system.configure_network(console, plan.link)
                proof = {
                    "hypervisor": "xen",
                    "configuration": text,
                    "xl_info": parse_info(host.run(["xl", "info"]).stdout),
                    "xl_list": json.loads(host.run(["xl", "list", "-l", DOMAIN]).stdout),
                    "guest": dict(facts.collect(console, interface)),
                    "ready_after_s": ready_after_s,
                }
                self._check(host, proof)
                yield RunningSystem(console, str(plan.link.guest), interface, guest_system.RUNTIME, proof)
            finally:
                console.close()
        except MachineError as error:
            raise MachineError(f"{error}; Xen says: {_last_words(host)}") from error
        finally:
            _destroy(host)

    def configuration(self, plan: SystemPlan) -> str:
        """The domain's configuration (xl.cfg(5))."""
        assert plan.guest
        shape, files = plan.guest.shape, plan.guest.files
        settings: dict[str, Any] = {
            "name": DOMAIN,
            "type": self.options.type,
            "kernel": files.kernel,
            "ramdisk": files.initramfs,
            "extra": guest_system.kernel_arguments(CONSOLES[self.options.type]),
            "memory": shape.memory_mib,
            "vcpus": shape.cpus,
            # The guest mounts it read-only: every session begins with the same disk.
            "disk": [f"format=raw,vdev=xvda,access=ro,target={_raw(files)}"],
            "vif": [f"mac={MAC},bridge={plan.bridge}"],
            "on_poweroff": "destroy",
            "on_reboot": "destroy",
            "on_crash": "destroy",
        }
        if self.options.type == "hvm":
            settings |= {"serial": "pty", "vga": "none"}
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())

    def _check(self, host: Connection, proof: dict[str, Any]) -> None:
        """Raise ProofError unless Xen and the guest both say that it is a domain of the wanted type."""
        (domain,) = proof["xl_list"]
        seen = domain["config"]["c_info"]["type"]
        if seen != self.options.type:
            raise ProofError(f"{host.name}: Xen runs the guest as {seen!r}, not as {self.options.type!r}")
        expect_in_guest(host, proof, "hypervisor_type", "xen")
        expect_in_guest(host, proof, "driver", "vif")


def parse_info(text: str) -> dict[str, str]:
    """`xl info` as names and values."""
    return dict(re.findall(r"^(\w+)\s*: (.*?)\s*$", text, re.MULTILINE))


def _raw(files: GuestFiles) -> str:
    return str(PurePosixPath(files.disk).with_suffix(".raw"))


def _destroy(host: Connection) -> None:
    """Remove the domain, if it is there."""
    if host.succeeds(["xl", "domid", DOMAIN]):
        host.run(["xl", "destroy", DOMAIN], timeout_s=CREATE_TIMEOUT_S)


def _last_words(host: Connection) -> str:
    lines = host.run(["xl", "dmesg"], check=False).stdout.strip().splitlines()
    return " / ".join(lines[-5:])
