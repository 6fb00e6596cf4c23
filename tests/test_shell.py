"""The shell that stays on a machine: bash and BusyBox's, as they are on this computer."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hvcost.errors import CommandError, DeadlineExceeded, KernelPanic, MachineError
from hvcost.images.guest import FILES
from hvcost.machines import shell as shells
from hvcost.machines import witness
from hvcost.machines.console import ConsoleConnection
from hvcost.machines.deadline import Deadline
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection
from hvcost.machines.shell import Shell
from hvcost.model.record import Witness

SCRIPT = shells.SCRIPT.read_text()


def opened(*argv: str) -> Shell:
    computer = LocalConnection("here", Journal())
    shell = Shell("here", computer.open_stream([*argv, "-c", SCRIPT], outlives_us=True), computer.journal)
    shell.wait_until_ready(Deadline(60, "a shell"))
    return shell


@pytest.fixture(params=["bash", "busybox sh"])
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    argv = request.param.split()
    assert shutil.which(argv[0]), f"{argv[0]} is not installed"
    shell = opened(*argv)
    yield shell
    shell.close()


def test_what_a_command_prints_is_the_answer(shell: Shell) -> None:
    assert shell.ask("echo one; echo two") == "one\ntwo\n"
    assert shell.ask("true") == ""
    (first, second) = shell.journal.commands
    assert (first.argv, first.exit_code) == (("eval", "echo one; echo two"), 0)
    assert second.exit_code == 0


def test_a_failure_has_its_words(shell: Shell) -> None:
    with pytest.raises(CommandError, match=r"here: .*exit code 1.*No such file"):
        shell.ask("ls /nowhere || false")
    assert shell.ask("echo still there") == "still there\n"


def test_a_newline_in_an_argument_arrives(shell: Shell) -> None:
    assert shell.ask("printf %s 'a\nb'") == "a\nb"


def test_an_answer_that_comes_too_late_is_not_the_next_one(shell: Shell) -> None:
    with pytest.raises(DeadlineExceeded):
        shell.ask("sleep 0.3; echo late", timeout_s=0.01)
    assert shell.ask("echo good") == "good\n"


def test_one_that_is_gone_is_named_with_its_last_words(shell: Shell) -> None:
    with pytest.raises(MachineError, match=r"here: it is gone; its last words: 'farewell"):
        shell.ask("echo farewell; exit 3")


def test_one_that_says_nothing_for_long_is_not_asked_again(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeadlineExceeded):
        shell.ask("echo something; sleep 0.5", timeout_s=0.3)
    assert shell.ask("echo good") == "good\n"
    monkeypatch.setattr(shells, "LOST_S", 0.3)
    with pytest.raises(DeadlineExceeded):
        shell.ask("sleep 0.5", timeout_s=0.3)
    with pytest.raises(MachineError, match="here: it is lost: it said nothing in "):
        shell.ask("echo good")


class Console:
    """Says the pieces, and nothing more."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def send(self, data: bytes) -> None:
        """Nobody hears it."""

    def receive(self, timeout_s: float) -> bytes:
        if not self.pieces:
            time.sleep(timeout_s)
            raise DeadlineExceeded("silence")
        return self.pieces.pop(0)

    def close(self) -> None:
        """Nothing to close."""


def test_one_that_fell_silent_in_the_middle_of_an_answer_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As a guest in VirtualBox did under translation: it was there no more."""
    monkeypatch.setattr(shells, "LOST_S", 0.3)
    shell = Shell("guest", Console(b"clocks 1795913619.885867 314.94 1795", b"913619.886739\nclo"), Journal())
    with pytest.raises(DeadlineExceeded, match=r"its last words: .*clo'"):
        shell.ask("clocks", timeout_s=0.5)
    with pytest.raises(MachineError, match="guest: it is lost: it said nothing in "):
        shell.ask("clocks")


# What a guest in VirtualBox said on its console.
PANIC = (Path(__file__).parent / "data/consoles/panic.txt").read_bytes()


@pytest.mark.parametrize("size", [1, 100, len(PANIC)])
def test_a_kernel_that_panics_is_lost_at_once(size: int) -> None:
    """Here and there among the text, or as one piece; every later request says the same."""
    pieces = [PANIC[start : start + size] for start in range(0, len(PANIC), size)]

    shell = Shell("guest", Console(*pieces), Journal())
    for _ in range(2):
        with pytest.raises(KernelPanic, match="its kernel has panicked: Fatal exception in interrupt;"):
            shell.ask("clocks")


def test_one_that_is_silent_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guest whose console does not tell of its end: what does is asked, long before its time is over."""

    def check_alive() -> None:
        raise KernelPanic("guest: its kernel has panicked")

    monkeypatch.setattr(shells, "SILENCE_S", 0.1)
    shell = Shell("guest", Console(b"clocks 17959"), Journal(), check_alive=check_alive)
    with pytest.raises(KernelPanic):
        shell.ask("clocks", timeout_s=600)


def test_clocks_and_cards_are_read_without_a_program(shell: Shell) -> None:
    """No program can be found at all."""
    shell.ask("PATH=/nowhere")
    before = witness.ask(shell, "lo")
    witness.check_clocks(Witness(before, witness.ask(shell, "lo")))
    assert witness.card(before).carried_bytes >= 0
    assert witness.card(before).speed_mbit is None
    assert witness.resent(Witness(before, witness.ask_sender(shell))) >= 0


def test_a_locale_with_a_comma_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    shell = opened("bash")
    witness.clocks(witness.ask_clocks(shell))
    shell.close()


def test_a_shell_that_has_no_clock_says_so() -> None:
    said = subprocess.run(["dash", "-c", SCRIPT], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (said.returncode, said.stdout) == (1, "its shell has no clock: install bash there\n")


def test_a_machine_takes_bash_where_it_is_there() -> None:
    with LocalConnection("here").shell() as shell:
        assert "bash" in shell.ask("echo $BASH")


def test_news_of_a_file_come_line_by_line_and_once(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one\n  two\\n half")
    shell.ask(f"exec 4<{file}")
    assert shell.ask("news 4 o") == "o|one\no+  two\\n half\n"
    with file.open("a") as more:
        more.write(" more\n")
    assert shell.ask("news 4 o") == "o| more\n"
    assert shell.ask("news 4 o") == ""


def test_the_guests_channel_runs_commands_with_both_outputs(tmp_path: Path) -> None:
    """What the guest's console is: BusyBox's shell with the channel's file."""
    text = (FILES / "channel").read_text().replace("/usr/lib/hvcost/shell", str(tmp_path / "shell"))
    (tmp_path / "shell").write_text(SCRIPT)
    (tmp_path / "channel").write_text(text.replace("/run/", f"{tmp_path}/"))
    computer = LocalConnection("this computer")
    with_terminal = ["socat", "STDIO", f"EXEC:busybox sh {tmp_path}/channel,pty"]
    guest = ConsoleConnection("guest", computer.open_stream(with_terminal))
    guest.console.wait_until_ready(Deadline(60, "channel"))
    result = guest.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
    assert guest.run(["printf", "%s|", "a b", "c\nd", "$x"]).stdout == "a b|c\nd|$x|"
    with pytest.raises(DeadlineExceeded, match="not done within 1 s"):
        guest.run(["sleep", "60"], timeout_s=1)
    with guest.shell() as shell:
        assert shell.ask("echo the same") == "the same\n"
    assert guest.run(["true"]).exit_code == 0
    guest.close()
