"""Two results compared: what changed is found, in the right direction, and nothing else is called one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import compare_results
import factories
import numpy as np
import pytest
from hvcost.analysis import measured, rows
from hvcost.analysis.changes import changes, shared_runs
from hvcost.analysis.comparable import incomparable
from hvcost.analysis.intervals import Evidence, ratio_bootstrap
from hvcost.analysis.measured import Measured
from hvcost.analysis.measurements import OK, Repetition
from hvcost.analysis.medians import median_ratio
from hvcost.analysis.metrics import known
from hvcost.analysis.rows import Change
from hvcost.model import description
from hvcost.report import changes as report
from hvcost.report.circumstances import circumstances
from hvcost.report.words import plain
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reanalysis import unpacked

ROOT = Path(__file__).parents[1]
MARGIN = 0.05
# What arrived and how fast, as iperf 2.1.8 and 2.2.1 print it.
FIGURE = re.compile(r"-([0-9.]+) sec +([0-9.]+) MBytes +[0-9.]+ Mbits/sec")

Raw = dict[str, Any]
Values = Mapping[str, Sequence[float]]


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study; not to be changed."""
    return unpacked(tmp_path_factory.mktemp("old") / "study")


def changed(
    old: Path, folder: Path, change: Callable[[Raw], object], where: str = "*/raw/*/*/*.json"
) -> Path:
    """A copy of the study whose raw files are changed; each is whole, as those of format 1 are."""
    shutil.copytree(old, folder)
    for path in folder.glob(where):
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
    return folder


def slower(raw: Raw, share: float = 0.9) -> None:
    """A run in which less arrived in the same time, by what both ends printed."""

    def said(found: re.Match[str]) -> str:
        megabytes = float(f"{share * float(found[2]):.3g}")
        mbit = megabytes * 1.048576 * 8 / float(found[1])
        return f"-{found[1]} sec  {megabytes:g} MBytes  {mbit:.3g} Mbits/sec"

    for end in ("client", "server"):
        raw[end]["stdout"] = FIGURE.sub(said, raw[end]["stdout"])


def called(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The program, as a terminal or a CI calls it."""
    return subprocess.run(
        [sys.executable, ROOT / "scripts/compare_results.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def compared(old: Path, new: Path) -> report.Comparison:
    return report.comparison(measured.read(old), measured.read(new))


def cells(found: report.Comparison) -> dict[tuple[str, str, str], Change]:
    return {(row.environment, row.system, row.metric): row for row in (cell.row for cell in found.cells)}


def test_a_result_does_not_differ_from_itself(old: Path) -> None:
    found = compared(old, old)
    assert len(found.compared) == len(found.tested) == 2 * 5 * 2
    assert {cell.row.effect for cell in found.cells} == {1.0}
    assert {cell.row.verdict for cell in found.cells} <= {
        rows.EQUIVALENT,
        rows.INCONCLUSIVE,
        rows.NOT_BY_THIS_LINK,
    }
    assert found.circumstances.differences == ()
    assert found.shared_runs == 100
    assert plain(report.answer(found)[0]) == "No difference was found."
    assert "100 runs of NEW are runs of OLD" in report.cautions(found)[0]


def test_a_tenth_less_is_found_and_said_and_written(old: Path, tmp_path: Path) -> None:
    new = changed(old, tmp_path / "new", slower)
    before = {path: path.read_bytes() for path in new.rglob("*") if path.is_file()}
    done = called(old, new, "--csv", tmp_path / "changes.csv", "--html", tmp_path / "changes.html")
    assert (done.returncode, done.stderr) == (1, "")
    assert {path: path.read_bytes() for path in new.rglob("*") if path.is_file()} == before
    found = rows.read(Change, tmp_path / "changes.csv")
    bare_metal = next(
        row
        for row in found
        if (row.environment, row.system, row.metric) == ("env2", "bare-metal", "throughput")
    )
    assert bare_metal.effect == pytest.approx(0.9, abs=0.01)
    assert (bare_metal.verdict, bare_metal.beyond) == (rows.DIFFERENT, rows.WORSE)
    assert bare_metal.effect_high is not None and bare_metal.effect_high < 1 / (1 + MARGIN)
    assert rows.BETTER not in {row.beyond for row in found}
    # The same processor time was spent on less.
    spent = [row.effect for row in found if row.metric == "host_cpu"]
    assert spent == pytest.approx([1 / 0.9] * 10, abs=0.02)
    said = "Worse by more than the margin: TCP throughput of bare-metal in env2, workload tcp, 0.90"
    assert said in done.stdout
    html = (tmp_path / "changes.html").read_text()
    assert said in re.sub("<[^>]*>", "", html)


def test_the_other_way_round_it_is_better_and_nothing_is_worse(old: Path, tmp_path: Path) -> None:
    found = compared(changed(old, tmp_path / "slow", slower), old)
    assert found.beyond(rows.WORSE) == []
    assert cells(found)["env2", "bare-metal", "throughput"].beyond == rows.BETTER
    compare_results.compare(tmp_path / "slow", old, None, None)


def test_the_page_needs_nothing_else_and_every_number_leads_to_its_row(old: Path, tmp_path: Path) -> None:
    new = changed(old, tmp_path / "new", slower)
    shutil.rmtree(new / "env2/raw/qemu")
    page = tmp_path / "changes.html"
    with pytest.raises(SystemExit):
        compare_results.compare(old, new, None, page)
    html = page.read_text()
    targets = set(re.findall('href="#([^"]+)"', html))
    assert targets <= set(re.findall('id="([^"]+)"', html))
    assert len([target for target in targets if target.startswith("change-")]) == 18
    assert not re.search('<script|<link (?!rel="icon" href="data:,")|src=|url\\(|@import|https?://', html)
    assert str(new) not in html and str(old) not in html
    assert html.index("What differs beside the figures") < html.index("What changed")


def test_the_same_results_make_the_same_bytes(old: Path, tmp_path: Path) -> None:
    new = changed(old, tmp_path / "new", slower)
    made = []
    for name in ("one", "two"):
        with pytest.raises(SystemExit):
            compare_results.compare(old, new, tmp_path / f"{name}.csv", tmp_path / f"{name}.html")
        made.append([(tmp_path / f"{name}{kind}").read_bytes() for kind in (".csv", ".html")])
    assert made[0] == made[1]


# What cannot be compared


def test_another_duration_is_refused_where_it_is(old: Path, tmp_path: Path) -> None:
    new = changed(
        old, tmp_path / "new", lambda raw: raw["spec"]["workload"].update(duration_s=9), "env2/raw/*/*/*.json"
    )
    found = compared(old, new)
    assert {cell.row.environment for cell in found.compared} == {"env1"}
    refused = [row for row in cells(found).values() if row.environment == "env2"]
    reason = "it was not measured alike: duration_s is 10 in OLD and 9 in NEW"
    assert {(row.verdict, row.note, row.effect) for row in refused} == {(rows.NOT_COMPARED, reason, None)}
    (told,) = report.left_out(found.cells)
    assert told.what == "bare-metal, kvm, qemu, virtualbox, xen in env2, workload tcp"


def test_where_nothing_can_be_compared_the_exit_code_is_neither_good_nor_bad(
    old: Path, tmp_path: Path
) -> None:
    new = changed(old, tmp_path / "new", lambda raw: raw["spec"]["workload"].update(duration_s=9))
    done = called(old, new)
    assert done.returncode == 2
    assert "duration_s is 10 in OLD and 9 in NEW" in done.stdout
    assert "there is no cell of which both have values enough to compare" in done.stderr


def test_another_tool_is_refused_with_the_units(old: Path) -> None:
    record = measured.read(old).firsts[0]
    other = replace(record, spec={**record.spec, "workload": {"tool": "netperf"}})
    assert incomparable([record], [other]) == (
        "it was measured by iperf (TCP throughput, bit/s) in OLD, "
        "by netperf (median round-trip time, ms) in NEW"
    )


def test_options_that_older_files_lack_have_their_defaults(old: Path) -> None:
    record = measured.read(old).firsts[0]
    whole = {**record.spec["workload"], "bytes": None, "direction": "to-guest", "mss": None}
    assert incomparable([record], [replace(record, spec={**record.spec, "workload": whole})]) == ""


def test_one_result_of_unlike_runs_is_refused(old: Path) -> None:
    record = measured.read(old).firsts[0]
    other = replace(record, spec={**record.spec, "workload": {"tool": "iperf", "streams": 4}})
    assert incomparable([record, other], [record]) == (
        "its runs in OLD were not measured alike: streams is 1 in some and 4 in others"
    )


def test_emulated_machines_do_not_stand_beside_hardware(old: Path) -> None:
    record = measured.read(old).firsts[0]
    real = replace(record, spec={**record.spec, "host": {"connection": "ssh"}})
    assert incomparable([record], [real]).startswith("the machines of OLD are emulated")
    assert incomparable([real], [record]).startswith("the machines of NEW are emulated")


def test_what_only_one_of_both_has_is_listed(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    shutil.copytree(old, new)
    shutil.rmtree(new / "env2/raw/kvm")
    less = tmp_path / "less"
    shutil.copytree(old, less)
    shutil.rmtree(less / "env1")
    found = cells(compared(less, new))
    assert found["env2", "kvm", "throughput"].verdict == rows.ONLY_OLD
    assert found["env1", "kvm", "throughput"].verdict == rows.ONLY_NEW
    assert found["env2", "xen", "throughput"].verdict not in rows.UNCOMPARED
    told = [(each.what, each.verdict) for each in report.left_out(compared(less, new).cells)]
    assert ("kvm in env2, workload tcp", rows.ONLY_OLD) in told


def test_a_figure_that_one_of_both_cannot_have_is_named(old: Path, tmp_path: Path) -> None:
    new = changed(old, tmp_path / "new", lambda raw: raw.update(cpu_time_s=None), "env1/raw/kvm/*/*.json")
    row = cells(compared(old, new))["env1", "kvm", "host_cpu"]
    assert (row.verdict, row.note) == (rows.NOT_COMPARED, "not available in NEW")
    (told,) = report.left_out(compared(old, new).cells)
    assert told.what == "kvm in env1, workload tcp: host processor time"


@pytest.mark.parametrize(
    ("remove", "complaint"),
    [
        ("experiment.json", "not an experiment's description"),
        ("*/raw", "there are no raw files in env1, env2"),
    ],
)
def test_a_folder_without_results_is_refused(old: Path, tmp_path: Path, remove: str, complaint: str) -> None:
    new = tmp_path / "new"
    shutil.copytree(old, new)
    for path in new.glob(remove):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = called(old, new)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("one",), ("one", "two", "three")])
def test_wrong_use_is_explained(arguments: tuple[str, ...]) -> None:
    done = called(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage:" in done.stderr


# What differs beside the figures


def test_facts_that_differ_come_first(old: Path, tmp_path: Path) -> None:
    def newer(raw: Raw) -> None:
        raw["facts"]["host"]["kernel"] = raw["facts"]["host"]["kernel"].replace("6.12", "6.99")
        for machine in raw["facts"].values():
            if machine and "hostname" in machine:
                machine.update(hostname="somebodys-laptop", boot_id="another")
            if machine and "offloads_on" in machine:
                machine["offloads_on"] = " ".join(reversed(machine["offloads_on"].split()))
            if machine and "memory_kib" in machine:
                machine["memory_kib"] += 12
        if raw["system"] == "kvm":
            raw["spec"]["options"]["nic"] = "e1000"

    new = changed(old, tmp_path / "new", newer)
    done = called(old, new, "--html", tmp_path / "changes.html")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    start, end = lines.index("What differs beside the figures:"), lines.index("What changed:")
    told = [line.strip() for line in lines[start + 1 : end - 1]]
    assert len(told) == 3
    assert told[0] == "system: nic: virtio → e1000 (kvm in env1, env2)"
    assert re.fullmatch(r"who played the machines: mark of the computer: [0-9a-f]{8} → [0-9a-f]{8}", told[1])
    assert re.fullmatch(r"host: kernel: 6\.12\.\S+ → 6\.99\.\S+", told[2])
    assert "Other computers played the machines" in done.stdout
    assert "somebodys-laptop" not in done.stdout + (tmp_path / "changes.html").read_text()


def test_what_only_a_newer_file_knows_is_no_difference(old: Path, tmp_path: Path) -> None:
    new = changed(old, tmp_path / "new", lambda raw: raw["facts"]["host"].update(rx_queues=1))
    found = circumstances(measured.read(old), measured.read(new))
    assert (found.differences, found.only_old, found.only_new) == ((), (), ("rx queues of the host",))


# The statistics


def results(values: Values, metric: str = "throughput", rate_mbit: int = 1000, name: str = "old") -> Measured:
    """Results of one environment: of each system a boot of the host for each value, in the metric's unit."""
    environment = factories.environment_config(*values, rate_mbit=rate_mbit)
    content: dict[str, Any] = {
        "seed": 2010,
        "boots": max(map(len, values.values())),
        "repetitions": 1,
        "systems": {system: {"hypervisor": factories.hypervisor_of(system)} for system in values},
    }
    experiment = description.Description(
        **content,
        results="results",
        study=None,
        environments=(description.environment_from(environment),),
        equivalence_margin=MARGIN,
        claims=(),
        content=content,
    )
    table = tuple(
        Repetition(
            environment="env1",
            system=system,
            hypervisor=factories.hypervisor_of(system),
            boot=boot,
            workload="tcp",
            repetition=1,
            session_order=boot,
            run_order=1,
            started_at=f"{name} {system} {boot:04}",
            host_boot=f"{name} {system} {boot}",
            guest_boot="",
            computer="",
            status=OK,
            reason="",
            metric=metric,
            role="primary",
            value=value,
            resolution=1e-6 * abs(value) or 1e-6,
        )
        for system, own in values.items()
        for boot, value in enumerate(own, start=1)
    )
    firsts = tuple(factories.raw_record(system=system, boot=1) for system in values)
    return Measured(experiment, table, firsts)


def around(middle: float, spread: float = 0.01, n: int = 10) -> list[float]:
    return [middle * (1 + spread * (place - (n - 1) / 2) / n) for place in range(n)]


@pytest.mark.parametrize(
    ("metric", "before", "after", "beyond"),
    [
        ("throughput", 500e6, 450e6, rows.WORSE),
        ("throughput", 450e6, 500e6, rows.BETTER),
        ("throughput", 500e6, 490e6, ""),
        ("round_trip", 1.0, 1.2, rows.WORSE),
        ("round_trip", 1.2, 1.0, rows.BETTER),
        ("round_trip_p99", 5.0, 9.0, rows.WORSE),
        ("loss", 1.0, 1.3, rows.WORSE),
        ("loss", 1.3, 1.0, rows.BETTER),
        ("loss", 1.0, 1.05, ""),
    ],
)
def test_worse_is_what_the_metric_says(metric: str, before: float, after: float, beyond: str) -> None:
    old, new = results({"kvm": around(before)}, metric), results({"kvm": around(after)}, metric, name="new")
    (row,) = changes(old, new)
    assert (row.beyond, row.level_old, row.level_new) == (beyond, "boot", "boot")
    compared_by = after / before if known()[metric].compared == "ratio" else after - before
    assert row.effect == pytest.approx(compared_by)
    assert row.effect_low is not None and row.effect_high is not None
    assert row.effect_low < compared_by < row.effect_high


def test_a_difference_that_may_be_within_the_margin_is_not_worse() -> None:
    """The interval has to be beyond the margin, and not just the mean."""
    old, new = results({"kvm": around(500e6, 0.1)}), results({"kvm": around(470e6, 0.1)}, name="new")
    (row,) = changes(old, new)
    assert row.effect is not None and row.effect < 1 / (1 + MARGIN)
    assert (row.verdict, row.beyond) == (rows.DIFFERENT, "")


def test_what_the_link_hides_is_not_worse() -> None:
    """Both are at the limit of 100 Mbit/s, 94.1; a tenth less is not."""
    old = results({"kvm": around(94.0e6, 0.001)}, rate_mbit=100)
    (hidden,) = changes(old, results({"kvm": around(91.0e6, 0.001)}, rate_mbit=100, name="new"))
    assert (hidden.verdict, hidden.beyond) == (rows.NOT_BY_THIS_LINK, "")
    assert hidden.note == "the link may have held OLD back in 10 runs and NEW back in 10 runs"
    (found,) = changes(old, results({"kvm": around(84.0e6, 0.001)}, rate_mbit=100, name="new"))
    assert (found.verdict, found.beyond) == (rows.DIFFERENT, rows.WORSE)
    assert found.note == "the link may have held OLD back in 10 runs"


def test_one_boot_is_one_value_beside_several() -> None:
    one = results({"kvm": around(500e6)})
    table = tuple(replace(row, boot=1, repetition=row.boot, host_boot="the only") for row in one.table)
    one = replace(one, table=table, experiment=replace(one.experiment, boots=1, repetitions=10))
    (row,) = changes(one, results({"kvm": around(400e6)}, name="new"))
    assert (row.values_old, row.values_new, row.verdict, row.beyond) == (1, 10, rows.TOO_FEW, "")
    assert row.note == "kvm in env1 of OLD: 1 session with a value, an interval needs 6"


def test_other_computers_are_compared_as_a_whole_and_common_ones_within_each() -> None:
    """NEW is the same on each; where half of it was measured on a slow one, that is no change."""

    def on(measured: Measured, *computers: str) -> Measured:
        table = tuple(
            replace(row, computer=computers[place % len(computers)])
            for place, row in enumerate(measured.table)
        )
        return replace(measured, table=table)

    fast = results({"kvm": around(500e6, n=12)})
    (moved,) = changes(on(fast, "a"), on(results({"kvm": around(250e6, n=12)}, name="new"), "b"))
    assert moved.effect == pytest.approx(0.5)
    mixed = [value for pair in zip(around(500e6), around(250e6), strict=True) for value in pair]
    both = [on(results({"kvm": mixed}, name=name), "a", "b") for name in ("old", "new")]
    (same,) = changes(both[0], both[1])
    assert same.effect == pytest.approx(1) and same.verdict == rows.EQUIVALENT


def test_primary_metrics_are_one_family_and_each_of_the_others_is_one(old: Path) -> None:
    found = changes(measured.read(old), measured.read(old))
    families = {(row.metric, row.family) for row in found}
    assert families == {("throughput", "primary metrics"), ("host_cpu", "host_cpu")}


@pytest.mark.parametrize("truth", [1.0, 1 / (1 + MARGIN)], ids=["nothing changed", "all just at the margin"])
def test_false_alarms_are_as_rare_as_promised(truth: float) -> None:
    """Six systems of eight boots that vary by 3 to 10 %: the whole comparison is wrong in 5 % at most."""
    random = np.random.default_rng(2010)
    spreads = np.linspace(0.03, 0.10, 6)
    experiments = 100

    def drawn(share: float) -> dict[str, list[float]]:
        return {
            f"kvm-{place}": list(share * 500e6 * random.lognormal(0, spread, 8))
            for place, spread in enumerate(spreads)
        }

    wrong = sum(
        any(
            row.beyond == rows.WORSE
            for row in changes(results(drawn(1.0)), results(drawn(truth), name="new"))
        )
        for _ in range(experiments)
    )
    # Three standard errors above 5 %.
    assert wrong / experiments <= 0.05 + 3 * (0.05 * 0.95 / experiments) ** 0.5
    if truth == 1.0:
        assert wrong == 0


def test_what_is_clearly_worse_is_found_among_many() -> None:
    random = np.random.default_rng(2010)
    before = {f"kvm-{place}": list(500e6 * random.lognormal(0, 0.02, 8)) for place in range(8)}
    after = {
        name: [0.8 * value if name == "kvm-3" else value for value in own] for name, own in before.items()
    }
    found = changes(results(before), results(after, name="new"))
    assert [row.system for row in found if row.beyond] == ["kvm-3"]


positive = st.lists(st.floats(1e6, 1e9), min_size=6, max_size=12)


@settings(max_examples=30, deadline=None)
@given(positive, positive, st.sampled_from([0.0, 0.01, 0.05, 0.3]), st.booleans())
def test_beyond_the_margin_is_where_the_whole_interval_is(
    a: list[float], b: list[float], margin: float, of_medians: bool
) -> None:
    found: Evidence | None
    if of_medians:
        found = median_ratio(np.array(a), np.array(b), 1.0, 1.0)
    else:
        found = ratio_bootstrap(np.array(a), np.array(b), 1.0, 1.0, "a", "b")
    assert found
    interval = found.interval()
    is_beyond = interval.low > 1 + margin or interval.high < 1 / (1 + margin)
    assert (found.beyond_p(margin) < 0.05) == is_beyond
    assert found.beyond_p(0.0) == found.difference_p() <= found.beyond_p(margin)


def test_no_run_is_shared_by_results_of_their_own() -> None:
    old, new = results({"kvm": around(1e6)}), results({"kvm": around(1e6)}, name="new")
    assert shared_runs(old, new) == 0
    assert shared_runs(old, old) == 10


def test_the_point_of_a_sweep_is_named() -> None:
    sweep = {
        "kind": "workload",
        "origin": "tcp",
        "name": "tcp",
        "parameter": "streams",
        "title": "streams",
        "unit": "",
        "others": "",
        "values": [4],
        "names": ["tcp"],
    }
    old = results({"kvm": around(5e6)})
    environment = {**factories.environment_config("kvm"), "sweeps": [sweep]}
    swept = replace(old.experiment, environments=(description.environment_from(environment),))
    (row,) = changes(replace(old, experiment=swept), old)
    assert row.point == "streams 4"


def test_damaged_results_are_named(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    shutil.copytree(old, new)
    (new / "env1/raw/kvm/boot1/tcp-3.json").write_text("{")
    done = called(old, new)
    assert done.returncode == 2
    assert "env1/raw/kvm/boot1/tcp-3.json" in done.stderr
