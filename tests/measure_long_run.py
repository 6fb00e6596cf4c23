"""A long run of the workflow: many short sessions in one call, and a run that is killed again and again.

    PYTHONPATH=scripts:tests python tests/measure_long_run.py --sessions 300 --kills 10

Sessions are runs of a second between two namespaces of this computer. It prints what the first tenth of them
took and what the last did: time; processor time, memory, open files and threads of the workflow's process;
network namespaces, mounts and processes of the whole computer; and the sizes of the files that a session
leaves. Then it kills a run of as many sessions (SIGKILL, with all its programs) so often, starts it again by
the same command, and compares checksums.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

from hvcost.machines.deadline import Deadline
from hvcost.machines.local import TICKS_PER_S
from workspace import BARE_METAL, SMALL, Workspace, small

TARGET = (f"results/{SMALL}/measurements/{BARE_METAL}.csv", "--configfile", f"{SMALL}.yaml")
SEED = 2010
SESSION_S = 120.0


@dataclass(frozen=True)
class State:
    """What there is at a moment: of the workflow's process, and on the computer. `cpu_s`: since its start."""

    cpu_s: float
    memory_mib: float
    open_files: int
    threads: int
    network_namespaces: int
    mounts: int
    processes: int


@dataclass(frozen=True)
class Left:
    """What a session has left. `at_s`: when its last file was written, Unix time."""

    at_s: float
    log_bytes: int
    raw_bytes: int


def state_of(workflow: int) -> State:
    """The state now; OSError if the workflow has ended."""
    process = Path(f"/proc/{workflow}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    user, system = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
    namespaces, processes = set(), 0
    for other in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            namespaces.add((other / "ns/net").readlink())
            processes += 1
    return State(
        cpu_s=(int(user) + int(system)) / TICKS_PER_S,
        memory_mib=int(status["VmRSS"].split()[0]) / 1024,
        open_files=len(list((process / "fd").iterdir())),
        threads=int(status["Threads"]),
        network_namespaces=len(namespaces),
        mounts=len(Path("/proc/self/mounts").read_text().splitlines()),
        processes=processes,
    )


def sessions_of(workspace: Workspace) -> list[Left]:
    """What the sessions have left, in the order in which they were measured."""
    found = []
    for folder in (workspace.folder / f"results/{SMALL}/raw/{BARE_METAL}").glob("boot*"):
        raw = list(folder.glob("*.json"))
        log = workspace.folder / f"logs/measure_session/{SMALL}/{BARE_METAL}/{folder.name}.log"
        if raw:
            at_s = max(path.stat().st_mtime for path in raw)
            found.append(Left(at_s, log.stat().st_size, sum(path.stat().st_size for path in raw)))
    return sorted(found, key=lambda each: each.at_s)


def uninterrupted(sessions: int, folder: Path) -> None:
    """Measure so many sessions in one call, and print what grew."""
    workspace = small(folder, sessions)
    running = workspace.start(*TARGET)
    states: dict[int, State] = {}
    over = threading.Event()

    def watch() -> None:
        """Look at the workflow once in each session."""
        raw = folder / f"results/{SMALL}/raw/{BARE_METAL}"
        while not over.wait(0.2):
            done = len(list(raw.glob("boot*/session.json")))
            if done and done not in states:
                with suppress(OSError):
                    states[done] = state_of(running.pid)

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = running.wait()
    over.set()
    watcher.join()
    if code:
        sys.exit(f"the workflow ended with exit code {code}:\n{workspace.output()[-3000:]}")
    left = sessions_of(workspace)
    assert len(left) == sessions
    tenth = max(2, sessions // 10)
    print(f"{'of a session':24}{f'first {tenth}':>12}{f'last {tenth}':>12}")
    times_s = [later.at_s - earlier.at_s for earlier, later in pairwise(left)]
    line("time, s", times_s, tenth)
    line("log, byte", [each.log_bytes for each in left], tenth)
    line("raw files, byte", [each.raw_bytes for each in left], tenth)
    seen = [states[number] for number in sorted(states)]
    spent_s = [later.cpu_s - earlier.cpu_s for earlier, later in pairwise(seen)]
    line("processor time, s", spent_s, tenth)
    for name in (field.name for field in fields(State) if field.name != "cpu_s"):
        line(name.replace("_", " "), [asdict(each)[name] for each in seen], tenth)
    print(f"left behind: {workspace.left_behind() or 'nothing'}")


def line(name: str, values: Sequence[float], tenth: int) -> None:
    """Print medians of the first and of the last of some values."""
    first, last = (statistics.median(part) for part in (values[:tenth], values[-tenth:]))
    print(f"{name:24}{first:12.2f}{last:12.2f}", flush=True)


def finished(workspace: Workspace) -> dict[str, str]:
    """Checksums of the raw files of which Snakemake has noted that they are complete."""
    notes = workspace.folder / ".snakemake/incomplete"
    begun = {urlsafe_b64decode(path.name).decode() for path in notes.iterdir()}
    return {name: sha256 for name, sha256 in workspace.digests().items() if f"results/{name}" not in begun}


def killed(sessions: int, kills: int, folder: Path) -> None:
    """Measure so many sessions though the workflow is killed so often; print what became of them."""
    workspace = small(folder, sessions)
    lots = random.Random(SEED)
    before: dict[str, str] = {}
    altered = 0
    for number in range(1, kills + 1):
        running = workspace.start(*TARGET)
        wanted = 2 * (number * sessions // (kills + 1))
        deadline = Deadline(SESSION_S * sessions, f"{wanted // 2} sessions")
        while len(workspace.digests()) < wanted:
            assert running.poll() is None, workspace.output()
            deadline.wait_a_little()
        # Anywhere in the next session.
        time.sleep(lots.uniform(0, 4))
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        workspace.await_end()
        after = finished(workspace)
        altered += sum(after.get(name) != digest for name, digest in before.items())
        before = after
        print(f"kill {number}: {len(after) // 2} sessions are finished", flush=True)
    workspace.run(*TARGET)
    after = workspace.digests()
    altered += sum(after.get(name) != digest for name, digest in before.items())
    ok = sum(one.status == "ok" for one in workspace.records(SMALL, BARE_METAL))
    print(
        f"at the end: {len(after) // 2} of {sessions} sessions, {ok} runs ok, {altered} files altered or lost"
    )
    print(f"left behind: {workspace.left_behind() or 'nothing'}")


def main() -> None:
    """Do both and print what was seen."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=300, help="in one call")
    parser.add_argument("--kills", type=int, default=10, help="of the second run")
    parser.add_argument("--killed-sessions", type=int, help="of the second run, if there are not as many")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        uninterrupted(arguments.sessions, Path(scratch, "uninterrupted"))
        killed(arguments.killed_sessions or arguments.sessions, arguments.kills, Path(scratch, "killed"))


if __name__ == "__main__":
    main()
