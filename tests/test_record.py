"""Raw files: what a session's repetitions share is held once, and files of the old format are read."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import pytest
from hvcost.analysis import measurements
from hvcost.errors import ParseError
from hvcost.model import record
from hvcost.model.record import Record

STUDY = Path(__file__).parent / "data/study.tar.xz"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of the study under Xen, in files of format 1."""
    folder = tmp_path_factory.mktemp("study")
    with tarfile.open(STUDY) as archive:
        session = [member for member in archive if member.name.startswith("env1/raw/xen/boot1/")]
        archive.extractall(folder, session, filter="data")
    return folder / "env1/raw/xen/boot1"


def written(folder: Path, one: Record) -> Path:
    path = folder / record.file_of(one.workload, one.repetition)
    record.write_session(record.session_of(one), folder)
    record.write(one, path)
    return path


def test_a_file_of_format_1_has_everything_in_it(old: Path) -> None:
    content = json.loads((old / "tcp-2.json").read_text())
    found = record.read(old / "tcp-2.json")
    assert found.outputs["client"].stdout == content["client"]["stdout"]
    assert found.outputs["server"].argv == tuple(content["server"]["argv"])
    assert found.proof == content["proof"]
    assert [list(command.argv) for command in found.commands] == [
        each["argv"] for each in content["commands"]
    ]
    assert (found.start, found.witnesses) == ((), None)


def test_an_end_that_was_null_in_format_1_has_left_no_output(old: Path, tmp_path: Path) -> None:
    content = json.loads((old / "tcp-1.json").read_text())
    content |= {"server": None, "status": "failed", "reason": "the guest is gone"}
    path = tmp_path / "tcp-1.json"
    path.write_text(json.dumps(content))
    assert set(record.read(path).outputs) == {"client"}


def test_a_repetition_is_read_back_with_its_session(old: Path, tmp_path: Path) -> None:
    found = record.read(old / "tcp-2.json")
    one = replace(found, start=found.commands[:55], commands=found.commands[55:])
    path = written(tmp_path, one)
    assert record.read(path) == one
    assert set(record.files_in(tmp_path)) == {path}


def test_what_the_session_shares_is_in_its_file_alone(old: Path, tmp_path: Path) -> None:
    found = record.read(old / "tcp-2.json")
    path = written(tmp_path, replace(found, start=found.commands))
    own, shared = (json.loads(file.read_text()) for file in (path, tmp_path / record.SESSION_FILE))
    assert set(own) & set(shared) == {"format", "spec", "commands"}
    assert set(own["spec"]) == {"workload"}
    assert set(own["spec"]) | set(shared["spec"]) == set(found.spec)


def test_a_repetition_of_another_session_is_noticed(tmp_path: Path) -> None:
    first = written(tmp_path, factories.raw_record(repetition=1))
    second = written(tmp_path, factories.raw_record(repetition=2, proof={"hypervisor": "kvm", "evidence": 1}))
    assert record.read(second).repetition == 2
    with pytest.raises(ParseError, match=r"tcp-1\.json: is not of the session whose session\.json is beside"):
        record.read(first)


def test_a_repetition_without_its_session_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, factories.raw_record())
    (tmp_path / record.SESSION_FILE).unlink()
    with pytest.raises(ParseError, match=r"tcp-1\.json: session\.json, which belongs to it, is not in its"):
        record.read(path)


@pytest.mark.parametrize("damage", ["[]", "{", "{}", '{"commands": 1, "spec": 1}'])
def test_a_damaged_session_is_refused(tmp_path: Path, damage: str) -> None:
    path = written(tmp_path, factories.raw_record())
    (tmp_path / record.SESSION_FILE).write_text(damage)
    with pytest.raises(ParseError):
        record.read(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"repetition": "1"}, "repetition"),
        ({"repetition": True}, "repetition"),
        ({"cpu_time_s": {"user": "1.5"}}, "cpu_time_s"),
        ({"cpu_time_s": {"user": 10**400}}, "cpu_time_s"),
        ({"outputs": {"client": dataclasses.asdict(factories.end("client", "")) | {"stdout": 5}}}, "outputs"),
        ({"commands": [{"machine": 1, "argv": [], "exit_code": 0, "duration_s": 0}]}, "commands"),
        ({"spec": {"workload": "iperf"}}, "spec.workload"),
    ],
)
def test_a_field_of_another_kind_is_named(change: Mapping[str, Any], complaint: str) -> None:
    one = factories.raw_record()
    content = json.loads(record.to_json(one)) | change
    with pytest.raises(ParseError, match=f"raw record whose {complaint} are not what they should be"):
        record.from_json(json.dumps(content), "tcp-1.json", record.session_to_json(record.session_of(one)))


@pytest.mark.parametrize("tool", ["iperf4", 4, ["iperf"], None])
def test_a_record_of_no_tool_is_refused(tool: object) -> None:
    one = factories.raw_record()
    spec = {**one.spec, "workload": {"tool": tool}}
    with pytest.raises(ParseError, match=r"raw record whose spec\.workload is none"):
        measurements.from_records([replace(one, spec=spec)])


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParseError, match=r"tcp-1\.json: cannot be read: No such file"):
        record.read(tmp_path / "tcp-1.json")


def test_a_thousand_repetitions_are_less_than_30_megabytes(old: Path, tmp_path: Path) -> None:
    """Ten sessions of a hundred, with the command lines of a real one and witnesses of three machines."""
    found = record.read(old / "tcp-2.json")
    witnesses = {role: factories.witness(f"env1 {role}") for role in ("client", "host", "server")}
    one = replace(found, start=found.commands[:55], commands=found.commands[55:] * 3, witnesses=witnesses)
    for boot in range(1, 11):
        folder = tmp_path / f"boot{boot}"
        for repetition in range(1, 101):
            path = folder / record.file_of("tcp", repetition)
            if repetition == 1:
                record.write_session(record.session_of(replace(one, boot=boot)), folder)
            record.write(replace(one, boot=boot, repetition=repetition), path)
    sizes = [path.stat().st_size for path in tmp_path.glob("boot*/*.json")]
    assert len(sizes) == 1010
    assert sum(sizes) < 30e6
