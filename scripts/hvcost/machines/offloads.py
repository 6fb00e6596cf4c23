"""Whether cards cut and join TCP's segments: on, off, or as it is.

With these offloads a card, or the kernel right before it, cuts what TCP hands over into packets, and joins
those that arrive: much of what a packet costs is then paid once for many, and small packets cost little more
than large ones. Machines that this computer plays are set; real ones are asked, and changed by nobody but
their owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hvcost.errors import MachineError
from hvcost.machines.base import Connection
from hvcost.model.link import Link
from hvcost.model.record import Facts
from hvcost.wording import listed

# What ethtool(8) calls them when it tells them, and when it sets them.
OFFLOADS = {
    "tcp-segmentation-offload": "tso",
    "generic-segmentation-offload": "gso",
    "generic-receive-offload": "gro",
}


def set_offloads(machine: Connection, interface: str, link: Link) -> list[str]:
    """Let an interface do as the link says; says what was changed."""
    if link.offloads is None:
        return []
    argv = set_argv(interface, OFFLOADS.values(), is_on=link.offloads)
    machine.run(argv)
    return [" ".join(argv)]


def set_argv(interface: str, features: Iterable[str], *, is_on: bool) -> list[str]:
    """Command line that sets features of an interface in one call: each is a word and its state."""
    state = "on" if is_on else "off"
    return ["ethtool", "-K", interface, *(word for name in features for word in (name, state))]


def check_offloads(facts: Mapping[str, Facts | None], link: Link) -> None:
    """MachineError unless all machines do as the link says, by their names and the facts of their cards.

    Off is none of them on. On is that it cuts, in the card or before it, and joins.
    """
    if link.offloads is None:
        return
    for machine, own in facts.items():
        if own is None:
            continue
        said = own.get("offloads_on")
        on = offloads_on(str(said or ""))
        is_whole = "gro" in on and bool({"tso", "gso"}.intersection(on))
        if said is not None and (is_whole if link.offloads else not on):
            continue
        found = "does not tell them: is ethtool there?" if said is None else f"has on {listed(on) or 'none'}"
        remedy = set_argv(str(own.get("interface", "")), OFFLOADS.values(), is_on=link.offloads)
        raise MachineError(
            f"{machine}: its measured card {found}, but link.offloads is {str(link.offloads).lower()}; "
            f"run `{' '.join(remedy)}` there"
        )


def offloads_on(said: str) -> list[str]:
    """Those that are on, in short, from the fact `offloads_on`."""
    return [short for name, short in OFFLOADS.items() if name in said.split()]
