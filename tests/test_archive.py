"""Archives of results: whole, the same every time, free of secrets, and analysed again to the same bytes.

The results are those of tests/data/study.tar.xz, which a run of the default experiment left.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import archive_results
import pytest
import yaml
from hvcost.errors import ConfigError
from hvcost.model import description
from hvcost.planning import config
from test_reanalysis import change_description, contents, unpacked

ROOT = Path(__file__).parents[1]
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
MANIFEST = {"format": 1, "kernel": "6.12", "files": {"disk.qcow2": {"bytes": 4, "sha256": "00"}}}
# Figures are drawn for each archive.
slow = pytest.mark.slow


def archived(results: Path, *arguments: str | Path, **environment: str) -> None:
    """Make an archive with a program of its own."""
    subprocess.run(
        [sys.executable, ROOT / "scripts/archive_results.py", results, *arguments],
        env={**os.environ, **environment},
        check=True,
    )


def study(folder: Path) -> Path:
    """The sample, with images and their keys as a run leaves them."""
    results = unpacked(folder / "results")
    for image in ("guest", "host-image"):
        (results / image).mkdir()
        (results / image / "manifest.json").write_text(json.dumps(MANIFEST))
        (results / image / "disk.qcow2").write_bytes(b"QFI\xfb")
    (results / "host-image/id_ed25519").write_text(KEY)
    (results / "host-image/known_hosts").write_text("[127.0.0.1]:2222 ssh-ed25519 AAAA\n")
    (results / "machines").mkdir()
    (results / "machines/env1-host.qcow2").write_bytes(b"QFI\xfb")
    (results / "notes.txt").write_text("the root password is hunter2")
    return results


def extracted(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


def graph(crate: Path) -> dict[str, Any]:
    """Entities of the description, by id."""
    said = json.loads((crate / "ro-crate-metadata.json").read_text())
    return {entity["@id"]: entity for entity in said["@graph"]}


def ids(value: Any) -> list[str]:
    return [each["@id"] for each in (value if isinstance(value, list) else [value])]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is archived; not to be changed."""
    return study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def archive(results: Path) -> Path:
    archived(results)
    return Path(f"{results}.zip")


@pytest.fixture(scope="module")
def crate(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive, unpacked; not to be changed."""
    return extracted(archive, tmp_path_factory.mktemp("crate"))


@slow
def test_same_folder_gives_the_same_archive(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.zip"
    other = {"LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    archived(study(tmp_path / "elsewhere"), "--output", again, **other)
    assert again.read_bytes() == archive.read_bytes()


@slow
def test_archive_is_analysed_again_to_the_same_bytes(crate: Path, tmp_path: Path) -> None:
    """By the programs that are in it, of raw files alone."""
    copy = tmp_path / "crate"
    shutil.copytree(crate, copy)
    made = [path for path in (copy / "results").rglob("*") if path.suffix not in (".json", "")]
    assert {path.suffix for path in made} == {".csv", ".html", ".png", ".svg"}
    for path in made:
        path.unlink()
    said = subprocess.run(
        [sys.executable, "-B", copy / "scripts/reanalyse.py", copy / "results"],
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert contents(copy) == contents(crate)


@slow
def test_only_results_and_software_are_in_it(archive: Path) -> None:
    with zipfile.ZipFile(archive) as packed:
        entries = packed.infolist()
        text = b"".join(packed.read(entry) for entry in entries if entry.filename.startswith("results/"))
        described = json.loads(packed.read("ro-crate-metadata.json"))["@graph"]
    names = [entry.filename for entry in entries]
    assert names == sorted(set(names))
    folders = {entry.filename for entry in entries if entry.is_dir()}
    assert folders == {f"{parent}/" for name in names for parent in PurePosixPath(name).parents} - {"./"}
    # A validator looks for them.
    assert {each["@id"] for each in described if each["@id"].endswith("/")} - {"./"} <= folders
    entries = [entry for entry in entries if not entry.is_dir()]
    names = [entry.filename for entry in entries]
    for name in names:
        assert not PurePosixPath(name).is_absolute()
        assert ".." not in PurePosixPath(name).parts
    assert {entry.external_attr >> 16 & ~0o111 for entry in entries} == {stat.S_IFREG | 0o644}
    assert {entry.date_time[:3] for entry in entries} == {(2026, 11, 23)}
    assert {name.split("/")[1] for name in names if name.startswith("results/")} == {
        *("env1", "env2", "figures", "guest", "host-image"),
        *("experiment.json", "comparisons.csv", "claims.csv", "report.html"),
    }
    assert [name for name in names if name.startswith(("results/guest/", "results/host-image/"))] == [
        "results/guest/manifest.json",
        "results/host-image/manifest.json",
    ]
    assert b"PRIVATE KEY" not in text
    assert b"hunter2" not in text
    assert {"Snakefile", "requirements.lock", "scripts/reanalyse.py", "config/config.yaml"} < set(names)
    assert not [name for name in names if name.startswith(("tests/", ".git/")) or "__pycache__" in name]


@slow
def test_checksums_are_of_all_other_files(crate: Path, tmp_path: Path) -> None:
    sums = (crate / "manifest-sha256.txt").read_text().splitlines()
    assert {line[66:] for line in sums} == set(contents(crate)) - {"manifest-sha256.txt"}
    check = ["sha256sum", "--check", "--quiet", "--strict", "manifest-sha256.txt"]
    subprocess.run(check, cwd=crate, check=True)
    copy = tmp_path / "crate"
    shutil.copytree(crate, copy)
    raw = copy / "results/env1/raw/kvm/boot1/tcp-1.json"
    raw.write_text(raw.read_text().replace("349 Mbits/sec", "449 Mbits/sec"))
    found = subprocess.run(check, cwd=copy, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "results/env1/raw/kvm/boot1/tcp-1.json: FAILED" in found.stdout


@slow
def test_description_tells_workflow_and_run(crate: Path) -> None:
    entities = graph(crate)
    root, run, workflow = entities["./"], entities["#run"], entities["Snakefile"]
    assert root["mainEntity"] == run["instrument"] == {"@id": "Snakefile"}
    assert "ComputationalWorkflow" in workflow["@type"]
    assert run["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert "error" not in run
    assert "Of 100 planned repetitions, 100 are ok and 0 failed." in root["description"]
    started = [json.loads(raw.read_text())["started_at"] for raw in crate.glob("results/*/raw/*/boot1/*")]
    assert (run["startTime"][:19], run["endTime"][:19]) == (min(started)[:19], max(started)[:19])
    assert root["datePublished"] == "2026-11-23"
    assert "06d57117df56851e93b0c6fd4058170340c735e8" in run["description"]
    assert "results/experiment.json" in ids(run["object"])
    assert {"results/env2/raw/xen/", "results/claims.csv", "results/report.html"} < set(ids(run["result"]))
    assert entities[ids(root["author"])[0]]["name"] == "the hvcost maintainers"
    programs = [entities[id] for id in ids(workflow["softwareRequirements"])]
    told = {(each["name"], each["softwareVersion"]) for each in programs}
    assert ("virtualbox", "7.2.22_Debianr175245") in told
    assert ("python", "3.11.7") in told
    assert "6.12.117+deb13-amd64" in entities["#env1-host"]["description"]


@slow
def test_every_entity_is_there_and_every_reference_leads_to_one(crate: Path) -> None:
    entities = graph(crate)
    for entity in entities.values():
        kinds = entity["@type"] if isinstance(entity["@type"], list) else [entity["@type"]]
        if {"File", "Dataset"} & set(kinds):
            assert (crate / entity["@id"]).exists()
        for key, value in entity.items():
            values = value if isinstance(value, list) else [value]
            for id in (each["@id"] for each in values if isinstance(each, dict)):
                assert id in entities or id.startswith("https://"), (entity["@id"], key, id)


@slow
def test_incomplete_experiment_is_archived_as_that(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    results = unpacked(tmp_path / "results")
    shutil.rmtree(results / "env2/raw/virtualbox")
    (results / "env1/raw/kvm/boot1/tcp-10.json").unlink()
    stray = results / "env1/raw/kvm/boot1/upload-1.json"
    shutil.copy(results / "env1/raw/kvm/boot1/tcp-1.json", stray)
    archive_results.archive(results, None)
    assert "left out 1 raw file that experiment.json does not plan, such as env1/raw/kvm" in caplog.text
    crate = extracted(tmp_path / "results.zip", tmp_path / "crate")
    entities = graph(crate)
    lack = (
        "The experiment is incomplete. Not measured: 1 of 10 repetitions of kvm in env1; "
        "10 of 10 repetitions of virtualbox in env2."
    )
    assert entities["#run"]["actionStatus"] == "http://schema.org/FailedActionStatus"
    assert entities["#run"]["error"] == lack
    assert f"Of 100 planned repetitions, 89 are ok and 0 failed. {lack}" in entities["./"]["description"]
    assert lack in caplog.text
    assert not (crate / "results/env2/raw/virtualbox").exists()
    assert not (crate / stray.relative_to(results.parent)).exists()


@slow
def test_files_that_are_not_made_of_the_raw_files_are_named(
    crate: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    results = tmp_path / "results"
    shutil.copytree(crate / "results", results)
    (results / "claims.csv").write_text("invented\n")
    archive_results.archive(results, None)
    assert "1 file of the archive, such as claims.csv, is not as in" in caplog.text
    made = extracted(tmp_path / "results.zip", tmp_path / "again") / "results/claims.csv"
    assert made.read_bytes() == (crate / "results/claims.csv").read_bytes()


def refused(results: Path, output: Path | None = None) -> str:
    """Why there is no archive of a folder."""
    with pytest.raises(ConfigError) as complaint:
        archive_results.archive(results, output)
    assert not Path(f"{results}.zip").exists()
    return str(complaint.value)


def test_a_raw_file_with_a_key_is_refused(tmp_path: Path) -> None:
    results = study(tmp_path)
    raw = results / "env1/raw/kvm/boot1/tcp-1.json"
    content = json.loads(raw.read_text())
    content["client"]["stderr"] = KEY
    raw.write_text(json.dumps(content))
    assert refused(results) == f"{raw}: holds a private key; nothing is archived"


@pytest.mark.parametrize("name", ["../../etc", "/etc", "a/b", ".."])
def test_names_that_are_paths_are_refused(tmp_path: Path, name: str) -> None:
    results = unpacked(tmp_path / "results")
    environments = json.loads((results / "experiment.json").read_text())["environments"]
    environments[0]["environment"] = name
    change_description(results, environments=environments)
    assert refused(results) == f"{results}/experiment.json: {name!r} is not a name for a file"


def test_nothing_measured_is_nothing_to_archive(tmp_path: Path) -> None:
    results = unpacked(tmp_path / "results")
    for raw in results.glob("env*/raw"):
        shutil.rmtree(raw)
    assert refused(results) == f"{results}: there are no raw files in env1, env2; was anything measured?"


def test_another_format_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "results.tar.gz"
    complaint = refused(unpacked(tmp_path / "results"), output)
    assert complaint == f"--output: {output} is not allowed; allowed: a name that ends in .zip"


@slow
def test_a_copy_without_git_is_archived_as_a_checkout_is(crate: Path) -> None:
    """What an archive holds of the software is what another one made of it would."""
    listing = "from hvcost.machines import provenance; print(*provenance.files_of_this_software(), sep='\\n')"
    said = subprocess.run(
        [sys.executable, "-B", "-c", listing],
        cwd=crate / "scripts",
        capture_output=True,
        text=True,
        check=True,
    )
    made = {"manifest-sha256.txt", "ro-crate-metadata.json"}
    software = {name for name in contents(crate) if not name.startswith("results/")} - made
    assert set(said.stdout.splitlines()) == software


def test_the_configuration_is_found_by_what_it_says(tmp_path: Path) -> None:
    content = config.read(ROOT / "config/quick.yaml", ROOT / "config/schema.yaml").description()
    path = tmp_path / "experiment.json"
    path.write_text(description.as_text(content))
    assert archive_results.configurations_of(description.load(path)) == ["config/quick.yaml"]
    change_description(tmp_path, repetitions=1000)
    assert archive_results.configurations_of(description.load(path)) == []


def test_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["title"], citation["version"]) == (project["name"], project["version"])
    assert citation["license"] == project["license"]


def test_used_as_a_module_the_workflow_says_what_to_do(tmp_path: Path) -> None:
    """A Snakefile as `snakedeploy deploy-workflow` writes it."""
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow/Snakefile").write_text(
        'configfile: "config/config.yaml"\n\n'
        f'module hvcost:\n    snakefile: "{ROOT}/Snakefile"\n    config: config\n\n'
        "use rule * from hvcost\n"
    )
    shutil.copytree(ROOT / "config", tmp_path / "config")
    argv = [sys.executable, "-m", "snakemake", "--cores", "1", "--dry-run"]
    said = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "clone its repository, and run snakemake there" in said.stdout
