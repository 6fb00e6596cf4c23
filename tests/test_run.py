"""What a run of the workflow says, from the jobs that it has to do to what came of them."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from factories import raw_records, write_raw
from hvcost.errors import ConfigError
from hvcost.planning import config, plan, run
from hvcost.planning.experiment import Experiment
from hvcost.planning.run import Job

SCHEMA = Path(__file__).parents[1] / "config/schema.yaml"


def session(system: str) -> Job:
    return Job("measure_session", {"env": "env1", "system": system, "boot": "1"})


@pytest.fixture
def experiment() -> Experiment:
    link = {"rate_mbit": 1000, "network": "198.18.1.0/24"}
    ends = {"host": {"connection": "emulated"}, "client": {"connection": "local"}}
    content = {
        "systems": {name: {"hypervisor": name} for name in ("bare-metal", "kvm")},
        "environments": {"env1": {"link": link} | ends},
    }
    return config.experiment(content, SCHEMA)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "results/plan.json"


def warned(experiment: Experiment, results: Path) -> list[str]:
    return run.warnings(experiment, results, run.played_otherwise(experiment, results))


def test_sessions_are_announced_in_their_order_and_planned(experiment: Experiment, file: Path) -> None:
    jobs = [session("kvm"), session("bare-metal"), Job("parse_repetitions", {"env": "env1", "system": "kvm"})]
    text, watch = run.at_start(experiment, jobs, 1, file, file.with_name("pace.jsonl"))
    assert watch
    assert text.startswith("To measure: 2 sessions, 20 runs, about ")
    order = [f"  {n}. env1 {each.system} boot 1: " for n, each in enumerate(plan.sessions(experiment), 1)]
    lines = text.splitlines()[1:-1]
    assert all(line.startswith(start) for line, start in zip(lines, order, strict=True))
    assert [each.session for each in plan.load_plan(file).todo] == list(plan.sessions(experiment))


def test_preparations_are_named_before(experiment: Experiment, file: Path) -> None:
    jobs = [session("kvm"), Job("prepare_host", {"env": "env1"}), Job("build_guest_image", {})]
    text, _ = run.at_start(experiment, jobs, 1, file, file.with_name("pace.jsonl"))
    assert "  before that: build_guest_image, prepare_host env1, about " in text


def test_there_may_be_nothing_to_measure(experiment: Experiment, file: Path) -> None:
    text, _ = run.at_start(experiment, [Job("make_report", {})], 1, file, file.with_name("pace.jsonl"))
    assert text.startswith("There is nothing to measure. The rest: 1 step, about ")
    assert plan.load_plan(file).todo == ()
    assert run.at_end(file, file.parent, file.parent, 0.0) == "Measured: there was nothing to measure"


def test_a_check_says_how_long_all_takes_and_plans_nothing(experiment: Experiment, file: Path) -> None:
    text, watch = run.at_start(experiment, [Job("check", {})], 1, file, file.with_name("pace.jsonl"))
    assert (text.startswith("To measure: 2 sessions"), watch) == (True, None)
    assert not file.exists()


def test_taking_back_says_nothing(experiment: Experiment, file: Path) -> None:
    assert run.at_start(experiment, [Job("restore", {})], 1, file, file.with_name("pace.jsonl")) == ("", None)
    assert not file.exists()


def test_at_the_end_it_says_what_came_of_the_plan(experiment: Experiment, file: Path, tmp_path: Path) -> None:
    run.at_start(experiment, [session("kvm"), session("bare-metal")], 1, file, file.with_name("pace.jsonl"))
    write_raw(raw_records({"kvm": 2e8}), file.parent)
    said = run.at_end(file, file.parent, tmp_path / "logs", 0.0)
    assert said.startswith("Measured: 1 of 2 sessions, 10 of 20 runs ok\n")
    assert "failed: env1 bare-metal boot 1: it was not started" in said


def test_the_plan_of_an_earlier_run_is_not_this_one_s(
    experiment: Experiment, file: Path, tmp_path: Path
) -> None:
    run.at_start(experiment, [session("kvm")], 1, file, file.with_name("pace.jsonl"))
    os.utime(file, (1000.0, 1000.0))
    assert run.at_end(file, file.parent, tmp_path, 1001.0) == ""
    assert run.at_end(tmp_path / "absent.json", file.parent, tmp_path, 0.0) == ""


def test_raw_files_without_their_host_are_warned_of(experiment: Experiment, tmp_path: Path) -> None:
    assert warned(experiment, tmp_path) == []
    write_raw(raw_records({"kvm": 2e8}), tmp_path)
    (warning,) = warned(experiment, tmp_path)
    host = tmp_path / "env1/host.json"
    assert warning.startswith(f"{host} is missing: what was measured in env1 stays as it is")
    assert warning.endswith(f"snakemake --force {host}")
    host.write_text("{}")
    assert warned(experiment, tmp_path) == []


def test_sessions_whose_host_is_played_otherwise_now_are_warned_of(
    experiment: Experiment, tmp_path: Path
) -> None:
    records = raw_records({"kvm": 2e8})
    write_raw([replace(each, facts={"emulator": {"accelerator": "tcg"}}) for each in records], tmp_path)
    host = tmp_path / "env1/host.json"
    host.write_text(json.dumps({"acceleration": {"accelerator": "tcg"}}))
    assert warned(experiment, tmp_path) == []
    host.write_text(json.dumps({"acceleration": {"accelerator": "kvm"}}))
    (warning,) = warned(experiment, tmp_path)
    assert warning.startswith("env1 host: it is not played as it was; ")
    assert "(kvm/boot1 tcg)" in warning


@pytest.mark.parametrize("left", ["raw/kvm/boot1/tcp-1.json", "host.json"])
def test_an_environment_of_another_experiment_is_not_overwritten(
    experiment: Experiment, tmp_path: Path, left: str
) -> None:
    other = replace(experiment, results="results/env1")
    run.check_folder(other, tmp_path)
    file = tmp_path / "results/env1" / left
    file.parent.mkdir(parents=True)
    file.touch()
    run.check_folder(experiment, tmp_path)
    with pytest.raises(ConfigError, match="results: results/env1 holds an environment of another experiment"):
        run.check_folder(other, tmp_path)


def test_an_environment_does_not_overwrite_another_experiment(experiment: Experiment, tmp_path: Path) -> None:
    run.check_folder(experiment, tmp_path)
    (tmp_path / "results/env1").mkdir(parents=True)
    (tmp_path / "results/env1/plan.json").touch()
    run.check_folder(replace(experiment, results="results/env1"), tmp_path)
    with pytest.raises(ConfigError, match=r"environments\.env1: results/env1 holds another experiment"):
        run.check_folder(experiment, tmp_path)
