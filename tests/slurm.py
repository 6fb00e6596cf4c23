"""A cluster of this computer alone: Slurm's controller and nodes, as Debian has them, on ports of loopback.

Whoever runs the tests runs all of it, from folders of its own: it is no cluster that anybody else finds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection
from stand_ins import ROOT
from unpacked import unpack

PACKAGES = ("munge", "slurm-client", "slurmctld", "slurmd")
# For Snakemake, which looks at its jobs after 40 s otherwise: there is no accounting here.
PROFILE = (
    *("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "5"),
    *("--slurm-status-command", "squeue"),
)

CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
PluginDir={plugins}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SchedulerParameters=sched_interval=1
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
JobRequeue=0
MinJobAge=600
SlurmdTimeout=10
KillWait=5
TreeWidth=65533
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""
LEFT_BYTES = 65536
# A node has a scratch disk of its own, which no other and nobody else sees.
NODE = """
set -e
mount -t tmpfs -o size=16m scratch "$TMPDIR"
exec "$@"
"""


@dataclass
class Cluster:
    """A running cluster. `environment` is what Slurm's commands need, `nodes` how each node is started."""

    folder: Path
    environment: Mapping[str, str]
    nodes: Mapping[str, Sequence[str]]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def ask(self, *command: str) -> str:
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def states(self) -> dict[str, str]:
        """What the controller says of each node."""
        lines = self.ask("sinfo", "--noheader", "--Node", "--format=%N %T").split("\n")
        return dict(line.split() for line in lines if line)

    def lose(self, node: str) -> None:
        """A node loses its power: all that it ran is gone, and it says nothing more."""
        lost = self.processes.pop(node)
        # Those that would report the end of a job go first.
        tasks = self._tasks(node)
        for pid in [lost.pid, *_steps(tasks), *tasks]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        lost.wait()

    def fill_scratch(self, node: str) -> None:
        """Leave next to nothing of a node's scratch disk: of one without anything, Snakemake makes no use."""
        filling = self._filling(node)
        disk = os.statvfs(filling.parent)
        filling.write_bytes(bytes(disk.f_bavail * disk.f_bsize - LEFT_BYTES))

    def drain(self, node: str) -> None:
        """A node ends what it has begun, and gets nothing more."""
        self.ask("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=tested")

    def mend(self) -> None:
        """All nodes are as they were at first, whatever was the matter with them."""
        for node in self.nodes:
            if node in self.processes:
                self._filling(node).unlink(missing_ok=True)
            else:
                self.start(node)
        self.await_nodes()

    def _tasks(self, node: str) -> list[int]:
        """Processes of the jobs on a node, which Slurm has told its name, of this cluster alone."""
        own, name, found = bytes(self.folder), f"SLURMD_NODENAME={node}".encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            # It may end at any time.
            with contextlib.suppress(OSError):
                said = process.joinpath("environ").read_bytes()
                if own in said and name in said.split(b"\0"):
                    found.append(int(process.name))
        return found

    def _filling(self, node: str) -> Path:
        """What fills a node's scratch disk, seen from here."""
        return Path(f"/proc/{self.processes[node].pid}/root{self.environment['TMPDIR']}/filling")

    def start(self, name: str, command: Sequence[str] = ()) -> None:
        """Start a node, or another program by this name."""
        with (self.folder / f"{name}.output").open("wb") as output:
            self.processes[name] = subprocess.Popen(
                command or self.nodes[name],
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def await_nodes(self) -> None:
        """Wait until all nodes can be used, also those that were drained or lost."""

        def are_idle() -> bool:
            for node, state in self.states().items():
                if state.startswith(("down", "drain")):
                    self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
            return set(self.states().values()) == {"idle"}

        self.await_(are_idle, "nodes")

    def await_(self, is_there: Callable[[], bool], what: str) -> None:
        """Wait until something is there; DeadlineExceeded says what is not."""
        deadline = Deadline(120, f"start of {what} in {self.folder}")
        while True:
            with contextlib.suppress(subprocess.CalledProcessError):
                if is_there():
                    return
            deadline.wait_a_little()


def _steps(tasks: Iterable[int]) -> set[int]:
    """The processes that watch over these: their parents that are Slurm's, and have left its daemon."""
    found = set()
    for pid in tasks:
        with contextlib.suppress(OSError):
            parent = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if Path(f"/proc/{parent}/comm").read_text(encoding="utf-8").startswith("slurmstepd"):
                found.add(int(parent))
    return found


def executor(folder: Path) -> Path:
    """Snakemake's executor for Slurm, in a folder beside the environment: who has no cluster has none."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    subprocess.run([*install, "--target", folder, "-r", ROOT / "requirements-cluster.lock"], check=True)
    return folder


@contextlib.contextmanager
def running(folder: Path, count: int, plugin: Path) -> Iterator[Cluster]:
    """A cluster of so many nodes, each of which takes one job at a time; `plugin` as of `executor`."""
    nodes = [f"n{number}" for number in range(1, count + 1)]
    host = socket.gethostname().partition(".")[0]
    for name in ("bin", "munge", "state", "spool", "packages", "scratch"):
        (folder / name).mkdir(mode=0o700)
    root = unpack(LocalConnection("this computer"), folder / "packages", PACKAGES)
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    plugins = libraries / "slurm-wlm"
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    controller_port, *node_ports = _free_ports(1 + count)
    lines = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 "
        "RealMemory=8000 State=UNKNOWN"
        for node, port in zip(nodes, node_ports, strict=True)
    )
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host, port=controller_port, user=user, folder=folder, plugins=plugins, nodes=lines
        )
    )
    # The executor takes from a job's steps all that Slurm has told it, and the configuration with it.
    for name in ("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun"):
        wrapper = folder / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {root}/usr/bin/{name} "$@"\n')
        wrapper.chmod(0o755)
    programs = (folder / "bin", Path(sys.executable).parent)
    environment = os.environ | {
        "SLURM_CONF": str(configuration),
        "PATH": os.pathsep.join([*map(str, programs), os.environ["PATH"]]),
        "LD_LIBRARY_PATH": f"{libraries}:{plugins}",
        "TMPDIR": str(folder / "scratch"),
        "PYTHONPATH": str(plugin),
    }
    key = folder / "munge/key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    daemon = [_program(root, "slurmd"), "-D", "-f", str(configuration)]
    # Its step is a program of its own, which is expected where Debian installs it.
    daemon += ["-d", _program(root, "slurmstepd")]
    on_its_own = ["unshare", "--mount", "sh", "-c", NODE, "node"]
    cluster = Cluster(folder, environment, {node: [*on_its_own, *daemon, "-N", node] for node in nodes})
    munge = [
        _program(root, "munged"), "--foreground", "--force", f"--key-file={key}",
        f"--socket={folder}/munge/socket", f"--pid-file={folder}/munge/pid",
        f"--seed-file={folder}/munge/seed",
    ]  # fmt: skip
    try:
        cluster.start("munged", munge)
        cluster.await_((folder / "munge/socket").exists, "munged")
        cluster.start("slurmctld", [_program(root, "slurmctld"), "-D", "-f", str(configuration)])
        for node in nodes:
            cluster.start(node)
        cluster.await_nodes()
        yield cluster
    finally:
        for node in nodes:
            if node in cluster.processes:
                cluster.lose(node)
        for process in cluster.processes.values():
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _program(root: Path, name: str) -> str:
    """A program of the tree; Debian has it under this name and `-wlm`."""
    return str(
        next(path for path in (root / "usr/sbin").glob(f"{name}*") if path.name in (name, f"{name}-wlm"))
    )
