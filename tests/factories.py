"""Raw records for tests, with output of both ends as iperf 2.0 writes it."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hvcost import record
from hvcost.record import Command, End, Order, Record

RULER = "-" * 60

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


def raw_record(throughput_bps: float = 44.0e6, **changes: Any) -> Record:
    """A successful repetition; `changes` replace its fields, `hypervisor` that of its spec."""
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
        },
        client=end("client", client_output(throughput_bps)),
        server=end("server", server_output(throughput_bps * 0.998)),
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
    """Repetitions of several systems around these throughputs; `failed`: (system, repetition)."""
    noise = random.Random(2010)
    made = []
    for system, mean_bps in means_bps.items():
        for boot in range(1, boots + 1):
            for repetition in range(1, repetitions + 1):
                value = mean_bps * noise.uniform(0.9, 1.0)
                place: dict[str, Any] = {
                    "environment": environment,
                    "system": system,
                    "hypervisor": hypervisor_of(system),
                    "boot": boot,
                    "workload": workload,
                    "repetition": repetition,
                }
                if (system, repetition) in failed:
                    made.append(failed_record(**place))
                else:
                    made.append(raw_record(value, **place))
    return made


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


def write_raw(records: list[Record], folder: Path) -> list[Path]:
    """Write records to files as a session does."""
    paths = []
    for each in records:
        path = (
            folder
            / each.environment
            / "raw"
            / each.system
            / f"boot{each.boot}"
            / f"{each.workload}-{each.repetition}.json"
        )
        record.write(each, path)
        paths.append(path)
    return paths
