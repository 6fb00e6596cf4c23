"""A guest in trouble: real ones, of QEMU on this computer, to which it is done while they are measured.

A run then fails with a reason that names the guest, the next one counts if the guest is well again, and
nothing of the guest is left.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import guests
import pytest
from guests import Ground, Recorded
from hvcost.errors import DeadlineExceeded, KernelPanic
from hvcost.hypervisors import RunningSystem, qemu
from hvcost.images.guest import kernel_arguments
from hvcost.machines import background, locks, qmp
from hvcost.tools import iperf
from workspace import Workspace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

DURATION_S = 1
# For an answer that does not come.
WAIT_S = 4.0
# Longer than what is waited for in a run that nobody answers.
SILENT_S = 14
# The guest's shell stops, and goes on after a while.
FALL_SILENT = f"(sleep {SILENT_S}; kill -CONT $$) & kill -STOP $$"
REBOOT = "(sleep 0.5; echo b >/proc/sysrq-trigger) &"
PANIC = "echo c >/proc/sysrq-trigger"


@pytest.fixture(scope="module")
def ground(with_guest: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """This computer, which nobody else has to wait for: of what is measured here, no figure matters."""
    manifest = with_guest.folder / "results/guest/manifest.json"
    folder = tmp_path_factory.mktemp("locks")
    folder.chmod(0o1777)
    with pytest.MonkeyPatch.context() as alone:
        alone.setattr(locks, "FOLDERS", (folder,))
        with guests.ground("faults", "qemu", manifest, tmp_path_factory.mktemp("state")) as ground:
            yield ground


def emulator(ground: Ground) -> int:
    """Process ID of the guest's QEMU."""
    return int(Path(ground.plan.runtime, "pid").read_text())


def is_there(pid: int) -> bool:
    """Whether a process is there; one that has ended has no command line until it is waited for."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    return False


def succeeds(run: Recorded) -> None:
    record = run()
    assert record.status == "ok", record.reason


def fails(ground: Ground, run: Recorded, words: str, meanwhile: Callable[[], object] | None = None) -> None:
    """A run fails, for a reason that has these words and the guest's name; something may be done in it.

    What a run waits a minute or two for, it is given some seconds.
    """
    timer = threading.Timer(DURATION_S / 2, meanwhile or (lambda: None))
    with pytest.MonkeyPatch.context() as impatient:
        impatient.setattr(iperf, "CONNECT_ROOM_S", WAIT_S)
        impatient.setattr(iperf, "SLOWEST_BPS", 1e9)
        for name in ("START_TIMEOUT_S", "REPORT_TIMEOUT_S", "STOP_TIMEOUT_S"):
            impatient.setattr(background, name, WAIT_S)
        timer.start()
        record = run()
        timer.join()
    assert record.status == "failed"
    assert record.reason and words in record.reason and ground.plan.name in record.reason, record.reason


def ask(system: RunningSystem, request: str, timeout_s: float = 60.0) -> str:
    """Ask the guest's shell."""
    with system.server.shell() as shell:
        return shell.ask(request, timeout_s=timeout_s)


def test_a_guest_that_is_silent_hangs_or_is_stopped_fails_its_runs_alone(ground: Ground) -> None:
    """One guest, in the order of how much it takes to be well again."""
    host, monitor = ground.operation.host, f"{ground.plan.runtime}/qmp"
    with ground.started() as system:
        pid = emulator(ground)
        with ground.recorded(system, DURATION_S) as run:
            succeeds(run)

            with pytest.raises(DeadlineExceeded):
                ask(system, FALL_SILENT, 0.5)
            fails(ground, run, "not within")
            # It wakes up, and has answers to give that nobody waits for any more.
            assert ask(system, "echo awake", 59) == "awake\n"
            succeeds(run)

            fails(ground, run, "not within", lambda: qmp.ask(host, monitor, "stop"))
            qmp.ask(host, monitor, "cont")
            succeeds(run)

            fails(ground, run, "not within", lambda: os.kill(pid, signal.SIGSTOP))
        assert is_there(pid)
    # It did not heed SIGTERM.
    assert not is_there(pid)


def test_a_guest_that_panics_fails_all_runs_after_it_at_once(ground: Ground) -> None:
    with ground.started() as system, ground.recorded(system, DURATION_S) as run:
        pid = emulator(ground)
        with pytest.raises(KernelPanic):
            ask(system, PANIC)
        for _ in range(2):
            fails(ground, run, "its kernel has panicked: sysrq triggered crash")
    assert not is_there(pid)


def test_a_guest_that_reboots_is_gone(ground: Ground) -> None:
    with ground.started() as system, ground.recorded(system, DURATION_S) as run:
        pid = emulator(ground)
        ask(system, REBOOT)
        for _ in range(2):
            fails(ground, run, "it is gone")
    assert not is_there(pid)


@pytest.mark.parametrize(
    ("first_program", "limit_s", "error", "words"),
    [
        ("rdinit=/bin/sleep -- 600", WAIT_S, DeadlineExceeded, f"boot of the guest: not within {WAIT_S:g} s"),
        ("rdinit=/bin/ip", None, KernelPanic, "its kernel has panicked: Attempted to kill init!"),
    ],
    ids=["never-ready", "panics"],
)
def test_a_guest_that_does_not_get_up_is_given_up_and_named(
    ground: Ground,
    monkeypatch: pytest.MonkeyPatch,
    first_program: str,
    limit_s: float | None,
    error: type[Exception],
    words: str,
) -> None:
    """Its kernel boots, and its first program is not ours."""
    monkeypatch.setattr(
        qemu, "kernel_arguments", lambda *consoles: f"{kernel_arguments(*consoles)} {first_program}"
    )
    if limit_s:
        monkeypatch.setattr(type(ground.driver), "ready_timeout_s", limit_s)
    with pytest.raises(error, match=re.escape(f"{ground.plan.name}: {words}")), ground.started():
        pass
    host = ground.operation.host
    assert not host.succeeds(["ip", "link", "show", qemu.TAP])
    assert not host.succeeds(["pgrep", "--full", f"{ground.plan.runtime}/qmp"])
