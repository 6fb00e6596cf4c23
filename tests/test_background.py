"""Processes in the background of runs: real ones, in a namespace of this computer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hvcost.errors import MachineError
from hvcost.machines import background
from hvcost.machines.background import Background, Backgrounds
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection
from hvcost.machines.shell import Shell
from hvcost.model.process import MOST_IN_BACKGROUND, Bound, Listening, Process

IPERF = Process("server", "server", ("iperf", "-s"), 20, Listening(5001))
REFLECTOR = Process("reflector", "server", ("iperf", "-s", "-u"), 20, Bound(5001))
# Says its greeting, and then a line for every file that appears in its folder.
GREETER = """
echo careful >&2; echo ready
for each in one two three; do
    until [ -e "$0/$each" ]; do sleep 0.02; done
    echo "run $each"
done
sleep 600
"""
# Has connections that are open, and others that were closed a moment ago.
CROWD = """
import socket
import time
server = socket.create_server(("127.0.0.1", 5999), backlog=200)
kept = [socket.create_connection(("127.0.0.1", 5999)) for _ in range(100)]
kept += [server.accept()[0] for _ in range(100)]
for each in range(50):
    kept.pop(each).close()
print("ready", flush=True)
time.sleep(600)
"""


def started(shell: Shell, process: Process, folder: Path) -> Background:
    return Background(shell, process, str(folder), (4, 5), 60)


def greeter(tmp_path: Path) -> Process:
    return Process("greeter", "server", ("sh", "-c", GREETER, str(tmp_path)), 20, greeting="ready\n")


def listening(machine: LocalConnection) -> str:
    return machine.run(["ss", "-Hltun", "sport = :5001"]).stdout


def test_a_server_whose_port_is_taken_does_not_start(shell: Shell, tmp_path: Path) -> None:
    started(shell, IPERF, tmp_path / "first")
    with pytest.raises(MachineError, match="another program listens at port 5001"):
        started(shell, IPERF, tmp_path / "second")


def test_a_server_is_seen_to_listen_among_the_connections_of_others(shell: Shell, tmp_path: Path) -> None:
    crowd = Process("crowd", "server", ("python3", "-c", CROWD), 20, greeting="ready\n")
    Background(shell, crowd, str(tmp_path / "crowd"), (6, 7), 60)
    running = started(shell, IPERF, tmp_path / "first")
    with pytest.raises(MachineError, match="another program listens at port 5001"):
        Background(shell, IPERF, str(tmp_path / "second"), (8, 9), 60)
    running.stop()


def test_a_server_of_udp_is_ready_when_it_has_bound_its_port(
    machine: LocalConnection, shell: Shell, tmp_path: Path
) -> None:
    running = started(shell, REFLECTOR, tmp_path / "first")
    assert "UNCONN" in listening(machine)
    with pytest.raises(MachineError, match="another program listens at port 5001"):
        started(shell, REFLECTOR, tmp_path / "second")
    running.stop()
    assert listening(machine) == ""


def test_a_server_that_cannot_start_says_why(shell: Shell, tmp_path: Path) -> None:
    process = Process("server", "server", ("no-such-server",), 20, Listening(5001))
    with pytest.raises(MachineError, match=r"does not start.*no-such-server"):
        started(shell, process, tmp_path / "server")


def test_one_that_ends_by_itself_is_not_waited_for(shell: Shell, tmp_path: Path) -> None:
    process = Process("probe", "server", ("sh", "-c", "echo begins; printf half; exit 3"), 20)
    running = started(shell, process, tmp_path / "probe")
    running.await_report(lambda _, end: False)
    assert (running.end.stdout, running.end.exit_code) == ("begins\nhalf", None)


def test_each_run_has_the_greeting_and_what_is_its_own(shell: Shell, tmp_path: Path) -> None:
    processes = Backgrounds(shell, f"{tmp_path}/", 60)
    process = greeter(tmp_path)
    said = []
    for each in ("one", "two"):
        (running,) = processes.ready([process])
        (tmp_path / each).touch()
        running.await_report(lambda _, end, each=each: each in end.stdout)  # type: ignore[misc]
        said.append((running.end.stdout, running.end.stderr))
    processes.end()
    assert said == [("ready\nrun one\n", "careful\n"), ("ready\nrun two\n", "careful\n")]


def test_one_that_was_ended_is_started_anew(shell: Shell, tmp_path: Path) -> None:
    processes = Backgrounds(shell, f"{tmp_path}/", 60)
    (first,) = processes.ready([greeter(tmp_path)])
    processes.end()
    (second,) = processes.ready([greeter(tmp_path)])
    assert first is not second


def test_nothing_runs_any_more_when_its_controller_is_gone(machine: LocalConnection, tmp_path: Path) -> None:
    with machine.shell() as shell:
        started(shell, IPERF, tmp_path / "server")
        assert listening(machine)
    deadline = Deadline(60, "end of the server")
    while listening(machine):
        deadline.wait_a_little(0.1)
    assert not (tmp_path / "server").exists()


def test_one_that_a_lost_session_has_left_is_ended(
    machine: LocalConnection, shell: Shell, tmp_path: Path
) -> None:
    started(shell, IPERF, tmp_path / "server")
    with machine.shell() as other:
        running = started(other, IPERF, tmp_path / "server")
        running.stop()
        assert listening(machine) == ""


def test_a_session_whose_end_is_noticed_late_leaves_the_next_ones_server(
    machine: LocalConnection, shell: Shell, tmp_path: Path
) -> None:
    with machine.shell() as lost:
        pid = lost.ask("echo $$").strip()
        started(lost, IPERF, tmp_path / "server")
        running = started(shell, IPERF, tmp_path / "server")
    deadline = Deadline(60, "end of the lost session's shell")
    while machine.succeeds(["test", "-e", f"/proc/{pid}"]):
        deadline.wait_a_little(0.02)
    assert listening(machine)
    running.begin()


def test_one_that_says_no_greeting_does_not_run_on(
    machine: LocalConnection, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "START_TIMEOUT_S", 0.0)
    monkeypatch.setattr(shell, "ask", partial(patiently, shell.ask))
    server = replace(IPERF, greeting="which it never says")
    with pytest.raises(MachineError, match="start of the server"):
        started(shell, server, tmp_path / "server")
    assert listening(machine) == ""


def patiently(ask: Callable[..., str], request: str, *, timeout_s: float) -> str:
    """A request that has time, whatever the limit of what is asked for."""
    return ask(request, timeout_s=60.0)


def test_those_that_are_ended_have_said_all_that_they_say_at_their_end(shell: Shell, tmp_path: Path) -> None:
    script = 'trap "echo the end; exit" TERM; echo ready; while :; do sleep 0.05; done'
    processes = Backgrounds(shell, f"{tmp_path}/", 60)
    processes.started(Process("load", "client", ("sh", "-c", script), 20, greeting="ready\n"))
    (ended,) = processes.end()
    assert ended.end.stdout == "ready\nthe end\n"
    assert processes.end() == []
    assert list(tmp_path.iterdir()) == []


SAYS_ITS_ID = ("sh", "-c", "echo $$; echo ready; sleep 600")


def test_one_that_others_do_not_need_stays_for_the_next_that_does(shell: Shell, tmp_path: Path) -> None:
    processes = Backgrounds(shell, f"{tmp_path}/", 60)
    one, other = (
        Process("server", "server", (*SAYS_ITS_ID, name), 20, greeting="ready\n") for name in ("one", "other")
    )
    (first,) = processes.ready([one])
    (second,) = processes.ready([other])
    assert processes.ready([one]) == [first]
    assert processes.ready([other]) == [second]
    assert first.end.stdout != second.end.stdout
    processes.end()


def test_one_whose_port_another_needs_is_ended(
    machine: LocalConnection, shell: Shell, tmp_path: Path
) -> None:
    processes = Backgrounds(shell, f"{tmp_path}/", 60)
    (plain,) = processes.ready([IPERF])
    (wide,) = processes.ready([replace(IPERF, argv=("iperf", "-s", "-w", "64K"))])
    assert not plain.end.stdout.startswith(wide.end.stdout)
    assert listening(machine).count(":5001") == 1
    processes.end()


def test_of_too_many_the_one_that_was_used_longest_ago_is_ended(shell: Shell, tmp_path: Path) -> None:
    processes = Backgrounds(shell, f"{tmp_path}/", 60)
    every = [
        Process("server", "server", (*SAYS_ITS_ID, f"{number}"), 20, greeting="ready\n")
        for number in range(MOST_IN_BACKGROUND + 1)
    ]
    first = [processes.ready([each])[0] for each in every[:-1]]
    assert processes.ready(every[:1]) == first[:1]
    processes.ready(every[-1:])
    assert processes.ready(every[:1]) == first[:1]
    assert processes.ready(every[1:2]) != first[1:2]
    assert len(processes.end()) == MOST_IN_BACKGROUND


def test_as_many_as_there_may_be_run_beside_each_other(shell: Shell, tmp_path: Path) -> None:
    processes = Backgrounds(shell, f"{tmp_path}/", 60)
    script = ("sh", "-c", "echo ready; sleep 600")
    for number in range(MOST_IN_BACKGROUND):
        processes.started(Process(f"p{number}", "server", (*script, f"{number}"), 20, greeting="ready\n"))
    assert {each.end.stdout for each in processes.end()} == {"ready\n"}


def test_one_that_does_not_heed_its_end_is_killed_with_all_its_children(shell: Shell, tmp_path: Path) -> None:
    script = 'trap "" TERM; echo $$ ready; while :; do sleep 600; done'
    processes = Backgrounds(shell, f"{tmp_path}/", 60)
    started = processes.started(Process("deaf", "client", ("sh", "-c", script), 20, greeting="ready\n"))
    pid = int(started.end.stdout.split()[0])
    shell.ask("patience=2")
    processes.end()
    deadline = Deadline(60, "end of the process")
    while Path(f"/proc/{pid}").exists():
        deadline.wait_a_little(0.1)


def test_a_server_of_udp_has_let_the_client_before_go_when_the_next_run_begins(
    machine: LocalConnection, shell: Shell, tmp_path: Path
) -> None:
    """iperf 2.1.8 dies of a client that comes within the 0.25 s in which it listens to the one before."""
    processes = Backgrounds(shell, str(tmp_path), 60)
    for _ in range(6):
        (running,) = processes.ready([REFLECTOR])
        machine.run(["iperf", "-c", "127.0.0.1", "-u", "-b", "500pps", "-t", "0.3"])
        running.await_report(lambda _, end: "ms" in end.stdout)
    assert running.end.stdout.count("connected with") == 1
    assert " ms " in running.end.stdout
    processes.end()


def test_a_server_of_udp_whose_client_was_killed_is_not_used_again(
    machine: LocalConnection, shell: Shell, tmp_path: Path
) -> None:
    processes = Backgrounds(shell, str(tmp_path), 60)
    (running,) = processes.ready([REFLECTOR])
    client = ["timeout", "-s", "KILL", "5", "iperf", "-c", "127.0.0.1", "-u", "-t", "20"]
    machine.run(client, check=False)
    running.await_report(lambda _, end: "connected with" in end.stdout)
    with pytest.raises(MachineError, match="cannot go on: it does not let the client before go"):
        processes.ready([REFLECTOR])
    processes.end()
    assert listening(machine) == ""
