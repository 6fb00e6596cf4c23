"""iperf over UDP at an offered rate, and the search with it: command lines, captures, damaged ones, runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hvcost.errors import ConfigError, ParseError
from hvcost.machines.background import Backgrounds
from hvcost.machines.local import LocalConnection
from hvcost.machines.shell import Shell
from hvcost.model.metric import Value
from hvcost.model.process import Bound
from hvcost.model.record import End
from hvcost.tools import load_tool, options_of
from hypothesis import given, settings
from hypothesis import strategies as st

# One folder per capture: what both ends said, and expected.json, which says where it comes from, what was
# asked for, and what is to be read from it.
DATA = Path(__file__).parent / "data"
CASES = {
    f"{path.parent.parent.name}/{path.parent.name}": path.parent
    for path in sorted(DATA.glob("iperf-udp*/*/expected.json"))
}
ADDRESS = "198.18.77.1"
# So few that a busy computer can write them.
SLOW = {"tool": "iperf-udp", "duration_s": 1, "packets_per_s": 50, "message_bytes": 64}
SEARCH = {"tool": "iperf-udp-search", "lowest_pps": 10, "highest_pps": 40, "trials": 4, "trial_s": 1}


def expected(case: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((case / "expected.json").read_text())
    return data


def text(case: Path, name: str) -> str:
    file = case / f"{name}.txt"
    return file.read_text() if file.exists() else ""


def outputs_of(case: Path) -> dict[str, End]:
    ends = {
        role: End(
            f"lab {role}", ("iperf",), code, text(case, f"{role}-stdout"), text(case, f"{role}-stderr"), None
        )
        for role, code in (("client", expected(case)["exit_code"]), ("server", None))
    }
    return {role: end for role, end in ends.items() if end.stdout}


def read(workload: Mapping[str, Any], outputs: Mapping[str, End]) -> dict[str, float | str]:
    found = load_tool(workload["tool"]).read(options_of(workload), outputs)
    return {name: value.value if isinstance(value, Value) else value for name, value in found.items()}


GOOD = {name: case for name, case in CASES.items() if "values" in expected(case)}
every_good = pytest.mark.parametrize("name", GOOD)


@pytest.mark.parametrize("name", CASES)
def test_recorded_output(name: str) -> None:
    want = expected(CASES[name])
    if "values" in want:
        assert read(want["workload"], outputs_of(CASES[name])) == want["values"]
    else:
        with pytest.raises(ParseError) as caught:
            read(want["workload"], outputs_of(CASES[name]))
        assert want["reason"] in str(caught.value)


@pytest.mark.parametrize("tool", ["iperf-udp", "iperf-udp-search"])
def test_recordings_are_of_both_releases_and_of_mixed_ones(tool: str) -> None:
    sources = [expected(case)["source"] for case in CASES.values() if case.parent.name == tool]
    for client in ("2.1.8", "2.2.1"):
        for server in ("2.1.8", "2.2.1"):
            assert any(source.startswith(f"iperf {client} to iperf {server} ") for source in sources)


# --- command lines


def test_the_client_offers_its_rate_and_the_server_reads_whole_messages() -> None:
    server, client = load_tool("iperf-udp").processes(options_of({"tool": "iperf-udp"}), ADDRESS)
    assert client.argv == ("iperf", "-c", ADDRESS, "-u", "-e", "-l", "1470", "-b", "1000pps", "-t", "10")
    assert server.argv == ("iperf", "-s", "-u", "-e", "-l", "1470", "-B", ADDRESS)
    assert server.ready == Bound(5001)


def test_both_tools_share_a_server() -> None:
    workloads: list[dict[str, Any]] = [
        {"tool": tool, "message_bytes": 200} for tool in ("iperf-udp", "iperf-udp-search")
    ]
    first, second = (load_tool(each["tool"]).processes(options_of(each), ADDRESS)[0] for each in workloads)
    assert first.argv == second.argv


@pytest.mark.parametrize(
    ("workload", "complaint"),
    [
        (
            {"tool": "iperf-udp", "packets_per_s": 9},
            "packets_per_s: 9 is not allowed; allowed: an integer, 10 to",
        ),
        (
            {"tool": "iperf-udp", "message_bytes": 17},
            "message_bytes: 17 is not allowed; allowed: an integer, 18",
        ),
        ({"tool": "iperf-udp", "streams": 2}, "streams: unknown option"),
        (
            {**SEARCH, "lowest_pps": 40},
            "lowest_pps: 40 is not allowed; allowed: less than highest_pps, 40",
        ),
        ({**SEARCH, "trials": 1}, "trials: 1 is not allowed; allowed: an integer, 2 to 60"),
    ],
)
def test_a_wrong_option_is_named(workload: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        options_of(workload)


# --- whatever is damaged never becomes another number


@every_good
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_cut_text_is_the_whole_one_or_refused(name: str, data: st.DataObject) -> None:
    want, outputs = expected(GOOD[name]), outputs_of(GOOD[name])
    role = data.draw(st.sampled_from(["client", "server"]))
    end = outputs[role]
    cut = replace(end, stdout=end.stdout[: data.draw(st.integers(0, len(end.stdout) - 1))])
    try:
        found = read(want["workload"], {**outputs, role: cut})
    except ParseError:
        return
    assert found == want["values"]


@every_good
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_changed_digit_does_not_change_what_was_lost(name: str, data: st.DataObject) -> None:
    want, outputs = expected(GOOD[name]), outputs_of(GOOD[name])
    role = data.draw(st.sampled_from(["client", "server"]))
    end = outputs[role]
    at = data.draw(st.sampled_from([at for at, letter in enumerate(end.stdout) if letter.isdigit()]))
    digit = data.draw(st.sampled_from("0123456789"))
    changed = replace(end, stdout=end.stdout[:at] + digit + end.stdout[at + 1 :])
    try:
        found = read(want["workload"], {**outputs, role: changed})
    except ParseError:
        return
    assert found.get("lossless_rate") == want["values"].get("lossless_rate")
    # Whether the last datagram was repeated once more or less is all that a single digit can tell.
    packets = want["values"]["packets"]
    one_packet = 0 if isinstance(packets, str) else 100 / packets
    assert found["loss"] == pytest.approx(want["values"]["loss"], abs=one_packet)


@every_good
def test_without_the_server_s_report_nothing_counts(name: str) -> None:
    outputs = outputs_of(GOOD[name])
    lines = outputs["server"].stdout.splitlines(keepends=True)
    without = "".join(line for line in lines if " ms " not in line)
    with pytest.raises(ParseError, match=r"^server: it reports nothing of its client"):
        read(
            expected(GOOD[name])["workload"],
            {**outputs, "server": replace(outputs["server"], stdout=without)},
        )


def test_ends_of_two_runs_do_not_count() -> None:
    one, other = (outputs_of(GOOD[f"iperf-udp/{name}-good"]) for name in ("2.1.8", "2.2.1"))
    with pytest.raises(ParseError, match="not of the same run"):
        read(expected(GOOD["iperf-udp/2.1.8-good"])["workload"], {**one, "server": other["server"]})


def test_losses_that_only_one_end_knows_of_do_not_count() -> None:
    outputs = outputs_of(GOOD["iperf-udp/2.1.8-loss"])
    server = outputs["server"]
    (line,) = (line for line in server.stdout.splitlines() if " ms " in line)
    (counts,) = (word for word in line.split() if word.endswith("/1003"))
    changed = server.stdout.replace(f" {counts} (5%)", " 51/1003 (5.1%)")
    assert changed != server.stdout
    with pytest.raises(ParseError, match=r"^server: it reports 51 lost of 1003"):
        read(
            expected(GOOD["iperf-udp/2.1.8-loss"])["workload"],
            {**outputs, "server": replace(server, stdout=changed)},
        )


@pytest.mark.parametrize("version", ["2.1.8", "2.2.1"])
def test_a_search_that_decided_otherwise_is_refused(version: str) -> None:
    case = GOOD[f"iperf-udp-search/{version}-good"]
    outputs, workload = outputs_of(case), expected(case)["workload"]
    with pytest.raises(ParseError, match=r"^client: the search went on"):
        read({**workload, "loss_per_million": 990_000}, outputs)
    with pytest.raises(
        ParseError, match=r"^client: the search went on with nothing more where \d+/s follows"
    ):
        read({**workload, "trials": workload["trials"] + 1}, outputs)


# --- real runs on this computer


def measured(
    machine: LocalConnection, shell: Shell, folder: Path, workload: Mapping[str, Any], times: int
) -> list[dict[str, float | str]]:
    """What is read of so many runs with one server; one whose client was too slow is repeated."""
    tool, options = load_tool(workload["tool"]), options_of(workload)
    *background, foreground = tool.processes(options, "127.0.0.1")
    processes = Backgrounds(shell, str(folder), 600)
    found: list[dict[str, float | str]] = []
    while len(found) < times:
        (server,) = processes.ready(background)
        result = machine.run(foreground.argv, timeout_s=foreground.limit_s, check=False)
        client = End(
            machine.name, result.argv, result.exit_code, result.stdout, result.stderr, result.duration_s
        )

        def is_there(_: object, end: End, client: End = client) -> bool:
            try:
                tool.read(options, {"client": client, "server": end})
            except ParseError as error:
                return "measures itself" in str(error)
            return True

        server.await_report(is_there)
        try:
            found.append(read(workload, {"client": client, "server": server.end}))
        except ParseError as error:
            assert "measures itself" in str(error)
            processes.end()
    processes.end()
    return found


def test_a_server_serves_one_run_after_the_other(
    machine: LocalConnection, shell: Shell, tmp_path: Path
) -> None:
    for values in measured(machine, shell, tmp_path, SLOW, 3):
        assert float(values["offered"]) >= 45
        assert float(values["transferred"]) == 64 * float(values["packets"])


def test_a_search_comes_to_its_end(machine: LocalConnection, shell: Shell, tmp_path: Path) -> None:
    # This computer may be busy: half of the datagrams may be lost.
    (values,) = measured(machine, shell, tmp_path, {**SEARCH, "loss_per_million": 500_000}, 1)
    assert 10 <= float(values["lossless_rate"]) <= 40


# --- the search's program, with an iperf that loses what is above a rate


IPERF = """#!/bin/sh
while [ "$1" != -b ]; do shift; done
exec awk -v rate="${2%pps}" -v limit="$LIMIT" -v client="$CLIENT" -v heard="$HEARD" 'BEGIN {
    wrote = rate < client ? rate : client
    lost = wrote > limit ? wrote - limit : 0
    print "[  1] 0.0000-1.0000 sec   125 KBytes   512 Kbits/sec  " wrote "/0     1001 pps"
    print "[  1] Sent " wrote + 2 " datagrams"
    if (wrote > heard) exit
    print "[  1] Server Report:"
    counts = lost "/" wrote + 1
    print "[  1] 0.0000-1.0000 sec  1 KBytes  1 Kbits/sec   0.001 ms " counts " (0%) -/-/-/- ms 2 pps"
}'
"""


def rates(
    tmp_path: Path,
    *,
    limit: int,
    client: int,
    heard: int = 9999,
    trials: int = 8,
    low: int = 100,
    high: int = 1600,
) -> list[int]:
    """Rates that the search tries where the system takes `limit` and the client can write `client`.

    Of a rate above `heard`, the system does not report.
    """
    for name, body in (("iperf", IPERF), ("sleep", "#!/bin/sh\n"), ("ping", "#!/bin/sh\n")):
        (tmp_path / name).write_text(body)
        (tmp_path / name).chmod(0o755)
    workload = {"tool": "iperf-udp-search", "trials": trials, "lowest_pps": low, "highest_pps": high}
    argv = load_tool("iperf-udp-search").processes(options_of(workload), ADDRESS)[-1].argv
    done = subprocess.run(
        argv,
        env={
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "LIMIT": str(limit),
            "CLIENT": str(client),
            "HEARD": str(heard),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("@exit 0\n@end\n")
    return [int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("@trial ")]


@pytest.mark.parametrize(
    ("limit", "client", "tried"),
    [
        (5000, 5000, [1600]),
        (50, 5000, [1600, 100]),
        (400, 5000, [1600, 100, 400, 800, 565, 475, 435, 417]),
        # What the client cannot write is not tried: the search goes on below.
        (5000, 300, [1600, 100, 400, 200, 282, 335, 307, 294]),
        (101, 5000, [1600, 100, 400, 200, 141, 118, 108, 103]),
    ],
)
def test_the_search_halves_the_bracket(tmp_path: Path, limit: int, client: int, tried: list[int]) -> None:
    assert rates(tmp_path, limit=limit, client=client) == tried


def test_a_rate_of_which_no_report_comes_has_not_passed(tmp_path: Path) -> None:
    tried = rates(tmp_path, limit=400, client=5000, heard=800)
    assert tried == [1600, 100, 400, 800, 565, 475, 435, 417]
    assert rates(tmp_path, limit=400, client=5000, heard=50) == [1600, 100]


def test_reports_that_are_missing_without_the_client_s_saying_so_are_refused() -> None:
    case = GOOD["iperf-udp-search/2.1.8-unheard"]
    outputs, workload = outputs_of(case), expected(case)["workload"]
    silent = {**outputs, "client": replace(outputs["client"], stderr="")}
    with pytest.raises(ParseError, match=r"^client: reports of the server are missing"):
        read(workload, silent)


def test_a_search_whose_last_trial_is_unheard_says_nothing_of_the_system() -> None:
    """The server may be gone; a trial that is heard after it shows that it is not."""
    case = GOOD["iperf-udp-search/2.1.8-unheard"]
    outputs, workload = outputs_of(case), expected(case)["workload"]
    first, _, _ = outputs["client"].stdout.partition("@trial 10\n")
    alone = {**outputs, "client": replace(outputs["client"], stdout=f"{first}@end\n")}
    with pytest.raises(ParseError, match=r"^client: it got no report .* \(trial 1, at 400/s\)"):
        read(workload, alone)


def test_a_search_ends_when_there_is_no_rate_left(tmp_path: Path) -> None:
    assert rates(tmp_path, limit=102, client=999, trials=60, high=104) == [104, 100, 101, 102, 103]
