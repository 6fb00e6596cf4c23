"""Clocks and network cards as witnesses of a run: what a real machine says, and what follows from it."""

from __future__ import annotations

from dataclasses import replace

import factories
import pytest
from hvcost.errors import ParseError
from hvcost.machines import witness
from hvcost.machines.local import LocalConnection
from hvcost.machines.shell import Shell
from hvcost.model.record import Reading, Witness
from hypothesis import given
from hypothesis import strategies as st

CARD = "card0"
# What is accepted, less what floating-point numbers of this size round off.
CLOSEST_S = witness.CLOSEST_S - 1e-6


@pytest.fixture
def machine(machine: LocalConnection) -> LocalConnection:
    """The namespace with a tap, whose speed can be set as that of a real card."""
    machine.run(["ip", "tuntap", "add", CARD, "mode", "tap"])
    return machine


def test_a_machine_whose_clock_nobody_touches_is_believed(shell: Shell) -> None:
    before = witness.ask(shell, CARD)
    witness.check_clocks(Witness(before, witness.ask(shell, CARD)))


@given(st.floats(0.2, 1e6), st.sampled_from([1, -1]), st.floats(0, CLOSEST_S))
def test_no_step_of_a_fifth_of_a_second_goes_unnoticed(size_s: float, sign: int, width_s: float) -> None:
    """However far apart its readings lie, as long as they are accepted."""
    before, after = (
        replace(one, said=f"clocks {real_s:.6f} {uptime_s:.2f} {real_s + width_s:.6f}\n")
        for one, real_s, uptime_s in (
            (factories.reading(), 2e6, 100.0),
            (factories.reading(asked_s=61.0), 2e6 + 11 + sign * size_s, 111.0),
        )
    )
    with pytest.raises(ParseError, match="its clock was stepped"):
        witness.check_clocks(Witness(before, after))


@given(st.floats(0, CLOSEST_S), st.floats(0, 0.0099), st.floats(0, 1), st.floats(0, 1))
def test_no_machine_is_accused_for_being_slow(
    width_s: float, cut_off_s: float, place: float, other_place: float
) -> None:
    """The same clocks, read slowly and at any moment between two ticks of what is printed."""
    said = []
    for uptime_s, at in ((100.0, place), (111.0, other_place)):
        real_s = 2e6 + uptime_s + cut_off_s - at * width_s
        said.append(f"clocks {real_s:.6f} {uptime_s:.2f} {real_s + width_s:.6f}\n")
    before = replace(factories.reading(took_s=5.0), said=said[0])
    after = replace(factories.reading(asked_s=57.0, took_s=9.0), said=said[1])
    witness.check_clocks(Witness(before, after))


def test_the_closest_of_several_readings_is_taken() -> None:
    said = "clocks 1000.5 10.00 1000.9\nclocks 1001.100000 10.60 1001.103000\n"
    found = witness.clocks(Reading("here", said, 0.0, 1.0))
    assert found.uptime_s == 10.6
    assert found.ahead_s == pytest.approx(990.4965)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("", "its clocks were not read: ''"),
        ("sh: bash: not found", "its clocks were not read: 'sh: bash: not found'"),
        ("clocks  100.00 ", "its clocks were not read"),
        ("clocks 1000.5 10.00 1000.9", "its clocks could not be read together within 0.05 s in 1 attempts"),
        ("clocks 1000.5 10.00 1000.4", "its clocks could not be read together"),
    ],
)
def test_clocks_that_say_nothing_are_no_witness(said: str, complaint: str) -> None:
    with pytest.raises(ParseError, match=f"^here: {complaint}"):
        witness.clocks(Reading("here", said, 0.0, 1.0))


def test_the_negotiated_speed_is_read_and_compared(machine: LocalConnection, shell: Shell) -> None:
    machine.run(["ethtool", "-s", CARD, "speed", "100", "duplex", "full", "autoneg", "off"])
    machine.run(["ip", "link", "set", CARD, "up"])
    slow = witness.ask(shell, CARD)
    assert (witness.card(slow).speed_mbit, witness.card(slow).duplex) == (100, "full")
    witness.check_wire(slow, 100)
    with pytest.raises(ParseError, match=r"^lab host: .* 100 Mbit/s, but link\.rate_mbit is 1000"):
        witness.check_wire(slow, 1000)
    machine.run(["ethtool", "-s", CARD, "speed", "1000", "duplex", "half", "autoneg", "off"])
    with pytest.raises(ParseError, match="half duplex"):
        witness.check_wire(witness.ask(shell, CARD), 1000)


def test_a_card_that_does_not_tell_its_speed_is_no_reason_to_complain(shell: Shell) -> None:
    said = witness.ask(shell, "lo")
    assert witness.card(said).speed_mbit is None
    witness.check_wire(said, 1000)


def test_an_interface_that_is_not_there_is_no_witness(shell: Shell) -> None:
    with pytest.raises(ParseError, match=r"lab host: its network card does not count bytes"):
        witness.card(witness.ask(shell, "eth9"))


def test_what_tcp_sends_again_is_counted_in_the_machine_s_own_network(
    machine: LocalConnection, shell: Shell
) -> None:
    """Nobody answers there, so that TCP asks for the connection again; nobody else is in this namespace."""
    before = witness.ask(shell, "lo")
    assert "Tcp: RetransSegs\nTcp: 0\n" in before.said
    machine.run(["ip", "link", "set", "lo", "up"])
    machine.run(["ip", "link", "set", CARD, "up"])
    machine.run(["ip", "address", "add", "198.18.0.1/24", "dev", CARD])
    machine.run(["ip", "neigh", "add", "198.18.0.2", "lladdr", "02:00:00:00:00:02", "dev", CARD])
    assert not machine.succeeds(["timeout", "2.5", "bash", "-c", "echo >/dev/tcp/198.18.0.2/9"])
    after = witness.ask_sender(shell)
    counted = machine.run(["cat", "/proc/net/snmp"]).stdout.splitlines()
    names, counts = (line.split() for line in counted if line.startswith("Tcp:"))
    again = int(dict(zip(names, counts, strict=True))["RetransSegs"])
    assert witness.resent(Witness(before, after)) == again > 0


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("clocks 1000.5 10.00 1000.9\n", "its kernel was not read"),
        ("Tcp: Other\nTcp: 4\n", "its kernel was not read"),
        ("Tcp: RetransSegs\nTcp: 2\n", "its kernel began anew"),
    ],
)
def test_a_count_that_is_none_is_refused(said: str, complaint: str) -> None:
    before = Reading("here", "Tcp: RetransSegs\nTcp: 3\n", 0.0, 1.0)
    with pytest.raises(ParseError, match=f"^here: {complaint}"):
        witness.resent(Witness(before, Reading("here", said, 2.0, 3.0)))
