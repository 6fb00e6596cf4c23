"""iperf: command lines, and its parser on recorded output of real runs and on damaged output."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hvcost.errors import ConfigError, ParseError
from hvcost.model.metric import Value
from hvcost.model.process import Listening
from hvcost.model.record import End
from hvcost.tools import completed, load_tool, options_of
from hvcost.tools.iperf import TOOL, IperfOptions
from hvcost.tools.iperf2_text import BITS_PER_UNIT, BYTES_PER_UNIT, Measurement, parse, parse_duplex
from hypothesis import assume, given
from hypothesis import strategies as st

# One directory per capture: stdout.txt, stderr.txt unless that was empty, and expected.json, which
# says where the capture comes from and what is to be read from it.
CASES = sorted(path.parent for path in Path(__file__).parent.glob("data/iperf/*/expected.json"))
STUDY = {"tool": "iperf", "duration_s": 10}
(WINDOW,) = (each.metadata["pattern"] for each in fields(IperfOptions) if each.name == "window")


def expected(case: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((case / "expected.json").read_text())
    return data


def stdout(case: Path) -> str:
    return (case / "stdout.txt").read_text()


def values_of(measured: Measurement, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the measurement's values that a capture's expected.json names, as JSON has them."""
    found = asdict(measured)
    return {
        name: sorted(found[name])
        if isinstance(found[name], frozenset)
        else list(found[name])
        if isinstance(found[name], tuple)
        else found[name]
        for name in wanted
    }


CAPTURES = {case.name: stdout(case) for case in CASES}
GOOD = {case.name: stdout(case) for case in CASES if "measurement" in expected(case)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recorded_output(case: Path) -> None:
    want = expected(case)
    if "reason" in want:
        with pytest.raises(ParseError) as caught:
            parse(stdout(case))
        assert want["reason"] in str(caught.value)
    else:
        assert values_of(parse(stdout(case)), want["measurement"]) == want["measurement"]


@pytest.mark.parametrize(
    "case", [case for case in CASES if "duplex" in expected(case)], ids=lambda case: case.name
)
def test_recorded_output_in_both_directions(case: Path) -> None:
    want = expected(case)["duplex"]
    sent, received = parse_duplex(stdout(case))
    assert values_of(sent, want["sent"]) == want["sent"]
    assert values_of(received, want["received"]) == want["received"]


@pytest.mark.parametrize(
    "case", [case for case in CASES if (case / "stderr.txt").exists()], ids=lambda case: case.name
)
def test_trouble_on_standard_error_spoils_the_run(case: Path) -> None:
    want = expected(case)
    if "reason_with_stderr" in want:
        with pytest.raises(ParseError) as caught:
            parse(stdout(case) + (case / "stderr.txt").read_text())
        assert want["reason_with_stderr"] in str(caught.value)


def test_recordings_cover_old_and_new_and_say_where_they_come_from() -> None:
    sources = [expected(case)["source"] for case in CASES]
    for origin in ("the study", "2.0.5", "2.0.13", "2.1.8", "2.2.1"):
        assert any(origin in source for source in sources), origin


def test_the_study_s_figures_are_read_with_their_precision() -> None:
    assert parse(CAPTURES["study-2010-client"]) == Measurement(
        role="client",
        throughput_bps=44_000_000.0,
        transferred_bytes=52.5 * 1024**2,
        duration_s=10.0,
        streams=1,
        throughput_resolution_bps=100_000.0,
        transferred_resolution_bytes=1024**2 / 10,
        stream_rates_bps=(44_000_000.0,),
        ports=frozenset({50308}),
        window_bytes=frozenset({16 * 1024}),
    )


# --- command lines


@pytest.mark.parametrize(
    ("options", "argv"),
    [
        ({}, ("-t", "10")),
        ({"streams": 1, "window": None, "bytes": None}, ("-t", "10")),
        ({"streams": 4}, ("-t", "10", "-P", "4")),
        ({"window": "64K"}, ("-t", "10", "-w", "64K")),
        ({"direction": "to-guest"}, ("-t", "10")),
        ({"direction": "from-guest"}, ("-t", "10", "-R")),
        ({"bytes": 5_000_000}, ("-n", "5000000")),
        ({"window": "128K", "server_window": "128K"}, ("-t", "10", "-w", "128K")),
        ({"length_bytes": 1000, "mss": 536}, ("-t", "10", "-l", "1000", "-M", "536")),
    ],
)
def test_client_argv(options: Mapping[str, Any], argv: tuple[str, ...]) -> None:
    client = TOOL.processes(options_of({**STUDY, **options}), "198.18.1.3")[-1]
    assert client.argv == ("iperf", "-c", "198.18.1.3", "-e", *argv)


def test_the_server_is_in_the_background_at_its_address_alone() -> None:
    (server,) = TOOL.processes(options_of(STUDY), "198.18.1.3")[:-1]
    assert (server.on, server.argv) == ("server", ("iperf", "-s", "-e", "-B", "198.18.1.3"))
    assert server.ready == Listening(5001)


def test_the_server_has_buffers_of_its_own() -> None:
    (server, _) = TOOL.processes(options_of({**STUDY, "server_window": "128K"}), "198.18.1.3")
    assert server.argv == ("iperf", "-s", "-e", "-B", "198.18.1.3", "-w", "128K")


@pytest.mark.parametrize(
    ("capture", "window_bytes"),
    [("2.1.8-window-client", {131072}), ("2.0.5-window-client", {131072}), ("2.0.5-csv-client", set())],
)
def test_the_buffer_that_was_granted_is_read(capture: str, window_bytes: set[float]) -> None:
    assert parse(CAPTURES[capture]).window_bytes == window_bytes


def test_deadline_leaves_room_for_every_stream_to_drain() -> None:
    one, four, long = (
        TOOL.processes(options, "198.18.1.3")[-1].limit_s
        for options in (IperfOptions(), IperfOptions(streams=4), IperfOptions(duration_s=60))
    )
    assert one > 10 + 8 * 4 * 1024**2 / 1e6
    assert four - one > 3 * 8 * 4 * 1024**2 / 1e6 - 1
    assert long == one + 50


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("duration_s", 0),
        ("duration_s", "10"),
        ("duration_s", 0.5),
        ("duration_s", math.nan),
        ("streams", 0),
        ("streams", 1.5),
        ("streams", True),
        ("window", 65536),
        ("window", "64 K"),
        ("window", "-1K"),
        ("direction", "both"),
        ("bytes", 0),
        ("bytes", "1M"),
        ("length_bytes", 0),
        ("mss", 40),
        ("mss", 40_000),
        ("parallel", 4),
    ],
)
def test_wrong_option_is_named(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=key):
        options_of({**STUDY, key: value})


def test_time_and_bytes_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"^bytes: .*duration_s"):
        options_of({"tool": "iperf", "duration_s": 20, "bytes": 1_000_000})
    # What a raw file holds of a run by bytes is read again.
    written = completed({"tool": "iperf", "bytes": 1_000_000})
    assert completed(written) == written


def test_a_run_by_bytes_has_the_time_that_a_slow_link_takes_for_them() -> None:
    one, two = (IperfOptions(bytes=10_000_000, streams=streams) for streams in (1, 2))
    assert TOOL.processes(one, "198.18.1.3")[-1].limit_s > 8 * 10_000_000 / 1e6
    assert TOOL.expected_s(two) == 2 * TOOL.expected_s(one)


@given(st.from_regex(WINDOW, fullmatch=True))
def test_every_window_that_is_allowed_is_the_client_s(window: str) -> None:
    argv = TOOL.processes(options_of({**STUDY, "window": window}), "198.18.1.3")[-1].argv
    assert argv[-2:] == ("-w", window)


@pytest.mark.parametrize("name", ["iperf4", "", "iperf.py", "../iperf", "hvcost.errors", "verdict"])
def test_unknown_tool_lists_those_that_exist(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not allowed; allowed: .*iperf"):
        load_tool(name)


# --- both ends


def ends_of(client: str, server: str = "") -> dict[str, End]:
    """Outputs of both ends of a recorded run; `server` if the pair's other name is not the same."""

    def end(name: str, role: str) -> End:
        case = Path(__file__).parent / "data/iperf" / f"{name}-{role}"
        err = case / "stderr.txt"
        is_client = role == "client"
        return End(
            machine=role,
            argv=tuple(expected(case)["argv"]),
            exit_code=expected(case)["exit_code"] if is_client else None,
            stdout=stdout(case),
            stderr=err.read_text() if err.exists() else "",
            duration_s=None,
        )

    return {"client": end(client, "client"), "server": end(server or client, "server")}


FROM_GUEST: dict[str, Any] = {"duration_s": 1, "direction": "from-guest"}


@pytest.mark.parametrize("role", ["client", "server"])
def test_smaller_buffers_than_were_asked_for_are_no_measurement(role: str) -> None:
    option = "window" if role == "client" else "server_window"
    asked = options_of({"tool": "iperf", "duration_s": 1, option: "1G"})
    with pytest.raises(ParseError, match=rf"^{role}: its socket buffers are of \d+ bytes, less than 1G: "):
        TOOL.read(asked, ends_of("2.1.8-plain"))
    TOOL.read(IperfOptions(duration_s=1, window="8K"), ends_of("2.1.8-plain"))


@pytest.mark.parametrize(
    ("pair", "options", "throughput"),
    [
        ("2.1.8-lossy", {}, 47.8e6),
        ("2.1.8-lossy-reverse", FROM_GUEST, 47.4e6),
        ("2.1.8-lossy-streams", {"streams": 3}, 48.1e6),
        ("2.1.8-lossy-reverse-streams", FROM_GUEST | {"streams": 3}, 47.8e6),
        ("2.1.8-with-2.2.1-lossy", {}, 47.8e6),
        ("2.1.8-with-2.2.1-lossy-reverse", FROM_GUEST, 47.5e6),
        ("2.2.1-with-2.1.8-lossy", {}, 47.9e6),
        ("2.2.1-with-2.1.8-lossy-reverse", FROM_GUEST, 46.3e6),
        ("2.2.1-lossy", {}, 47.6e6),
        ("2.2.1-lossy-reverse", FROM_GUEST, 47.3e6),
        ("2.2.1-lossy-streams", {"streams": 3}, 43.2e6),
        ("2.2.1-lossy-reverse-streams", FROM_GUEST | {"streams": 3}, 48.4e6),
        ("2.1.8-reverse-slow-link", FROM_GUEST, 4.82e6),
        ("2.1.8-plain", {}, 190e6),
    ],
)
def test_a_run_in_one_direction(pair: str, options: dict[str, Any], throughput: float) -> None:
    """The lower rate of both ends."""
    chosen = IperfOptions(**{"duration_s": 1} | options)
    found = TOOL.read(chosen, ends_of(pair))
    assert {*found, "retransmissions"} == {metric.name for metric in (*TOOL.metrics, *TOOL.details)}
    assert isinstance(found["throughput"], Value)
    assert found["throughput"].value == throughput


def test_fairness_is_one_if_all_streams_have_the_same_and_less_if_not() -> None:
    found = TOOL.read(IperfOptions(duration_s=1, streams=3), ends_of("2.1.8-lossy-streams"))["fairness"]
    rates = [
        float(line.split()[6]) * (1e6 if "Mbits" in line else 1e3)
        for line in CAPTURES["2.1.8-lossy-streams-server"].splitlines()
        if line.startswith("[  ") and "sec" in line
    ]
    assert isinstance(found, Value) and len(rates) == 3
    assert found.value == pytest.approx(sum(rates) ** 2 / 3 / sum(rate**2 for rate in rates))
    assert 1 / 3 < found.value < 1
    alone = TOOL.read(IperfOptions(duration_s=1), ends_of("2.1.8-lossy"))["fairness"]
    assert alone == "one stream: there is nothing to share"


@pytest.mark.parametrize("version", ["2.1.8", "2.2.1"])
@pytest.mark.parametrize(
    ("pair", "options"),
    [
        ("bytes", {"bytes": 1_000_000}),
        ("bytes-reverse-streams", {"bytes": 1_000_000, "direction": "from-guest", "streams": 2}),
        ("length", {"bytes": 300_000, "length_bytes": 1000}),
        ("length-reverse", {"bytes": 300_000, "length_bytes": 1000, "direction": "from-guest"}),
        ("segments", {"bytes": 1_000_000, "mss": 536}),
        ("segments-reverse", {"bytes": 1_000_000, "mss": 536, "direction": "from-guest"}),
    ],
)
def test_options_come_true_with_both_versions(version: str, pair: str, options: dict[str, Any]) -> None:
    found = TOOL.read(IperfOptions(**options), ends_of(f"{version}-{pair}"))["transferred"]
    assert isinstance(found, Value)
    assert found.value == pytest.approx(options["bytes"] * options.get("streams", 1), rel=0.01)


@pytest.mark.parametrize("version", ["2.1.8", "2.2.1"])
@pytest.mark.parametrize(
    ("pair", "options", "reason"),
    [
        ("bytes", {"bytes": 2_000_000}, "client: the report is of 1000448 bytes instead of 2000000"),
        (
            "segments-too-large",
            {"bytes": 100_000, "mss": 9000},
            "client: its segments are of 1448 bytes inst",
        ),
        ("reverse-refused", FROM_GUEST, "client: iperf reports trouble: .*refused"),
        (
            "reverse-server-killed",
            FROM_GUEST | {"duration_s": 2},
            "client: the report is of .* s instead of 2",
        ),
        # Even if it had lasted: the other end did not see it.
        ("reverse-server-killed", FROM_GUEST, "server: connected, but there is no report"),
        (
            "reverse-server-terminated",
            FROM_GUEST | {"duration_s": 2},
            "client: the report is of .* instead of",
        ),
        ("reverse-client-killed", FROM_GUEST, "client: ended with exit code -9"),
    ],
)
def test_a_run_that_was_not_what_was_ordered(
    version: str, pair: str, options: dict[str, Any], reason: str
) -> None:
    client = f"{version}-{pair}"
    outputs = ends_of(client, f"{version}-lossy-reverse" if "refused" in pair else "")
    with pytest.raises(ParseError, match=f"^{reason}"):
        TOOL.read(IperfOptions(**options), outputs)


def test_ends_of_two_runs_from_the_guest_are_refused() -> None:
    with pytest.raises(ParseError, match="not of the same run"):
        TOOL.read(IperfOptions(**FROM_GUEST), ends_of("2.1.8-lossy-reverse", "2.2.1-lossy-reverse"))


def test_who_got_less_than_was_sent_is_named() -> None:
    """2.1.8 ends a client that receives some seconds after its time, whatever is still on its way."""
    outputs = ends_of("2.1.8-lossy-reverse")
    text = outputs["client"].stdout.replace("6.50 MBytes  48.0", "3.50 MBytes  25.8")
    cut = {**outputs, "client": replace(outputs["client"], stdout=text)}
    with pytest.raises(ParseError, match=r"^client: it got 3670016 bytes, but the server sent 6815744"):
        TOOL.read(IperfOptions(**FROM_GUEST), cut)


# --- what a reason says


def plain(report: str, role: str = "client") -> str:
    banner = {
        "client": "Client connecting to 198.18.1.3, TCP port 5001",
        "server": "Server listening on TCP port 5001",
    }[role]
    ends = {"client": ("1 port 50308", "3 port 5001"), "server": ("3 port 5001", "1 port 50308")}
    local, peer = ends[role]
    return (
        f"{'-' * 60}\n{banner}\nTCP window size: 16.0 KByte (default)\n{'-' * 60}\n"
        f"[  3] local 198.18.1.{local} connected with 198.18.1.{peer}\n"
        f"[ ID] Interval       Transfer     Bandwidth\n{report}\n"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n\n", "empty"),
        ("hello\n", "neither the banner"),
        (plain(""), "there is no report"),
        (plain("[  3]  0.0-10.0 sec  0.00 Bytes  0.00 bits/sec"), "0 bytes"),
        (plain("[  3]  0.0-10.0 sec  0.00 GBytes  0.00 Gbits/sec"), "0 bytes"),
        (plain("[  3]  0.0-10.0 sec  0.01 GBytes  0.00 Gbits/sec"), "printed as 0"),
        (plain("[  3]  0.0-10.0 sec  52.5 MBytes  nan bits/sec"), "not a number"),
        (plain("[  3]  0.0-10.0 sec  52.5 MBytes  -nan bits/sec"), "not a number"),
        (plain("[  3]  0.0-10.0 sec  52.5 MBytes  inf Gbits/sec"), "infinite"),
        (plain("[  3]  0.0-10.0 sec  52.5 MBytes  -44.0 Mbits/sec"), "negative"),
        (plain("[  3]  0.0--1.0 sec  52.5 MBytes  44.0 Mbits/sec"), "negative"),
        (plain("[  3]  0.0-10.0 sec  52.5 MBytes  4x.0 Mbits/sec"), "unreadable"),
        (plain(f"[  3]  0.0-10.0 sec  52.5 MBytes  {'9' * 400} Mbits/sec"), "unreadable"),
        (plain("[  3]  0.0-10.0 sec  52.5 MBytes  44.0 Mbi"), "cut or unreadable"),
        (plain("[  3]  0.0-10.0 sec  52.5 MBytes  44.0 furlongs/sec"), "cut or unreadable"),
        (plain("[  3]  0.0- 0.0 sec  52.5 MBytes  44.0 Mbits/sec"), "no length"),
        (plain("[  3]  9.0-10.0 sec  5.25 MBytes  44.0 Mbits/sec"), "only interval reports"),
        (plain("[  3]  0.0-10.0 sec  52.5 MBytes  440 Mbits/sec"), "do not agree"),
        (plain("[  4]  0.0-10.0 sec  52.5 MBytes  44.0 Mbits/sec"), "incomplete"),
        (
            plain(
                "[  3]  0.0- 1.0 sec  5.25 MBytes  44.0 Mbits/sec\n"
                "[  3]  2.0- 3.0 sec  5.25 MBytes  44.0 Mbits/sec\n"
                "[  3]  0.0- 3.0 sec  15.8 MBytes  44.0 Mbits/sec"
            ),
            "with a gap",
        ),
        (
            plain(
                "[  3]  0.0-10.0 sec  52.5 MBytes  44.0 Mbits/sec\n"
                "[  3]  0.0- 1.0 sec  5.25 MBytes  44.0 Mbits/sec"
            ),
            "several runs",
        ),
        (plain("[  3]  0.0-10.0 sec  52.5 MBytes  44.0 Mbits/sec") * 2, "several runs"),
        ("20261123040037,198.18.1.1,35154,198.18.1.3,5001,3,0.0-1.0,25165824,1986", "is cut"),
        ("20261123040037,198.18.1.1,35154,198.18.1.3,5001,3,0.0-1.0,25165824\n", "8 fields"),
        ("20261123040037,198.18.1.1,35154,198.18.1.3,5001,3,0.0-1.0,25165824,-8\n", "negative"),
        ("20261123040037,198.18.1.1,35154,198.18.1.3,5001,3,0.0-1.0,0,0\n", "0 bytes"),
        ("20261123040037,198.18.1.1,0,198.18.1.3,5001,-1,0.0-1.0,125000,1000000\n", "incomplete"),
    ],
)
def test_reason(text: str, reason: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert reason in str(caught.value)


def test_a_reason_is_one_printable_line_whatever_the_output_holds() -> None:
    with pytest.raises(ParseError) as caught:
        parse(plain("[  3]  0.0-10.0 sec \x1b[31m\x00" + "x" * 10_000))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_warnings_and_other_line_ends_do_no_harm() -> None:
    report = "[  3]  0.0-10.0 sec  52.5 MBytes  44.0 Mbits/sec"
    want = parse(plain(report))
    assert parse(plain(report).replace("\n", "\r\n")) == want
    assert parse(plain(report).removesuffix("\n")) == want
    assert parse("WARNING: attempt to set TCP maximum segment size failed\n" + plain(report)) == want


@pytest.mark.parametrize(
    "line",
    [
        "sudo: unable to resolve host desktop: Name or service not known",
        "perl: warning: Setting locale failed.",
        "bash: warning: setlocale: LC_ALL: cannot change locale (de_DE.UTF-8): error",
    ],
)
def test_what_others_say_on_standard_error_does_no_harm(line: str) -> None:
    report = plain("[  3]  0.0-10.0 sec  52.5 MBytes  44.0 Mbits/sec")
    assert parse(report + line + "\n") == parse(report)


@pytest.mark.parametrize(
    "line",
    ["connect failed: Connection refused", "write failed: Broken pipe", "iperf: unable to open a socket"],
)
def test_what_iperf_says_on_standard_error_spoils_the_run(line: str) -> None:
    with pytest.raises(ParseError, match="iperf reports trouble"):
        parse(plain("[  3]  0.0-10.0 sec  52.5 MBytes  44.0 Mbits/sec") + line + "\n")


def test_one_stream_of_two_is_not_a_result() -> None:
    lines = CAPTURES["2.0.5-streams-client"].splitlines(keepends=True)
    for cut in range(len(lines) - 1):
        with pytest.raises(ParseError):
            parse("".join(lines[: cut + 1]))


# --- properties


def is_sound(measurement: Measurement) -> bool:
    return (
        all(
            math.isfinite(value) and value > 0
            for name, value in asdict(measurement).items()
            if isinstance(value, float)
        )
        and all(math.isfinite(rate) and rate >= 0 for rate in measurement.stream_rates_bps)
        and len(measurement.stream_rates_bps) == measurement.streams
        and all(port > 0 for port in measurement.ports)
        and measurement.streams >= 1
        and measurement.role in ("client", "server")
    )


def parse_or_refuse(text: str) -> Measurement | None:
    try:
        measurement = parse(text)
    except ParseError as error:
        assert str(error)
        return None
    assert is_sound(measurement)
    return measurement


FRAGMENTS = st.sampled_from(
    sorted({line for text in CAPTURES.values() for line in text.splitlines(keepends=True)})
)


@given(st.one_of(st.text(), st.lists(st.one_of(FRAGMENTS, st.text()), max_size=12).map("".join)))
def test_any_text_is_a_sound_figure_or_refused(text: str) -> None:
    parse_or_refuse(text)


@given(
    st.sampled_from(sorted(CAPTURES)),
    st.integers(min_value=0),
    st.integers(min_value=0, max_value=8),
    st.text(max_size=8),
)
def test_damaged_captures_are_sound_or_refused(name: str, at: int, removed: int, inserted: str) -> None:
    text = CAPTURES[name]
    at %= len(text) + 1
    parse_or_refuse(text[:at] + inserted + text[at + removed :])


# Cut after the first interval report, or the first of several CSV lines, a text reads as a complete
# run that was shorter, or had one stream.
UNAMBIGUOUS = [name for name in GOOD if "interval" not in name and not ("csv" in name and "streams" in name)]


@given(st.sampled_from(sorted(UNAMBIGUOUS)), st.integers(min_value=0))
def test_a_cut_capture_is_the_same_figure_or_none(name: str, at: int) -> None:
    text = GOOD[name]
    cut = parse_or_refuse(text[: at % len(text)])
    assert cut is None or cut == parse(text)


BOTH_WAYS = {case.name: stdout(case) for case in CASES if "duplex" in expected(case)}


@given(st.sampled_from(sorted(BOTH_WAYS)), st.integers(min_value=0))
def test_a_cut_capture_in_both_directions_is_the_same_figures_or_none(name: str, at: int) -> None:
    text = BOTH_WAYS[name]
    try:
        found = parse_duplex(text[: at % len(text)])
    except ParseError:
        return
    assert found == parse_duplex(text)


@given(
    st.sampled_from(sorted(BOTH_WAYS)),
    st.integers(min_value=0),
    st.integers(min_value=0, max_value=8),
    st.text(max_size=8),
)
def test_damaged_captures_in_both_directions_are_sound_or_refused(
    name: str, at: int, removed: int, inserted: str
) -> None:
    text = BOTH_WAYS[name]
    at %= len(text) + 1
    try:
        found = parse_duplex(text[:at] + inserted + text[at + removed :])
    except ParseError:
        return
    assert all(map(is_sound, found))


@st.composite
def runs(draw: st.DrawFn) -> tuple[str, str, float, float, float, float]:
    """Text of a run as some iperf prints it: text, role, bit/s, its step, bytes, their step."""
    decimals = draw(st.sampled_from([1, 2, 4]))
    seconds = draw(st.integers(min_value=2, max_value=3600))
    rate_bps = draw(st.floats(min_value=1e3, max_value=1e13))
    unit = draw(st.sampled_from([u for u in BITS_PER_UNIT if u != "P"]))
    in_bytes = draw(st.booleans())
    role = draw(st.sampled_from(["client", "server"]))
    per_unit = 8.0 * BYTES_PER_UNIT[unit] if in_bytes else float(BITS_PER_UNIT[unit])
    transferred = rate_bps * seconds / 8
    places, byte_places = (draw(st.sampled_from([0, 1, 2, 3])) for _ in range(2))
    printed = f"{rate_bps / per_unit:.{places}f}"
    printed_bytes = f"{transferred / BYTES_PER_UNIT[unit]:.{byte_places}f}"
    assume(float(printed) > 0 and float(printed_bytes) > 0)
    report = (
        f"[  3] {0:.{decimals}f}-{seconds:.{decimals}f} sec  {printed_bytes} {unit}Bytes"
        f"  {printed} {unit}{'Bytes' if in_bytes else 'bits'}/sec"
    )
    step, byte_step = per_unit / 10**places, BYTES_PER_UNIT[unit] / 10**byte_places
    return plain(report, role), role, rate_bps, step, transferred, byte_step


@given(runs())
def test_a_rendered_run_is_read_back_within_its_resolution(
    run: tuple[str, str, float, float, float, float],
) -> None:
    text, role, rate_bps, step, transferred, byte_step = run
    measurement = parse(text)
    assert measurement.role == role
    assert measurement.throughput_resolution_bps == pytest.approx(step)
    assert measurement.transferred_resolution_bytes == pytest.approx(byte_step)
    assert abs(measurement.throughput_bps - rate_bps) <= step * 0.5 + 1e-9 * rate_bps
    assert abs(measurement.transferred_bytes - transferred) <= byte_step * 0.5 + 1e-9 * transferred
