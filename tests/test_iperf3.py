"""iperf3 and iperf3-udp: command lines, what is read of recorded runs, of damaged ones, and of a real one."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hvcost.analysis.measurements import from_records
from hvcost.errors import ConfigError, ParseError
from hvcost.model.metric import Value
from hvcost.model.process import Listening
from hvcost.model.record import End
from hvcost.tools import load_tool, options_of
from hvcost.tools.verdict import values
from hypothesis import given
from hypothesis import strategies as st
from workspace import BESIDE, ROOT, Workspace

# One folder per run: what each end said, and case.json, which says where it comes from and what is to be
# read of it. Folders are named by the server's version, the client's, and what happened.
DATA = Path(__file__).parent / "data"
CASES = sorted(path.parent for tool in ("iperf3", "iperf3-udp") for path in DATA.glob(f"{tool}/*/case.json"))
ADDRESS = "198.18.1.3"
Edit = Callable[[dict[str, Any]], None]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")


def expected(case: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((case / "case.json").read_text())
    return data


def outputs(case: Path) -> dict[str, End]:
    """What was recorded, as of a run of the tool."""
    want = expected(case)
    found = {}
    for role in ("client", "server"):
        stdout, stderr = (case / f"{role}-{stream}.txt" for stream in ("stdout", "stderr"))
        if stdout.exists():
            complained = stderr.read_text() if stderr.exists() else ""
            exit_code, duration_s = (
                (want["exit_code"], want["duration_s"]) if role == "client" else (None, None)
            )
            found[role] = End(f"lab {role}", (), exit_code, stdout.read_text(), complained, duration_s)
    return found


def read(case: Path, ends: Mapping[str, End]) -> Mapping[str, Value | str]:
    workload = expected(case)["workload"]
    return load_tool(workload["tool"]).read(options_of(workload), ends)


def numbers(found: Mapping[str, Value | str]) -> dict[str, float | str]:
    return {name: one if isinstance(one, str) else one.value for name, one in found.items()}


def edited(ends: Mapping[str, End], role: str, edit: Edit) -> dict[str, End]:
    """The same outputs, but one end's object is another."""
    said = json.loads(ends[role].stdout)
    edit(said)
    return {**ends, role: replace(ends[role], stdout=json.dumps(said))}


def named(tool: str, name: str) -> Path:
    return DATA / tool / name


GOOD = [case for case in CASES if "values" in expected(case)]
PLAIN = named("iperf3", "3.18-3.18-plain")
FROM_GUEST = named("iperf3", "3.12-3.12-late-reverse")
UDP = named("iperf3-udp", "3.12-3.18-loss")


@every_case
def test_recorded_runs(case: Path) -> None:
    want = expected(case)
    if "reason" in want:
        with pytest.raises(ParseError) as caught:
            read(case, outputs(case))
        assert str(caught.value) == want["reason"]
    else:
        assert numbers(read(case, outputs(case))) == pytest.approx(want["values"])


@pytest.mark.parametrize("tool", ["iperf3", "iperf3-udp"])
@pytest.mark.parametrize("server", ["3.12", "3.18"])
@pytest.mark.parametrize("client", ["3.12", "3.18"])
def test_both_versions_work_at_either_end(tool: str, server: str, client: str) -> None:
    assert named(tool, f"{server}-{client}-plain") in GOOD


@every_case
def test_a_client_that_is_no_good_is_told_before_its_server_is_asked(case: Path) -> None:
    """The server of a run that failed need not say anything."""
    if "reason" in expected(case):
        with pytest.raises(ParseError) as caught:
            read(case, {"client": outputs(case)["client"]})
        assert str(caught.value) == expected(case)["reason"]


# --- which number is right


def test_the_receiver_s_bytes_count_over_the_longer_time() -> None:
    case = named("iperf3", "3.12-3.12-slow")
    client, server = (json.loads(outputs(case)[role].stdout)["end"] for role in ("client", "server"))
    sent, arrived = client["sum_sent"], server["sum_received"]
    assert arrived["seconds"] > sent["seconds"]
    assert sent["bytes"] > 3 * arrived["bytes"]
    found = numbers(read(case, outputs(case)))
    assert found["throughput"] == pytest.approx(arrived["bytes"] * 8 / arrived["seconds"])
    assert found["transferred"] == arrived["bytes"]
    assert found["client_throughput"] == pytest.approx(sent["bits_per_second"])


def test_a_guest_that_hears_late_of_the_end_does_not_make_the_run_longer() -> None:
    """The client, which receives, has stopped counting."""
    client, server = (json.loads(outputs(FROM_GUEST)[role].stdout)["end"] for role in ("client", "server"))
    assert server["sum_sent"]["seconds"] > 1.3 * client["sum_received"]["seconds"]
    found = numbers(read(FROM_GUEST, outputs(FROM_GUEST)))
    assert found["throughput"] == pytest.approx(client["sum_received"]["bits_per_second"])
    assert found["throughput"] == found["client_throughput"]
    assert found["duration"] == client["sum_received"]["seconds"]


@pytest.mark.parametrize("version", ["3.12", "3.18"])
def test_what_arrived_is_known_to_a_block_of_each_stream(version: str) -> None:
    for name, streams, block_bytes in (("streams", 4, 131072), ("options", 1, 8192)):
        case = named("iperf3", f"{version}-{version}-{name}")
        assert read(case, outputs(case))["transferred"].resolution == streams * block_bytes  # type: ignore[union-attr]


def test_a_client_that_misreads_an_old_server_s_losses_is_not_believed() -> None:
    """iperf 3.18 takes what 3.12 lost for 0 (esnet/iperf, get_results)."""
    ends = outputs(UDP)
    assert json.loads(ends["client"].stdout)["end"]["sum_received"]["lost_percent"] == 0
    assert 8 < numbers(read(UDP, ends))["loss"] < 12  # type: ignore[operator]


@pytest.mark.parametrize(
    ("shares", "index"), [((1, 1, 1, 1), 1.0), ((4, 0, 0, 0), 0.25), ((3, 1, 3, 1), 0.8)]
)
def test_fairness_is_jain_s_index(shares: tuple[int, ...], index: float) -> None:
    case = named("iperf3", "3.18-3.18-streams")

    def share(said: dict[str, Any]) -> None:
        quarter = said["end"]["sum_received"]["bytes"] // 4
        for stream, part in zip(said["end"]["streams"], shares, strict=True):
            stream["receiver"]["bytes"] = part * quarter * 4 // sum(shares)

    ends = edited(outputs(case), "server", share)
    assert numbers(read(case, ends))["fairness"] == pytest.approx(index)


def test_one_stream_has_nobody_to_be_fair_to() -> None:
    assert read(PLAIN, outputs(PLAIN))["fairness"] == "one stream only: there is nothing to share"


# --- runs that do not count


def other_cookie(said: dict[str, Any]) -> None:
    said["start"]["cookie"] = "another"


def other_port(said: dict[str, Any]) -> None:
    said["start"]["connected"][0]["remote_port"] += 1


def other_order(said: dict[str, Any]) -> None:
    said["start"]["test_start"]["blksize"] = 1000


def scaled(way: str, factor: float, key: str) -> Edit:
    """A sum with other bytes or seconds, whose streams and rate agree with it."""

    def edit(said: dict[str, Any]) -> None:
        whole = said["end"][f"sum_{way}"]
        whole[key] = type(whole[key])(whole[key] * factor)
        for stream in said["end"]["streams"]:
            stream[{"sent": "sender", "received": "receiver"}[way]][key] = whole[key]
        whole["bits_per_second"] = whole["bytes"] * 8 / whole["seconds"]

    return edit


@pytest.mark.parametrize(
    ("role", "edit", "reason"),
    [
        ("server", other_cookie, "^server: its test’s cookie is not the client’s"),
        (
            "server",
            other_port,
            "^server: its client was at port [0-9]+, ours at [0-9]+: they are not of the same",
        ),
        ("server", other_order, "^server: blksize of the test is 1000, the client’s 131072"),
        ("server", scaled("received", 0.9, "bytes"), "^server: it counted .* but told the client"),
        ("server", scaled("received", 1.1, "seconds"), "^server: it counted .* but told the client"),
        ("client", scaled("received", 1.2, "bytes"), "^client: [0-9]+ bytes arrived, but [0-9]+ were sent"),
        ("client", scaled("sent", 0.9, "seconds"), "^client: the report is of 0.9[0-9]* s instead of 1 s"),
        (
            "client",
            scaled("sent", 1.2, "seconds"),
            "^client: the report is of .* the clock of lab client was",
        ),
    ],
)
def test_both_ends_have_to_have_seen_the_run_that_was_ordered(role: str, edit: Edit, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        read(PLAIN, edited(outputs(PLAIN), role, edit))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"duration_s": 2}, "client: duration of the test is 1 instead of 2"),
        ({"streams": 2}, "client: num_streams of the test is 1 instead of 2"),
        ({"direction": "from-guest"}, "client: reverse of the test is 0 instead of 1"),
        ({"length_bytes": 1000}, "client: blksize of the test is 131072 instead of 1000"),
    ],
)
def test_the_test_has_to_be_the_one_that_was_ordered(changes: dict[str, Any], reason: str) -> None:
    workload = expected(PLAIN)["workload"] | changes
    with pytest.raises(ParseError) as caught:
        load_tool("iperf3").read(options_of(workload), outputs(PLAIN))
    assert str(caught.value) == reason


def test_a_server_s_reports_of_two_runs_are_not_one() -> None:
    ends = outputs(PLAIN)
    twice = replace(ends["server"], stdout=ends["server"].stdout * 2)
    with pytest.raises(ParseError, match="server: not iperf3’s report of one test: Extra data"):
        read(PLAIN, {**ends, "server": twice})


def test_a_good_report_with_a_bad_exit_code_is_no_good() -> None:
    ends = outputs(PLAIN)
    with pytest.raises(ParseError, match="client: ended with exit code 1"):
        read(PLAIN, {**ends, "client": replace(ends["client"], exit_code=1)})


def test_packets_that_do_not_add_up_are_no_figure() -> None:
    def lose(said: dict[str, Any]) -> None:
        said["end"]["sum_received"]["lost_packets"] += 100
        said["end"]["streams"][0]["udp"]["lost_packets"] += 100

    with pytest.raises(ParseError, match=r"^server: .* they do not agree$"):
        read(UDP, edited(outputs(UDP), "server", lose))


@pytest.mark.parametrize("value", [None, True, "1", -1, 0.5, 1e400, float("nan"), 10**400, [], {}])
@pytest.mark.parametrize("key", ["bytes", "seconds", "bits_per_second"])
def test_what_is_no_number_is_no_figure(key: str, value: object) -> None:
    if (key, value) == ("seconds", 0.5) or (key, value) == ("bits_per_second", 0.5):
        value = 0

    def edit(said: dict[str, Any]) -> None:
        said["end"]["sum_sent"][key] = value

    with pytest.raises(ParseError, match="client: not iperf3’s report of one test"):
        read(PLAIN, edited(outputs(PLAIN), "client", edit))


# --- damaged text never becomes a wrong number

# What is printed once has nothing to be compared with.
UNWITNESSED = ("out_of_order", "client_cpu", "server_cpu")


@given(case=st.sampled_from(GOOD), role=st.sampled_from(["client", "server"]), share=st.floats(0, 1))
def test_cut_text_is_no_figure(case: Path, role: str, share: float) -> None:
    ends = outputs(case)
    text = ends[role].stdout.rstrip()
    cut = text[: int(share * (len(text) - 1))]
    with pytest.raises(ParseError):
        read(case, {**ends, role: replace(ends[role], stdout=cut)})


@given(case=st.sampled_from(GOOD), role=st.sampled_from(["client", "server"]), data=st.data())
def test_a_digit_that_was_changed_is_noticed_or_changes_nothing(
    case: Path, role: str, data: st.DataObject
) -> None:
    ends = outputs(case)
    text = ends[role].stdout
    places = [place for place, letter in enumerate(text) if letter.isdigit()]
    place = data.draw(st.sampled_from(places))
    changed = text[:place] + data.draw(st.sampled_from("0123456789.-e")) + text[place + 1 :]
    try:
        found = numbers(read(case, {**ends, role: replace(ends[role], stdout=changed)}))
    except ParseError:
        return
    for name, want in expected(case)["values"].items():
        if name not in UNWITNESSED:
            assert found[name] == (want if isinstance(want, str) else pytest.approx(want, rel=1e-4)), name


@given(case=st.sampled_from(GOOD), role=st.sampled_from(["client", "server"]), data=st.data())
def test_any_other_json_is_refused_with_a_reason(case: Path, role: str, data: st.DataObject) -> None:
    """Whatever stands in place of any part of an object, nothing but ParseError comes of it."""
    ends = outputs(case)
    said = json.loads(ends[role].stdout)
    place = copy.deepcopy(said)
    part: Any = place
    while True:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(part[key], dict | list) or not part[key] or data.draw(st.booleans()):
            break
        part = part[key]
    part[key] = data.draw(st.sampled_from([None, True, -1, 0, 1e300, "", "1", [], {}, [{}], [[]]]))
    try:
        read(case, {**ends, role: replace(ends[role], stdout=json.dumps(place))})
    except ParseError as error:
        assert str(error).startswith(("client: ", "server: "))


# --- command lines and options


@pytest.mark.parametrize(
    ("workload", "options"),
    [
        ({"tool": "iperf3"}, "-t 10"),
        ({"tool": "iperf3", "duration_s": 3, "streams": 4}, "-t 3 -P 4"),
        ({"tool": "iperf3", "direction": "from-guest"}, "-t 10 -R"),
        (
            {"tool": "iperf3", "length_bytes": 8192, "mss": 536, "window": "64K"},
            "-t 10 -l 8192 -M 536 -w 64K",
        ),
        ({"tool": "iperf3-udp"}, "-t 10 -u -l 64 -b 512000"),
        (
            {"tool": "iperf3-udp", "packets_per_s": 20000, "message_bytes": 1400},
            "-t 10 -u -l 1400 -b 224000000",
        ),
    ],
)
def test_command_lines(workload: Mapping[str, Any], options: str) -> None:
    server, client = load_tool(workload["tool"]).processes(options_of(workload), ADDRESS)
    assert " ".join(client.argv) == f"iperf3 -c {ADDRESS} -J -i 0 {options}"
    assert " ".join(server.argv) == f"iperf3 -s -J -i 0 -B {ADDRESS}"
    assert (server.on, server.ready, client.on) == ("server", Listening(5201), "client")


@pytest.mark.parametrize("tool", ["iperf3", "iperf3-udp"])
def test_a_handshake_that_is_lost_is_told_before_the_run_is_given_up(tool: str) -> None:
    for process in load_tool(tool).processes(options_of({"tool": tool, "duration_s": 20}), ADDRESS):
        assert process.limit_s >= 20 + 31


@pytest.mark.parametrize(
    ("tool", "key", "value"),
    [
        ("iperf3", "direction", "both"),
        ("iperf3", "streams", 129),
        ("iperf3", "length_bytes", 1024**2 + 1),
        ("iperf3", "mss", 87),
        ("iperf3", "window", "1G"),
        ("iperf3", "window", "513M"),
        ("iperf3", "window", 65536),
        ("iperf3-udp", "packets_per_s", 0),
        ("iperf3-udp", "message_bytes", 15),
        ("iperf3-udp", "message_bytes", 65508),
    ],
)
def test_what_iperf3_would_refuse_is_refused_before(tool: str, key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: "):
        options_of({"tool": tool, key: value})


# --- a real run


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_runs_on_this_computer_count(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "config/local.yaml").read_text())
    content |= {
        "results": "results",
        "repetitions": 2,
        "systems": {"bare-metal": {"hypervisor": "bare-metal"}},
        "workloads": {
            "to-guest": {"tool": "iperf3", "duration_s": 1},
            "from-guest": {"tool": "iperf3", "duration_s": 1, "direction": "from-guest", "streams": 3},
            "packets": {"tool": "iperf3-udp", "duration_s": 1, "packets_per_s": 200},
        },
    }
    workspace = Workspace(tmp_path, BESIDE)
    workspace.link_project()
    (workspace.folder / "iperf3.yaml").write_text(yaml.safe_dump(content))
    workspace.run("all", "--configfile", "iperf3.yaml")
    every = workspace.records("local", "bare-metal", "*")
    assert len(every) == 6
    # A busy computer may lose the end of a run of datagrams: then it says so.
    late = [one for one in every if one.workload == "packets" and "nothing arrived" in (one.reason or "")]
    records = [one for one in every if one not in late]
    assert {(one.status, one.reason) for one in records} == {("ok", None)}
    found = {one.workload: numbers(values(one)) for one in records}
    assert found["from-guest"]["streams"] == 3
    assert late or found["packets"]["packets"] > 0  # type: ignore[operator]
    again = [row for row in from_records(records) if row.metric == "retransmissions"]
    assert [(row.workload, row.status) for row in again] == [("from-guest", "ok")] * 2 + [
        ("to-guest", "ok")
    ] * 2
