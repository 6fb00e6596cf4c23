"""Tools of round trips (ping, irtt, loaded-latency): recorded and damaged output, and real runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hvcost.errors import ParseError
from hvcost.model.metric import ROUND_TRIP, ROUND_TRIP_P90, ROUND_TRIP_P99, ROUND_TRIP_P999, Value
from hvcost.model.process import Bound, course_of
from hvcost.model.record import End
from hvcost.tools import load_tool, options_of
from hvcost.tools.round_trips import MEDIAN, check_answered, loss, percentile, percentiles
from hvcost.tools.verdict import values
from hypothesis import given
from hypothesis import strategies as st
from workspace import BESIDE, ROOT, Workspace

ADDRESS = "198.18.1.3"
METRICS = (ROUND_TRIP, ROUND_TRIP_P90, ROUND_TRIP_P99, ROUND_TRIP_P999)
# One folder per run: ROLE.stdout.txt, ROLE.stderr.txt unless that was empty, and expected.json, which says
# where the run comes from, its options, the exit codes by role, and what is to be read from it.
TOOLS = ("ping", "irtt", "loaded-latency")
CASES = [
    (tool, path.parent)
    for tool in TOOLS
    for path in sorted(Path(__file__).parent.glob(f"data/{tool}/*/expected.json"))
]


def expected(case: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((case / "expected.json").read_text())
    return found


def outputs(case: Path) -> dict[str, End]:
    def said(role: str, stream: str) -> str:
        file = case / f"{role}.{stream}.txt"
        return file.read_text() if file.exists() else ""

    return {
        role: End("lab", (), code, said(role, "stdout"), said(role, "stderr"), None)
        for role, code in expected(case)["exit_codes"].items()
    }


def read(tool: str, case: Path, ends: Mapping[str, End]) -> dict[str, Any]:
    options = load_tool(tool).Options(**expected(case)["options"])
    found = load_tool(tool).read(options, ends)
    return {name: one if isinstance(one, str) else [one.value, one.resolution] for name, one in found.items()}


@pytest.mark.parametrize(("tool", "case"), CASES, ids=lambda one: getattr(one, "name", one))
def test_recorded_output(tool: str, case: Path) -> None:
    want = expected(case)
    if "reason" in want:
        with pytest.raises(ParseError) as caught:
            read(tool, case, outputs(case))
        assert str(caught.value).startswith(want["reason"])
    else:
        found = read(tool, case, outputs(case))
        assert found.keys() == want["values"].keys()
        for name, value in want["values"].items():
            assert found[name] == (value if isinstance(value, str) else pytest.approx(value))


@pytest.mark.parametrize("tool", TOOLS)
def test_recordings_are_of_both_releases_good_and_broken(tool: str) -> None:
    of_tool = [(expected(case), case.name) for name, case in CASES if name == tool]
    for release in ("Debian 12", "Debian 13"):
        kinds = {"values" in want for want, _ in of_tool if release in want["source"]}
        assert kinds == {True, False}
    if tool != "ping":
        assert {"d12-with-d13", "d13-with-d12"} <= {name for _, name in of_tool}


GOOD = [(tool, case) for tool, case in CASES if "values" in expected(case)]


@given(st.data())
def test_a_text_that_was_cut_gives_no_other_number(data: st.DataObject) -> None:
    tool, case = data.draw(st.sampled_from(GOOD))
    ends = outputs(case)
    role = data.draw(st.sampled_from(sorted(ends)))
    length = data.draw(st.integers(0, len(ends[role].stdout) - 1))
    ends[role] = replace(ends[role], stdout=ends[role].stdout[:length])
    check_same_or_none(tool, case, ends)


def check_same_or_none(tool: str, case: Path, ends: Mapping[str, End]) -> None:
    """Damaged output gives no figures, or, if what is damaged is no part of them, the same."""
    try:
        found = read(tool, case, ends)
    except ParseError:
        return
    assert found == read(tool, case, outputs(case))


@given(st.data())
def test_a_line_too_much_or_too_little_gives_no_other_number(data: st.DataObject) -> None:
    tool, case = data.draw(st.sampled_from(GOOD))
    ends = outputs(case)
    role = data.draw(st.sampled_from(sorted(ends)))
    lines = ends[role].stdout.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    lines[at : at + 1] = data.draw(st.sampled_from([[], [lines[at], lines[at]]]))
    ends[role] = replace(ends[role], stdout="".join(lines))
    check_same_or_none(tool, case, ends)


@given(st.data())
def test_another_character_gives_no_number_that_is_far_off(data: st.DataObject) -> None:
    """A digit that changes a round trip within the rounding of the summary cannot be seen."""
    tool, case = data.draw(st.sampled_from([one for one in GOOD if one[0] == "ping"]))
    ends = outputs(case)
    text = ends["client"].stdout
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("0123456789 .-x\n"))
    ends["client"] = replace(ends["client"], stdout=text[:at] + other + text[at + 1 :])
    try:
        found = read(tool, case, ends)
    except ParseError:
        return
    before = read(tool, case, outputs(case))
    assert found["loss"] == before["loss"]
    # The mean of all has to stay what the summary says it is.
    count = before["transactions"][0]
    assert abs(found["round_trip"][0] - before["round_trip"][0]) <= 0.002 * count + 0.002


def ping_said(times: Mapping[int, str], sent: int) -> str:
    """What ping prints if these probes were answered after these times in ms."""
    lines = [
        f"[1795537178.{number:06d}] 64 bytes from {ADDRESS}: icmp_seq={number} ttl=64 time={time} ms\n"
        for number, time in times.items()
    ]
    exact = [float(time) for time in times.values()]
    share = 100 * (sent - len(times)) / sent
    return (
        f"PING {ADDRESS} ({ADDRESS}) 56(84) bytes of data.\n{''.join(lines)}\n"
        f"--- {ADDRESS} ping statistics ---\n"
        f"{sent} packets transmitted, {len(times)} received, {share:g}% packet loss, time 9990ms\n"
        f"rtt min/avg/max/mdev = {min(exact):.3f}/{sum(exact) / len(exact):.3f}/{max(exact):.3f}/0.100 ms\n"
    )


def ping(text: str, count: int, stderr: str = "", exit_code: int = 0) -> Mapping[str, Value | str]:
    end = End("lab client", (), exit_code, text, stderr, 10.0)
    return load_tool("ping").read(load_tool("ping").Options(count=count), {"client": end})


def test_lost_probes_are_told_as_loss_beside_the_round_trips_of_the_others() -> None:
    times = {number: f"{number / 1000:.3f}" for number in range(1, 1001) if number % 10}
    found = ping(ping_said(times, 1000), 1000)
    assert found["loss"] == Value(10.0, 0.1)
    assert found["transactions"] == Value(900.0)
    assert found["round_trip"] == Value(0.499, 0.001)
    assert found["round_trip_p99"] == "fewer than 1,000 round trips, so no 99th percentile"


def test_a_round_trip_has_the_resolution_of_its_own_digits() -> None:
    assert ping(ping_said({1: "0.043", 2: "12.3", 3: "104"}, 3), 3)["round_trip"] == Value(12.3, 0.1)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("time=0.043 ms", "time=0.043 ms (DUP!)", "client: ping says: .*DUP"),
        ("time=0.043", "time=nan", "client: ping says"),
        ("time=0.043", "time=-0.043", "client: ping says"),
        ("time=0.043", "time=0.053", "times do not agree"),
        ("icmp_seq=2", "icmp_seq=1", "not those to 3 probes"),
        ("icmp_seq=2", "icmp_seq=4", "not those to 3 probes"),
        ("icmp_seq=2", "icmp_seq=0", "not those to 3 probes"),
        (f"from {ADDRESS}: icmp_seq=2", "from 198.18.1.9: icmp_seq=2", "another probe"),
        ("64 bytes from", "48 bytes from", "another probe"),
        ("3 received", "3 received, +1 duplicates", "client: ping says"),
        ("3 received", "2 received", "do not agree"),
        (" 0% packet loss", " 1% packet loss", "do not agree"),
        ("3 packets transmitted, 3 received", "4 packets transmitted, 3 received", "do not agree"),
        ("56(84)", "1000(1028)", "not of 56 bytes"),
    ],
)
def test_what_ping_does_not_say_in_a_good_run_spoils_it(old: str, new: str, reason: str) -> None:
    text = ping_said({1: "0.031", 2: "0.043", 3: "0.037"}, 3)
    assert old in text
    with pytest.raises(ParseError, match=reason):
        ping(text.replace(old, new, 1), 3)


def test_trouble_on_standard_error_spoils_the_run_unless_another_program_has_it() -> None:
    text = ping_said({1: "0.031"}, 1)
    with pytest.raises(ParseError, match="client: ping reports trouble: ping: sendmsg: No buffer space"):
        ping(text, 1, "ping: sendmsg: No buffer space available\n")
    with pytest.raises(ParseError, match="WARNING"):
        ping(text, 1, "WARNING: pinging broadcast address\n")
    assert ping(text, 1, "sudo: unable to resolve host lab\n")["round_trip"] == Value(0.031, 0.001)


# --- percentiles


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300), st.sampled_from([MEDIAN, 900, 990, 999]))
def test_a_percentile_is_a_round_trip_that_so_many_are_not_longer_than(
    times: list[int], thousandths: int
) -> None:
    found = percentile([Value(float(time)) for time in times], thousandths).value
    assert found in times
    assert 1000 * sum(time <= found for time in times) >= thousandths * len(times)
    assert 1000 * sum(time < found for time in times) < thousandths * len(times)


@pytest.mark.parametrize(
    ("count", "missing"),
    [
        (10_000, []),
        (9_999, ["round_trip_p999"]),
        (1_000, ["round_trip_p999"]),
        (999, ["round_trip_p99", "round_trip_p999"]),
        (100, ["round_trip_p99", "round_trip_p999"]),
        (99, ["round_trip_p90", "round_trip_p99", "round_trip_p999"]),
        (1, ["round_trip_p90", "round_trip_p99", "round_trip_p999"]),
    ],
)
def test_a_percentile_needs_ten_round_trips_above_it(count: int, missing: list[str]) -> None:
    found = percentiles([Value(float(time)) for time in range(count)], METRICS)
    assert [name for name, value in found.items() if isinstance(value, str)] == missing


def test_a_loss_has_the_resolution_of_one_probe() -> None:
    assert loss(1000, 1000) == Value(0.0, 0.1)
    assert loss(200, 150) == Value(25.0, 0.5)


def test_silence_at_the_end_is_no_loss() -> None:
    check_answered("client", 1000, 900)
    check_answered("client", 20, 10)
    with pytest.raises(ParseError, match="client: nobody answered the last 101 of 1000 probes"):
        check_answered("client", 1000, 899)


# --- command lines


def test_ping_probes_as_it_is_told() -> None:
    options = options_of({"tool": "ping", "count": 20, "interval_ms": 2, "payload_bytes": 1000})
    (client,) = load_tool("ping").processes(options, ADDRESS)
    assert client.argv == ("ping", "-n", "-D", "-c", "20", "-i", "0.002", "-s", "1000", ADDRESS)


def test_irtt_has_its_server_at_the_address_alone() -> None:
    options = options_of({"tool": "irtt", "duration_s": 3, "interval_ms": 5, "length_bytes": 100})
    server, client = load_tool("irtt").processes(options, ADDRESS)
    assert (server.on, server.ready) == ("server", Bound(2112))
    assert server.argv == ("irtt", "server", "-b", f"{ADDRESS}:2112", "-i", "1ms")
    assert client.argv[:8] == ("irtt", "client", "-i", "5ms", "-d", "3s", "-l", "100")


def test_the_stream_begins_between_the_idle_probes_and_those_beside_it() -> None:
    tool = load_tool("loaded-latency")
    course = course_of(tool.processes(tool.Options(), ADDRESS))
    assert [server.role for server in course.servers] == ["server"]
    assert [(step.role, course.stays(step)) for step in course.steps] == [
        ("idle", False),
        ("client", True),
        ("loaded", False),
    ]


def test_the_increase_is_the_ratio_of_the_medians() -> None:
    (case,) = (case for tool, case in GOOD if (tool, case.name) == ("loaded-latency", "d13-good"))
    found = read("loaded-latency", case, outputs(case))
    ratio = found["loaded_round_trip"][0] / found["idle_round_trip"][0]
    assert found["latency_increase"][0] == pytest.approx(ratio)


# --- real runs


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """This computer, measured with all three."""
    workspace = Workspace(tmp_path_factory.mktemp("round-trips"), BESIDE)
    workspace.link_project()
    content = yaml.safe_load((ROOT / "config/local.yaml").read_text())
    content |= {
        "results": "results",
        "repetitions": 2,
        "systems": {"bare-metal": {"hypervisor": "bare-metal"}},
        "workloads": {
            "icmp": {"tool": "ping", "count": 120},
            "udp": {"tool": "irtt", "duration_s": 2},
            "loaded": {"tool": "loaded-latency", "count": 120, "idle_count": 20},
            "tcp": {"tool": "iperf", "duration_s": 1},
        },
        "environments": {"round-trips": content["environments"]["local"]},
    }
    (workspace.folder / "round-trips.yaml").write_text(yaml.safe_dump(content))
    workspace.run("all", "--configfile", "round-trips.yaml")
    return workspace


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_all_three_are_measured_on_this_computer(measured: Workspace) -> None:
    records = measured.records("round-trips", "bare-metal")
    assert [(one.status, one.reason) for one in records] == [("ok", None)] * 8
    assert measured.left_behind() == []
    for one in records:
        found = values(one)
        primary = load_tool(one.spec["workload"]["tool"]).metrics[0].name
        value = found[primary]
        assert isinstance(value, Value) and value.value > 0
        if one.workload == "loaded":
            assert set(one.outputs) == {"server", "idle", "client", "loaded"}
            assert one.outputs["client"].machine == "round-trips client"
            assert isinstance(found["throughput"], Value)
