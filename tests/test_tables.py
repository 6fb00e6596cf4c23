"""From raw records to the tidy table and back from its files."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import factories
import pandas as pd
import pytest
from hvcost.analysis import measurements
from hvcost.errors import ParseError
from hvcost.model import record
from hvcost.model.record import End, Record
from hypothesis import given
from hypothesis import strategies as st
from workspace import ROOT

SCRIPTS = ROOT / "scripts"


METRICS = [
    "throughput",
    "retransmissions",
    "fairness",
    "host_cpu",
    "transferred",
    "duration",
    "streams",
    "client_throughput",
    "server_throughput",
]


def frame_of(records: Iterable[Record]) -> pd.DataFrame:
    return pd.DataFrame(map(dataclasses.asdict, measurements.from_records(records)))


def rows(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    return frame[frame["metric"] == metric].reset_index(drop=True)


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


def planned(folder: Path, boots: int, repetitions: int) -> tuple[str | Path, ...]:
    """Arguments of parse_repetitions for the raw files of a system."""
    plan = ("--boots", str(boots), "--repetitions", str(repetitions), "--workloads", "tcp")
    return ("--raw", folder, *plan)


def beside(folder: Path, boots: int) -> tuple[str | Path, ...]:
    """Arguments of analyse_environment beside the tables of systems."""
    host = folder / "host.json"
    host.write_text(json.dumps(factories.HOST))
    environment = json.dumps(factories.environment_config("kvm", "qemu"))
    return ("--environment", environment, "--boots", str(boots), "--seed", "1", "--host", host)


def test_a_repetition_has_one_row_per_metric() -> None:
    frame = frame_of([factories.raw_record(44.0e6)])
    assert list(frame["metric"]) == METRICS
    # iperf's plain report, of one stream.
    assert list(frame[frame["status"] == "unavailable"]["metric"]) == ["retransmissions", "fairness"]
    values = dict(zip(frame["metric"], frame["value"], strict=True))
    assert values["throughput"] == pytest.approx(44.0e6)
    assert dict(zip(frame["metric"], frame["resolution"], strict=True))["throughput"] == pytest.approx(0.1e6)
    assert values["transferred"] == pytest.approx(52.5 * 2**20)
    assert values["duration"] == pytest.approx(10.0)
    assert values["streams"] == 1
    assert values["server_throughput"] == pytest.approx(44.0e6)


def test_the_boots_of_host_and_guest_are_those_that_were_recorded() -> None:
    records = [
        factories.raw_record(repetition=1, facts=factories.boots_of("4f61-4217", "735e-abed")),
        factories.raw_record(repetition=2, facts=factories.boots_of(None, None)),
        factories.raw_record(repetition=3, facts={"host": {"kernel": "6.12"}}),
        factories.failed_record(repetition=4, facts=factories.boots_of("4f61-4217", None)),
    ]
    found = factories.primary(measurements.from_records(records))
    assert [(each.host_boot, each.guest_boot) for each in found] == [
        ("4f61-4217", "735e-abed"),
        ("", ""),
        ("", ""),
        ("4f61-4217", ""),
    ]


def test_rows_are_sorted_whatever_the_order_of_files() -> None:
    records = factories.raw_records({"qemu": 2e6, "kvm": 2e8}, boots=2, repetitions=11)
    frame = frame_of(reversed(records))
    throughput = rows(frame, "throughput")
    assert list(throughput["system"].unique()) == ["kvm", "qemu"]
    assert list(throughput["repetition"][:12]) == [*range(1, 12), 1]
    pd.testing.assert_frame_equal(frame, frame_of(records))


def test_a_failed_repetition_keeps_all_rows_and_has_no_value() -> None:
    frame = frame_of([factories.failed_record("no\nguest\x00 ")])
    assert list(frame["metric"]) == METRICS
    assert set(frame["status"]) == {"failed"}
    assert set(frame["reason"]) == {"no guest"}
    assert frame["value"].isna().all()


def test_a_failed_record_with_a_good_report_stays_failed() -> None:
    frame = frame_of([factories.raw_record(status="failed", reason="proof failed")])
    assert frame["value"].isna().all()


# What iperf 2.2.1 printed when somebody set the clock of the server's machine in the middle of a run.
CONNECTED = "[  1] local 198.18.9.2 port 5001 connected with 198.18.9.1 port 54890\n"
SERVER = f"Server listening on TCP port 5001\n{CONNECTED}"
CLIENT = (
    "Client connecting to 198.18.9.2, TCP port 5001\n"
    "[  1] local 198.18.9.1 port 54890 connected with 198.18.9.2 port 5001\n"
)
FORWARDS = "[  1] 0.0000-3604.0063 sec   496 MBytes  1.15 Mbits/sec\n"
BACKWARDS = "[  1] 0.0000-0.0000 sec   484 MBytes  -nan bits/sec\n"
TEN_SECONDS = "[  1] 0.0000-10.0205 sec   1240 MBytes  1.04 Gbits/sec\n"


@pytest.mark.parametrize(
    ("client", "server", "reason"),
    [
        (TEN_SECONDS, FORWARDS, "server: it got 520093696 bytes, but the client sent 1300234240"),
        (TEN_SECONDS, BACKWARDS, "server: '-nan' is not a number"),
        (
            TEN_SECONDS,
            "[  1] 0.0000-13.0205 sec   1240 MBytes   799 Mbits/sec\n",
            "server: the report is of 13.0205 s, but the client's of 10.0205 s",
        ),
        (FORWARDS, TEN_SECONDS, "client: the report is of 3604.01 s, but the run took 10.05 s"),
        (BACKWARDS, TEN_SECONDS, "client: '-nan' is not a number"),
    ],
)
def test_a_clock_that_was_stepped_fails_the_repetition(client: str, server: str, reason: str) -> None:
    record = factories.raw_record(
        client=factories.end("client", CLIENT + client), server=factories.end("server", SERVER + server)
    )
    frame = frame_of([record])
    assert set(frame["status"]) == {"failed"}
    assert frame["reason"].str.startswith(reason).all(), frame["reason"][0]


@pytest.mark.parametrize("stdout", ["", "nonsense", factories.client_output(1e6, last="")])
def test_output_without_a_figure_fails_the_repetition(stdout: str) -> None:
    client = factories.end("client", stdout, "connect failed: Connection refused\n")
    frame = frame_of([factories.raw_record(client=client)])
    assert set(frame["status"]) == {"failed"}
    assert frame["value"].isna().all()
    assert frame["reason"].str.startswith("client: ").all()
    assert frame["reason"].str.endswith("connect failed: Connection refused").all()


def test_trouble_on_standard_error_spoils_a_good_report() -> None:
    client = factories.end("client", factories.client_output(1e6), "write failed: Connection reset by peer\n")
    frame = frame_of([factories.raw_record(client=client)])
    assert set(frame["status"]) == {"failed"}
    assert set(frame["reason"]) == {"client: iperf reports trouble: write failed: Connection reset by peer"}


def test_what_was_said_on_standard_error_is_in_the_reason_once() -> None:
    client = factories.end("client", "", "iperf: not found\n")
    frame = frame_of([factories.raw_record(client=client)])
    assert frame["reason"].str.count("iperf: not found").eq(1).all()


def test_a_run_cut_short_has_failed() -> None:
    client = factories.end("client", factories.client_output(1e6, duration_s=3.0))
    frame = frame_of([factories.raw_record(client=client)])
    assert set(frame["reason"]) == {"client: the report is of 3 s instead of 10 s"}


def test_a_server_s_output_is_no_client_s_report() -> None:
    client = factories.end("client", factories.server_output(1e6))
    frame = frame_of([factories.raw_record(client=client)])
    assert set(frame["reason"]) == {"client: the output is that of a server"}


def test_a_missing_client_fails_the_repetition() -> None:
    frame = frame_of([factories.raw_record(client=None)])
    assert set(frame["reason"]) == {"client: no output was recorded"}


@pytest.mark.parametrize("server", [None, factories.end("server", "Killed")])
def test_a_client_without_a_server_s_report_is_no_witness(server: End | None) -> None:
    frame = frame_of([factories.raw_record(server=server)])
    assert set(frame["status"]) == {"failed"}
    assert frame["value"].isna().all()
    assert frame["reason"].str.startswith("server: ").all()


def test_a_client_with_an_exit_code_has_failed() -> None:
    good = factories.end("client", factories.client_output(1e6))
    client = dataclasses.replace(good, exit_code=124)
    frame = frame_of([factories.raw_record(client=client)])
    assert frame["reason"].str.startswith("client: ended with exit code 124").all()


def test_a_server_that_saw_half_of_it_is_no_witness() -> None:
    server = factories.end("server", factories.server_output(22.0e6))
    frame = frame_of([factories.raw_record(44.0e6, server=server)])
    assert set(frame["reason"]) == {
        "server: it got 27472691 bytes, but the client sent 55050240: one of them did not see the whole run"
    }


def test_a_server_of_another_run_is_no_witness() -> None:
    output = factories.server_output(44.0e6).replace("port 50308", "port 50309")
    frame = frame_of([factories.raw_record(server=factories.end("server", output))])
    assert frame["reason"].str.startswith("server: its client was at port 50309, ours at 50308").all()


@pytest.mark.parametrize(
    ("client_s", "server_s"),
    [(10.0, 10.0), (12.8, 10.0), (10.0, 9.4), (10.0, 10.6), (10.0, 11.9)],
    ids=[
        "same",
        "slow connection",
        "slow server",
        "much was on its way",
        "a client that counts what is buffered",
    ],
)
def test_the_figure_is_of_the_longer_time(client_s: float, server_s: float) -> None:
    """Bytes are the same; each end sees its own part of the time."""
    bits = 440e6
    record = factories.raw_record(
        client=dataclasses.replace(
            factories.end("client", factories.client_output(bits / client_s, client_s)), duration_s=client_s
        ),
        server=factories.end("server", factories.server_output(bits / server_s, server_s)),
        witnesses={"client": factories.witness(), "server": factories.witness("env1 guest")},
    )
    values = frame_of([record]).set_index("metric")["value"]
    assert values["throughput"] == pytest.approx(bits / max(client_s, server_s), rel=0.002)
    assert values["duration"] == max(client_s, server_s)
    assert values["client_throughput"] == pytest.approx(bits / client_s, rel=0.002)
    assert values["server_throughput"] == pytest.approx(bits / server_s, rel=0.002)


@pytest.mark.parametrize(
    ("role", "changes", "connection", "reason"),
    [
        ("client", {"stepped_s": 1.9}, "emulated", "its clock was stepped forwards by 1.9 s"),
        ("client", {"stepped_s": -1.9}, "emulated", "its clock was stepped backwards by 1.9 s"),
        ("server", {"stepped_s": 0.2}, "emulated", "its clock was stepped forwards by 0.2 s"),
        ("host", {"stepped_s": -0.2}, "emulated", "its clock was stepped backwards by 0.2 s"),
        ("server", {"rate": 0.9}, "emulated", "its clock went on by 9.90 s while"),
        ("client", {"carried_bytes": 1000}, "emulated", "the measured network card carried 1000 bytes"),
        ("host", {"carried_bytes": 1000}, "provided", "the measured network card carried 1000 bytes"),
        ("host", {"card": "speed 100\nduplex full\n"}, "ssh", "its network card runs at 100 Mbit/s, but"),
        ("client", {"card": "speed 1000\nduplex half\n"}, "ssh", "its network card runs at half duplex"),
        ("client", {"card": "speed 100\nduplex full\n"}, "provided", "its network card runs at 100 Mbit/s"),
        ("client", {"card": "speed 10\nduplex half\n"}, "emulated", None),
        ("client", {"card": "speed -1\nduplex unknown\n"}, "ssh", None),
        ("client", {"card": ""}, "ssh", None),
        ("client", {"took_s": 3.0}, "ssh", None),
    ],
)
def test_what_the_witnesses_say_decides(
    role: str, changes: dict[str, Any], connection: str, reason: str | None
) -> None:
    good = factories.raw_record()
    witnesses = {each: factories.witness(f"env1 {each}") for each in ("client", "server", "host")}
    witnesses[role] = factories.witness(f"env1 {role}", **changes)
    record = dataclasses.replace(
        good, witnesses=witnesses, spec={**good.spec, "host": {"connection": connection}}
    )
    frame = frame_of([record])
    if reason is None:
        assert "failed" not in set(frame["status"])
    else:
        assert frame["reason"].str.startswith(f"env1 {role}: {reason}").all(), frame["reason"][0]


def test_a_record_with_witnesses_is_read_back(tmp_path: Path) -> None:
    written = factories.raw_record(witnesses={"client": factories.witness()})
    record.write_session(record.session_of(written), tmp_path)
    record.write(written, tmp_path / "tcp-1.json")
    assert record.read(tmp_path / "tcp-1.json") == written


@pytest.mark.parametrize(
    "witnesses", [7, {"client": {}}, {"client": {"before": {}, "after": 1}}, {"client": 1}]
)
def test_witnesses_that_are_none_are_refused(witnesses: object) -> None:
    good = factories.raw_record()
    content = json.loads(record.to_json(good)) | {"witnesses": witnesses}
    session = record.session_to_json(record.session_of(good))
    with pytest.raises(ParseError, match="raw record with missing or unknown fields"):
        record.from_json(json.dumps(content), "tcp-1.json", session)


def test_one_repetition_twice_is_refused() -> None:
    with pytest.raises(ParseError, match="repetition 1 of tcp on kvm, boot 1, in env1"):
        measurements.from_records([factories.raw_record(), factories.raw_record(1e6)])


def test_a_record_without_its_specification_is_refused() -> None:
    with pytest.raises(ParseError, match=r"env1/kvm/boot1/tcp-1: .*spec\.hypervisor"):
        measurements.from_records([factories.raw_record(spec={})])


def test_csv_gives_back_the_same_table(tmp_path: Path) -> None:
    records = factories.raw_records({"kvm": 2e8}, failed=[("kvm", 2)])
    # Ids that a careless reader of CSV takes for missing values.
    records.append(factories.raw_record(1e9 / 3, system="null", environment="nan"))
    records.append(factories.failed_record('a, "b"; é', system="na"))
    table = measurements.from_records(records)
    path = tmp_path / "deep" / "table.csv"
    measurements.write_csv(table, path)
    back = measurements.read_csv(path)
    assert back == table
    again = tmp_path / "again.csv"
    measurements.write_csv(back, again)
    assert again.read_bytes() == path.read_bytes()


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_csv_gives_back_the_same_number(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    table = measurements.from_records([factories.raw_record()])
    table = tuple(dataclasses.replace(row, value=value) for row in table if row.status == "ok")
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    measurements.write_csv(table, path)
    assert measurements.read_csv(path) == table


def test_an_empty_table_is_one(tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    measurements.write_csv(measurements.from_records([]), path)
    assert path.read_text() == ",".join(measurements.COLUMNS) + "\n"
    assert measurements.read_csv(path) == measurements.concatenate([path, path]) == ()


def test_repetitions_are_the_client_s_throughput() -> None:
    table = measurements.from_records(
        [factories.raw_record(44.0e6), factories.failed_record("why", repetition=2)]
    )
    good, bad = factories.primary(table)
    assert good.value == pytest.approx(44.0e6)
    assert (bad.value, bad.reason) == (None, "why")


HEADER = ",".join(measurements.COLUMNS)
ROW = (
    "env1,kvm,kvm,1,tcp,1,2,1,2026-11-23T03:31:00+00:00,h,g,c,ok,,"
    "throughput,bit/s,primary,44000000.0,100000.0"
)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "column `environment` is missing"),
        (HEADER.replace(",unit", "") + "\n", "column `unit` is missing"),
        (HEADER + ",colour\n", "unknown column `colour`"),
        (HEADER + ",unit\n", "column `unit` is there twice"),
        (f"{HEADER}\n{ROW},x\n", "line 2: 20 fields instead of 19"),
        (f"{HEADER}\n{ROW.replace('tcp,1', 'tcp,one')}\n", "line 2: `repetition` 'one' is not"),
        (f"{HEADER}\n{ROW.replace('44000000.0', 'fast')}\n", "line 2: `value` 'fast' is not"),
        (f"{HEADER}\n{ROW.replace('44000000.0', 'nan')}\n", "line 2: `value` 'nan' is not"),
        (f"{HEADER}\n{ROW.replace('44000000.0', '44_000_000')}\n", "line 2: `value` '44_000_000' is not"),
        (f"{HEADER}\n{ROW.replace('44000000.0', '４４')}\n", "line 2: `value` '４４' is not"),
        (f"{HEADER}\n{ROW.replace('tcp,1', 'tcp, 1')}\n", "line 2: `repetition` ' 1' is not"),
        (f"{HEADER}\n{ROW.replace('44000000.0', '')}\n", "line 2: `status` 'ok' with value ''"),
        (f"{HEADER}\n{ROW.replace(',ok,,', ',failed,why,')}\n", "`status` 'failed' with value"),
        (f"{HEADER}\n{ROW.replace('throughput', 'speed')}\n", "`metric` 'speed' is none of"),
        (f"{HEADER}\n{ROW.replace('bit/s', 'Mbit/s')}\n", "`unit` 'Mbit/s' instead of 'bit/s'"),
        (f"{HEADER}\n{ROW.replace('primary', 'main')}\n", "`role` 'main' is none of primary, secondary"),
        (f"{HEADER}\n{ROW.replace('100000.0', 'fine')}\n", "line 2: `resolution` 'fine' is not"),
        (f"{HEADER}\n{ROW.replace(',ok,,', ',unavailable,,')}\n", "`status` 'unavailable' with value"),
        (f"{HEADER}\n{ROW}\n{ROW}\n", "is there twice"),
        (f'{HEADER}\n"{ROW}\n', "not a CSV file"),
    ],
)
def test_another_file_is_refused_by_name(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text)
    with pytest.raises(ParseError) as error:
        measurements.read_csv(path)
    assert complaint in str(error.value)
    assert str(path) in str(error.value)


def test_columns_may_be_in_another_order(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    table = measurements.from_records([factories.raw_record()])
    measurements.write_csv(table, path)
    pd.read_csv(path)[list(reversed(measurements.COLUMNS))].to_csv(path, index=False)
    assert measurements.read_csv(path) == table


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ParseError, match="not a CSV file"):
        measurements.read_csv(path)
    with pytest.raises(ParseError, match="cannot be read"):
        measurements.read_csv(tmp_path / "absent.csv")


def test_programs_from_raw_files_to_one_table(tmp_path: Path) -> None:
    records = factories.raw_records({"kvm": 2e8, "qemu": 2e6}, boots=2, repetitions=3, failed=[("qemu", 2)])
    parts = []
    for system in ("qemu", "kvm"):
        factories.write_raw([r for r in records if r.system == system], tmp_path)
        part = tmp_path / "env1" / "measurements" / f"{system}.csv"
        done = run("parse_repetitions.py", "--output", part, *planned(tmp_path / f"env1/raw/{system}", 2, 3))
        assert done.returncode == 0, done.stderr
        said = "env1 qemu boot 2 tcp-2 failed: the guest was not ready"
        # Each failed repetition once, and none for what is not available.
        assert done.stderr.count(said) == (system == "qemu")
        assert f"6 repetitions, {2 if system == 'qemu' else 0} failed" in done.stderr
        parts.append(part)
    done = run("analyse_environment.py", "--output", tmp_path / "env1", *beside(tmp_path, 2), *parts)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    points = factories.primary(measurements.read_csv(tmp_path / "env1" / "measurements.csv"))
    assert len(points) == 12
    assert [p.value is None for p in points if p.system == "qemu"] == [
        False,
        True,
        False,
        False,
        True,
        False,
    ]
    assert all(p.value is None or p.value > 0 for p in points)


def test_programs_refuse_in_one_line(tmp_path: Path) -> None:
    factories.write_raw([factories.raw_record(), factories.raw_record(system="qemu", boot=2)], tmp_path)
    shutil.move(tmp_path / "env1/raw/qemu/boot2", tmp_path / "env1/raw/kvm/boot2")
    done = run(
        "parse_repetitions.py", "--output", tmp_path / "t.csv", *planned(tmp_path / "env1/raw/kvm", 2, 1)
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "one table, one system" in done.stderr
    broken = tmp_path / "boot1/tcp-1.json"
    broken.parent.mkdir()
    broken.write_text(json.dumps({"format": 1}))
    done = run("parse_repetitions.py", "--output", tmp_path / "t.csv", *planned(tmp_path, 1, 1))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert not (tmp_path / "t.csv").exists()
    done = run("analyse_environment.py", "--output", tmp_path, *beside(tmp_path, 2), broken)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert str(broken) in done.stderr


def raw_of_kvm(folder: Path) -> Path:
    """Folder of two repetitions under KVM."""
    factories.write_raw(factories.raw_records({"kvm": 2e8}, repetitions=2), folder)
    return folder / "env1/raw/kvm"


def check_refused(raw: Path, words: str) -> None:
    """The program refuses the raw files in one line that has these words and says what to do."""
    done = run("parse_repetitions.py", "--output", raw / "t.csv", *planned(raw, 1, 2))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words in done.stderr
    assert "remove it, and the same command measures its session again" in done.stderr
    assert not (raw / "t.csv").exists()


def test_a_raw_file_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    raw = raw_of_kvm(tmp_path)
    path = raw / "boot1/tcp-2.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": record.FORMAT + 1}))
    check_refused(raw, f"boot1/tcp-2.json: not a raw record of format 1 or {record.FORMAT}")


@pytest.mark.parametrize("keeps", [True, False], ids=["copied", "renamed"])
def test_a_raw_file_of_another_repetition_is_refused(tmp_path: Path, keeps: bool) -> None:
    raw = raw_of_kvm(tmp_path)
    first, second = raw / "boot1/tcp-1.json", raw / "boot1/tcp-2.json"
    text = first.read_text()
    if not keeps:
        first.write_text(second.read_text())
    second.write_text(text)
    wrong, right = ("tcp-2.json", "tcp-1.json") if keeps else ("tcp-1.json", "tcp-2.json")
    check_refused(raw, f"boot1/{wrong}: is of another repetition, and belongs to boot1/{right}")


@given(st.data())
def test_a_raw_file_that_is_cut_anywhere_is_refused(data: st.DataObject) -> None:
    one = factories.raw_record()
    session = record.session_to_json(record.session_of(one))
    text = record.to_json(one)
    length = data.draw(st.integers(0, len(text.rstrip()) - 1))
    with pytest.raises(ParseError, match=r"^tcp-1\.json: "):
        record.from_json(text[:length], "tcp-1.json", session)
