"""One repetition on machines that say what a test wants: what is recorded of it, and why it failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
from hvcost import session
from hvcost.environments.place import Operation
from hvcost.errors import MachineError
from hvcost.hypervisors import RunningSystem, load_driver
from hvcost.machines.base import CommandResult, Connection
from hvcost.machines.local import LocalConnection
from hvcost.session import Run, SessionSpec

Answer = Callable[[tuple[str, ...]], tuple[int, str, str]]

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


class Machine(Connection):
    """Answers what it is told to; its clocks and files are those of this computer."""

    def __init__(self, name: str, answer: Answer) -> None:
        super().__init__(name)
        self.answer = answer

    def run(self, argv: Sequence[str], **options: Any) -> CommandResult:
        """As if a run of ten seconds had taken them."""
        return replace(super().run(argv, **options), duration_s=10.05)

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        exit_code, stdout, stderr = self.answer(argv)
        return exit_code, stdout.encode(), stderr.encode()

    def open_stream(self, argv: Any, *, outlives_us: bool = False) -> Any:
        raise NotImplementedError

    def put(self, source: Path, destination: str) -> None:
        raise NotImplementedError


def here(argv: tuple[str, ...]) -> tuple[int, str, str]:
    result = LocalConnection("this computer").run(argv, check=False)
    return result.exit_code, result.stdout, result.stderr


def repetition(client: Answer, server: Answer) -> session._Seen:
    """What is seen of one repetition."""
    machine = Machine("env1 host", server)
    operation = Operation(
        host=Machine("env1 host", here),
        host_interface="lo",
        host_address="198.18.1.2",
        client=Machine("env1 client", client),
        client_interface="lo",
        files="",
        runtime="",
    )
    system = RunningSystem(machine, "198.18.1.2", {}, "/nowhere")
    driver = load_driver("bare-metal")({})
    return session._repetition(SPEC, Run("tcp", 1, 1), operation, driver, system)


def says(of_iperf: tuple[int, str, str]) -> Answer:
    """A client on which iperf says this."""
    return lambda argv: of_iperf if argv[0] == "iperf" else here(argv)


def server(said: str, *, asked: list[str] | None = None, is_gone: bool = False) -> Answer:
    """A server that starts, has said this, and may be gone when it is to be stopped."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str, str]:
        script = argv[2]
        clocks = "clocks 1000.000100 10.00 1000.000200\n"
        if "@output" in script:
            if is_gone:
                raise MachineError("env1 host: it is gone")
            return 0, f"{clocks}@output\n{said}", ""
        if "setsid" in script:
            return 0, clocks, ""
        if asked is not None:
            asked.append(script)
        return 0, said, ""

    return answer


def test_outputs_are_recorded_by_role_with_the_witnesses_of_all_machines() -> None:
    good = says((0, factories.client_output(44e6), ""))
    seen = repetition(good, server(factories.server_output(44e6)))
    assert seen.trouble is None
    assert set(seen.outputs) == {"client", "server"}
    assert seen.outputs["client"].argv[:2] == ("iperf", "-c")
    assert set(seen.witnesses) == {"client", "host", "server"}


def test_what_went_wrong_first_is_told_first() -> None:
    seen = repetition(says((1, "", "connect failed")), server("", is_gone=True))
    assert seen.trouble == (
        "client: ended with exit code 1 and said: connect failed; then: env1 host: it is gone"
    )
    assert set(seen.outputs) == {"client"}


def test_a_good_client_is_not_blamed_for_a_server_that_is_gone() -> None:
    good = says((0, factories.client_output(44e6), ""))
    seen = repetition(good, server(factories.server_output(44e6), is_gone=True))
    assert seen.trouble == "env1 host: it is gone"


def test_both_troubles_are_told_in_their_order() -> None:
    def lost(argv: tuple[str, ...]) -> tuple[int, str, str]:
        if argv[0] == "iperf":
            raise MachineError("env1 client: it is gone")
        return here(argv)

    seen = repetition(lost, server("", is_gone=True))
    assert seen.trouble == "env1 client: it is gone; then: env1 host: it is gone"


def test_nobody_waits_for_the_report_of_a_run_whose_client_failed() -> None:
    asked: list[str] = []
    seen = repetition(says((0, "", "connect failed: Connection refused")), server("", asked=asked))
    assert seen.trouble is None
    assert asked == []
    repetition(
        says((0, factories.client_output(44e6), "")), server(factories.server_output(44e6), asked=asked)
    )
    assert len(asked) == 1
