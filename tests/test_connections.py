"""One command runner: what holds on this computer and at the end of a guest's console."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hvcost.errors import CommandError, DeadlineExceeded, MachineError
from hvcost.machines import local
from hvcost.machines import shell as shell_module
from hvcost.machines.base import sha256_at, sha256_of
from hvcost.machines.console import ConsoleConnection
from hvcost.machines.deadline import Deadline
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection
from hypothesis import given, settings
from hypothesis import strategies as st
from promises import check_stream

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.fixture
def computer() -> LocalConnection:
    return LocalConnection("this computer")


def is_running(pid: str) -> bool:
    """Whether a process lives; one that only waits to be collected by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@given(st.lists(texts, max_size=4))
def test_arguments_arrive_as_they_are(arguments: list[str]) -> None:
    computer = LocalConnection("this computer")
    script = 'for argument; do printf "%s\\0" "$argument"; done'
    output = computer.run(["sh", "-c", script, "sh", *arguments]).stdout
    assert output == "".join(f"{argument}\0" for argument in arguments)


def test_both_streams_and_the_exit_code(computer: LocalConnection) -> None:
    result = computer.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_a_failure_names_machine_command_and_what_it_said(computer: LocalConnection) -> None:
    with pytest.raises(CommandError, match=r"this computer: `ls /nowhere` .*exit code 2.*No such file"):
        computer.run(["ls", "/nowhere"])


def test_a_program_that_is_not_there_is_named(computer: LocalConnection) -> None:
    with pytest.raises(MachineError, match="no-such-program"):
        computer.run(["no-such-program"])


def test_a_command_that_takes_too_long_is_ended_with_its_children(
    computer: LocalConnection, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(DeadlineExceeded, match=r"not done within 0\.5 s"):
        computer.run(["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"], timeout_s=0.5)
    deadline = Deadline(10, "end of the child")
    while is_running(pid_file.read_text().strip()):
        deadline.wait_a_little(0.02)


def test_large_output_on_both_streams(computer: LocalConnection) -> None:
    script = "head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2"
    result = computer.run(["sh", "-c", script])
    assert len(result.stdout) == len(result.stderr) == 5_000_000


def test_every_command_is_in_the_journal() -> None:
    journal = Journal()
    computer = LocalConnection("this computer", journal)
    computer.run(["true"])
    computer.run(["false"], check=False)
    with pytest.raises(DeadlineExceeded):
        computer.run(["sleep", "9"], timeout_s=0.1)
    seen = [(command.argv, command.exit_code) for command in journal.commands]
    assert seen == [(("true",), 0), (("false",), 1), (("sleep", "9"), None)]


def test_a_copied_file_is_the_same_file(computer: LocalConnection, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_bytes(bytes(range(256)) * 1000)
    computer.put(source, str(target))
    assert sha256_at(computer, str(target)) == sha256_of(source)
    assert sha256_at(computer, str(tmp_path / "absent")) is None


@settings(max_examples=20)
@given(texts)
def test_a_written_text_is_read_as_it_is(text: str) -> None:
    computer = LocalConnection("this computer")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "text"
        computer.write_text(str(path), "the one before")
        computer.write_text(str(path), text)
        assert path.read_bytes() == text.encode()
        assert list(path.parent.iterdir()) == [path]


def test_a_text_that_cannot_be_written_leaves_the_one_before(
    computer: LocalConnection, tmp_path: Path
) -> None:
    path = tmp_path / "text"
    path.write_text("the one before")
    full = ["sh", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$@"', "full"]
    computer.command_line = lambda argv: [*full, *argv]  # type: ignore[method-assign]
    with pytest.raises(CommandError, match=rf"^this computer: .*{path} cannot be written"):
        computer.write_text(str(path), "the next")
    assert path.read_text() == "the one before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_stream_is_both_ways_and_ends(computer: LocalConnection) -> None:
    check_stream(computer)


def test_a_program_that_outlives_us_is_waited_for(computer: LocalConnection, tmp_path: Path) -> None:
    script = 'echo ready; cat >/dev/null; sleep 0.3; touch "$0"'
    stream = computer.open_stream(["sh", "-c", script, str(tmp_path / "done")], outlives_us=True)
    assert stream.receive(20) == b"ready\n"
    stream.close()
    assert (tmp_path / "done").exists()


def test_a_program_that_outlives_us_and_does_not_end_is_left_and_said(
    computer: LocalConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "END_TIMEOUT_S", 0.2)
    stream = computer.open_stream(["sh", "-c", "echo $$; exec sleep 60"], outlives_us=True)
    pid = int(stream.receive(20))
    with pytest.raises(DeadlineExceeded, match=f"process {pid} has not ended"):
        stream.close()
    os.kill(pid, signal.SIGKILL)


def test_a_shell_that_does_not_end_does_not_hide_what_it_was_asked(
    computer: LocalConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "END_TIMEOUT_S", 0.2)
    with pytest.raises(DeadlineExceeded, match="`sleep 2`: not within"), computer.shell() as shell:
        shell.ask("sleep 2", timeout_s=0.2)


def test_a_child_dies_with_its_parent_even_when_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        "import sys, time\n"
        "from hvcost.machines.local import LocalConnection\n"
        "process = LocalConnection('x').start(['sleep', '60'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(process.pid))\n"
        "time.sleep(60)\n"
    )
    scripts = Path(__file__).parent.parent / "scripts"
    parent = subprocess.Popen(["python", "-c", program], cwd=scripts)
    deadline = Deadline(20, "start of the child")
    while not (pid_file.exists() and pid_file.read_text()):
        deadline.wait_a_little(0.02)
    pid = pid_file.read_text()
    while not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"):
        deadline.wait_a_little(0.02)
    parent.kill()
    parent.wait()
    while is_running(pid):
        deadline.wait_a_little(0.02)


class Guest:
    """The other end of a console, played by this computer's shell with the protocol of files/init."""

    def __init__(self, answers: Iterator[bytes] | None = None) -> None:
        self.requests: list[bytes] = []
        self._answers = answers
        self._pending = [b"boot noise\n@ready\n"]

    def send(self, data: bytes) -> None:
        self.requests.append(data)
        if self._answers is not None:
            self._pending.append(next(self._answers))
            return
        if data == b"\n":
            return
        number, run, seconds, command = data.decode().rstrip("\n").split(" ", 3)
        assert run == "run"
        done = subprocess.run(["timeout", seconds, "bash", "-c", command], capture_output=True)
        outputs = [base64.b64encode(output).decode() for output in (done.stdout, done.stderr)]
        answer = f"[ 1.0] noise\n={outputs[0]} ={outputs[1]}\n\n@{number} {done.returncode}\n"
        # In pieces, as a serial port delivers it.
        half = len(answer) // 2
        self._pending += [answer[:half].encode(), answer[half:].encode()]

    def receive(self, timeout_s: float) -> bytes:
        if not self._pending:
            time.sleep(timeout_s)
            raise DeadlineExceeded("nothing")
        return self._pending.pop(0)

    def close(self) -> None:
        self._pending.clear()


def test_console_waits_for_the_guest() -> None:
    console = ConsoleConnection("guest", Guest())
    console.console.wait_until_ready(Deadline(1, "boot"))
    assert console.run(["echo", "a b"]).stdout == "a b\n"


@given(st.lists(texts.filter(lambda text: "\r" not in text), max_size=3))
def test_console_arguments_arrive_as_they_are_in_one_line(arguments: list[str]) -> None:
    guest = Guest()
    console = ConsoleConnection("guest", guest)
    result = console.run(["printf", "%s|", *arguments])
    assert result.stdout == "".join(f"{argument}|" for argument in arguments or [""])
    assert [request.count(b"\n") for request in guest.requests] == [1]


def test_console_wakes_a_guest_whose_port_has_lost_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_module, "PATIENCE_S", 0.05)
    good = base64.b64encode(b"good").decode()
    guest = Guest(iter([b"noise\n", f"={good} =\n\n@1 0\n".encode()]))
    assert ConsoleConnection("guest", guest).run(["slow"]).stdout == "good"
    assert guest.requests == [b"1 run 60 slow\n", b"\n"]


def test_console_answer_of_an_earlier_request_is_not_taken() -> None:
    late = base64.b64encode(b"late").decode()
    good = base64.b64encode(b"good").decode()
    answers = iter([b"noise\n", f"={late} =\n\n@1 0\n={good} =\n\n@2 0\n".encode()])
    console = ConsoleConnection("guest", Guest(answers))
    with pytest.raises(DeadlineExceeded):
        console.run(["slow"], timeout_s=-29.9)
    assert console.run(["fast"]).stdout == "good"


def test_console_of_a_dead_guest_shows_its_last_words() -> None:
    guest = Guest(iter([b"Kernel panic - not syncing\n"]))
    console = ConsoleConnection("guest", guest)
    console.console.wait_until_ready(Deadline(1, "boot"))
    original = guest.send

    def send_and_die(data: bytes) -> None:
        original(data)
        guest._pending.append(b"")

    guest.send = send_and_die  # type: ignore[method-assign]
    with pytest.raises(MachineError, match=r"guest: it is gone.*Kernel panic"):
        console.run(["true"])
