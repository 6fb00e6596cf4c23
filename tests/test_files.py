"""Outputs are complete or not there: the program of every rule on a disk that is full.

What needs machines or downloads is stood in for: where the images and the facts come from does not matter
here, but that they get to their places whole.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hvcost import files
from workspace import ROOT

pytestmark = pytest.mark.slow

# Rules that write nothing but their log.
WITHOUT_OUTPUT = {"all", "check", "restore"}

IMAGE = """
from hvcost.images import {kind}

def build(*arguments):
    (arguments[-1] / "emulator").mkdir(parents=True, exist_ok=True)
    for name in ("vmlinuz", "disk.qcow2", "manifest.json"):
        (arguments[-1] / name).write_text(f"{{name}} " * 1000)
    (arguments[-1] / "emulator/qemu").write_text("qemu " * 1000)

{kind}.build = build
"""
HOST = """
from hvcost.environments import preparation

preparation.prepare = lambda spec, *_: {**spec, "changes": ["installed it"] * 100}
"""
SESSION = """
from dataclasses import replace
from pathlib import Path
import factories
from hvcost import session
from hvcost.environments import preparation
from hvcost.planning import plan

def measure(*arguments):
    records = factories.raw_records({"xen": 2e8})
    factories.write_raw([replace(one, start=one.commands * 50) for one in records], Path("measured"))
    return records

session.measure = measure
preparation.place_of_prepared = lambda *_: None
every = (plan.Session("env1", "xen", 1),)
plan.load_plan = lambda _: plan.Plan(1, 1, every, ())
"""


@dataclass(frozen=True)
class Case:
    """What a rule writes, from the folder of results: each file or folder whole, or not at all.

    Its command line there, and Python that stands in.
    """

    outputs: tuple[str, ...]
    line: str
    stand_in: str = ""


PACKAGES = ROOT / "envs/host-packages.txt"
RULES = {
    "build_guest_image": Case(
        ("guest",),
        "--disk-gib 9 --tools [] --packages {packages} --output {output}",
        IMAGE.format(kind="guest"),
    ),
    "build_host_image": Case(
        ("host-image",),
        '--needed {"packages":[],"sid_packages":[],"left_out":[]} --packages {packages} --output {output}',
        IMAGE.format(kind="host"),
    ),
    "prepare_host": Case(
        ("env3/host.json",),
        '--environment {"environment":"env3","host":{"connection":"emulated"}} --packages {packages} '
        "--state machines --output {output}",
        HOST,
    ),
    "measure_session": Case(
        ("measured/env1/raw/xen/boot1",),
        "--session {session} --host env1/host.json --plan plan.json --pace pace.jsonl "
        "--guest guest/manifest.json --state machines --output-dir {output}",
        SESSION,
    ),
    "parse_repetitions": Case(
        ("env1/measurements/kvm.csv",),
        "--output {output} --raw env1/raw/kvm --boots 1 --repetitions 10 --workloads tcp",
    ),
    "describe_experiment": Case(("described.json",), "--experiment {experiment} --output {output}"),
    "analyse_environment": Case(
        ("env1/measurements.csv", "env1/statistics.csv", "env1/figures"),
        "--environment {environment} --boots 1 --seed 1 --host env1/host.json --output env1 "
        "env1/measurements/kvm.csv env1/measurements/bare-metal.csv",
    ),
    "make_report": Case(
        ("comparisons.csv", "claims.csv", "figures", "report.html"),
        "--experiment experiment.json --results . --output report.html",
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample study, analysed; not to be changed."""
    folder = tmp_path_factory.mktemp("full") / "results"
    with tarfile.open(ROOT / "tests/data/study.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    subprocess.run([sys.executable, ROOT / "scripts/reanalyse.py", folder], check=True, capture_output=True)
    return folder


def run(rule: str, folder: Path, room_bytes: int) -> subprocess.CompletedProcess[str]:
    """A rule's program where no file may grow beyond so many bytes."""
    case = RULES[rule]
    experiment = json.loads((folder / "experiment.json").read_text())
    session = {
        "environment": "env1",
        "system": "xen",
        "boot": 1,
        "hypervisor": "xen",
        "options": {},
        "repetitions": 10,
        "workloads": {"tcp": {"tool": "iperf"}},
        "link": {},
        "guest": None,
        "host": {"connection": "local"},
        "client": {},
    }
    values = {
        "{output}": case.outputs[0],
        "{packages}": str(PACKAGES),
        "{session}": json.dumps(session),
        "{experiment}": json.dumps(experiment),
        "{environment}": json.dumps(experiment["environments"][0]),
    }
    arguments = case.line.split()
    for name, value in values.items():
        arguments = [part.replace(name, value) for part in arguments]
    program = str(ROOT / f"scripts/{rule}.py")
    # As if it were run by its name: it is the main module, and its folder is on the path.
    code = f"import runpy, sys\n{case.stand_in}\nrunpy.run_path({program!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={
            "PYTHONPATH": f"{ROOT / 'scripts'}:{ROOT / 'tests'}",
            "PATH": "/usr/bin:/bin",
            "XDG_CACHE_HOME": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, resource.RLIM_INFINITY)),
    )


def content(path: Path) -> dict[str, bytes]:
    """Files below a path, or the file itself."""
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return {str(file): file.read_bytes() for file in found if file.is_file()}


@pytest.mark.parametrize("rule", RULES)
def test_on_a_full_disk_an_output_is_what_it_was_or_not_there(
    rule: str, results: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    outputs = [folder / name for name in RULES[rule].outputs]
    done = run(rule, folder, 2**30)
    assert done.returncode == 0, done.stderr
    whole = [content(each) for each in outputs]
    assert all(whole)
    # For each output, there is room for all but its largest file.
    rooms_bytes = [max(map(len, each.values())) - 1 for each in whole]
    for room_bytes in rooms_bytes:
        assert run(rule, folder, room_bytes).returncode != 0
        assert [content(each) for each in outputs] == whole
    for room_bytes in rooms_bytes:
        for each in outputs:
            shutil.rmtree(each) if each.is_dir() else each.unlink(missing_ok=True)
        assert run(rule, folder, room_bytes).returncode != 0
        left = [content(each) for each in outputs]
        assert {} in left
        assert all(found in ({}, had) for found, had in zip(left, whole, strict=True))
    assert not list(folder.rglob("*partial*"))


def test_every_rule_is_tried() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "snakemake", "--list-rules"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    assert set(listed.stdout.split()) - WITHOUT_OUTPUT == set(RULES)


def test_a_file_is_what_it_was_when_its_writer_is_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "new/file"
    files.write_text(path, "before")
    with pytest.raises(KeyboardInterrupt), files.replaced(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert content(tmp_path) == {str(path): b"before"}


def filled(folder: Path, names: tuple[str, ...], *, error: type[BaseException] | None = None) -> None:
    """Fill a folder with files that hold their folder's number of the time."""
    with files.filled(folder, "seal") as partial:
        for name in names:
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_text(f"{name} {len(names)}")
        if error:
            raise error


def test_a_folder_is_what_it_was_when_its_writer_is_interrupted(tmp_path: Path) -> None:
    folder = tmp_path / "deep/image"
    filled(folder, ("seal", "disk", "emulator/qemu"))
    before = content(folder)
    assert len(before) == 3
    with pytest.raises(KeyboardInterrupt):
        filled(folder, ("seal", "disk"), error=KeyboardInterrupt)
    assert content(folder) == before


def test_what_a_killed_writer_left_is_no_part_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "partial/half").write_text("half of it")
    filled(tmp_path, ("seal", "disk", "emulator/qemu", "emulator/rom"))
    filled(tmp_path, ("seal", "disk", "emulator/qemu"))
    assert content(tmp_path) == {
        str(tmp_path / name): f"{name} 3".encode() for name in ("disk", "emulator/qemu", "seal")
    }


def test_there_is_no_seal_beside_what_does_not_belong_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two files: whoever looks for the seal finds none."""
    filled(tmp_path, ("seal", "disk", "kernel"))
    move = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if path.name == "kernel":
            raise KeyboardInterrupt
        return move(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        filled(tmp_path, ("seal", "disk", "kernel", "more"))
    assert (tmp_path / "disk").read_text() == "disk 4"
    assert not (tmp_path / "seal").exists()
