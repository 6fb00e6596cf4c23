"""netperf and netperf-connect: command lines, and their parser on recorded output and on damaged output."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hvcost.errors import ParseError
from hvcost.model.metric import Value
from hvcost.model.process import Listening
from hvcost.model.record import End
from hvcost.tools import NoOutput, load_tool, omni, options_of
from hypothesis import given
from hypothesis import strategies as st

# One directory per capture of a client: stdout.txt, stderr.txt unless that was empty, and expected.json,
# which says where the capture comes from, what was ordered, and what is to be read from it.
CASES = sorted(path.parent for path in Path(__file__).parent.glob("data/netperf/*/expected.json"))
ADDRESS = "198.18.77.3"
SERVER = End("host", (), None, f"Starting netserver with host '{ADDRESS}' port '12865'\n", "", None)


def expected(case: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((case / "expected.json").read_text())
    return data


def client(stdout: str, stderr: str = "", exit_code: int = 0) -> End:
    return End("client", (), exit_code, stdout, stderr, 3.0)


def recorded(case: Path) -> End:
    stderr = case / "stderr.txt"
    said = stderr.read_text() if stderr.exists() else ""
    return client((case / "stdout.txt").read_text(), said, expected(case)["exit_code"])


def read(workload: Mapping[str, Any], of_client: End) -> Mapping[str, Value | str]:
    tool = load_tool(workload["tool"])
    return tool.read(options_of(workload), {"client": of_client, "server": SERVER})


GOOD = {case.name: case for case in CASES if "values" in expected(case)}
good = st.sampled_from(sorted(GOOD))
TCP, UDP, CONNECT = (GOOD[f"2.7.1-{name}"] for name in ("tcp", "udp", "connect"))


def changed(case: Path, **values: object) -> Mapping[str, Value | str]:
    """What is read of a capture with these values in place of its own."""
    lines = dict(line.split("=") for line in recorded(case).stdout.splitlines())
    assert values.keys() <= lines.keys()
    text = "".join(f"{key}={value}\n" for key, value in (lines | values).items())
    return read(expected(case)["workload"], client(text))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recorded_output(case: Path) -> None:
    want = expected(case)
    if "reason" in want:
        with pytest.raises(ParseError) as caught:
            read(want["workload"], recorded(case))
        assert str(caught.value) == want["reason"]
        return
    found = read(want["workload"], recorded(case))
    assert found == {
        name: one if isinstance(one, str) else Value(*one) for name, one in want["values"].items()
    }
    tool = load_tool(want["workload"]["tool"])
    assert set(found) == {metric.name for metric in (*tool.metrics, *tool.details)}


def test_recordings_are_of_both_releases_and_of_one_against_the_other() -> None:
    for tool in ("netperf", "netperf-connect"):
        names = [name for name, case in GOOD.items() if expected(case)["workload"]["tool"] == tool]
        for version in ("2.7.0-", "2.7.1-", "2.7.0-to-2.7.1-", "2.7.1-to-2.7.0-"):
            assert any(name.startswith(version) for name in names), (tool, version)


@pytest.mark.parametrize(
    ("workload", "test"),
    [
        ({"tool": "netperf"}, "TCP_RR"),
        ({"tool": "netperf", "protocol": "udp"}, "UDP_RR"),
        ({"tool": "netperf-connect"}, "TCP_CRR"),
    ],
)
def test_processes(workload: dict[str, Any], test: str) -> None:
    sizes = {"duration_s": 7, "request_bytes": 100, "response_bytes": 2000}
    server, asking = load_tool(workload["tool"]).processes(options_of(workload | sizes), ADDRESS)
    assert server.argv == ("netserver", "-D", "-L", ADDRESS)
    assert server.ready == Listening(12865)
    assert asking.argv[:12] == tuple(f"netperf -H {ADDRESS} -t {test} -l 7 -P 0 -j -- -r".split())
    assert asking.argv[12:] == ("100,2000", "-k", ",".join(omni.KEYS))
    # All runs of a session have the same server, whatever they ask for.
    assert server.argv == load_tool("netperf").processes(options_of({"tool": "netperf"}), ADDRESS)[0].argv


def test_without_the_server_s_output_nothing_is_known_of_it() -> None:
    with pytest.raises(NoOutput, match=r"^server: no output was recorded"):
        load_tool("netperf").read(options_of(expected(TCP)["workload"]), {"client": recorded(TCP)})


@pytest.mark.parametrize("end", ["client", "server"])
def test_trouble_on_standard_error_spoils_the_run(end: str) -> None:
    outputs = {"client": recorded(TCP), "server": SERVER}
    outputs[end] = End(end, (), outputs[end].exit_code, outputs[end].stdout, "no room\n", None)
    with pytest.raises(ParseError, match=f"^{end}: .*no room"):
        load_tool("netperf").read(options_of(expected(TCP)["workload"]), outputs)


# --- damaged output


@given(name=good, data=st.data())
def test_what_was_cut_is_no_figure(name: str, data: st.DataObject) -> None:
    text = recorded(GOOD[name]).stdout
    length = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(ParseError):
        read(expected(GOOD[name])["workload"], client(text[:length]))


@given(name=good, data=st.data())
def test_lines_that_are_missing_doubled_or_foreign_are_no_figure(name: str, data: st.DataObject) -> None:
    lines = recorded(GOOD[name]).stdout.splitlines(keepends=True)
    at = data.draw(st.integers(0, len(lines) - 1))
    others = st.sampled_from([[], [lines[at]] * 2, ["oops\n", lines[at]], [lines[at - 1]]])
    with pytest.raises(ParseError):
        read(
            expected(GOOD[name])["workload"],
            client("".join([*lines[:at], *data.draw(others), *lines[at + 1 :]])),
        )


@given(name=good, key=st.sampled_from(omni.KEYS), value=st.text(max_size=12))
def test_what_is_no_number_is_no_figure(name: str, key: str, value: str) -> None:
    try:
        found = changed(GOOD[name], **{key: value})
    except ParseError:
        return
    assert float(value) >= -1
    assert all(isinstance(one, str) or one.value >= 0 for one in found.values())


@given(name=good, key=st.sampled_from(omni.KEYS), at=st.integers(0, 30), digit=st.sampled_from("0123456789"))
def test_a_changed_digit_gives_no_absurd_figure(name: str, key: str, at: int, digit: str) -> None:
    """Values that were changed are not all noticed; what is read of them is possible all the same."""
    lines = dict(line.split("=") for line in recorded(GOOD[name]).stdout.splitlines())
    value = lines[key]
    at %= len(value)
    try:
        found = changed(GOOD[name], **{key: value[:at] + digit + value[at + 1 :]})
    except ParseError:
        return
    count, duration = found["transactions"], found["duration"]
    rate = found.get("transaction_rate") or found.get("connection_rate")
    assert isinstance(count, Value) and isinstance(duration, Value) and isinstance(rate, Value)
    assert rate.value == pytest.approx(count.value / duration.value, rel=0.02)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PROTOCOL", "UDP"),
        ("DIRECTION", "Connect|Send|Recv"),
        ("DIRECTION", "Send"),
        ("REQUEST_SIZE", 2),
        ("RESPONSE_SIZE", 100),
    ],
)
def test_another_test_than_was_ordered_does_not_count(key: str, value: object) -> None:
    with pytest.raises(ParseError, match=f"^client: the report is of {key} '.*' instead of"):
        changed(TCP, **{key: value})


@pytest.mark.parametrize("key", ["REMOTE_BYTES_RECVD", "REMOTE_BYTES_SENT", "LOCAL_BYTES_SENT"])
@pytest.mark.parametrize("more", [-1, 2])
@pytest.mark.parametrize("case", [TCP, UDP, CONNECT], ids=lambda case: case.name)
def test_ends_that_counted_different_exchanges_did_not_see_the_same_run(
    case: Path, key: str, more: int
) -> None:
    exchanges = int(dict(line.split("=") for line in recorded(case).stdout.splitlines())["LOCAL_BYTES_RECVD"])
    changed(case, **{key: exchanges + 1})
    with pytest.raises(ParseError, match=f"^(client|server): {key} .* did not see the same run"):
        changed(case, **{key: exchanges + more})


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"ELAPSED_TIME": "1.97"}, "the report is of 1.97 s instead of 2 s"),
        ({"ELAPSED_TIME": "2.20"}, "do not make the rate"),
        ({"TRANSACTION_RATE": "12000.000"}, "do not make the rate"),
        ({"MEAN_LATENCY": "99.00"}, "account for 2.3. s of 2 s"),
        ({"P50_LATENCY": "28"}, "not in order"),
        ({"P99_LATENCY": "999999"}, "not in order"),
        ({"MIN_LATENCY": "25"}, "not in order"),
        ({"MAX_LATENCY": "50"}, "account for|not in order"),
    ],
)
def test_figures_that_do_not_agree_do_not_count(values: dict[str, str], reason: str) -> None:
    with pytest.raises(ParseError, match=f"^client: .*({reason})"):
        changed(TCP, **values)


# --- few round trips, and losses


def run_of(exchanges: int, round_trip_us: int, elapsed_s: float, protocol: str = "UDP") -> str:
    """What netperf prints of exchanges that took so long each."""
    latencies = dict.fromkeys((key for key in omni.KEYS if key.endswith("LATENCY")), str(round_trip_us))
    values = latencies | {
        "PROTOCOL": protocol,
        "DIRECTION": "Send|Recv",
        "MEAN_LATENCY": f"{round_trip_us:.2f}",
        "TRANSACTION_RATE": f"{exchanges / elapsed_s:.3f}",
        "ELAPSED_TIME": f"{elapsed_s:.2f}",
    }
    return "".join(f"{key}={values.get(key, 1 if 'SIZE' in key else exchanges)}\n" for key in omni.KEYS)


@given(at_s=st.floats(0, 10), round_trip_us=st.integers(20, 20_000))
def test_a_loss_over_udp_is_seen_or_too_near_to_the_end_to_matter(at_s: float, round_trip_us: int) -> None:
    exchanges = int(at_s * 1e6 / round_trip_us)
    text = run_of(exchanges, round_trip_us, 10.0)
    try:
        found = read({"tool": "netperf", "protocol": "udp"}, client(text))
    except ParseError:
        assert at_s < 9.4
        return
    rate = found["transaction_rate"]
    assert isinstance(rate, Value)
    assert rate.value * round_trip_us / 1e6 > 0.93


def test_a_client_that_is_busy_with_itself_spoils_no_run_over_tcp() -> None:
    found = changed(TCP, MEAN_LATENCY="60.00")
    assert found["round_trip"] == changed(TCP)["round_trip"]


@pytest.mark.parametrize(
    ("exchanges", "missing"),
    [
        (5, {"round_trip_p90", "round_trip_p99"}),
        (100, {"round_trip_p99"}),
        (999, {"round_trip_p99"}),
        (1000, set()),
    ],
)
def test_few_round_trips_have_fewer_percentiles(exchanges: int, missing: set[str]) -> None:
    text = run_of(exchanges, 10_000_000 // exchanges, 10.0, "TCP")
    found = read({"tool": "netperf"}, client(text))
    assert {name for name, one in found.items() if isinstance(one, str)} == missing


def test_too_few_round_trips_have_no_median() -> None:
    with pytest.raises(ParseError, match=r"^client: 4 round trips, fewer than 5, so no median"):
        read({"tool": "netperf"}, client(run_of(4, 2_400_000, 10.0, "TCP")))


@pytest.mark.parametrize(
    ("us", "step_us"), [(7, 1), (10, 1), (99, 1), (100, 10), (999, 10), (1000, 100), (54_321, 1000)]
)
def test_a_percentile_is_known_to_a_step_of_netperf_s_histogram(us: int, step_us: int) -> None:
    found = read({"tool": "netperf"}, client(run_of(10_000_000 // us, us, 10.0, "TCP")))
    assert found["round_trip"] == Value(us / 1000, step_us / 1000)
