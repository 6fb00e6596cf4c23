"""Raw records for tests, with output of both ends as iperf 2.0 writes it."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from hvcost.analysis import cells, comparisons, measurements, rows, samples
from hvcost.analysis.rows import CellStatistics, ClaimVerdict, PairComparison
from hvcost.analysis.samples import Run, Sample, Session
from hvcost.model import description, record
from hvcost.model.description import environment_from
from hvcost.model.metric import Metric
from hvcost.model.record import Command, End, Order, Reading, Record, Witness
from hvcost.planning import config

ROOT = Path(__file__).parents[1]
RULER = "-" * 60
# Throughputs of the systems in an environment under a workload, in bit/s.
MeansOf = Callable[[str, str], Mapping[str, float]]


def sample(metric: Metric, values: Sequence[float], resolution: float, /, **changes: Any) -> Sample:
    """A sample of one session; `changes` replace its fields."""
    made = Sample(
        environment="env1",
        system="kvm",
        hypervisor="kvm",
        workload="tcp",
        metric=metric,
        role="primary",
        planned=len(values),
        unavailable=0,
        planned_sessions=1,
        sessions=(Session(1),),
        runs=tuple(Run(Session(1), n, value) for n, value in enumerate(values, 1)),
        resolution=resolution,
    )
    return replace(made, **changes)


LINK = {
    "rate_mbit": 1000,
    "mtu": 1500,
    "network": "198.18.1.0/24",
    "congestion_control": "cubic",
}

FACTS: dict[str, str | int] = {
    "hostname": "host",
    "kernel": "6.12.48+deb13-amd64",
    "cpu_model": "QEMU TCG CPU version 2.5+",
    "cpus": 2,
    "memory_kib": 3_059_824,
    "interface": "measured0",
    "driver": "virtio_net",
    "mtu": 1500,
    "qemu_version": "10.0.3",
}

HOST = {
    "environment": "env1",
    "machine": {"connection": "emulated", "cpus": 2, "memory_mib": 3072},
    "facts": FACTS,
    "prepared_at": "2026-11-23T03:20:00+00:00",
    "changes": [],
}


def number(value: float, step: float, units: tuple[str, ...]) -> str:
    """A number as iperf writes it: three significant digits and a prefix."""
    place = 0
    while value >= step and place < len(units) - 1:
        value, place = value / step, place + 1
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:4.{digits}f} {units[place]}"


def report(stream: int, throughput_bps: float, duration_s: float) -> str:
    """The line with the figure."""
    transfer = number(throughput_bps * duration_s / 8, 1024, ("Bytes", "KBytes", "MBytes", "GBytes"))
    rate = number(throughput_bps, 1000, ("bits/sec", "Kbits/sec", "Mbits/sec", "Gbits/sec"))
    return f"[{stream:3d}]  0.0-{duration_s:4.1f} sec  {transfer}  {rate}"


def client_output(throughput_bps: float, duration_s: float = 10.0, last: str | None = None) -> str:
    """What the client prints; `last` in place of the line with the figure."""
    return (
        f"{RULER}\n"
        "Client connecting to 198.18.1.3, TCP port 5001\n"
        "TCP window size: 16.0 KByte (default)\n"
        f"{RULER}\n"
        "[  3] local 198.18.1.1 port 50308 connected with 198.18.1.3 port 5001\n"
        "[ ID] Interval       Transfer     Bandwidth\n"
        f"{report(3, throughput_bps, duration_s) if last is None else last}\n"
    )


def server_output(throughput_bps: float, duration_s: float = 10.0) -> str:
    """What the server prints of one run."""
    return (
        f"{RULER}\n"
        "Server listening on TCP port 5001\n"
        "TCP window size: 85.3 KByte (default)\n"
        f"{RULER}\n"
        "[  4] local 198.18.1.3 port 5001 connected with 198.18.1.1 port 50308\n"
        "[ ID] Interval       Transfer     Bandwidth\n"
        f"{report(4, throughput_bps, duration_s)}\n"
    )


def end(role: str, stdout: str, stderr: str = "") -> End:
    """One end with this output."""
    argv = ("iperf", "-c", "198.18.1.3", "-t", "10") if role == "client" else ("iperf", "-s")
    is_client = role == "client"
    return End(
        machine=f"env1 {role}",
        argv=argv,
        exit_code=0 if is_client else None,
        stdout=stdout,
        stderr=stderr,
        duration_s=10.05 if is_client else None,
    )


def reading(
    machine: str = "env1 client",
    *,
    ahead_s: float = 1.79e9,
    uptime_s: float = 100.0,
    asked_s: float = 50.0,
    took_s: float = 0.01,
    carried_bytes: int = 0,
    card: str = "speed 1000\nduplex full\n",
    resent: int = 0,
) -> Reading:
    """What a machine says whose clock of the day is ahead of its uptime by so much."""
    real_s = ahead_s + uptime_s
    said = (
        f"clocks {real_s + 0.001:.6f} {uptime_s:.2f} {real_s + 0.002:.6f}\n"
        f"Tcp: RetransSegs\nTcp: {resent}\n"
        f"rx_bytes {carried_bytes}\ntx_bytes 0\n{card}"
    )
    return Reading(machine, said, asked_s, asked_s + took_s)


def witness(
    machine: str = "env1 client",
    *,
    stepped_s: float = 0.0,
    rate: float = 1.0,
    carried_bytes: int = 10**12,
    took_s: float = 0.01,
    card: str = "speed 1000\nduplex full\n",
    resent: int = 0,
) -> Witness:
    """A machine before and after a run of ten seconds; its clock may be stepped, or go at another rate."""
    return Witness(
        reading(machine, took_s=took_s, card=card, resent=1000),
        reading(
            machine,
            ahead_s=1.79e9 + stepped_s,
            uptime_s=100 + 11 * rate,
            asked_s=61.0,
            took_s=took_s,
            carried_bytes=carried_bytes,
            card=card,
            resent=1000 + resent,
        ),
    )


def raw_record(throughput_bps: float = 44.0e6, **changes: Any) -> Record:
    """A successful repetition; `changes` replace its fields, `hypervisor` that of its spec.

    `client` and `server` replace the output of an end, None leaves it out.
    """
    ends = {
        "client": changes.pop("client", end("client", client_output(throughput_bps))),
        "server": changes.pop("server", end("server", server_output(throughput_bps))),
    }
    hypervisor = changes.pop("hypervisor", None) or changes.get("system", "kvm")
    made = Record(
        environment="env1",
        system="kvm",
        boot=1,
        workload="tcp",
        repetition=1,
        status="ok",
        reason=None,
        started_at="2026-11-23T03:31:00.123456+00:00",
        order=Order(session=2, sessions=6, run=1, runs=10, seed=2010),
        spec={
            "hypervisor": hypervisor,
            "options": {},
            "workload": {"tool": "iperf", "duration_s": 10, "streams": 1, "window": None},
            "link": LINK,
            "guest": {"cpus": 1, "memory_mib": 128, "disk_gib": 10},
            "host": {"connection": "emulated"},
        },
        outputs={role: each for role, each in ends.items() if each},
        cpu_time_s={"user": 1.5, "system": 6.25, "interrupts": 0.5, "guests": 0.0},
        proof={"hypervisor": hypervisor, "evidence": {}},
        facts={"controller": {"hostname": "controller"}, "guest": None},
        commands=(Command("env1 client", ("iperf", "--version"), 1, 0.01),),
    )
    return replace(made, **changes)


def failed_record(reason: str = "the guest was not ready after 300 s", **changes: Any) -> Record:
    """A repetition that never got as far as running iperf."""
    return raw_record(status="failed", reason=reason, client=None, server=None, cpu_time_s=None, **changes)


def raw_records(
    means_bps: Mapping[str, float],
    *,
    environment: str = "env1",
    workload: str = "tcp",
    boots: int = 1,
    repetitions: int = 10,
    failed: Collection[tuple[str, int]] = (),
) -> list[Record]:
    """Repetitions of several systems around these throughputs; `failed`: (system, repetition).

    The host is booted for each session, as emulated ones are.
    """
    noise = random.Random(2010)
    made = []
    for system, mean in means_bps.items():
        for boot in range(1, boots + 1):
            for repetition in range(1, repetitions + 1):
                value = mean * noise.uniform(0.9, 1.0)
                place: dict[str, Any] = {
                    "environment": environment,
                    "system": system,
                    "hypervisor": hypervisor_of(system),
                    "boot": boot,
                    "workload": workload,
                    "repetition": repetition,
                    "facts": boots_of(f"host {system} {boot}", f"guest {system} {boot}"),
                }
                if (system, repetition) in failed:
                    made.append(failed_record(**place))
                else:
                    made.append(raw_record(value, **place))
    return made


def write_swept(folder: Path, content: Mapping[str, Any], means_bps: MeansOf, repetitions: int = 10) -> None:
    """What a run of a configuration leaves before its analysis: description, prepared hosts, raw files.

    `means_bps`: throughputs of the systems, by environment and workload.
    """
    made = config.experiment({**content, "repetitions": repetitions}, ROOT / "config/schema.yaml")
    found = []
    for place in made.environments.values():
        for name, workload in made.workloads.items():
            means = means_bps(place.name, name)
            for each in raw_records(means, environment=place.name, workload=name, repetitions=repetitions):
                spec = {**each.spec, "workload": workload, "link": place.link, "guest": place.guest}
                outputs = {role: _with_large_buffers(end) for role, end in each.outputs.items()}
                found.append(replace(each, spec=spec, outputs=outputs))
    write_raw(found, folder)
    for name in made.environments:
        (folder / name / "host.json").write_text(json.dumps(HOST | {"environment": name}), encoding="utf-8")
    (folder / "experiment.json").write_text(description.as_text(made.description()), encoding="utf-8")


def _with_large_buffers(end: End) -> End:
    """What an end of iperf says if the system grants whatever buffers it is asked for."""
    stdout = re.sub(r"TCP window size: .*", "TCP window size: 16.0 MByte", end.stdout)
    return replace(end, stdout=stdout)


def boots_of(host: str | None, guest: str | None) -> dict[str, dict[str, str] | None]:
    """Facts of a record: ids of the boots of host and guest, None if there is nothing known of it."""
    ends = {"host": host, "guest": guest}
    return {end: None if boot_id is None else {"boot_id": boot_id} for end, boot_id in ends.items()}


def hypervisor_of(system: str) -> str:
    """The hypervisor that a system's name begins with."""
    known = ("bare-metal", "qemu", "kvm", "xen", "virtualbox", "nspawn")
    return next(name for name in known if system == name or system.startswith(f"{name}-"))


def environment_config(
    *systems: str, id: str = "env1", rate_mbit: int = 1000, connection: str = "emulated"
) -> dict[str, Any]:
    """What the configuration says about an environment, as the figures' programs take it."""
    return {
        "environment": id,
        "description": "desktop as host, notebook as client",
        "systems": [{"system": system, "hypervisor": hypervisor_of(system)} for system in systems],
        "workloads": ["tcp"],
        "link": LINK | {"rate_mbit": rate_mbit},
        "host": {"connection": connection, "description": "desktop with two processors"},
        "client": {"connection": "local", "description": "notebook"},
        "guest": {"cpus": 1, "memory_mib": 128, "disk_gib": 10},
    }


def cell_statistics(**changes: Any) -> CellStatistics:
    """KVM at a fifth of bare metal, ten repetitions of one boot; `changes` replace its fields."""
    changes.setdefault("hypervisor", hypervisor_of(changes.get("system", "kvm")))
    made = CellStatistics(
        environment="env1",
        system="kvm",
        hypervisor="kvm",
        workload="tcp",
        metric="throughput",
        unit="bit/s",
        compared="ratio",
        role="primary",
        planned=10,
        ok=10,
        failed=0,
        unavailable=0,
        sessions=1,
        host_boots=1,
        guest_boots=1,
        computers="",
        level="repetition",
        values=10,
        mean=184e6,
        standard_deviation=4e6,
        coefficient_of_variation=0.0217,
        median=185e6,
        median_low=180e6,
        median_high=188e6,
        median_confidence=0.978516,
        min=178e6,
        max=190e6,
        resolution=1e6,
        within_sd=4e6,
        between_sd=None,
        effect=0.204,
        effect_low=0.199,
        effect_high=0.209,
        limit=941.482e6,
        limit_share=0.1965,
        runs_at_limit=0,
        at_limit=False,
        drift_tau=-0.11,
        drift_p=0.73,
        lag1_autocorrelation=0.08,
        lag1_p=0.45,
        shapiro_w=0.95,
        shapiro_p=0.67,
        outliers="",
        mean_without_outliers=184e6,
        note="",
    )
    return replace(made, **changes)


def claim_verdict(**changes: Any) -> ClaimVerdict:
    """A claim that was refuted; `changes` replace its fields."""
    made = ClaimVerdict(
        claim="C2",
        text="Xen reaches about twice QEMU’s throughput",
        workload="tcp",
        metric="throughput",
        unit="bit/s",
        compared="ratio",
        environment_a="env1",
        system_a="xen",
        environment_b="env1",
        system_b="qemu",
        at_least=1.6,
        at_most=2.4,
        published=None,
        analogue="",
        link_limited=False,
        effect=3.66,
        effect_low=3.5,
        effect_high=3.8,
        bound="",
        verdict=rows.REFUTED,
        claim_verdict=rows.REFUTED,
        note="",
    )
    return replace(made, **changes)


def primary(table: measurements.Table) -> measurements.Table:
    """Repetitions with the figure of their primary metric."""
    return tuple(each for each in measurements.repetitions(table) if each.role == "primary")


def write_raw(records: list[Record], folder: Path) -> list[Path]:
    """Write records to files as a session does: what its repetitions share is that of the first."""
    paths = []
    firsts: dict[Path, Record] = {}
    for each in records:
        session = folder / each.environment / "raw" / each.system / f"boot{each.boot}"
        first = firsts.setdefault(session, each)
        spec = {**first.spec, "workload": each.spec["workload"]}
        own = replace(each, proof=first.proof, facts=first.facts, start=first.start, spec=spec)
        record.write_session(record.session_of(first), session)
        paths.append(session / record.file_of(each.workload, each.repetition))
        record.write(own, paths[-1])
    return paths


def figure_svg(title: str, description: str) -> str:
    """A figure of the usual size with nothing in it but what the page reads of it."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="504pt" height="324pt" viewBox="0 0 504 324">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        '<rect width="504" height="324" fill="#d9d9d9"/></svg>\n'
    )


def write_results(
    records: Collection[Record],
    folder: Path,
    *,
    environments: Sequence[Mapping[str, Any]],
    claims: Sequence[ClaimVerdict] = (),
    same: Collection[frozenset[str]] = (),
) -> None:
    """A folder of results as the workflow leaves it. `same`: pairs of systems that are one and the same."""
    definitions = {record.system: record.system for record in records}
    for first, second in map(sorted, same):
        definitions[second] = first
    seed = 2010
    links = {each["environment"]: each["link"] for each in environments}
    workloads = list(dict.fromkeys(each.workload for each in records)) or ["tcp"]
    write_raw(list(records), folder)
    boots = max((record.boot for record in records), default=1)
    found = samples.samples(measurements.from_records(records), definitions, boots)
    for each in environments:
        name = each["environment"]
        own = [record for record in records if record.environment == name]
        measurements.write_csv(measurements.from_records(own), folder / name / "measurements.csv")
        of_place = [sample for sample in found if sample.environment == name]
        rows.write(CellStatistics, cells.cells(of_place, links, seed), folder / name / "statistics.csv")
        (folder / name / "host.json").write_text(json.dumps(HOST | {"environment": name}), encoding="utf-8")
        figures = [f"{kind}-{workload}" for kind in ("repetitions", "order") for workload in workloads]
        for stem in ["topology", *figures]:
            write_figure(folder / name / "figures" / f"{stem}.svg")
    for kind in ("means", "ratios"):
        for workload in workloads:
            write_figure(folder / "figures" / f"{kind}-{workload}.svg")
    sweeps = dict.fromkeys(sweep for each in environments for sweep in environment_from(each).sweeps)
    question = comparisons.Question(links, definitions, 0.05, seed, tuple(sweeps))
    rows.write(PairComparison, comparisons.comparisons(found, question), folder / "comparisons.csv")
    rows.write(ClaimVerdict, claims, folder / "claims.csv")
    experiment = {
        "format": 1,
        "seed": seed,
        "boots": boots,
        "repetitions": max((record.repetition for record in records), default=1),
        "workloads": {name: {"tool": "iperf", "duration_s": 10, "streams": 1} for name in workloads},
        "guest": {"cpus": 1, "memory_mib": 128, "disk_gib": 10},
        "systems": {name: {"hypervisor": hypervisor_of(name), "options": {}} for name in definitions},
        "environments": list(environments),
        "analysis": {"equivalence_margin": 0.05},
        "claims": [],
    }
    (folder / "experiment.json").write_text(json.dumps(experiment), encoding="utf-8")


def write_figure(path: Path) -> None:
    """A figure that says which file it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = figure_svg(f"{path.stem} of {path.parent.parent.name}", f"what {path.stem} shows")
    path.write_text(text, encoding="utf-8")
