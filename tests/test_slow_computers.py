"""No limit is reached because a computer is slow: only what hangs is given up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest
from hvcost.environments import emulated
from hvcost.errors import DeadlineExceeded
from hvcost.images.host import HostImage
from hvcost.machines import idleness
from hvcost.machines.console import ConsoleConnection
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection, end_group
from hvcost.machines.stream import Stream

BUSY = ["sh", "-c", "while :; do :; done"]
IDLE = ["sleep", "600"]
# As the emulator of a machine that hangs: it serves timers, for some hundredths of the time.
TICKING = [sys.executable, "-c", "import time\nwhile True: time.sleep(0.01), sum(range(5000))"]
NO_CONSOLE = Path("/nonexistent")


@contextmanager
def running(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = LocalConnection("this computer").start(argv)
    try:
        yield process
    finally:
        end_group(process)


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every boot takes longer than a boot usually takes."""
    monkeypatch.setattr(emulated, "BOOT_TIMEOUT_S", 0.0)


@pytest.mark.usefixtures("late")
def test_a_boot_that_is_at_work_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if its emulator gets a hundredth of the processor."""
    monkeypatch.setattr(idleness, "LOOK_EVERY_S", 0.1)
    processor = str(min(os.sched_getaffinity(0)))
    alone = ["taskset", "--cpu-list", processor]
    with running([*alone, *BUSY]), running([*alone, "nice", "-n", "19", *BUSY]) as process:
        boot = emulated.Boot("quick host", process, NO_CONSOLE)
        for _ in range(2 * idleness.LOOKS):
            time.sleep(idleness.LOOK_EVERY_S)
            assert not boot.hangs()


@pytest.mark.usefixtures("late")
def test_a_boot_that_has_had_its_time_of_the_processor_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulated, "BOOT_CPU_TIME_S", -1.0)
    with running(BUSY) as process:
        assert emulated.Boot("quick host", process, NO_CONSOLE).hangs()


# What the kernel of an emulated machine printed of which a processor had lost its timer.
STALL = """\
[   24.773848] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[   24.776503] rcu: 	(detected by 1, t=5252 jiffies, g=-1095, q=8928 ncpus=2)
[   24.800611] rcu: rcu_preempt kthread timer wakeup didn't happen for 5246 jiffies! g-1095 f0x0
[   24.801330] rcu: 	Possible timer handling issue on cpu=0 timer-softirq=25
"""


def test_a_boot_that_lost_its_timer_hangs_however_long_it_takes(tmp_path: Path) -> None:
    console = tmp_path / "console.log"
    with running(BUSY) as process:
        boot = emulated.Boot("quick host", process, console)
        for warnings, hangs in ((0, False), (1, False), (2, False), (3, True)):
            console.write_text(STALL * warnings)
            assert boot.hangs() == hangs


@pytest.mark.parametrize("hanging", [0, 1, emulated.BOOT_TRIES - 1, emulated.BOOT_TRIES])
def test_a_machine_that_hangs_while_it_boots_is_switched_on_again(
    hanging: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def wait(name: str, process: subprocess.Popen[bytes], *_: object) -> Reached:
        started.append(process)
        if len(started) <= hanging:
            raise DeadlineExceeded("quick host: boot of the emulated machine: not within 300 s")
        return Reached()

    monkeypatch.setattr(emulated, "_wait_for_ssh", wait)
    computer = LocalConnection("this computer")
    here, no_image = cast(str, None), cast(HostImage, None)
    console = tmp_path / "console.log"
    on = emulated.switched_on("quick host", computer, here, IDLE, no_image, console, orderly=False)
    if hanging == emulated.BOOT_TRIES:
        with pytest.raises(DeadlineExceeded), on:
            pass
    else:
        with on as connection:
            assert isinstance(connection, Reached)
            assert started[-1].poll() is None
    assert len(started) == min(hanging + 1, emulated.BOOT_TRIES)
    assert all(process.poll() is not None for process in started)


class Reached:
    """A machine that is up."""

    slowness = 1.0

    def close(self) -> None:
        pass


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("emulator", [IDLE, TICKING], ids=["does nothing", "serves timers"])
def test_a_boot_that_gets_on_with_nothing_hangs_and_is_named(
    emulator: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idleness, "LOOK_EVERY_S", 0.05)
    with running(emulator) as process:
        boot = emulated.Boot("quick host", process, NO_CONSOLE)
        deadline = Deadline(60, "an idle emulator")
        while not boot.hangs():
            deadline.wait_a_little(0.01)
        assert str(boot).startswith("quick host: boot of the emulated machine: not within ")


def test_a_command_has_the_time_that_a_slow_machine_needs() -> None:
    slow = LocalConnection("slow")
    slow.slowness = 1000.0
    assert slow.run(["sh", "-c", "sleep 0.3; echo done"], timeout_s=0.1).stdout == "done\n"
    with pytest.raises(DeadlineExceeded):
        LocalConnection("usual").run(["sleep", "60"], timeout_s=0.1)


class Answering(Stream):
    """A console that has an answer ready, and keeps what it was sent."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def receive(self, timeout_s: float) -> bytes:
        return self._answer

    def close(self) -> None:
        pass


def test_a_slow_guest_is_told_how_much_time_its_command_has() -> None:
    console = Answering(b"= =\n\n@1 0\n")
    ConsoleConnection("guest", console, slowness=7.0).run(["true"], timeout_s=10)
    assert console.sent == [b"1 run 70 true\n"]
