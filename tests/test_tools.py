"""What every tool has to keep to, whatever it measures; each tool's file is found by itself."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hvcost.errors import ConfigError
from hvcost.hypervisors import load_driver, names
from hvcost.machines import facts
from hvcost.machines.local import LocalConnection
from hvcost.model.metric import RETRANSMISSIONS
from hvcost.model.options import checked
from hvcost.model.process import MOST_IN_BACKGROUND, Process, Where, course_of
from hvcost.tools import (
    NoOutput,
    autostart_files,
    completed,
    load_tool,
    options_of,
    tool_names,
    versions_of,
)

ROOT = Path(__file__).parents[1]
README = ROOT / "config/README.md"
ADDRESS = "198.18.1.3"
every_tool = pytest.mark.parametrize("name", tool_names())


def test_helpers_are_no_tools() -> None:
    assert "iperf" in tool_names()
    assert "verdict" not in tool_names()


@every_tool
def test_a_tool_is_named_as_its_file(name: str) -> None:
    assert load_tool(name).name == name


@every_tool
def test_every_option_has_a_default_that_is_allowed(name: str) -> None:
    workload = completed({"tool": name})
    assert completed(workload) == workload
    assert options_of(workload) == load_tool(name).Options()


@every_tool
def test_every_option_is_explained(name: str) -> None:
    sections = re.split(r"^#+ ", README.read_text(), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.startswith(f"Options of `{name}`\n")]
    for field in fields(load_tool(name).Options):
        assert f"| `{field.name}` | " in section


@every_tool
def test_processes_are_told_apart_and_the_last_is_the_foreground_s(name: str) -> None:
    tool = load_tool(name)
    processes = tool.processes(tool.Options(), ADDRESS)
    assert len({process.role for process in processes}) == len(processes)
    for process in processes:
        assert process.limit_s > tool.expected_s(tool.Options()) > 0
    course = course_of(processes)
    assert all(step.ready is None for step in course.steps)
    assert all(server.ready or server.greeting for server in course.servers)


@every_tool
def test_without_output_nothing_is_known(name: str) -> None:
    tool = load_tool(name)
    first = next(step for step in course_of(tool.processes(tool.Options(), ADDRESS)).steps)
    with pytest.raises(NoOutput, match=f"^{first.role}: no output was recorded"):
        tool.read(tool.Options(), {})


@every_tool
def test_who_sends_is_known_of_tools_that_tell_what_was_sent_again(name: str) -> None:
    tool = load_tool(name)
    assert (RETRANSMISSIONS in tool.metrics) == (tool.sender(tool.Options()) is not None)


@every_tool
def test_metrics_and_details_have_names_of_their_own(name: str) -> None:
    tool = load_tool(name)
    every = [metric.name for metric in (*tool.metrics, *tool.details)]
    assert tool.metrics and len(set(every)) == len(every)


def test_no_server_of_a_package_starts_on_this_computer() -> None:
    installs = (ROOT / "scripts/install-packages.sh").read_text()
    for file in autostart_files():
        assert f"--path-exclude={file}" in installs


@pytest.mark.parametrize("machine", ["server", "client"])
def test_a_tool_that_has_more_in_the_background_than_there_is_room_for_is_refused(
    machine: Where, monkeypatch: pytest.MonkeyPatch
) -> None:
    def processes(count: int) -> tuple[Process, ...]:
        beside = [Process(f"p{n}", machine, ("true",), 60, greeting="ready") for n in range(count)]
        return (*beside, Process("last", "client", ("true",), 60))

    kind = type(load_tool("iperf"))
    monkeypatch.setattr(kind, "processes", lambda *_: processes(MOST_IN_BACKGROUND))
    completed({"tool": "iperf"})
    monkeypatch.setattr(kind, "processes", lambda *_: processes(MOST_IN_BACKGROUND + 1))
    complaint = f"^tool: 'iperf' has 4 processes in the background of the {machine}; allowed: at most 3$"
    with pytest.raises(ConfigError, match=complaint):
        completed({"tool": "iperf"})


@pytest.mark.parametrize(
    ("workload", "complaint"),
    [
        ({"tool": "ipref"}, "tool: 'ipref' is not allowed; allowed: .*iperf"),
        ({"tool": "iperf", "parallel": 2}, "parallel: unknown option; allowed: duration_s, bytes, .*window"),
        ({"tool": "iperf", "streams": 0}, "streams: 0 is not allowed; allowed: an integer, 1 to 128"),
        ({"tool": "iperf", "streams": 2.0}, "streams: 2.0 is not allowed"),
        ({"tool": "iperf", "window": "1g"}, "window: '1g' is not allowed; allowed: a number of bytes"),
        ({"tool": "iperf", "window": "1G\n"}, "window: '1G.n' is not allowed"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(workload: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"^{complaint}"):
        options_of(workload)


@pytest.mark.parametrize("window", ["1", "64K", "8M", "1G", None])
def test_a_window_is_allowed_in_every_unit(window: str | None) -> None:
    assert options_of({"tool": "iperf", "window": window}).window == window


@pytest.mark.parametrize("name", names())
def test_options_of_hypervisors_are_checked_in_the_same_way(name: str) -> None:
    kind = load_driver(name).Options
    assert checked(kind, {}) == kind()


def test_versions_are_the_first_line_of_what_programs_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "iperf"
    program.write_text("#!/bin/sh\necho iperf version 2.1.8 >&2\necho and more\nexit 1\n")
    program.chmod(0o755)
    machine = LocalConnection("lab client")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert facts.versions(machine, versions_of(["iperf"])) == {"iperf_version": "iperf version 2.1.8"}
    program.unlink()
    monkeypatch.setenv("PATH", f"{tmp_path}:/nothing")
    for tool in ("setpriv", "sh", "head"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    assert facts.versions(machine, versions_of(["iperf"])) == {}
