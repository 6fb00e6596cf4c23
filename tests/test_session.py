"""One repetition on machines that say what a test wants: what is recorded of it, and why it failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import factories
import pytest
from hvcost import session
from hvcost.errors import MachineError, ParseError
from hvcost.hypervisors import RunningSystem, load_driver
from hvcost.machines.background import Backgrounds
from hvcost.machines.base import CommandResult, Connection
from hvcost.machines.local import LocalConnection
from hvcost.machines.shell import Shell
from hvcost.model.metric import Metric, Value
from hvcost.model.process import Process
from hvcost.model.record import End
from hvcost.session import Run, SessionSpec
from hvcost.tools import Tool, check_exit, output_of
from hvcost.tools.iperf2_text import GREETING

Answer = Callable[[], tuple[int, str, str]]

SPEC = SessionSpec(
    environment="env1",
    system="bare-metal",
    boot=1,
    hypervisor="bare-metal",
    options={},
    workloads={"tcp": {"tool": "iperf", "duration_s": 10, "streams": 1, "window": None}},
    repetitions=1,
    guest=None,
    link=factories.LINK,
    host={"connection": "emulated"},
    client={"connection": "local"},
)


class Client(Connection):
    """Answers what it is told to."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("env1 client")
        self.answer = answer

    def run(self, argv: Sequence[str], **options: Any) -> CommandResult:
        """As if a run of ten seconds had taken them."""
        return replace(super().run(argv, **options), duration_s=10.05)

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        exit_code, stdout, stderr = self.answer()
        return exit_code, stdout.encode(), stderr.encode()

    def open_stream(self, argv: Any, *, outlives_us: bool = False) -> Any:
        raise NotImplementedError

    def put(self, source: Path, destination: str) -> None:
        raise NotImplementedError


class Talking:
    """A machine's shell whose clocks go right and whose processes have said `said`, or that is gone."""

    def __init__(self, name: str, said: str = "", *, is_gone: bool = False) -> None:
        self.name = name
        self.slowness = 1.0
        greeting, _, rest = said.partition(f"{GREETING} 5001\n")
        self.to_say = [[*greeting.splitlines(), f"{GREETING} 5001"], rest.splitlines()]
        self.is_gone = is_gone
        self.asked: list[str] = []

    def ask(self, request: str, *, timeout_s: float = 60.0) -> str:
        self.asked.append(request)
        if self.is_gone and "news" in request and len(self.asked) > 3:
            raise MachineError(f"{self.name}: it is gone")
        if request.startswith("start "):
            return ""
        if "proc/stat" in request:
            return "cpu 1 2 3 4 5 6 7 8 9 10\n"
        news = ""
        if "news" in request:
            # What is new is said once: the greeting first.
            news = "".join(f"o|{line}\n" for line in (self.to_say.pop(0) if self.to_say else []))
        return f"clocks 1000.000100 10.00 1000.000200\nrx_bytes 1\ntx_bytes 1\n{news}"


def repetition(client: Answer, server: Talking, host: Talking | None = None) -> session._Seen:
    """What is seen of one repetition."""
    host = host or Talking("env1 host")
    bench = session._Bench(
        client=Client(client),
        system=RunningSystem(Client(client), "198.18.1.2", {}, "/nowhere"),
        driver=load_driver("bare-metal")({}),
        host=cast(Shell, host),
        server=cast(Shell, server),
        cards={"client": (cast(Shell, Talking("env1 client")), "lo"), "host": (cast(Shell, host), "lo")},
        background=Backgrounds(cast(Shell, server), "/nowhere/", 60),
        beside=Backgrounds(cast(Shell, Talking("env1 client")), "/nowhere/", 60),
    )
    return session._repetition(SPEC, Run("tcp", 1, 1), bench)


def says(*of_iperf: Any) -> Answer:
    """A client on which iperf says this."""
    return lambda: of_iperf


def server(said: str, *, is_gone: bool = False) -> Talking:
    """A server that starts, has said this, and may be gone when it is to report."""
    return Talking("env1 host", said or f"{GREETING} 5001\n", is_gone=is_gone)


GOOD = says(0, factories.client_output(44e6), "")


def test_outputs_are_recorded_by_role_with_the_witnesses_of_all_machines() -> None:
    seen = repetition(GOOD, server(factories.server_output(44e6)))
    assert seen.trouble is None
    assert set(seen.outputs) == {"client", "server"}
    assert seen.outputs["client"].argv[:2] == ("iperf", "-c")
    assert set(seen.witnesses) == {"client", "host", "server"}


def test_cards_are_read_again_when_the_server_has_reported_not_when_the_client_ends() -> None:
    """What a slow guest has not read by then is still to pass them."""
    guest, host = server(factories.server_output(44e6)), Talking("env1 host")
    host.asked = guest.asked
    assert repetition(GOOD, guest, host).trouble is None
    kinds = [kind for request in guest.asked for kind in ("news", "card") if kind in request]
    assert kinds.count("card") == 2
    assert kinds[-2:] == ["news", "card"]


@pytest.mark.parametrize(("direction", "is_asked"), [("to-guest", False), ("from-guest", True)])
def test_a_guest_is_asked_what_it_sent_again_only_if_it_sends(
    monkeypatch: pytest.MonkeyPatch, direction: str, is_asked: bool
) -> None:
    """In a guest of two translations that takes as long as a program; the client is asked always."""
    monkeypatch.setitem(
        cast(dict[str, Any], SPEC.workloads), "tcp", {"tool": "iperf", "direction": direction}
    )
    guest = server(factories.server_output(44e6))
    seen = repetition(GOOD, guest)
    assert set(seen.witnesses) == {"client", "host", "server"}
    count = sum("resent" in request for request in guest.asked)
    assert count == (2 if is_asked else 0)


def test_what_went_wrong_first_is_told_first() -> None:
    seen = repetition(says(1, "", "connect failed"), server("", is_gone=True))
    assert seen.trouble == (
        "client: ended with exit code 1 and said: connect failed; then: env1 host: it is gone"
    )
    assert set(seen.outputs) == {"client"}


def test_a_good_client_is_not_blamed_for_a_server_that_is_gone() -> None:
    seen = repetition(GOOD, server(factories.server_output(44e6), is_gone=True))
    assert seen.trouble == "env1 host: it is gone"


def test_both_troubles_are_told_in_their_order() -> None:
    def lost() -> tuple[int, str, str]:
        raise MachineError("env1 client: it is gone")

    seen = repetition(lost, server("", is_gone=True))
    assert seen.trouble == "env1 client: it is gone; then: env1 host: it is gone"


def test_what_the_server_said_is_kept_when_the_client_is_lost() -> None:
    def lost() -> tuple[int, str, str]:
        raise MachineError("env1 client: it is gone")

    seen = repetition(lost, server(f"{GREETING} 5001\nit waits"))
    assert seen.trouble == "env1 client: it is gone"
    assert "it waits" in seen.outputs["server"].stdout
    assert "server" in seen.witnesses


def test_nobody_waits_for_the_report_of_a_run_whose_client_failed() -> None:
    silent = server("")
    seen = repetition(says(0, "", "connect failed: Connection refused"), silent)
    assert seen.trouble is None
    assert sum("news" in request for request in silent.asked) == 2


# --- what the client does one after the other, and what runs beside it


@dataclass(frozen=True)
class NoOptions:
    """There are none."""


class Steps(Tool):
    """Something alone, then the same again beside something else."""

    name = "steps"
    packages = ()
    version_argv = ("true",)
    Options = NoOptions
    metrics = (Metric("steps", "1", "steps"),)

    def __init__(self, folder: Path, beside: str) -> None:
        self.folder = folder
        self.beside = beside

    def expected_s(self, options: NoOptions) -> float:
        return 1.0

    def processes(self, options: NoOptions, address: str) -> tuple[Process, ...]:
        def step(role: str, script: str, greeting: str = "") -> Process:
            return Process(role, "client", ("sh", "-c", script, str(self.folder)), 60, greeting=greeting)

        seen = '[ -e "$0/runs" ] && echo beside || echo alone'
        return (step("idle", seen), step("load", self.beside, "ready\n"), step("loaded", seen))

    def read(self, options: NoOptions, outputs: Mapping[str, End]) -> Mapping[str, Value]:
        for role in ("idle", "loaded"):
            check_exit(role, output_of(outputs, role))
        if output_of(outputs, "load").stdout != "ready\nended\n":
            raise ParseError("load: it was not ended")
        return {"steps": Value(3.0)}


RUNS = 'trap "rm \\"$0/runs\\"; echo ended; exit" TERM; >"$0/runs"; echo ready; while :; do sleep 0.05; done'


def steps(
    machine: LocalConnection, folder: Path, beside: str, monkeypatch: pytest.MonkeyPatch
) -> session._Seen:
    """What is seen of a repetition of this tool on a real client."""
    tool = Steps(folder, beside)
    monkeypatch.setattr(session, "load_tool", lambda _: tool)
    monkeypatch.setattr(session, "options_of", lambda _: NoOptions())
    host = cast(Shell, Talking("env1 host"))
    with machine.shell() as shell:
        bench = session._Bench(
            client=machine,
            system=RunningSystem(machine, "198.18.1.2", {}, "/nowhere"),
            driver=load_driver("bare-metal")({}),
            host=host,
            server=host,
            cards={"client": (shell, "lo"), "host": (host, "lo")},
            background=Backgrounds(host, "/nowhere/", 60),
            beside=Backgrounds(shell, f"{folder}/beside-", 60),
        )
        seen = session._repetition(SPEC, Run("tcp", 1, 1), bench)
        assert bench.beside.end() == []
    return seen


def test_what_runs_beside_the_last_step_begins_after_the_first_and_is_ended(
    machine: LocalConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = steps(machine, tmp_path, RUNS, monkeypatch)
    assert seen.trouble is None
    assert {role: (end.exit_code, end.stdout) for role, end in seen.outputs.items()} == {
        "idle": (0, "alone\n"),
        "loaded": (0, "beside\n"),
        "load": (None, "ready\nended\n"),
    }
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_run_beside_them_is_the_trouble_of_the_run(
    machine: LocalConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = steps(machine, tmp_path, "echo no route >&2; exit 1", monkeypatch)
    assert seen.trouble
    assert seen.trouble.startswith("lab host: the load does not start: it ended and said")
    assert "no route" in seen.trouble
    assert set(seen.outputs) == {"idle"}


def test_nothing_more_is_begun_after_a_step_that_failed(
    machine: LocalConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Steps, "processes", failing(Steps.processes))
    seen = steps(machine, tmp_path, RUNS, monkeypatch)
    assert set(seen.outputs) == {"idle"}
    assert seen.trouble is None


def failing(processes: Any) -> Any:
    """The same processes, of which the first fails."""

    def changed(*arguments: Any) -> tuple[Process, ...]:
        first, *others = processes(*arguments)
        return (replace(first, argv=("false",)), *others)

    return changed


def test_what_runs_beside_a_step_that_takes_too_long_is_ended(
    machine: LocalConnection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: object) -> End:
        raise MachineError("lab host: not done within 1 s")

    run = session._run
    monkeypatch.setattr(
        session, "_run", lambda bench, step: (late if step.role == "loaded" else run)(bench, step)
    )
    seen = steps(machine, tmp_path, RUNS, monkeypatch)
    assert seen.trouble == "lab host: not done within 1 s"
    assert seen.outputs["load"].stdout == "ready\nended\n"
    assert list(tmp_path.iterdir()) == []


def test_each_round_runs_every_workload_once_and_the_longest_first() -> None:
    """Whatever their order in the configuration, which is not kept: a short run finds the system warm."""
    workloads = {"round-trip": {"tool": "netperf", "duration_s": 2}, **SPEC.workloads}
    runs = session.runs_of(replace(SPEC, workloads=workloads, repetitions=2))
    assert [(run.number, run.workload, run.repetition) for run in runs] == [
        (1, "tcp", 1),
        (2, "round-trip", 1),
        (3, "tcp", 2),
        (4, "round-trip", 2),
    ]


def test_each_end_knows_the_system_by_the_address_that_it_has_there() -> None:
    system = RunningSystem(LocalConnection("guest"), "198.18.1.3", {}, inner_address="203.0.113.3")
    course = session._course({"tool": "iperf"}, system)
    assert course.servers[0].argv[-1] == "203.0.113.3"
    assert course.steps[-1].argv[2] == "198.18.1.3"
