"""iperf in both directions at once: command lines, and what is read of recorded runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hvcost.errors import ParseError
from hvcost.model.metric import Value
from hvcost.model.record import End
from hvcost.tools.iperf import TOOL as ONE_WAY
from hvcost.tools.iperf import IperfOptions
from hvcost.tools.iperf_duplex import TOOL, IperfDuplexOptions

DATA = Path(__file__).parent / "data/iperf"
ONE_SECOND = IperfDuplexOptions(duration_s=1)
both_versions = pytest.mark.parametrize("version", ["2.1.8", "2.2.1"])


def ends_of(client: str, server: str = "") -> dict[str, End]:
    """Outputs of both ends of a recorded run; `server` if that is of another one."""

    def end(case: Path, role: str) -> End:
        said = json.loads((case / "expected.json").read_text())
        trouble = case / "stderr.txt"
        return End(
            machine=role,
            argv=tuple(said["argv"]),
            exit_code=said["exit_code"] if role == "client" else None,
            stdout=(case / "stdout.txt").read_text(),
            stderr=trouble.read_text() if trouble.exists() else "",
            duration_s=None,
        )

    return {
        role: end(DATA / f"{name}-{role}", role)
        for role, name in (("client", client), ("server", server or client))
    }


def value(found: object) -> float:
    assert isinstance(found, Value)
    return found.value


def test_the_client_asks_for_both_directions_of_the_same_server() -> None:
    server, client = TOOL.processes(IperfDuplexOptions(window="64K"), "198.18.1.3")
    assert client.argv == ("iperf", "-c", "198.18.1.3", "-e", "-t", "10", "--full-duplex", "-w", "64K")
    assert server.argv == ONE_WAY.processes(IperfOptions(), "198.18.1.3")[0].argv


@pytest.mark.parametrize(
    ("pair", "to_guest", "from_guest"),
    [
        ("2.1.8-duplex", 46.1e6, 45.6e6),
        ("2.2.1-duplex", 46.8e6, 45.8e6),
        ("2.1.8-with-2.2.1-duplex", 44.1e6, 35.9e6),
        ("2.2.1-with-2.1.8-duplex", 45.3e6, 45.1e6),
        ("2.1.8-duplex-slow-link", 4.76e6, 3.84e6),
        ("2.2.1-duplex-slow-link", 4.73e6, 4.32e6),
    ],
)
def test_what_arrived_at_both_ends(pair: str, to_guest: float, from_guest: float) -> None:
    """The senders say up to three times as much, since they do not wait for what is on its way."""
    found = TOOL.read(ONE_SECOND, ends_of(pair))
    assert set(found) == {metric.name for metric in (*TOOL.metrics, *TOOL.details)}
    assert value(found["throughput_to_guest"]) == to_guest
    assert value(found["throughput_from_guest"]) == from_guest
    # The sum over the longest time: no more than both, and no less than what the longer one leaves.
    assert 0.85 * (to_guest + from_guest) < value(found["duplex_throughput"]) < 1.01 * (to_guest + from_guest)
    assert value(found["duplex_throughput"]) == pytest.approx(
        8 * value(found["transferred"]) / value(found["duration"])
    )


def test_a_link_carries_its_rate_in_each_direction() -> None:
    both, to_guest, from_guest = (metric.limit({"rate_mbit": 100, "mtu": 1500}) for metric in TOOL.metrics)
    assert to_guest == from_guest == pytest.approx(94.1e6, rel=0.001)
    assert both == 2 * (to_guest or 0)


@both_versions
@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        ("duplex-refused", "client: iperf reports trouble: .*refused"),
        ("duplex-server-killed", "client: iperf reports trouble: .*reset by peer"),
        ("duplex-client-killed", "client: ended with exit code -9"),
        ("lossy", "client: the traffic was in one direction"),
    ],
)
def test_a_run_that_does_not_count(version: str, pair: str, reason: str) -> None:
    with pytest.raises(ParseError, match=f"^{reason}"):
        TOOL.read(ONE_SECOND, ends_of(f"{version}-{pair}", f"{version}-duplex"))


@both_versions
def test_a_shorter_run_than_was_ordered_does_not_count(version: str) -> None:
    with pytest.raises(ParseError, match=r"^client: the report is of 1\.0.* s instead of 10 s"):
        TOOL.read(IperfDuplexOptions(), ends_of(f"{version}-duplex"))


def test_ends_of_two_runs_do_not_count() -> None:
    with pytest.raises(ParseError, match=r"^server: its client was at port .* not of the same run"):
        TOOL.read(ONE_SECOND, ends_of("2.1.8-duplex", "2.2.1-duplex"))


@both_versions
@pytest.mark.parametrize("role", ["client", "server"])
def test_an_end_without_one_of_its_reports_says_nothing(version: str, role: str) -> None:
    outputs = ends_of(f"{version}-duplex")
    lines = outputs[role].stdout.splitlines(keepends=True)
    for report in [line for line in lines if " sec " in line and line[:3] in ("[  ", "[ *")]:
        left = "".join(line for line in lines if line != report)
        with pytest.raises(ParseError, match=f"^{role}: there is not one report of each direction"):
            TOOL.read(ONE_SECOND, outputs | {role: replace(outputs[role], stdout=left)})


@both_versions
def test_an_end_whose_directions_are_mixed_up_says_nothing(version: str) -> None:
    outputs = ends_of(f"{version}-duplex")
    mixed = outputs["client"].stdout.replace("[ *1]", "[  1]")
    with pytest.raises(ParseError, match=r"^client: there is not one report of each direction"):
        TOOL.read(ONE_SECOND, outputs | {"client": replace(outputs["client"], stdout=mixed)})
