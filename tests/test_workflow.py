"""What Snakemake runs when something changes, in which order, and what it says.

Everything here is the logic of Snakemake on the real Snakefile, rules and package. Finished results
are made by a real run of the workflow in a copy of the project whose programs are replaced by
those of tests/workflow, which write the outputs at once: what programs do is tested elsewhere.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import stand_ins
import yaml
from hvcost.planning import config, plan
from hvcost.planning.experiment import Experiment
from hvcost.planning.sources import sources_of
from stand_ins import ANALYSIS, ROOT, Project
from stand_ins import jobs as jobs_of

SCHEMA = ROOT / "config/schema.yaml"
# What is made of all environments together, and what it takes to know which there are.
OVERALL = {"make_report"}
DESCRIPTION = "describe_experiment"
SYSTEMS = ("bare-metal", "qemu", "kvm")
ENVIRONMENTS = ("env1", "env2")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with no results; not to be changed."""
    return stand_ins.make(tmp_path_factory.mktemp("fresh") / "project")


@pytest.fixture(scope="module")
def finished(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project after a whole run; not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(fresh.folder, folder, symlinks=True)
    project = Project(folder)
    (folder / "output.txt").write_text(project.run())
    return project


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to be changed by one test."""
    return Project(_copy(finished, tmp_path))


@pytest.fixture
def empty(fresh: Project, tmp_path: Path) -> Project:
    """A copy of the project with no results, to be changed by one test."""
    return Project(_copy(fresh, tmp_path))


def _copy(project: Project, folder: Path) -> Path:
    return Path(shutil.copytree(project.folder, folder / "project", symlinks=True))


def _sessions(environments: Any = ENVIRONMENTS, systems: Any = SYSTEMS, boot: int = 1) -> set[str]:
    return {
        f"measure_session {environment} {system} {boot}"
        for environment, system in itertools.product(environments, systems)
    }


def _analysis(environments: Any = ENVIRONMENTS, systems: Any = SYSTEMS) -> set[str]:
    """Everything downstream of the raw files of some systems in some environments."""
    pairs = itertools.product(environments, systems)
    return (
        {f"parse_repetitions {environment} {system}" for environment, system in pairs}
        | _of_each("analyse_environment", environments)
        | OVERALL
    )


def _of_each(rule: str, environments: Any = ENVIRONMENTS) -> set[str]:
    return {f"{rule} {environment}" for environment in environments}


def _experiment(project: Project) -> Experiment:
    return config.read(project.folder / "config/config.yaml", SCHEMA)


# --- what is run ---------------------------------------------------------------------------------


def test_all_is_everything(fresh: Project) -> None:
    preparation = {
        "build_guest_image",
        "build_host_image",
        "prepare_host env1",
        "prepare_host env2",
    }
    assert fresh.to_do("all") == preparation | _sessions() | _analysis() | {DESCRIPTION}


def test_figures_of_one_environment_need_no_flag_and_nothing_of_the_other(fresh: Project) -> None:
    preparation = {"build_guest_image", "build_host_image", "prepare_host env2"}
    expected = preparation | _sessions(["env2"]) | _analysis(["env2"]) - OVERALL
    assert fresh.to_do("results/env2/figures") == expected


def test_table_of_one_system_needs_that_system_only(fresh: Project) -> None:
    preparation = {"build_guest_image", "build_host_image", "prepare_host env1"}
    expected = preparation | {"measure_session env1 kvm 1", "parse_repetitions env1 kvm"}
    assert fresh.to_do("results/env1/measurements/kvm.csv") == expected


def test_nothing_changed(finished: Project) -> None:
    assert "Nothing to be done" in finished.run("all")


def test_every_file_touched(project: Project) -> None:
    """All at one instant: Snakemake compares files by content, but of folders it knows a time only."""
    now_s = time.time()
    for file in project.folder.rglob("*"):
        if ".snakemake" not in file.parts and file.is_file():
            os.utime(file, (now_s, now_s))
    assert project.to_do() == set()


def test_comments_changed_in_every_script(project: Project) -> None:
    project.append("scripts/**/*.py", "# a comment\n")
    assert project.to_do() == _analysis() | {DESCRIPTION}


def test_one_more_boot(project: Project) -> None:
    project.change_config(lambda content: content.update(boots=2))
    assert project.to_do() == _sessions(boot=2) | _analysis() | {DESCRIPTION}


def test_options_of_one_system_changed(project: Project) -> None:
    project.change_config(lambda content: content["systems"]["kvm"].update(options={"nic": "e1000"}))
    assert project.to_do() == _sessions(systems=["kvm"]) | _analysis(systems=["kvm"]) | {DESCRIPTION}


def test_system_added(project: Project) -> None:
    added = {"hypervisor": "kvm", "options": {"nic": "e1000"}}
    project.change_config(lambda content: content["systems"].update({"kvm-e1000": added}))
    new = ["kvm-e1000"]
    assert project.to_do() == _sessions(systems=new) | _analysis(systems=new) | {DESCRIPTION}


def test_parser_changed(project: Project) -> None:
    project.append("scripts/parse_repetitions.py", "print()\n")
    assert project.to_do() == _analysis()


def test_tool_changed(project: Project) -> None:
    project.append("scripts/hvcost/tools/iperf.py", "print()\n")
    assert project.to_do() == _analysis()


def test_figure_program_changed(project: Project) -> None:
    project.append("scripts/analyse_environment.py", "print()\n")
    assert project.to_do() == _of_each("analyse_environment") | OVERALL


def test_guest_image_changed(project: Project) -> None:
    project.append("results/guest/manifest.json", "changed")
    hosts = {"prepare_host env1", "prepare_host env2"}
    assert project.to_do() == hosts | _sessions(systems=["qemu", "kvm"]) | _analysis()
    expected = {"prepare_host env1", "measure_session env1 kvm 1", "parse_repetitions env1 kvm"}
    assert project.to_do("results/env1/measurements/kvm.csv") == expected


def test_guest_image_built_again_with_the_same_result(project: Project) -> None:
    project.run("--force", "results/guest/manifest.json")
    assert project.to_do() == set()


def test_guest_packages_changed(project: Project) -> None:
    project.append("envs/guest-packages.txt", "ethtool\n")
    jobs = project.to_do()
    assert "build_guest_image" in jobs
    measured = {job for job in jobs if job.startswith("measure_session")}
    assert measured == _sessions(systems=["qemu", "kvm"])


def test_host_prepared_again(project: Project) -> None:
    project.run("--force", "results/env1/host.json")
    assert project.to_do() == _analysis(["env1"])


@pytest.mark.slow
def test_a_host_that_is_played_otherwise_is_measured_again_and_that_is_said(project: Project) -> None:
    (project.folder / "accelerator").write_text("kvm")
    project.run("--force", "results/env1/host.json")
    said = "env1 host: it is not played as it was; sessions under another accelerator (bare-metal/boot1 tcg, "
    exit_code, output = project.dry_run()
    assert exit_code == 0
    assert said in output
    assert "env2 host: it is not played" not in output
    assert project.to_do() == _sessions(["env1"]) | _analysis(["env1"])
    one = ("results/env1/measurements/kvm.csv",)
    assert project.to_do(*one) == {"measure_session env1 kvm 1", "parse_repetitions env1 kvm"}

    # What was measured since is not measured again.
    project.run(*one)
    rest = _sessions(["env1"], ["bare-metal", "qemu"]) | _analysis(["env1"])
    assert project.to_do() == rest - {"parse_repetitions env1 kvm"}
    project.run()
    exit_code, output = project.dry_run()
    assert "it is not played as it was" not in output
    assert project.to_do() == set()


def test_host_packages_changed(project: Project) -> None:
    project.append("envs/host-packages.txt", "ethtool\n")
    hosts = {"build_host_image", "prepare_host env1", "prepare_host env2"}
    assert project.to_do() == hosts | _analysis()

    project.append("scripts/parse_repetitions.py", "print()\n")
    project.change_config(lambda content: content["systems"]["kvm"].update(options={"nic": "e1000"}))
    changed = _sessions(systems=["kvm"]) | {DESCRIPTION}
    assert project.to_do() == hosts | changed | _analysis()
    project.change_config(lambda content: content.update(boots=2))
    assert project.to_do() == hosts | changed | _sessions(boot=2) | _analysis()
    before = len(project.ran())
    project.run("--cores", "3")
    jobs = [entry["job"].split()[0] for entry in project.ran()[before:]]
    first = jobs.index("measure_session")
    assert "build_host_image" in jobs[:first]
    assert jobs[:first].count("prepare_host") == 2


@pytest.mark.slow
def test_host_that_could_not_be_prepared_does_not_repeat_sessions(project: Project) -> None:
    (project.folder / "preparation-fails").touch()
    project.append("envs/host-packages.txt", "ethtool\n")
    before = len(project.sessions_run())
    assert project.snakemake().returncode != 0
    assert len(project.sessions_run()) == before
    (project.folder / "preparation-fails").unlink()

    project.change_config(lambda content: content["systems"]["kvm"].update(options={"nic": "e1000"}))
    exit_code, output = project.dry_run()
    assert exit_code == 0
    assert "measure_session" not in output
    remedy = "snakemake --force results/env1/host.json"
    assert "results/env1/host.json is missing: what was measured in env1 stays" in output
    assert f"Prepare the host again: {remedy}" in output
    project.run(*remedy.split()[1:])
    assert "measure_session env1 kvm 1" in project.to_do("results/env1/figures")


def test_link_of_one_environment_changed(project: Project) -> None:
    project.change_config(lambda content: content["environments"]["env2"]["link"].update(rate_mbit=10))
    expected = {"prepare_host env2", DESCRIPTION} | _sessions(["env2"]) | _analysis(["env2"])
    assert project.to_do() == expected


def test_description_changed(project: Project) -> None:
    project.change_config(
        lambda content: content["environments"]["env2"]["host"].update(description="a notebook")
    )
    assert project.to_do() == {"analyse_environment env2", DESCRIPTION} | OVERALL


def test_claim_added(project: Project) -> None:
    claim = {"text": "KVM is fast", "systems": ["kvm"], "against": "qemu", "ratio": {"at_least": 2}}
    project.change_config(lambda content: content.update(claims={"fast": claim}))
    assert project.to_do() == OVERALL | {DESCRIPTION}


def test_one_system_measured_again_on_request(project: Project) -> None:
    again = ("results/env1/measurements/kvm.csv", "-R", "measure_session")
    expected = {"measure_session env1 kvm 1", "parse_repetitions env1 kvm"}
    assert project.to_do(*again) == expected
    before = len(project.sessions_run())
    project.run(*again)
    assert project.sessions_run()[before:] == ["env1 kvm 1"]
    assert project.to_do() == _analysis(["env1"], ["kvm"]) - {"parse_repetitions env1 kvm"}


def test_what_a_session_s_files_share_belongs_to_them(project: Project) -> None:
    (project.folder / "results/env1/raw/kvm/boot1/session.json").unlink()
    table = "results/env1/measurements/kvm.csv"
    assert project.to_do(table, "--force") == _sessions(["env1"], ["kvm"]) | {"parse_repetitions env1 kvm"}


def test_command_lines_do_not_grow_with_the_repetitions(project: Project) -> None:
    table = "results/env1/measurements/kvm.csv"
    _, output = project.dry_run(table, "--force", "--printshellcmds")
    (command,) = re.findall(r"python scripts/parse_repetitions\.py (.*)", output)
    planned = "--raw results/env1/raw/kvm --boots 1 --repetitions 2 --workloads tcp"
    assert command == f"{planned} --output {table} --log logs/parse_repetitions/env1/kvm.log"


def test_failed_session_keeps_what_was_measured_before(project: Project) -> None:
    raw = project.folder / "results/env1/raw/kvm/boot1/tcp-1.json"
    before = raw.read_text()
    (project.folder / "session-fails").touch()
    failed = project.snakemake("results/env1/measurements/kvm.csv", "-R", "measure_session")
    assert failed.returncode != 0
    assert raw.read_text() == before


@pytest.mark.slow
def test_a_system_that_fails_takes_no_other_down(empty: Project) -> None:
    (empty.folder / "session-fails").write_text("kvm")
    failed = empty.snakemake("all")
    assert failed.returncode != 0
    measured = {f"{env} {system} 1" for env in ENVIRONMENTS for system in SYSTEMS if system != "kvm"}
    assert set(empty.sessions_run()) == measured
    assert "Measured: 4 of 6 sessions, " in failed.stdout
    for env in ENVIRONMENTS:
        assert f"failed: {env} kvm boot 1: host: no guest gets up" in failed.stdout


# --- order, plan and computers -------------------------------------------------------------------


@pytest.mark.slow
def test_sessions_run_in_the_order_of_the_seed(project: Project) -> None:
    first = plan.sessions(_experiment(project))
    assert project.sessions_run() == [f"{s.environment} {s.system} {s.boot}" for s in first]

    project.change_config(lambda content: content.update(seed=2))
    resampled = _of_each("analyse_environment") | OVERALL | {DESCRIPTION}
    assert project.to_do() == resampled
    second = plan.sessions(_experiment(project))
    assert second != first
    project.run("-R", "measure_session")
    again = project.sessions_run()[len(first) :]
    assert again == [f"{s.environment} {s.system} {s.boot}" for s in second]


def test_plan_is_what_is_run(project: Project) -> None:
    whole = plan.load_plan(project.folder / "results/plan.json")
    assert [step.session for step in whole.todo] == list(whole.sessions)
    before = len(project.sessions_run())

    project.change_config(lambda content: content.update(boots=2))
    (project.folder / "results/env1/raw/qemu/boot1/tcp-2.json").unlink()
    output = project.run()
    current = plan.load_plan(project.folder / "results/plan.json")
    to_do = [f"{p.session.environment} {p.session.system} {p.session.boot}" for p in current.todo]
    assert project.sessions_run()[before:] == to_do
    assert len(current.sessions) == 12
    assert len(to_do) == 7
    assert "env1 qemu 1" in to_do
    assert "To measure: 7 sessions, 14 runs, about " in output
    lines = [line.strip() for line in output.splitlines()]
    for number, name in enumerate(to_do, 1):
        environment, system, boot = name.split()
        start = f"{number}. {environment} {system} boot {boot}: 2 runs, about "
        assert any(line.startswith(start) for line in lines), start
    steps = [line for line in lines if line.startswith("step ")]
    count = len(current.steps)
    assert len(current.ended) == len(steps) == count
    for number, line in enumerate(steps, 1):
        assert line.startswith(f"step {number} of {count}: ")
        assert line.endswith(" left")


def test_next_plan_is_from_what_was_seen(project: Project) -> None:
    assert "nothing was seen of this one yet" in (project.folder / "output.txt").read_text()
    project.append("scripts/make_report.py", "print()\n")
    assert "by what this computer was seen to do" in project.run()


def test_plan_with_nothing_to_measure(project: Project) -> None:
    project.append("scripts/make_report.py", "print()\n")
    assert "nothing to measure" in project.run()


def test_preparations_come_before_the_first_session(finished: Project) -> None:
    jobs = [entry["job"].split()[0] for entry in finished.ran()]
    first = jobs.index("measure_session")
    preparations = {"build_guest_image", "build_host_image", "prepare_host"}
    assert preparations <= set(jobs[:first])
    assert preparations.isdisjoint(jobs[first:])
    output = (finished.folder / "output.txt").read_text()
    assert "build_guest_image, build_host_image, prepare_host env1, prepare_host env2" in output


def test_the_workflow_itself_does_not_grow_with_its_jobs(finished: Project) -> None:
    threads = [entry["threads"] for entry in finished.ran() if not entry["job"].startswith("measure_session")]
    assert len(threads) > 10
    assert max(threads) < 15


def test_programs_run_in_the_python_of_snakemake(finished: Project) -> None:
    assert {Path(entry["python"]).parent for entry in finished.ran()} == {Path(sys.executable).parent}


@pytest.mark.slow
def test_nothing_else_runs_while_this_computer_measures(empty: Project) -> None:
    (empty.folder / "session-takes-s").write_text("0.2")
    empty.run("--cores", "4")
    ran = empty.ran()
    assert len(ran) == 20
    alone = ("prepare_host", "measure_session")
    assert not [pair for pair in _overlapping(ran) for entry in pair if entry["job"].startswith(alone)]


def test_images_are_built_at_the_same_time_on_one_core(empty: Project) -> None:
    (empty.folder / "builds-meet").touch()
    empty.run("--cores", "1", "results/guest/manifest.json", "results/host-image/manifest.json")
    assert {entry["job"] for entry in empty.ran()} == {"build_guest_image", "build_host_image"}


@pytest.mark.slow
def test_computers_of_their_own_measure_at_the_same_time(empty: Project) -> None:
    (empty.folder / "session-takes-s").write_text("0.7")
    empty.change_config(_on_real_machines)
    empty.run("--cores", "4")
    sessions = [entry for entry in empty.ran() if entry["job"].startswith("measure_session")]
    pairs = [(a["job"].split()[1], b["job"].split()[1]) for a, b in _overlapping(sessions)]
    assert len(sessions) == 6
    assert pairs
    assert all(first != second for first, second in pairs)


def _on_real_machines(content: Any) -> None:
    for name, environment in content["environments"].items():
        for end in ("host", "client"):
            address = f"{name}-{end}.example.net"
            environment[end] = {"connection": "ssh", "address": address, "interface": "eth1"}


def _overlapping(ran: list[dict[str, Any]]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (a, b)
        for a, b in itertools.combinations(ran, 2)
        if a["from_s"] < b["to_s"] and b["from_s"] < a["to_s"]
    ]


# --- several experiments in one checkout ----------------------------------------------------------


def _side(project: Project) -> tuple[str, str]:
    """Arguments for a second experiment: the first in a folder of its own, with a larger guest."""
    content = yaml.safe_load((project.folder / "config/config.yaml").read_text())
    content |= {"results": "results/side", "repetitions": 1, "guest": {"memory_mib": 256}}
    content["workloads"]["round-trip"] = {"tool": "netperf", "duration_s": 1}
    (project.folder / "side.yaml").write_text(yaml.safe_dump(content))
    return ("--configfile", "side.yaml")


def _files(folder: Path, but: Path) -> dict[Path, bytes]:
    return {
        path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and but not in path.parents
    }


@pytest.mark.slow
def test_an_experiment_leaves_the_results_of_another_as_they_are(project: Project) -> None:
    results, logs = project.folder / "results", project.folder / "logs"
    side = _side(project)
    before = _files(results, results / "side") | _files(logs, logs / "side")
    assert project.to_do("all", *side) == (
        _of_each("prepare_host") | _sessions() | _analysis() | {DESCRIPTION}
    )
    output = project.run("all", *side)
    assert "Measured: 6 of 6 sessions" in output
    assert "by what this computer was seen to do" in output
    after = _files(results, results / "side") | _files(logs, logs / "side")
    pace = results / "pace.jsonl"
    assert after.pop(pace).startswith(before.pop(pace))
    assert after == before
    assert project.to_do("all") == set()
    assert project.to_do("all", *side) == set()
    for name in ("report.html", "plan.json", "env1/host.json", "env1/figures", "figures", "claims.csv"):
        assert (results / "side" / name).exists()


def test_an_experiment_is_not_measured_in_the_folder_of_another(project: Project) -> None:
    side = _side(project)
    (project.folder / "results/side/raw").mkdir(parents=True)
    assert "results: results/side holds an environment of another experiment" in project.refused(*side)


# --- configurations and mistakes -----------------------------------------------------------------


def test_quick_configuration_takes_the_place_of_the_default(fresh: Project) -> None:
    jobs = fresh.to_do("--configfile", "config/quick.yaml")
    preparation = {"build_guest_image", "build_host_image", "prepare_host quick"}
    systems = (*SYSTEMS, "xen", "virtualbox", "nspawn")
    measured = _sessions(["quick"], systems) | _analysis(["quick"], systems)
    assert jobs == preparation | measured | {DESCRIPTION}


def test_local_configuration_needs_no_host_image(fresh: Project) -> None:
    jobs = fresh.to_do("--configfile", "config/local.yaml")
    systems = ["bare-metal", "qemu"]
    preparation = {"build_guest_image", "prepare_host local"}
    measured = _sessions(["local"], systems) | _analysis(["local"], systems)
    assert jobs == preparation | measured | {DESCRIPTION}


def test_mistakes_are_found_before_anything_starts(empty: Project) -> None:
    empty.change_config(lambda content: content.update(boots=0, repetitons=3))
    output = empty.refused()
    assert "boots: 0 is not allowed; allowed: an integer, 1 to 1000" in output
    assert "repetitons: unknown key; allowed in the configuration: results, study, seed, boots, " in output


def test_mistakes_beyond_the_schema_are_found_too(empty: Project) -> None:
    def mistake(content: Any) -> None:
        content["systems"]["qemu"]["hypervisor"] = "qemuu"
        content["systems"]["kvm"]["options"] = {"colour": "red"}
        content["environments"]["env1"]["systems"] = ["xen"]
        content["environments"]["env2"]["link"]["network"] = "10.0.0.0/24"

    empty.change_config(mistake)
    output = empty.refused()
    assert "systems.qemu.hypervisor: hypervisor 'qemuu' is not allowed; allowed: bare-metal, " in output
    assert "systems.kvm.options.colour: unknown option; allowed: nic, " in output
    assert "environments.env1.systems: there is no system 'xen'; allowed: bare-metal, " in output
    assert "environments.env2.link.network: '10.0.0.0/24' is not allowed; allowed: " in output
    assert "198.18.0.0/15" in output


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("results/env9/figures", "there is no environment 'env9'; allowed: env1, env2"),
        (
            "results/env1/measurements/xen.csv",
            "there is no system 'xen' in environment 'env1'; allowed: bare-metal, qemu, kvm",
        ),
        ("results/env1/raw/kvm/boot7/tcp-1.json", "there is no boot 7; allowed: 1 to 1"),
    ],
)
def test_unknown_target(fresh: Project, target: str, complaint: str) -> None:
    assert complaint in fresh.refused(target)


def test_folder_without_the_project(fresh: Project, tmp_path: Path) -> None:
    shutil.copytree(fresh.folder / "config", tmp_path / "config")
    snakefile = str(fresh.folder / "Snakefile")
    output = fresh.refused("-s", snakefile, "--directory", str(tmp_path))
    assert "run snakemake in the project's folder" in output


def test_folder_with_links_to_the_project(fresh: Project, tmp_path: Path) -> None:
    for name in ("config", "scripts", "envs"):
        (tmp_path / name).symlink_to(fresh.folder / name)
    snakefile = str(fresh.folder / "Snakefile")
    assert _sessions() <= fresh.to_do("-s", snakefile, "--directory", str(tmp_path))


# --- style ---------------------------------------------------------------------------------------


def test_lint() -> None:
    output = Project(ROOT).run("--lint")
    assert "Congratulations" in output


def test_rules_of_analysis_track_all_that_their_programs_import(fresh: Project) -> None:
    inputs: dict[str, set[str]] = {}
    for name, fields in jobs_of(fresh.dry_run()[1]):
        inputs.setdefault(name.split()[0], set()).update(fields["input"].split(", "))
    for rule in ANALYSIS:
        needed = {str(Path(path).relative_to(ROOT)) for path in sources_of(ROOT / f"scripts/{rule}.py")}
        assert needed <= inputs[rule], f"{rule} does not track {sorted(needed - inputs[rule])}"
