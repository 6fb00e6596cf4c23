"""What a text says, read by other and simpler code than the parsers': what they take has to agree with it.

Nothing here refuses a text: that is the parsers' task. A reader is asked only of texts that were taken. It
finds the numbers that a person would point at, and gives what follows from them, by the names of the figures.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

Texts = Mapping[str, str]
Said = dict[Any, Any]

BYTES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
BITS = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
MILLISECONDS = {"ns": 1e-6, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
PLAIN = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")


def complaints(figures: Mapping[Any, Any], said: Mapping[Any, Any]) -> list[str]:
    """What was taken from a text and is not said there."""
    return [
        f"{name} is {value!r}, but the text says {said.get(name, 'nothing of it')!r}"
        for name, value in figures.items()
        if not _same(value, said.get(name))
    ]


def _same(value: Any, said: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or type(value) is type(said) is int:
        return bool(value == said)
    is_number = isinstance(said, int | float) and not isinstance(said, bool)
    return is_number and math.isfinite(value) and math.isclose(value, said, rel_tol=1e-6, abs_tol=1e-9)


class Contradiction(Exception):
    """A text that says two things at once, and was taken all the same."""


def _number(printed: str) -> float:
    """A number as everybody writes it; Python reads others as well."""
    if not PLAIN.fullmatch(printed):
        raise Contradiction(f"{printed!r} is no number")
    return float(printed)


# --- iperf 2 over TCP


@dataclass(frozen=True)
class _Row:
    """A line of an interval: of what, what follows its rate, and how many streams a total counts."""

    of: str
    begins_s: float
    ends_s: float
    bytes: float
    bps: float
    rest: str = ""
    counted: int = 0

    @property
    def seconds(self) -> float:
        return self.ends_s - self.begins_s


_ROW = re.compile(
    r"^\[ *\*?([0-9]+|SUM)(?:-([0-9]+))?\] *(\S+?)- *(\S+) +sec "
    r"+(\S+) ([KMGTP]?)Bytes? +(\S+) ([KMGTP]?)(bit|Byte)s?/sec(.*)"
)


def _rows(text: str) -> Iterator[_Row]:
    for line in text.splitlines():
        if found := _ROW.match(line):
            of, counted, begins, ends, amount, unit, rate, prefix, kind, rest = found.groups()
            per_s = BITS[prefix] if kind == "bit" else 8 * BYTES[prefix]
            row = _Row(
                of,
                _number(begins),
                _number(ends),
                _number(amount) * BYTES[unit],
                _number(rate) * per_s,
                rest,
                int(counted or 0),
            )
            second_step = max(_step(begins), _step(ends))
            _check_row(row, _step(amount) * BYTES[unit], second_step, _step(rate) * per_s)
            yield row
        elif re.match(r"(?:[+-][0-9]{4}:)?[0-9]{14}[.,]", line):
            fields = line.strip().split(",")
            of = "SUM" if fields[5] == "-1" else " ".join(fields[1:6])
            begins, ends, amount, rate = (
                [*fields[6].split("-"), *fields[7:9]] if "-" in fields[6] else fields[6:10]
            )
            row = _Row(of, _number(begins), _number(ends), _number(amount), _number(rate))
            _check_row(row, 1, max(_step(begins), _step(ends)), 1)
            yield row


def _step(printed: str) -> float:
    """One step of the last digit."""
    return 10.0 ** -len(printed.partition(".")[2])


def _check_row(row: _Row, byte_step: float, second_step: float, bps_step: float) -> None:
    """Contradiction unless bytes, seconds and rate agree: a hundredth, and a step of each last digit."""
    least_s, most_s = row.seconds - 2 * second_step, row.seconds + 2 * second_step
    least, most = 8 * (row.bytes - byte_step) / most_s, math.inf
    if least_s > 0:
        most = 8 * (row.bytes + byte_step) / least_s
    if not 0.99 * least - bps_step <= row.bps <= 1.01 * most + bps_step:
        raise Contradiction(f"{row.bytes:g} bytes in {row.seconds:g} s are not {row.bps:g} bit/s")


def _of_all(text: str) -> tuple[_Row, list[_Row]]:
    """The row that tells of the whole run, and those of its streams."""
    rows = list(_rows(text))
    streams = {row.of for row in rows} - {"SUM"}
    # A total of more streams than there are is that of an earlier connection as well.
    last = {row.of: row for row in rows if row.counted <= len(streams)}
    ends_s = max(row.ends_s for row in last.values())
    total = last.pop("SUM", None)
    whole = total or next(iter(last.values()))
    if whole.begins_s > 0 or (total is None and (len(last) > 1 or whole.ends_s < ends_s)):
        raise Contradiction("no row tells of the whole run")
    return whole, list(last.values())


def iperf_text(texts: Texts) -> Said:
    text = texts["text"]
    whole, streams = _of_all(text)
    return {
        "throughput_bps": whole.bps,
        "transferred_bytes": whole.bytes,
        "duration_s": whole.seconds,
        "streams": len(streams),
    }


def _jain(shares: Sequence[float]) -> float:
    return sum(shares) ** 2 / len(shares) / sum(share * share for share in shares)


def iperf(options: Any, texts: Texts) -> Said:
    (client, client_streams), (server, server_streams) = (
        _of_all(texts[f"{role}.stdout"] + texts[f"{role}.stderr"]) for role in ("client", "server")
    )
    is_to_guest = getattr(options, "direction", "to-guest") == "to-guest"
    arrived, streams = (server, server_streams) if is_to_guest else (client, client_streams)
    slower = client if client.bps <= server.bps else server
    rates = [row.bps for row in streams]
    return {
        "throughput": slower.bps,
        "transferred": arrived.bytes,
        "duration": slower.seconds,
        "streams": len(client_streams),
        "client_throughput": client.bps,
        "server_throughput": server.bps,
        **({"fairness": _jain(rates)} if any(rates) else {}),
    }


def iperf_duplex(options: Any, texts: Texts) -> Said:
    found: dict[tuple[str, str], _Row] = {}
    for role in ("client", "server"):
        for row in _rows(texts[f"{role}.stdout"] + texts[f"{role}.stderr"]):
            if row.rest.strip():
                found[role, "read" if re.match(" +[0-9]+=", row.rest) else "written"] = row
    ways = {
        "throughput_to_guest": (found["client", "written"], found["server", "read"]),
        "throughput_from_guest": (found["server", "written"], found["client", "read"]),
    }
    longest_s = max(row.seconds for row in found.values())
    arrived = sum(row.bytes for (_, what), row in found.items() if what == "read")
    return {
        **{name: min(sent.bps, arrived.bps) for name, (sent, arrived) in ways.items()},
        "duplex_throughput": 8 * arrived / longest_s,
        "transferred": arrived,
        "duration": longest_s,
    }


# --- iperf 2 over UDP

_WRITTEN = re.compile(r"^\[ *[0-9]+\].*-([0-9.]+) +sec .*/sec +([0-9]+)/([0-9]+)\S* +\S+ pps", re.MULTILINE)
_NUMBERED = re.compile(r"^\[ *[0-9]+\] Sent ([0-9]+) datagrams", re.MULTILINE)
_COUNTED = re.compile(
    r"^\[ *([0-9]+)\].*-([0-9.]+) +sec .*/sec +([0-9.]+) ms +([0-9]+)/([0-9]+) ", re.MULTILINE
)
_PORTS = re.compile(r"^\[ *([0-9]+)\] local \S+ port ([0-9]+) connected with \S+ port ([0-9]+)", re.MULTILINE)
_DISORDERED = re.compile(r"^\[ *([0-9]+)\].* ([0-9]+) +datagrams received out-of-order", re.MULTILINE)


@dataclass(frozen=True)
class _Datagrams:
    """What a client wrote, how many of it had a number, and what arrived of those."""

    written: int
    failed: int
    sent: int
    lost: int
    disordered: int
    client_s: float
    seconds: float
    jitter_ms: float

    @property
    def arrived(self) -> int:
        return self.sent - self.lost


def _datagrams(client: str, server: str) -> Iterator[_Datagrams]:
    """Of each run of a client that got a report, by the server's reports of them in their numbers' order."""
    client, server = ("\n".join(text.splitlines()) for text in (client, server))
    disordered = {number: int(count) for number, count in _DISORDERED.findall(server)}
    every = re.split(r"^@trial .*$", client, flags=re.MULTILINE)
    runs = [run for run in every if "Server Report" in run]
    unheard = {own for run in every if run not in runs for _, own, _ in _PORTS.findall(run)}
    left = {number for number, _, theirs in _PORTS.findall(server) if theirs in unheard}
    reports = sorted(
        (report for report in _COUNTED.findall(server) if report[0] not in left),
        key=lambda report: int(report[0]),
    )
    if len(runs) != len(reports):
        raise Contradiction(f"{len(runs)} runs and {len(reports)} reports")
    for run, (number, server_s, jitter_ms, lost, total) in zip(runs, reports, strict=True):
        own = run.partition("Server Report")[0]
        ((client_s, written, failed),) = _WRITTEN.findall(own)
        (numbered,) = map(int, _NUMBERED.findall(own))
        yield _Datagrams(
            written=int(written),
            failed=int(failed),
            # The last one has the number before, and all that follow are it once more.
            sent=numbered - 1,
            lost=int(lost) - (int(total) - (numbered - 1)),
            disordered=disordered.get(number, 0),
            client_s=float(client_s),
            seconds=max(float(client_s), float(server_s)),
            jitter_ms=float(jitter_ms),
        )


def iperf_udp(options: Any, texts: Texts) -> Said:
    (run,) = _datagrams(texts["client.stdout"], texts["server.stdout"])
    size = options.message_bytes
    return {
        "loss": 100 * run.lost / run.sent,
        "packet_rate": run.arrived / run.seconds,
        "jitter": run.jitter_ms,
        "out_of_order": 100 * run.disordered / run.sent,
        "udp_throughput": 8 * size * run.arrived / run.seconds,
        "packets": run.arrived,
        "transferred": size * run.arrived,
        "duration": run.seconds,
        "offered": run.written,
    }


def iperf_udp_search(options: Any, texts: Texts) -> Said:
    client = texts["client.stdout"]
    trials = re.findall(r"^@trial ([0-9]+)$(.*?)^@exit", client, re.MULTILINE | re.DOTALL)
    rates = [int(rate) for rate, said in trials if "Server Report" in said]
    unheard = [int(rate) for rate, said in trials if "Server Report" not in said]
    runs = list(_datagrams(client, texts["server.stdout"]))
    passed: dict[int, _Datagrams] = {}
    failed = list(unheard)
    for rate, run in zip(rates, runs, strict=True):
        is_kept = run.failed == 0 and abs(run.written - rate * run.client_s) <= max(
            0.02 * rate * run.client_s, 3
        )
        if is_kept and run.lost * 10**6 <= options.loss_per_million * run.sent:
            passed[rate] = run
        else:
            failed.append(rate)
    best = max(passed)
    packets = sum(run.arrived for run in runs)
    return {
        "lossless_rate": best,
        **({} if unheard else {"packets": packets, "transferred": packets * options.message_bytes}),
        "loss": 100 * passed[best].lost / passed[best].sent,
        "trials": len(trials),
        **({"lowest_failed_rate": min(failed)} if failed else {}),
    }


# --- iperf3


def iperf3(options: Any, texts: Texts) -> Said:
    is_to_guest = options.direction == "to-guest"
    ends = {role: json.loads(texts[f"{role}.stdout"])["end"] for role in ("client", "server")}
    own = {
        "client": ends["client"]["sum_sent" if is_to_guest else "sum_received"],
        "server": ends["server"]["sum_received" if is_to_guest else "sum_sent"],
    }
    rates = {role: 8 * each["bytes"] / each["seconds"] for role, each in own.items()}
    for role, each in own.items():
        if not math.isclose(rates[role], each["bits_per_second"], rel_tol=1e-4):
            raise Contradiction(f"{each} of the {role}")
    receiver = "server" if is_to_guest else "client"
    seconds = max(each["seconds"] for each in own.values()) if is_to_guest else own["client"]["seconds"]
    streams = [stream["receiver"]["bytes"] for stream in ends[receiver]["streams"]]
    return {
        "throughput": 8 * sum(streams) / seconds,
        "transferred": own[receiver]["bytes"],
        "duration": seconds,
        "streams": len(streams),
        "fairness": _jain(streams),
        "client_throughput": rates["client"],
        "server_throughput": rates["server"],
        **_processors(ends),
    }


def _processors(ends: Mapping[str, Any]) -> Said:
    return {f"{role}_cpu": end["cpu_utilization_percent"]["host_total"] for role, end in ends.items()}


def iperf3_udp(options: Any, texts: Texts) -> Said:
    ends = {role: json.loads(texts[f"{role}.stdout"])["end"] for role in ("client", "server")}
    received = ends["server"]["sum_received"]
    arrived = received["bytes"] / options.message_bytes
    seconds = max(ends["client"]["sum_sent"]["seconds"], received["seconds"])
    return {
        "loss": 100 * received["lost_packets"] / received["packets"],
        "packet_rate": arrived / seconds,
        "jitter": received["jitter_ms"],
        "out_of_order": 100 * ends["server"]["streams"][0]["udp"]["out_of_order"] / arrived,
        "udp_throughput": 8 * received["bytes"] / seconds,
        "packets": arrived,
        "transferred": received["bytes"],
        "duration": seconds,
        **_processors(ends),
    }


# --- round trips


def _percentiles(times_ms: Sequence[float], name: str) -> Said:
    """The median, and those percentiles that ten round trips are above of; each is one that was measured."""
    ordered = sorted(times_ms)
    shares = {name: 0.5, f"{name}_p90": 0.9, f"{name}_p99": 0.99, f"{name}_p999": 0.999}
    return {
        key: next(time for n, time in enumerate(ordered, 1) if n >= share * len(ordered) - 1e-9)
        for key, share in shares.items()
        if share == 0.5 or len(ordered) * (1 - share) >= 10 - 1e-9
    }


_TIME = re.compile(r"^\[.*icmp_seq=([0-9]+) .*time=([0-9.]+) ms$", re.MULTILINE)
_SENT = re.compile(r"^([0-9]+) packets transmitted, ([0-9]+) received", re.MULTILINE)


def _pings(text: str) -> tuple[list[float], float]:
    """Round trips in ms, and losses in %."""
    times = [float(time) for _, time in _TIME.findall(text)]
    ((sent, received),) = _SENT.findall(text)
    if int(received) != len(times):
        raise Contradiction(f"{received} received, but {len(times)} answers")
    return times, 100 * (1 - len(times) / int(sent))


def ping(options: Any, texts: Texts) -> Said:
    times, loss = _pings(texts["client.stdout"])
    return {**_percentiles(times, "round_trip"), "loss": loss, "transactions": len(times)}


def irtt(options: Any, texts: Texts) -> Said:
    text = texts["client.stdout"]
    times = []
    for printed in re.findall(r"^seq=[0-9]+ rtt=(\S+) ", text, re.MULTILINE):
        parts = re.findall(r"([0-9.]+)([a-zµ]+)", printed)
        times.append(sum(float(number) * MILLISECONDS[unit] for number, unit in parts))
    ((sent, received),) = re.findall(r"packets sent/received: ([0-9]+)/([0-9]+) ", text)
    if int(received) != len(times):
        raise Contradiction(f"{received} received, but {len(times)} round trips")
    loss = 100 * (1 - len(times) / int(sent))
    return {**_percentiles(times, "round_trip"), "loss": loss, "transactions": len(times)}


def loaded_latency(options: Any, texts: Texts) -> Said:
    idle, _ = _pings(texts["idle.stdout"])
    loaded, loss = _pings(texts["loaded.stdout"])
    stream = iperf(None, texts)
    before = _percentiles(idle, "idle_round_trip")["idle_round_trip"]
    under_load = _percentiles(loaded, "loaded_round_trip")
    return {
        **under_load,
        "latency_increase": under_load["loaded_round_trip"] / before,
        "throughput": stream["throughput"],
        "transferred": stream["transferred"],
        "idle_round_trip": before,
        "loaded_loss": loss,
    }


def _netperf(texts: Texts) -> tuple[Mapping[str, str], float, float, float]:
    """What netperf's lines say; transactions, their rate in 1/s, and the time in s."""
    said = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", texts["client.stdout"], re.MULTILINE))
    transactions = int(said["LOCAL_BYTES_RECVD"]) / int(said["RESPONSE_SIZE"])
    rate, seconds = float(said["TRANSACTION_RATE"]), float(said["ELAPSED_TIME"])
    if not math.isclose(rate * seconds, transactions, rel_tol=0.02, abs_tol=3):
        raise Contradiction(f"{transactions:g} transactions at {rate:g}/s in {seconds:g} s")
    return said, transactions, rate, seconds


def netperf(options: Any, texts: Texts) -> Said:
    said, transactions, rate, seconds = _netperf(texts)
    return {
        "round_trip": int(said["P50_LATENCY"]) / 1000,
        "round_trip_p90": int(said["P90_LATENCY"]) / 1000,
        "round_trip_p99": int(said["P99_LATENCY"]) / 1000,
        "transaction_rate": rate,
        "transactions": transactions,
        "duration": seconds,
        "client_retransmissions": int(said["LOCAL_TRANSPORT_RETRANS"]),
        "server_retransmissions": int(said["REMOTE_TRANSPORT_RETRANS"]),
    }


def netperf_connect(options: Any, texts: Texts) -> Said:
    said, transactions, rate, seconds = _netperf(texts)
    return {
        "connection_rate": rate,
        "connection_time": int(said["P50_LATENCY"]) / 1000,
        "connection_time_p99": int(said["P99_LATENCY"]) / 1000,
        "transactions": transactions,
        "duration": seconds,
    }


BY_TOOL = {
    "iperf": iperf,
    "iperf-duplex": iperf_duplex,
    "iperf-udp": iperf_udp,
    "iperf-udp-search": iperf_udp_search,
    "iperf3": iperf3,
    "iperf3-udp": iperf3_udp,
    "irtt": irtt,
    "loaded-latency": loaded_latency,
    "netperf": netperf,
    "netperf-connect": netperf_connect,
    "ping": ping,
}


# --- what machines say of themselves


def xl_list(texts: Texts) -> Said:
    _head, *lines = [re.split("[ \t]+", line.strip()) for line in texts["text"].splitlines() if line.strip()]
    return {words[0]: _number(words[-1]) for words in lines}


def xl_info(texts: Texts) -> Said:
    pairs = [line.partition(":") for line in texts["text"].split("\n")]
    return {name.rstrip(): value.strip() for name, mark, value in pairs if mark}


def vbox_manage(texts: Texts) -> Said:
    pairs = [re.match(r'("[^"]*"|[^=]*)=(.*)', line) for line in texts["text"].split("\n")]
    return {pair[1].strip('"'): pair[2].strip().strip('"') for pair in pairs if pair}


def facts(texts: Texts) -> Said:
    said: Said = {}
    for line in texts["text"].splitlines():
        name, _, value = line.partition("=")
        if value.strip():
            is_number = name in ("cpus", "memory_kib", "mtu", "rx_queues")
            said[name] = int(value) if is_number and re.fullmatch(r"\s*[0-9]+\s*", value) else value.strip()
    return said


def virtualbox_log(texts: Texts) -> Said:
    """How it runs the guest: by hardware only if a line says one of both names first."""
    mark = "HM: HMR3Init: "
    lines = [line.split(mark, 1)[1].strip() for line in texts["text"].split("\n") if mark in line]
    said = lines[0] if lines else "nothing"
    return {
        "said": said,
        "mode": "hardware" if re.split(r"[^\w-]", said)[0] in ("AMD-V", "VT-x") else "other",
        "paging": "nested" if "nested paging" in said else "other",
    }


def processor_time(texts: Texts) -> Said:
    spent = [_number(ticks) / 100 for ticks in texts["text"].split("\n")[0].split()[1:]]
    guests = spent[8] + spent[9]
    return {
        "user": spent[0] + spent[1] - guests,
        "system": spent[2],
        "interrupts": spent[5] + spent[6],
        "guests": guests,
    }


def leaves(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """What is no object and no list, by the keys and places that lead to it."""
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for name, value in items:
        if isinstance(value, dict | list):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


_TOKEN = r'("(?:[^"\\\x00-\x1f]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null)'


def printed(texts: Texts, figures: Mapping[Any, Any]) -> Said:
    """Of JSON: what was taken, as far as it stands in the text, after its key if it has one."""
    text = "".join(texts.values())
    said: Said = {}
    for path, value in figures.items():
        key = path[-1]
        before = r"[\[,]" if type(key) is int else re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:"
        found = (json.loads(token) for token in re.findall(rf"{before}\s*{_TOKEN}", text))
        if any(type(each) is type(value) and each == value for each in found):
            said[path] = value
    return said


# --- raw files and tables


def raw_file(texts: Texts, *, is_measured: bool) -> Said:
    """What a raw file says of itself, and, if it is a measurement, what its outputs say by the above."""
    content = json.loads(texts["record"])
    said: Said = {name: content[name] for name in ("status", "repetition", "workload")}
    shared = json.loads(texts["session"]) if texts.get("session") else content
    said |= {name: shared[name] for name in ("environment", "system", "boot")}
    said["reason"] = content["reason"] or ""
    ends = content.get("outputs") or {role: content[role] for role in ("client", "server")}
    outputs = {
        f"{role}.{stream}": end[stream]
        for role, end in ends.items()
        if end
        for stream in ("stdout", "stderr")
    }
    workload = content["spec"]["workload"]
    if is_measured:
        figures = BY_TOOL[workload["tool"]](_Options(workload), outputs)
        gigabits = figures["transferred"] / 1.25e8
        said |= figures
        said["host_cpu"] = sum((content["cpu_time_s"] or {}).values()) / gigabits
        if client := (content.get("witnesses") or {}).get("client"):
            counts = [
                re.findall(r"RetransSegs\nTcp: ([0-9]+)$", client[when]["said"], re.MULTILINE)
                for when in ("before", "after")
            ]
            if all(counts):
                said["retransmissions"] = (int(counts[1][0]) - int(counts[0][0])) / gigabits
    return said


class _Options:
    """A workload's options, as attributes."""

    def __init__(self, workload: Mapping[str, Any]) -> None:
        self.__dict__.update(workload)


def table(texts: Texts) -> Said:
    """Fields of a table by line and column, as numbers where they are plain ones."""
    header, *lines = csv.reader(io.StringIO(texts["text"], newline=""))
    said: Said = {}
    for number, fields in enumerate(lines):
        for column, text in zip(header, fields, strict=True):
            is_number = PLAIN.fullmatch(text)
            said[f"{number}.{column}"] = (
                float(text) if is_number else {"yes": True, "no": False}.get(text, text)
            )
            said[f"{number}.{column}.text"] = text
    return said


def configuration(texts: Texts, figures: Mapping[Any, Any], defaults: str) -> Said:
    """Numbers of an experiment as YAML reads them at their place; elsewhere any that it has, or a default.

    `defaults`: texts in which those stand.
    """
    content = yaml.load(texts["text"], yaml.CSafeLoader)
    given = {path: value for path, value in leaves(content) if isinstance(value, int | float)}
    stated = {*given.values(), *map(float, re.findall(r"(?<![\w.])[0-9]+(?:\.[0-9]+)?(?![\w.])", defaults))}
    return {path: given.get(path, value if value in stated else None) for path, value in figures.items()}
