"""Whether a run's figures can be believed: each machine's clocks and network card, before and after it.

A tool times itself by the clock of the day, which somebody may set in the middle of a run. Linux has a clock
that cannot be set, the time since the boot (CLOCK_BOOTTIME, in /proc/uptime, proc(5)). Both are driven by the
same counter, so that their difference stays the same unless the clock of the day is stepped. Whether that
counter itself goes right, which in a guest depends on its hypervisor, shows against this computer's monotonic
clock. None of this depends on how fast a machine is: a slow one answers later, and the readings say when.

Beside that, the kernel of who sends says how often its TCP has sent something again.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hvcost.errors import ParseError
from hvcost.model.record import Reading, Witness

if TYPE_CHECKING:
    from hvcost.machines.shell import Shell

# /proc/uptime has hundredths of a second, cut off.
UPTIME_STEP_S = 0.01
# What a reading may leave open: a step of 0.2 s is then seen for certain.
CLOSEST_S = 0.05
# Clocks of one machine differ by nothing at all; this is for the last digits of what is printed.
SMALLEST_STEP_S = 0.001
# Two computers' quartzes differ by less, and so does a clock that NTP slews (adjtimex(2): 500 ppm).
RATE_TOLERANCE = 0.001
# A card's counters may be some seconds behind. A run that took another way leaves next to nothing there.
LEAST_CARRIED = 0.5

_CLOCKS = re.compile(r"^clocks ([0-9]+\.[0-9]+) ([0-9]+\.[0-9]+) ([0-9]+\.[0-9]+)$", re.MULTILINE)
_RESENT = re.compile(r"^Tcp: RetransSegs\nTcp: ([0-9]{1,20})$", re.MULTILINE)
_CARD = re.compile(r"^(rx_bytes|tx_bytes|speed|duplex) (\S+)$", re.MULTILINE)
_COUNT = re.compile("[0-9]{1,20}")


@dataclass(frozen=True)
class Clocks:
    """How much the clock of the day is ahead of the uptime, between two bounds, and the uptime; in s."""

    ahead_least_s: float
    ahead_most_s: float
    uptime_s: float

    @property
    def ahead_s(self) -> float:
        return (self.ahead_least_s + self.ahead_most_s) / 2

    @property
    def uncertainty_s(self) -> float:
        """How far the bounds are apart: how long the reading took, and a step of the uptime."""
        return self.ahead_most_s - self.ahead_least_s


@dataclass(frozen=True)
class Card:
    """A network card: bytes carried since its boot; speed in Mbit/s and duplex, if it tells them."""

    carried_bytes: int
    speed_mbit: int | None
    duplex: str | None


def ask(shell: Shell, interface: str) -> Reading:
    """A machine's clocks, what its TCP has sent again and one of its network cards, as they are now."""
    return _ask(shell, f"clocks; resent; card {shlex.quote(interface)}")


def ask_clocks(shell: Shell) -> Reading:
    """A machine's clocks alone, as they are now."""
    return _ask(shell, "clocks")


def ask_sender(shell: Shell) -> Reading:
    """A machine's clocks and what its TCP has sent again, as they are now.

    In a guest whose shell is BusyBox's the latter takes 2,000 system calls, half as long as starting a
    program: it is for guests that send.
    """
    return _ask(shell, "clocks; resent")


def _ask(shell: Shell, request: str) -> Reading:
    asked_s = time.monotonic()
    return heard(shell, shell.ask(request), asked_s)


def heard(shell: Shell, said: str, asked_s: float) -> Reading:
    """What a machine has just said when it was asked at `asked_s`."""
    return Reading(shell.name, said, round(asked_s, 3), round(time.monotonic(), 3))


def clocks(reading: Reading) -> Clocks:
    """The closest of a machine's readings of its clocks; ParseError if there is none that is close enough."""
    found = [tuple(map(float, match)) for match in _CLOCKS.findall(reading.said)]
    if not found:
        raise ParseError(f"{reading.machine}: its clocks were not read: {reading.said[-200:]!r}")
    every = [Clocks(first - up - UPTIME_STEP_S, last - up, up) for first, up, last in found]
    closest = min(every, key=lambda each: each.uncertainty_s)
    if not 0 <= closest.uncertainty_s <= CLOSEST_S + UPTIME_STEP_S:
        raise ParseError(
            f"{reading.machine}: its clocks could not be read together within {CLOSEST_S:g} s in "
            f"{len(found)} attempts, so a step would not be seen"
        )
    return closest


def card(reading: Reading) -> Card:
    """What a machine's network card said; ParseError if it did not count its bytes."""
    facts = dict(_CARD.findall(reading.said))
    counts = [facts.get(name, "") for name in ("rx_bytes", "tx_bytes")]
    if not all(map(_COUNT.fullmatch, counts)):
        raise ParseError(f"{reading.machine}: its network card does not count bytes: {counts}")
    speed, duplex = facts.get("speed", ""), facts.get("duplex")
    # Drivers say -1 or 4294967295 for a speed that they do not know (ethtool's SPEED_UNKNOWN).
    is_known = bool(_COUNT.fullmatch(speed)) and 0 < int(speed) < 2**31
    return Card(
        carried_bytes=sum(map(int, counts)),
        speed_mbit=int(speed) if is_known else None,
        duplex=None if duplex == "unknown" else duplex,
    )


def resent(witness: Witness) -> int:
    """How many segments the machine's TCP has sent again between both readings, of all its connections.

    RFC 4022, tcpRetransSegs. ParseError if it was not asked, or does not count them.
    """
    before, after = (_RESENT.search(reading.said) for reading in (witness.before, witness.after))
    if before is None or after is None:
        raise ParseError(f"{witness.before.machine}: its kernel was not read for what TCP sent again")
    if int(after[1]) < int(before[1]):
        raise ParseError(f"{witness.before.machine}: its kernel began anew to count what TCP sent again")
    return int(after[1]) - int(before[1])


def check_clocks(witness: Witness) -> None:
    """ParseError if the machine's clock was stepped between both readings, or does not go right."""
    before, after = clocks(witness.before), clocks(witness.after)
    # Between what it may have been before, and what it may be now, there has to be something in common.
    apart_s = max(after.ahead_least_s - before.ahead_most_s, before.ahead_least_s - after.ahead_most_s)
    machine = witness.before.machine
    if apart_s > SMALLEST_STEP_S:
        stepped_s = after.ahead_s - before.ahead_s
        direction = "forwards" if stepped_s > 0 else "backwards"
        raise ParseError(
            f"{machine}: its clock was stepped {direction} by {abs(stepped_s):.3g} s during the run, "
            "so the tool's times mean nothing"
        )
    least_s = witness.after.asked_s - witness.before.answered_s
    most_s = witness.after.answered_s - witness.before.asked_s
    passed_s = after.uptime_s - before.uptime_s
    slack_s = UPTIME_STEP_S + RATE_TOLERANCE * most_s
    if not least_s - slack_s <= passed_s <= most_s + slack_s:
        raise ParseError(
            f"{machine}: its clock went on by {passed_s:.2f} s while {least_s:.2f} to {most_s:.2f} s passed "
            "on this computer: it does not go right, so the tool's times mean nothing"
        )


def check_carried(witness: Witness, transferred_bytes: float) -> None:
    """ParseError if the machine's measured card did not carry the run: the traffic took another way."""
    carried = card(witness.after).carried_bytes - card(witness.before).carried_bytes
    if carried < LEAST_CARRIED * transferred_bytes:
        raise ParseError(
            f"{witness.before.machine}: the measured network card carried {carried} bytes during the run, "
            f"but {transferred_bytes:.0f} were transferred: the run took another way (key interface)"
        )


def check_wire(reading: Reading, rate_mbit: float) -> None:
    """ParseError if the machine's card has negotiated less than the link is said to carry."""
    found = card(reading)
    if found.speed_mbit is not None and found.speed_mbit < rate_mbit:
        raise ParseError(
            f"{reading.machine}: its network card runs at {found.speed_mbit} Mbit/s, but link.rate_mbit is "
            f"{rate_mbit:g}: look at cable and switch, or correct the key"
        )
    if found.duplex == "half":
        raise ParseError(
            f"{reading.machine}: its network card runs at half duplex, which carries less than "
            "link.rate_mbit says: look at cable and switch"
        )


def check_wires(witnesses: Mapping[str, Witness], rate_mbit: float) -> None:
    """`check_wire` of every card before and after a run."""
    for witness in witnesses.values():
        check_wire(witness.before, rate_mbit)
        check_wire(witness.after, rate_mbit)
