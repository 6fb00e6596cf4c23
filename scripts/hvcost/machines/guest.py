"""The running guest: how its kernel is started and its network set, the same under every hypervisor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hvcost.machines import facts
from hvcost.machines.base import Connection
from hvcost.machines.console import ConsoleConnection
from hvcost.machines.deadline import Deadline
from hvcost.machines.offloads import set_offloads
from hvcost.machines.shell import panic_of
from hvcost.machines.stream import Stream
from hvcost.model.link import Link
from hvcost.model.record import Facts

log = logging.getLogger(__name__)

INTERFACE = "eth0"
RUNTIME = "/run"


@dataclass(frozen=True)
class BootedGuest:
    """A guest that takes commands, and what it says about itself. `ready_after_s`: since its power-on."""

    console: ConsoleConnection
    facts: Facts
    ready_after_s: float


@contextmanager
def booted(
    name: str,
    stream: Stream,
    host: Connection,
    link: Link,
    timeout_s: float,
    power_on: Callable[[], object],
    check_alive: Callable[[], object] = lambda: None,
) -> Iterator[BootedGuest]:
    """The guest whose console is `stream`, from its power-on, with its network configured.

    The console has a listener before the guest says anything. The guest is as slow as its host. Raises
    DeadlineExceeded if it is not ready after `timeout_s` (times its slowness), and what `check_alive` raises,
    which is asked then and later whenever it is silent: not every hypervisor closes the console of a guest
    that has died.
    """
    console = ConsoleConnection(name, stream, host.journal, host.slowness, check_alive)
    try:
        deadline = Deadline(timeout_s * host.slowness, f"{name}: boot of the guest")
        power_on()
        console.console.wait_until_ready(deadline)
        ready_after_s = round(deadline.elapsed_s, 1)
        log.info("%s: guest is ready after %.0f s", name, ready_after_s)
        configure_network(console, link)
        yield BootedGuest(console, facts.collect(console, INTERFACE), ready_after_s)
    finally:
        console.close()


def end_of(host: Connection, *logs: str) -> str:
    """What a guest said last on consoles that are logged in files of its host, one after the other."""
    return host.run(["tail", "-q", "-c", "4000", *logs], check=False).stdout.strip() + "\n"


def check_panic(name: str, host: Connection, *logs: str) -> None:
    """KernelPanic if the end of such a log has one."""
    if panic := panic_of(name, end_of(host, *logs).encode()):
        raise panic


def configure_network(guest: Connection, link: Link) -> None:
    """Give the guest its address."""
    guest.run(["ip", "link", "set", INTERFACE, "mtu", str(link.mtu), "up"])
    guest.run(["ip", "address", "add", link.with_prefix(link.guest), "dev", INTERFACE])
    # What a guest offers by itself is part of what is measured; a link without it is without it to its end.
    if link.offloads is False:
        set_offloads(guest, INTERFACE, link)
