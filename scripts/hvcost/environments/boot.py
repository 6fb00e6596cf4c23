"""What a real host is booted as: its own kernel, or Xen beneath it. Changed by GRUB, for one boot.

A host that loses power in between comes up as it always does: `grub-reboot` holds for the next boot only.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from hvcost.errors import HostKeyError, MachineError
from hvcost.hypervisors import BootMode
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline
from hvcost.machines.ssh import SshConnection

log = logging.getLogger(__name__)

SETTINGS = "/etc/default/grub.d/hvcost.cfg"
GRUB_CONFIGURATION = "/boot/grub/grub.cfg"
GRUB_ENVIRONMENT = "/boot/grub/grubenv"
REBOOT_TIMEOUT_S = 900.0
UPDATE_TIMEOUT_S = 300.0
DOM0_MIB = 4096
POLL_S = 2.0
ENTRY = re.compile(r"^\s*(?P<kind>menuentry|submenu)\s+'(?P<title>[^']*)'(?P<rest>.*)\{\s*$")
IDENTIFIER = re.compile(r"\$menuentry_id_option\s+'([^']+)'")

# Called for a new connection when the host may be up again; raises MachineError as long as it is not.
Connect = Callable[[], SshConnection]


def boot_mode(host: Connection) -> BootMode:
    """What the host is booted as now."""
    kind = host.run(["sh", "-c", "cat /sys/hypervisor/type 2>/dev/null || true"]).stdout.strip()
    return "xen" if kind == "xen" else "native"


def reboot(host: SshConnection, wanted: BootMode, connect: Connect) -> SshConnection:
    """Boot the host, which is in the other mode, in the wanted one; a new connection to it.

    MachineError if GRUB has no such entry, if the host is not heard from in time, or comes up in the wrong
    mode all the same.
    """
    if wanted == "xen":
        host.run(["grub-reboot", xen_entry(host.run(["cat", GRUB_CONFIGURATION]).stdout, host.name)])
    log.info("%s: it is rebooted to be %s", host.name, wanted)
    before = _boot_id(host)
    host.run(["systemctl", "reboot", "--no-block"])
    host.close()
    again = _wait(connect, before, Deadline(REBOOT_TIMEOUT_S, f"{host.name}: reboot to {wanted}"))
    if (found := boot_mode(again)) != wanted:
        again.close()
        raise MachineError(
            f"{again.name}: it was rebooted to be {wanted}, but it is {found}; look at what its boot menu "
            f"({GRUB_CONFIGURATION}) starts"
        )
    return again


def keep_default(host: Connection) -> list[str]:
    """Let GRUB start what it has started so far when Xen is installed, and give Xen a dom0 of fixed size.

    Debian's packages of Xen make it the default unless they are told not to. dom0 gets half of the memory and
    at most 4 GiB, the rest is for Xen and the guests. Says what was changed.
    """
    memory_kib = int(host.run(["sed", "-n", r"s/^MemTotal: *\([0-9]*\).*/\1/p", "/proc/meminfo"]).stdout)
    dom0_mib = min(memory_kib // 1024 // 2, DOM0_MIB)
    text = (
        "# Written by hvcost: the boot default stays what it is, dom0 has a fixed size.\n"
        "XEN_OVERRIDE_GRUB_DEFAULT=0\n"
        f'GRUB_CMDLINE_XEN="dom0_mem={dom0_mib}M,max:{dom0_mib}M"\n'
    )
    if host.run(["cat", SETTINGS], check=False).stdout == text:
        return []
    host.write_text(SETTINGS, text)
    return [f"wrote {SETTINGS}"]


def ensure_menu(host: Connection) -> list[str]:
    """Make GRUB's menu anew unless it is newer than our settings and has them; says what was changed."""
    script = '[ "$1" -nt "$2" ] && . "$2" && grep -qF -- "$GRUB_CMDLINE_XEN" "$1"'
    if host.succeeds(["sh", "-c", script, "menu", GRUB_CONFIGURATION, SETTINGS]):
        return []
    _update_menu(host)
    return [f"made {GRUB_CONFIGURATION} anew"]


def forget(host: Connection) -> None:
    """Make GRUB's menu anew after Xen is gone, and forget what was to be booted once."""
    _update_menu(host)
    host.run(["grub-editenv", GRUB_ENVIRONMENT, "unset", "next_entry"])


def xen_entry(configuration: str, machine: str) -> str:
    """GRUB's name of the first entry that starts Xen, as grub-reboot(8) takes it; MachineError if none does.

    `configuration` is grub.cfg as grub-mkconfig(8) writes it, where entries of Xen have the class `xen`.
    """
    path: list[tuple[int, str]] = []
    depth = 0
    for line in configuration.splitlines():
        found = ENTRY.match(line)
        if found:
            named = IDENTIFIER.search(found["rest"])
            name = named[1] if named else found["title"]
            if found["kind"] == "menuentry" and "--class xen" in found["rest"]:
                return ">".join([*(parent for _, parent in path), name])
            if found["kind"] == "submenu":
                path.append((depth, name))
        depth += line.count("{") - line.count("}")
        while path and depth <= path[-1][0]:
            path.pop()
    raise MachineError(
        f"{machine}: its boot menu ({GRUB_CONFIGURATION}) has no entry that starts Xen; "
        "install the package xen-system-amd64 there and run update-grub"
    )


def _update_menu(host: Connection) -> None:
    host.run(["update-grub"], timeout_s=UPDATE_TIMEOUT_S)


def _boot_id(host: Connection) -> str:
    return host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip()


def _wait(connect: Connect, before: str, deadline: Deadline) -> SshConnection:
    """Connection to the host once it has booted again: its boot id is another one then."""
    while True:
        try:
            connection = connect()
            try:
                if _boot_id(connection) != before:
                    log.info("%s: it is up again after %.0f s", connection.name, deadline.elapsed_s)
                    return connection
                seen = "it is still up as before"
            except BaseException:
                connection.close()
                raise
            connection.close()
        except HostKeyError:
            raise
        except MachineError as error:
            seen = str(error)
        deadline.check(seen)
        deadline.wait_a_little(POLL_S)
