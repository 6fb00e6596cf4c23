"""Metrics as data: what follows from a record, which way is better, and what a link sets a limit to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import factories
import pytest
from hvcost.analysis import measurements, rows
from hvcost.analysis.cells import cells
from hvcost.analysis.claims import verdicts
from hvcost.analysis.comparisons import Question, comparisons
from hvcost.analysis.metrics import analysed, derived, known, metrics_of
from hvcost.analysis.samples import Sample, samples
from hvcost.model.description import Claim
from hvcost.model.metric import HOST_CPU, THROUGHPUT, Metric, Value
from hvcost.model.record import Record, Witness

LINKS = {"env1": {"rate_mbit": 1000, "mtu": 1500}}
SYSTEMS = ("bare-metal", "kvm")
# A metric of which a link allows no less than so much, as a round trip has.
DELAY = Metric("delay", "s", "delay", better="lower", limit=lambda link: 1.0 / link["rate_mbit"])


def spent(records: list[Record], **cpu_time_s: float) -> list[Record]:
    """The records, the processors of whose hosts spent this."""
    return [replace(each, cpu_time_s=cpu_time_s) for each in records]


def host_cpu(records: list[Record]) -> list[measurements.Repetition]:
    found = measurements.repetitions(measurements.from_records(records))
    return [each for each in found if each.metric == "host_cpu"]


def test_the_first_metric_of_a_tool_is_its_primary_one() -> None:
    assert analysed("iperf") == ["throughput", "retransmissions", "fairness", "host_cpu"]
    assert [role for metric, role in metrics_of("iperf").items() if metric == THROUGHPUT] == ["primary"]


def test_processor_time_is_that_of_all_who_spent_it_per_gigabit_that_arrived() -> None:
    record = factories.raw_record(100e6, cpu_time_s={"user": 1.0, "system": 2.5, "guests": 0.5})
    (found,) = host_cpu([record])
    # 10 s of 100 Mbit/s; iperf prints its bytes with three digits.
    assert found.value == pytest.approx(4.0, rel=0.01)
    assert found.resolution == pytest.approx(0.03, rel=0.01)
    assert found.role == "secondary"


def with_direction(record: Record, direction: str) -> Record:
    return replace(record, spec={**record.spec, "workload": {"tool": "iperf", "direction": direction}})


@pytest.mark.parametrize(("direction", "value"), [("to-guest", 7.0), ("from-guest", 90.0)])
def test_retransmissions_are_what_the_sender_s_kernel_counted_per_gigabit(
    direction: str, value: float
) -> None:
    """Whatever iperf prints of them, and whatever the receiver's machine sent again."""
    record = factories.raw_record(
        100e6,
        witnesses={
            "client": factories.witness(resent=7),
            "server": factories.witness("env1 guest", resent=90),
            "host": factories.witness("env1 host", resent=400),
        },
    )
    found = derived(with_direction(record, direction), {"transferred": Value(1e9 / 8)})["retransmissions"]
    assert found == Value(value, 1.0)


def test_retransmissions_that_nobody_read_are_not_available() -> None:
    """In files of the time before they were, of any age; the rest of the run counts."""
    old = factories.witness()
    old = Witness(*(replace(each, said=each.said.replace("Tcp:", "")) for each in (old.before, old.after)))
    for witnesses, reason in (
        (None, "not available: nobody read the client’s kernel for what TCP sent again"),
        ({"client": old}, "not available: env1 client: its kernel was not read for what TCP sent again"),
    ):
        table = measurements.from_records([factories.raw_record(100e6, witnesses=witnesses)])
        rows_of = {row.metric: (row.status, row.reason) for row in table}
        assert rows_of["retransmissions"] == ("unavailable", reason)
        assert rows_of["throughput"] == ("ok", "")


def test_xen_prints_its_processor_time_more_coarsely() -> None:
    record = factories.raw_record(100e6, cpu_time_s={"Domain-0": 3.0, "hvcost-guest": 1.0})
    (found,) = host_cpu([record])
    assert found.value == pytest.approx(4.0, rel=0.01)
    assert found.resolution == pytest.approx(0.2, rel=0.01)


@pytest.mark.parametrize("nothing", [None, {}])
def test_processor_time_that_nobody_can_have_is_neither_ok_nor_failed(
    nothing: dict[str, float] | None,
) -> None:
    records = [factories.raw_record(100e6, repetition=n, cpu_time_s=nothing) for n in range(1, 8)]
    table = measurements.from_records(records)
    assert {each.status for each in host_cpu(records)} == {"unavailable"}
    assert {row.status for row in table if row.metric == "throughput"} == {"ok"}
    made = {cell.metric: cell for cell in cells(samples(table, SYSTEMS, 1), LINKS, 1)}
    throughput, cpu = made["throughput"], made["host_cpu"]
    assert (throughput.ok, throughput.unavailable) == (7, 0)
    assert (cpu.planned, cpu.ok, cpu.failed, cpu.unavailable) == (7, 0, 0, 7)
    assert (cpu.mean, cpu.note) == (None, "not available")


def test_of_a_failed_repetition_no_figure_is_ok() -> None:
    (found,) = host_cpu([factories.failed_record("no guest")])
    assert (found.status, found.value, found.reason) == ("failed", None, "no guest")


def test_an_unavailable_figure_survives_its_file(tmp_path: Path) -> None:
    table = measurements.from_records([factories.raw_record(100e6, cpu_time_s=None)])
    measurements.write_csv(table, tmp_path / "table.csv")
    assert measurements.read_csv(tmp_path / "table.csv") == table


def test_each_metric_has_statistics_comparisons_and_corrections_of_its_own() -> None:
    records = [
        *spent(factories.raw_records({"bare-metal": 567e6}, repetitions=8), user=2.0),
        *spent(factories.raw_records({"kvm": 184e6}, repetitions=8), user=8.0),
    ]
    measured = samples(measurements.from_records(records), SYSTEMS, 1)
    every = [each for each in measured if each.metric.name in ("throughput", "host_cpu")]
    assert [(each.metric.name, each.system) for each in every] == [
        ("throughput", "bare-metal"),
        ("throughput", "kvm"),
        ("host_cpu", "bare-metal"),
        ("host_cpu", "kvm"),
    ]
    definitions = {name: {"hypervisor": name} for name in SYSTEMS}
    found = comparisons(every, Question(LINKS, definitions, 0.05, 1))
    assert [(row.metric, row.role, row.family) for row in found] == [
        ("throughput", "primary", "within env1, tcp"),
        ("host_cpu", "secondary", "within env1, tcp, host_cpu"),
    ]
    made = cells(every, LINKS, 1)
    assert [cell.limit for cell in made if cell.metric == "host_cpu"] == [None, None]
    assert made[3].effect is not None
    assert made[3].effect > 10


def sample(metric: Metric, values: list[float], system: str) -> Sample:
    return factories.sample(metric, values, 1e-6, system=system, hypervisor=system)


def around(middle: float) -> list[float]:
    return [middle * (1 + 0.002 * (place - 4.5)) for place in range(10)]


def test_where_less_is_better_a_link_holds_values_up_and_opens_the_other_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first is at the link's limit of 1 ms: elsewhere it may take less, so the ratio may be lower."""
    claim = Claim("C", "text", ("a",), "b", ("env1",), (), 0.4, 0.6, ("tcp",))
    pair = [sample(DELAY, around(1e-3), "a"), sample(DELAY, around(2e-3), "b")]
    (row,) = verdicts([claim], pair, LINKS, 1)
    assert (row.bound, row.verdict) == ("low", rows.INCONCLUSIVE)
    assert "may be lower" in row.note
    monkeypatch.setattr("hvcost.analysis.comparisons.known", lambda: {"delay": DELAY})
    (compared,) = comparisons(pair, Question(LINKS, {"a": 1, "b": 2}, 0.05, 1))
    assert (compared.runs_at_limit_a, compared.runs_at_limit_b) == (10, 0)
    assert compared.verdict == rows.DIFFERENT


def test_a_claim_is_about_its_own_metric_and_workloads() -> None:
    records = [
        record
        for workload in ("tcp", "short")
        for record in (
            *spent(factories.raw_records({"bare-metal": 500e6}, repetitions=8, workload=workload), user=2.0),
            *spent(factories.raw_records({"kvm": 250e6}, repetitions=8, workload=workload), user=2.0),
        )
    ]
    every = samples(measurements.from_records(records), SYSTEMS, 1)
    half = Claim("half", "text", ("kvm",), "bare-metal", ("env1",), (), 0.4, 0.6, ("short",))
    double = replace(half, name="double", metric="host_cpu", at_least=1.8, at_most=2.2)
    found = verdicts([half, double], every, LINKS, 1)
    assert [(row.claim, row.workload, row.metric, row.verdict) for row in found] == [
        ("half", "short", "throughput", rows.SUPPORTED),
        ("double", "short", "host_cpu", rows.SUPPORTED),
    ]


def test_names_of_metrics_are_unique_and_known() -> None:
    assert known()["host_cpu"] is HOST_CPU
    assert known()["throughput"] is THROUGHPUT
