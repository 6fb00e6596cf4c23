"""What is said of a client that may be too slow for its link, before anything is measured."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hvcost.environments.client_limits import (
    Carried,
    busy_shares,
    judge_buffers,
    judge_offloads,
    judge_transfer,
    packets_per_s,
)
from hvcost.environments.custody import custody
from hvcost.errors import ParseError
from hvcost.machines import locks
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection, end_group
from hvcost.model.link import tcp_limit_bps
from workspace import ROOT

# No figure matters here: that computer is measured by others meanwhile. The client's own lock is everybody's.
BESIDE_SESSIONS = (
    *("unshare", "--mount", "sh", "-c"),
    'lock=$(mktemp) && touch "$0" && mount --bind "$lock" "$0" && rm "$lock" && exec "$@"',
    str(locks.of_computer("hvcost.lock")),
)
LIMIT_BPS = tcp_limit_bps(10_000, 1500)
RMEM, WMEM = "4096\t131072\t6291456", "4096\t16384\t4194304"
ALL_ON = "rx-checksumming tcp-segmentation-offload generic-segmentation-offload generic-receive-offload"
# As proc(5) has it: user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice.
BEFORE = """cpu  300 0 300 900 0 0 0 0 0 0
cpu0 100 0 100 300 0 0 0 0 0 0
cpu1 200 0 200 600 0 0 0 0 50 0
cpu2 7 0 7 7 0 0 0 0 0 0
intr 5
"""
AFTER = """cpu  400 0 500 1100 0 0 0 0 0 0
cpu0 150 0 230 300 10 5 5 0 0 0
cpu1 220 0 210 760 0 0 10 0 60 0
cpu2 7 0 7 7 0 0 0 0 0 0
intr 9
"""


def test_processors_are_busy_while_they_are_not_idle() -> None:
    assert busy_shares(BEFORE, AFTER) == pytest.approx((0.95, 0.2, 0.0))


def test_a_processor_that_was_not_there_before_is_left_out() -> None:
    assert busy_shares(BEFORE.replace("cpu1", "cpu9"), AFTER) == pytest.approx((0.95, 0.0))


def test_a_machine_that_names_no_processor_is_refused() -> None:
    with pytest.raises(ParseError, match="names no processor"):
        busy_shares("cpu  1 2 3 4 5 6 7 8\n", AFTER)


def test_a_client_that_carries_more_than_its_link_works() -> None:
    found = judge_transfer("lab client", Carried(LIMIT_BPS, (1.0, 0.5)), LIMIT_BPS)
    assert found.kind == "works"
    assert "9.41 Gbit/s" in found.text


@pytest.mark.parametrize(
    ("busy", "why"),
    [
        ((0.98, 0.6, 0.1, 0.02), "its processor limits it: of its 4 processors 1.7 were busy, the busiest"),
        # One connection that the scheduler moves about.
        ((0.5, 0.4, 0.4, 0.4), "its processor limits it"),
        ((0.2, 0.1, 0.0, 0.0), "its processor is not why"),
    ],
)
def test_a_client_that_carries_less_than_its_link_would_measure_itself(
    busy: tuple[float, ...], why: str
) -> None:
    found = judge_transfer("lab client", Carried(6.1e9, busy), LIMIT_BPS)
    assert (found.kind, found.is_bad) == ("will limit", False)
    assert "even to itself, one TCP connection carries 6.1 Gbit/s of the 9.41 Gbit/s" in found.text
    assert why in found.text


@pytest.mark.parametrize("busy", [(0.99,), (0.99, 0.95)])
def test_nothing_is_concluded_where_the_other_end_took_the_processor(busy: tuple[float, ...]) -> None:
    found = judge_transfer("lab client", Carried(6.1e9, busy), LIMIT_BPS)
    assert (found.kind, found.is_bad) == ("not known", False)
    assert "may carry more" in found.text
    # However little the other end leaves, so little is not enough.
    assert judge_transfer("lab client", Carried(1e9, busy), LIMIT_BPS).kind == "will limit"


def test_offloads_that_are_off_are_told_with_the_packets_that_there_are() -> None:
    on = ALL_ON.replace("tcp-segmentation-offload ", "").replace(" generic-receive-offload", "")
    found = judge_offloads("lab client", "enp1s0", on, 10_000, 1500)
    assert (found.kind, found.is_bad) == ("will limit", False)
    assert "off are tso, gro" in found.text
    assert "812,744 packets" in found.text
    assert judge_offloads("lab client", "enp1s0", ALL_ON, 10_000, 1500).kind == "works"
    assert judge_offloads("lab client", "enp1s0", None, 10_000, 1500).kind == "not known"
    assert packets_per_s(10_000, 9000) == pytest.approx(138_305, rel=1e-4)


@pytest.mark.parametrize(
    ("rate_mbit", "round_trip_ms", "kind", "words"),
    [
        (10_000, None, "works", "up to a round trip of 2.52 ms"),
        (10_000, 2.5, "works", "it is 2.5 ms"),
        (10_000, 2.6, "will limit", "at most 9.68 Gbit/s"),
        (100_000, 0.3, "will limit", "at most 83.9 Gbit/s"),
    ],
)
def test_socket_buffers_are_compared_with_rate_times_round_trip(
    rate_mbit: int, round_trip_ms: float | None, kind: str, words: str
) -> None:
    found = judge_buffers("lab client", RMEM, WMEM, rate_mbit, round_trip_ms)
    assert found.kind == kind
    assert words in found.text


def test_the_send_buffer_is_compared_too() -> None:
    assert "of 0.839 ms" in judge_buffers("lab client", RMEM, "4096 16384 1048576", 10_000, None).text
    assert judge_buffers("lab client", RMEM, "", 10_000, None).kind == "not known"


def checked(machine: LocalConnection, rate_mbit: int, host: str = "provided") -> list[str]:
    """What is said of the client of an environment that is all in this namespace."""
    congestion = machine.run(["cat", "/proc/sys/net/ipv4/tcp_congestion_control"]).stdout.strip()
    spec = {
        "environment": "rack",
        "link": {
            "rate_mbit": rate_mbit,
            "mtu": 1500,
            "network": "127.0.0.0/8",
            "congestion_control": congestion,
        },
        # Nobody is there by SSH.
        "host": {"connection": host, "bare_metal": None, "address": "127.0.0.1", "interface": "lo"},
        "client": {"connection": "local", "interface": "lo"},
        "guests": {"box": {"address": "127.0.0.2", "start": "true"}},
        "hypervisors": ["provided"],
        "tools": ["iperf"],
    }
    program = [
        *BESIDE_SESSIONS,
        sys.executable,
        str(ROOT / "scripts/check_machines.py"),
        "--environments",
        json.dumps([spec]),
    ]
    packages = ["--packages", str(ROOT / "envs/host-packages.txt")]
    result = machine.run([*program, *packages], timeout_s=600, check=False)
    assert result.exit_code == (host == "ssh"), result.stderr
    return result.stdout.splitlines()


@pytest.mark.slow
def test_check_measures_the_client_against_itself_and_leaves_nothing(machine: LocalConnection) -> None:
    slow, fast = checked(machine, 1), checked(machine, 1_000_000)
    assert any("rack client: works: to itself, one TCP connection carries" in line for line in slow)
    assert not any("tso" in line for line in slow)
    assert any("rack client: works: lo: tso, gso, gro are on" in line for line in fast)
    assert any("its socket buffers fill the link up to a round trip of" in line for line in slow)
    # No machine carries 1 Tbit/s in one connection.
    assert any("rack client: will limit: even to itself" in line for line in fast)
    assert machine.run(["ss", "-Hltn"]).stdout == ""


@pytest.mark.slow
def test_a_client_whose_port_is_taken_is_no_reason_to_stop(machine: LocalConnection) -> None:
    server = machine.start(["iperf", "-s", "-B", "127.0.0.1"], stdout=subprocess.DEVNULL)
    try:
        deadline = Deadline(60, "start of the server")
        while not machine.run(["ss", "-Hltn", "sport = :5001"]).stdout:
            deadline.wait_a_little(0.1)
        said = checked(machine, 1)
        assert any("not known: what it carries to itself" in line and "5001" in line for line in said)
        assert server.poll() is None
    finally:
        end_group(server)


@pytest.mark.slow
def test_a_client_that_is_being_measured_with_is_left_alone(machine: LocalConnection) -> None:
    with custody(machine):
        said = checked(machine, 1, host="ssh")
    assert any("rack client: not known: what limits it" in line for line in said)
    assert not any("to itself" in line for line in said)
    assert any("rack client: works: to itself" in line for line in checked(machine, 1, host="ssh"))
