"""The program `parse_iperf.py`: one JSON line per file, and no traceback whatever it is given."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hvcost.model import record

SCRIPT = Path(__file__).parent.parent / "scripts" / "parse_iperf.py"
DATA = Path(__file__).parent / "data" / "iperf"
FIELDS = [
    "file",
    "status",
    "reason",
    "role",
    "throughput_bps",
    "bytes",
    "seconds",
    "streams",
    "throughput_resolution_bps",
]


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, SCRIPT, *arguments], input=stdin, capture_output=True, check=False)
    stderr = done.stderr.decode()
    assert "Traceback" not in stderr
    return subprocess.CompletedProcess(done.args, done.returncode, stdout=done.stdout.decode(), stderr=stderr)


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def a_record() -> record.Record:
    end = record.End(
        machine="env1 client",
        argv=("iperf", "-c", "192.168.0.22"),
        exit_code=0,
        stdout=(DATA / "study-2010-client" / "stdout.txt").read_text(),
        stderr="",
        duration_s=10.1,
    )
    return record.Record(
        environment="env1",
        system="kvm",
        boot=1,
        workload="tcp",
        repetition=1,
        status="ok",
        reason=None,
        started_at="2026-11-23T03:31:00.123456+00:00",
        order=record.Order(session=1, sessions=1, run=1, runs=1, seed=2010),
        spec={},
        outputs={"client": end},
        cpu_time_s=None,
        proof={},
        facts={},
    )


def raw_record(**changes: Any) -> str:
    """Text of its raw file, with changes."""
    data = json.loads(record.to_json(a_record()))
    for key, value in changes.items():
        if key in ("stdout", "stderr"):
            data["outputs"]["client"][key] = value
        else:
            data[key] = value
    return json.dumps(data)


def test_one_line_per_file_in_the_order_given() -> None:
    names = ["study-2010-client", "2.0.5-refused-client", "2.1.8-streams-server"]
    done = run(*(DATA / name / "stdout.txt" for name in names))
    client, refused, server = lines(done)
    assert done.returncode == 0
    assert [list(line) for line in (client, refused, server)] == [FIELDS] * 3
    assert client == {
        "file": str(DATA / "study-2010-client" / "stdout.txt"),
        "status": "ok",
        "reason": None,
        "role": "client",
        "throughput_bps": 44_000_000.0,
        "bytes": 52.5 * 1024**2,
        "seconds": 10.0,
        "streams": 1,
        "throughput_resolution_bps": 100_000.0,
    }
    assert refused["status"] == "failed"
    assert refused["reason"] == "the output is empty"
    assert refused["throughput_bps"] is None
    assert (server["role"], server["streams"]) == ("server", 4)


def test_standard_input() -> None:
    done = run("-", stdin=(DATA / "study-2010-server" / "stdout.txt").read_bytes())
    assert [(line["file"], line["throughput_bps"]) for line in lines(done)] == [("-", 43_900_000.0)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (raw_record(), None),
        (raw_record(status="failed", reason="the guest did not boot"), "the guest did not boot"),
        (raw_record(outputs={}), "client: no output was recorded"),
        (raw_record(stdout=""), "empty"),
        (raw_record(stdout=5), "outputs are not what they should be"),
        (raw_record(stderr="write failed: Connection reset by peer\n"), "write failed"),
        (raw_record(stdout="\ud800"), "neither the banner"),
        (raw_record(format=3), "not a raw record of format"),
        (raw_record(order=5), "missing or unknown fields"),
        ("{", "not a raw record"),
        ('{"a":' * 100_000, "not a raw record"),
        ('{"format": ' + "1" * 5000 + "}", "not a raw record"),
    ],
)
def test_raw_record(tmp_path: Path, text: str, reason: str | None) -> None:
    file = tmp_path / "tcp-1.json"
    file.write_text(text)
    record.write_session(record.session_of(a_record()), tmp_path)
    done = run(file)
    (line,) = lines(done)
    assert done.returncode == 0
    if reason is None:
        assert (line["status"], line["throughput_bps"]) == ("ok", 44_000_000.0)
    else:
        assert line["status"] == "failed"
        assert reason in line["reason"]


def test_garbage_is_a_failed_line_and_no_error(tmp_path: Path) -> None:
    file = tmp_path / "garbage"
    file.write_bytes(bytes(range(256)) * 50)
    done = run(file)
    assert done.returncode == 0
    assert [line["status"] for line in lines(done)] == ["failed"]


def test_no_file_is_a_usage_error() -> None:
    done = run()
    assert done.returncode != 0
    assert done.stdout == ""
    assert "usage" in done.stderr


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    good = DATA / "study-2010-client" / "stdout.txt"
    done = run(tmp_path / "absent", tmp_path, good)
    assert done.returncode != 0
    assert [line["status"] for line in lines(done)] == ["ok"]
    assert "absent: No such file" in done.stderr
    assert "Is a directory" in done.stderr


def test_help_says_what_it_is_for() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "JSON" in done.stdout
