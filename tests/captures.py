"""Texts of real runs for the fuzzer to damage, by parser, with what reads and what judges them."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import factories
import judges
import yaml
from hvcost.analysis import measurements, rows
from hvcost.analysis.rows import CellStatistics, ClaimVerdict, PairComparison
from hvcost.errors import ConfigError
from hvcost.hypervisors import processor_time_s, virtualbox, xen
from hvcost.machines import facts, qmp
from hvcost.model import record
from hvcost.model.metric import Value
from hvcost.model.record import End
from hvcost.planning import config
from hvcost.tools import load_tool, options_of, tool_names
from hvcost.tools.iperf2_text import parse
from judges import Texts

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests/data"
SCHEMA = ROOT / "config/schema.yaml"
# Where the defaults of all keys and options are written.
DEFAULTS = SCHEMA.read_text() + (ROOT / "config/README.md").read_text()
Figures = Mapping[Any, Any]


@dataclass(frozen=True)
class Capture:
    """What one run, or one file, says: its texts by name. `read` gives figures, or raises an error of ours.

    `judge` says what is wrong with figures that were read of these texts.
    """

    name: str
    texts: Texts
    read: Callable[[Texts], Figures]
    judge: Callable[[Texts, Figures], list[str]]


def all_parsers(folder: Path) -> dict[str, list[Capture]]:
    """Captures by parser; `folder` is for files of those that read files."""
    return {name: captures(folder) for name, captures in PARSERS.items()}


def as_heard(text: str) -> str:
    """A text as a machine's connection hands it over: what is no UTF-8 is replaced."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _heard(texts: Texts) -> Texts:
    return {name: as_heard(text) for name, text in texts.items()}


def _plain(name: str, text: str, read: Callable[[str], Figures], said: Callable[[Texts], Figures]) -> Capture:
    """One text, all of whose figures have to be said in it."""
    return Capture(
        name,
        {"text": text},
        lambda texts: read(as_heard(texts["text"])),
        lambda texts, figures: judges.complaints(figures, said(_heard(texts))),
    )


# --- tools


def _iperf_texts(_folder: Path) -> list[Capture]:
    return [
        _plain(path.parent.name, path.read_text(), _measured, judges.iperf_text)
        for path in sorted(DATA.glob("iperf/*/stdout.txt"))
    ]


def _measured(text: str) -> Figures:
    names = ("throughput_bps", "transferred_bytes", "duration_s", "streams")
    found = parse(text)
    return {name: getattr(found, name) for name in names}


def _tool(name: str, workload: Mapping[str, Any], ends: Mapping[str, End]) -> Capture:
    """A run of a tool; a figure that is a text, since there is none, is not judged."""
    tool, options = load_tool(workload["tool"]), options_of(workload)

    def read(texts: Texts) -> Figures:
        heard = _heard(texts)
        outputs = {
            role: replace(end, stdout=heard[f"{role}.stdout"], stderr=heard[f"{role}.stderr"])
            for role, end in ends.items()
        }
        found = tool.read(options, outputs)
        return {key: one.value for key, one in found.items() if isinstance(one, Value)}

    def judge(texts: Texts, figures: Figures) -> list[str]:
        return judges.complaints(figures, judges.BY_TOOL[tool.name](options, _heard(texts)))

    texts = {
        f"{role}.{stream}": getattr(end, stream)
        for role, end in ends.items()
        for stream in ("stdout", "stderr")
    }
    return Capture(name, texts, read, judge)


def _runs_in_folders(tool: str, _folder: Path) -> list[Capture]:
    """Runs that have a folder each, with a file that says what was asked for, and a file for each output."""
    found = []
    for path in sorted([*DATA.glob(f"{tool}/*/expected.json"), *DATA.glob(f"{tool}/*/case.json")]):
        about = json.loads(path.read_text())
        codes = about.get("exit_codes") or {"client": about["exit_code"], "server": None}
        workload = about.get("workload") or {"tool": tool, **about["options"]}
        ends = {role: _end(path.parent, role, code, about) for role, code in codes.items()}
        found.append(_tool(path.parent.name, workload, ends))
    return found


def _end(folder: Path, role: str, exit_code: int | None, about: Mapping[str, Any]) -> End:
    def said(stream: str) -> str:
        files = [folder / f"{role}{mark}{stream}.txt" for mark in ".-"]
        return next((file.read_text() for file in files if file.exists()), "")

    return End("lab", (), exit_code, said("stdout"), said("stderr"), about.get("duration_s"))


def _iperf_runs(tool: str, _folder: Path) -> list[Capture]:
    """Runs of which both ends were recorded, in folders of their own."""
    found = []
    for path in sorted(DATA.glob("iperf/*-client/expected.json")):
        server = path.parent.with_name(path.parent.name.removesuffix("client") + "server")
        argv = json.loads(path.read_text())["argv"]
        if server.is_dir() and ("--full-duplex" in argv) == (tool == "iperf-duplex"):
            ends = {"client": _end_of_iperf(path.parent, "client"), "server": _end_of_iperf(server, "server")}
            found.append(_tool(path.parent.name, _iperf_workload(tool, argv), ends))
    return found


def _end_of_iperf(folder: Path, role: str) -> End:
    about = json.loads((folder / "expected.json").read_text())
    stderr = folder / "stderr.txt"
    said = stderr.read_text() if stderr.exists() else ""
    exit_code = about["exit_code"] if role == "client" else None
    return End("lab", (), exit_code, (folder / "stdout.txt").read_text(), said, None)


def _iperf_workload(tool: str, argv: list[str]) -> dict[str, Any]:
    """What was asked for by a command line, as the configuration has it."""
    given = dict(zip(argv, [*argv[1:], ""], strict=True))
    workload: dict[str, Any] = {"tool": tool}
    names = {"-t": "duration_s", "-n": "bytes", "-P": "streams", "-l": "length_bytes", "-M": "mss"}
    for flag, name in names.items():
        if given.get(flag, "").isdecimal():
            workload[name] = int(given[flag])
    if "-R" in given:
        workload["direction"] = "from-guest"
    return workload


def _netperf_runs(tool: str, _folder: Path) -> list[Capture]:
    found = []
    for path in sorted(DATA.glob("netperf/*/expected.json")):
        about = json.loads(path.read_text())
        if about["workload"]["tool"] == tool:
            stderr = path.parent / "stderr.txt"
            said = stderr.read_text() if stderr.exists() else ""
            client = End("lab", (), about["exit_code"], (path.parent / "stdout.txt").read_text(), said, 3.0)
            server = End(
                "lab", (), None, "Starting netserver with host '198.18.1.3' port '12865'\n", "", None
            )
            found.append(_tool(path.parent.name, about["workload"], {"client": client, "server": server}))
    return found


_TOOLS = {
    **dict.fromkeys(tool_names(), _runs_in_folders),
    **dict.fromkeys(("iperf", "iperf-duplex"), _iperf_runs),
    **dict.fromkeys(("netperf", "netperf-connect"), _netperf_runs),
}


# --- what machines say of themselves

# As recorded on an emulated host.
XL_LIST = """\
Name                                        ID   Mem VCPUs	State	Time(s)
Domain-0                                     0  2304     2     r-----     148.6
hvcost-guest                                 1   128     1     -b----       9.1
"""
MODE = "00:00:01.656923 HM: HMR3Init: "
STAT = "cpu  8000 100 6000 700000 300 0 900 0 2000 50\ncpu0 4000 50 3000 350000 150 0 450 0 1000 25\n"


def _proof(system: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DATA / f"proofs/{system}.json").read_text())
    return found


def _lines(pairs: Mapping[str, object], mark: str) -> str:
    return "".join(f"{name}{mark}{value}\n" for name, value in pairs.items())


def _xl_list(_folder: Path) -> list[Capture]:
    return [_plain("recorded", XL_LIST, xen.parse_list, judges.xl_list)]


def _xl_domain(_folder: Path) -> list[Capture]:
    """`xl list -l`, with all that it holds by path."""
    return [
        Capture(
            "recorded",
            {"text": json.dumps([_proof("xen")["domain"]], indent=4)},
            lambda texts: dict(judges.leaves(xen.parse_domain(as_heard(texts["text"])))),
            lambda texts, figures: judges.complaints(figures, judges.printed(_heard(texts), figures)),
        )
    ]


def _xl_info(_folder: Path) -> list[Capture]:
    text = _lines(_proof("xen")["xl_info"], ": ")
    return [_plain("recorded", text, xen.parse_info, judges.xl_info)]


def _vbox_info(_folder: Path) -> list[Capture]:
    """As VBoxManage prints it: numbers bare, all else quoted."""
    machine = _proof("virtualbox")["machine"]
    text = "".join(f"{k}={v}\n" if v.isdecimal() else f'{k}="{v}"\n' for k, v in machine.items())
    return [_plain("recorded", text, virtualbox.parse_info, judges.vbox_manage)]


def _vbox_logs(_folder: Path) -> list[Capture]:
    log = (DATA / "virtualbox/guru-meditation.log").read_text()
    head, _, rest = log.partition("\n")
    said = ("AMD-V w/ nested paging", "VT-x w/ nested paging and unrestricted guest execution")
    fallback = "Falling back on IEM: AMD-V is not available"
    return [
        _plain(
            line,
            f"{head}\n00:00:01.65 HM: HMR3Init: {line}\n{rest}",
            virtualbox.parse_log,
            judges.virtualbox_log,
        )
        for line in (*said, fallback)
    ]


def _qmp(_folder: Path) -> list[Capture]:
    return [_monitor(system) for system in ("kvm", "qemu")]


def _monitor(system: str) -> Capture:
    """All messages of a QEMU that is asked for its proof, as it sends them."""
    proof = _proof(system)
    asked = [name for name in proof if name.startswith("query-")]
    version = {"version": proof["query-version"], "capabilities": ["oob"]}
    messages: list[dict[str, Any]] = [{"QMP": version}, {"return": {}, "id": "qmp_capabilities"}]
    messages += [{"return": proof[name], "id": name} for name in asked]

    def read(texts: Texts) -> Figures:
        answers: dict[str, Any] = {}
        for line in as_heard(texts["text"]).split("\n"):
            answers |= qmp.parse(line, "lab")
        return dict(judges.leaves(answers))

    return Capture(
        system,
        {"text": "".join(json.dumps(message) + "\r\n" for message in messages)},
        read,
        lambda texts, figures: judges.complaints(figures, judges.printed(_heard(texts), figures)),
    )


def _facts(_folder: Path) -> list[Capture]:
    return [
        _plain(
            system, _lines(_proof(system)["guest"], "="), lambda text: facts.parse(text, "lab"), judges.facts
        )
        for system in ("kvm", "xen", "virtualbox")
    ]


def _stat(_folder: Path) -> list[Capture]:
    return [_plain("recorded", STAT, processor_time_s, judges.processor_time)]


# --- files


def _raw_files(_folder: Path) -> list[Capture]:
    """Files of format 1 of the study, and of format 2, with witnesses, as they are written now."""
    found = []
    with tarfile.open(DATA / "study.tar.xz") as archive:
        for system in ("bare-metal", "xen", "kvm", "qemu", "virtualbox"):
            file = archive.extractfile(f"env1/raw/{system}/boot1/tcp-1.json")
            assert file
            text = file.read().decode()
            old = record.from_json(text, system, "")
            new = replace(
                old, start=old.commands, commands=old.commands[-2:], witnesses={"client": factories.witness()}
            )
            session = record.session_to_json(record.session_of(new))
            found.append(_raw_file(f"{system}, format 1", {"record": text}))
            found.append(
                _raw_file(f"{system}, format 2", {"record": record.to_json(new), "session": session})
            )
    return found


def _raw_file(name: str, texts: Texts) -> Capture:
    def read(texts: Texts) -> Figures:
        heard = _heard(texts)
        # Otherwise no damaged session would get further than its seal.
        seal = hashlib.sha256(heard.get("session", "").encode()).hexdigest()
        own = re.sub('"session": "[0-9a-f]{64}"', f'"session": "{seal}"', heard["record"])
        run = record.from_json(own, "tcp-1.json", heard.get("session", ""))
        table = measurements.from_records([run])
        row = table[0]
        return {
            **{each.metric: each.value for each in table if each.value is not None},
            **{key: getattr(row, key) for key in ("environment", "system", "boot", "workload", "repetition")},
        }

    return Capture(
        name,
        texts,
        read,
        lambda texts, figures: judges.complaints(
            figures, judges.raw_file(_heard(texts), is_measured="throughput" in figures)
        ),
    )


def _of_file(path: Path, read: Callable[[Path], Any]) -> Callable[[Texts], Figures]:
    """A reader of texts by means of a file; its figures are the fields of all rows."""

    def of_texts(texts: Texts) -> Figures:
        path.write_bytes(texts["text"].encode("utf-8", "surrogateescape"))
        return {
            f"{number}.{field.name}" + (".text" if isinstance(value, str) else ""): value
            for number, row in enumerate(read(path))
            for field in fields(row)
            if (value := getattr(row, field.name)) is not None
        }

    return of_texts


def _table(name: str, text: str, read: Callable[[Texts], Figures]) -> Capture:
    return Capture(
        name, {"text": text}, read, lambda texts, figures: judges.complaints(figures, judges.table(texts))
    )


def _measurements(folder: Path) -> list[Capture]:
    """A table of a session, one of whose runs failed."""
    records = factories.raw_records({"kvm": 184e6}, repetitions=3, failed=[("kvm", 2)])
    path = folder / "measurements.csv"
    measurements.write_csv(measurements.from_records(records), path)
    return [_table("kvm", path.read_text(), _of_file(path, measurements.read_csv))]


def _tables(folder: Path) -> list[Capture]:
    kinds = {
        "env1/statistics.csv": CellStatistics,
        "comparisons.csv": PairComparison,
        "claims.csv": ClaimVerdict,
    }
    found = []
    for name, kind in kinds.items():
        text = "".join((DATA / "study" / name).read_text().splitlines(keepends=True)[:8])
        found.append(_table(name, text, _of_file(folder / "table.csv", partial(rows.read, kind))))
    return found


def _configuration(path: Path) -> Capture:
    """A configuration; what YAML itself refuses is refused before we see it."""

    def read(texts: Texts) -> Figures:
        try:
            content = yaml.load(texts["text"], yaml.CSafeLoader)
        except (yaml.YAMLError, ValueError) as error:
            raise ConfigError(f"not YAML: {error}") from error
        found = config.experiment(content, SCHEMA).description()
        # As the file has them.
        found["environments"] = {each["environment"]: each for each in found["environments"]}
        numbers = judges.leaves(found)
        return {path: one for path, one in numbers if type(one) in (int, float)}

    def judge(texts: Texts, figures: Figures) -> list[str]:
        return judges.complaints(figures, judges.configuration(texts, figures, DEFAULTS))

    return Capture(path.name, {"text": path.read_text()}, read, judge)


def _configurations(_folder: Path) -> list[Capture]:
    return [_configuration(path) for path in sorted(ROOT.glob("config/*.yaml")) if path != SCHEMA]


# Every parser of what others wrote, with what makes its captures.
PARSERS: Mapping[str, Callable[[Path], list[Capture]]] = {
    "iperf's text": _iperf_texts,
    **{name: partial(_TOOLS[name], name) for name in tool_names()},
    "xl list": _xl_list,
    "xl list -l": _xl_domain,
    "xl info": _xl_info,
    "VBoxManage": _vbox_info,
    "VBox.log": _vbox_logs,
    "QMP": _qmp,
    "facts": _facts,
    "/proc/stat": _stat,
    "raw files": _raw_files,
    "measurements.csv": _measurements,
    "other tables": _tables,
    "configuration": _configurations,
}
