"""Programs end in order, whatever signals they get, and however many."""

from __future__ import annotations

import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hvcost.planning import outcome

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# It looks for its line again and again: a signal right before a read begins would be heard after it only.
PROGRAM = """
import select
import sys
from hvcost import program

def line_comes():
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        pass
    sys.stdin.readline()

def work():
    try:
        print("working", flush=True)
        line_comes()
    finally:
        print("cleaning up", flush=True)
        line_comes()
        print("clean", flush=True)

sys.exit(program.run(work, None))
"""


def started(*ignored: signal.Signals, program: str = PROGRAM) -> subprocess.Popen[str]:
    """A program at work; PROGRAM until it gets a line, and it cleans up until it gets another one."""

    def as_by_a_terminal() -> None:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)

    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1] / "scripts",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=as_by_a_terminal,
    )
    says(process, "working")
    return process


def says(process: subprocess.Popen[str], line: str) -> None:
    """The next line that a program prints."""
    assert process.stdout
    assert process.stdout.readline() == f"{line}\n"


@pytest.mark.parametrize("second", ENDING, ids=lambda number: number.name)
@pytest.mark.parametrize("first", ENDING, ids=lambda number: number.name)
def test_a_second_signal_does_not_interrupt_cleaning_up(
    first: signal.Signals, second: signal.Signals
) -> None:
    with started() as process:
        process.send_signal(first)
        says(process, "cleaning up")
        for _ in range(2):
            process.send_signal(second)
        stdout, stderr = process.communicate("\n")
    assert (stdout, stderr, process.returncode) == ("clean\n", "interrupted\n", 130)


@pytest.mark.parametrize("ignored", ENDING, ids=lambda number: number.name)
def test_a_signal_that_was_ignored_from_the_start_stays_ignored(ignored: signal.Signals) -> None:
    with started(ignored) as process:
        process.send_signal(ignored)
        stdout, stderr = process.communicate("\n\n")
    assert (stdout, stderr, process.returncode) == ("cleaning up\nclean\n", "", 0)


def test_a_program_whose_sigint_is_ignored_ends_by_the_others_all_the_same() -> None:
    with started(signal.SIGINT) as process:
        process.send_signal(signal.SIGTERM)
        says(process, "cleaning up")
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate("\n")
    assert (stdout, process.returncode) == ("clean\n", 130)


COMMAND_LINE = """
from pathlib import Path
from hvcost import errors, program

def work(systems, boots, output, tables):
    if boots < 1:
        raise errors.ConfigError("nothing to do")
    print([systems, boots, str(output), tables])

program.main(
    work,
    "What it does.",
    program.json_argument("--systems", help="a list"),
    program.argument("--boots", type=int, default=1, help="how many"),
    program.argument("tables", nargs="*"),
    output="CSV",
)
"""


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A program that prints what it was given."""
    scripts = Path(__file__).parents[1] / "scripts"
    return subprocess.run(
        [sys.executable, "-c", COMMAND_LINE, *arguments], cwd=scripts, capture_output=True, text=True
    )


def test_a_program_gets_its_arguments_by_name() -> None:
    done = called("--systems", '["kvm"]', "--output", "table.csv", "--boots", "2", "a", "b")
    assert (done.stdout, done.stderr, done.returncode) == ("[['kvm'], 2, 'table.csv', ['a', 'b']]\n", "", 0)


def test_what_is_wrong_is_one_sentence_on_the_screen_and_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "deep/program.log"
    done = called("--systems", "[", "--output", "table.csv", "--log", str(log))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "--systems: not JSON" in done.stderr
    done = called("--systems", "[]", "--output", "table.csv", "--boots", "0", "--log", str(log))
    assert (done.stderr, done.returncode) == ("nothing to do\n", 1)
    assert "ERROR hvcost.program: nothing to do\n" in log.read_text()


TAKEN_DOWN_SLOWLY = """
import os
from hvcost import program

class Slow:
    def __init__(self):
        self.write, self.read = os.write, os.read

    def __del__(self):
        self.write(1, b"taking down\\n")
        self.read(0, 1)

slow = Slow()

def work():
    print("working", flush=True)
    while True:
        pass

program.main(work, "Ends slowly.")
"""


@pytest.mark.parametrize("again", ENDING, ids=lambda number: number.name)
def test_a_signal_while_the_program_is_taken_down_changes_nothing(again: signal.Signals) -> None:
    with started(program=TAKEN_DOWN_SLOWLY) as process:
        process.send_signal(signal.SIGTERM)
        says(process, "taking down")
        process.send_signal(again)
        _, stderr = process.communicate("\n")
    assert (stderr, process.returncode) == ("interrupted\n", 130)


FULL = """
import sys
from pathlib import Path
from hvcost import files, program

def work():
    {what}

sys.exit(program.run(work, None))
"""
WRITES = "files.write_text(Path(sys.argv[1]), 'x' * 10_000)"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (WRITES, "this computer: [Errno 27] File too large: '{path}'"),
        ("raise MemoryError", "this computer: there is no memory left; end other programs, and start again"),
    ],
    ids=["no-room", "no-memory"],
)
def test_a_computer_at_its_end_is_one_sentence(tmp_path: Path, what: str, said: str) -> None:
    path = tmp_path / "table.csv"
    done = subprocess.run(
        [sys.executable, "-c", FULL.format(what=what), path],
        cwd=Path(__file__).parents[1] / "scripts",
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY)),
    )
    assert (done.returncode, done.stderr) == (1, f"{said.format(path=path)}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_log_begins_with_where_the_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "program.log"
    arguments = ("--systems", "[]", "--output", "table.csv", "--boots", "0", "--log", str(log))
    for node, name in (("n7", "n7"), (None, socket.gethostname())):
        monkeypatch.delenv("SLURMD_NODENAME", raising=False)
        if node:
            monkeypatch.setenv("SLURMD_NODENAME", node)
        called(*arguments)
        assert outcome.BEGIN.findall(log.read_text().splitlines()[0]) == [name]


@pytest.mark.parametrize(
    "arguments",
    [("--output", "x"), ("--systems", "[]"), ("--systems", "[]", "--output", "x", "--colour", "y")],
)
def test_a_command_line_that_is_wrong_is_explained(arguments: tuple[str, ...]) -> None:
    done = called(*arguments)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "usage:" in done.stderr


def test_help_says_what_a_program_does() -> None:
    done = called("--help")
    assert done.returncode == 0
    assert all(text in done.stdout for text in ("What it does.", "--output CSV", "--log", "how many"))
