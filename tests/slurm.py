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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection
from unpacked import unpack

PACKAGES = ("munge", "slurm-client", "slurmctld", "slurmd")

CONTROLLER_PORT = 17400
FIRST_NODE_PORT = 17500
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


@dataclass
class Cluster:
    """A running cluster. `environment` is what Slurm's commands need."""

    folder: Path
    environment: Mapping[str, str]
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
        for pid in [lost.pid, *_steps(node), *_tasks(node)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        lost.wait()


def _tasks(node: str) -> list[int]:
    """Processes of the jobs on a node, which Slurm has told its name."""
    mark, found = f"SLURMD_NODENAME={node}".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        # It may end at any time.
        with contextlib.suppress(OSError):
            if mark in process.joinpath("environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _steps(node: str) -> set[int]:
    """The processes that watch over these: their parents that are Slurm's, and have left its daemon."""
    found = set()
    for pid in _tasks(node):
        with contextlib.suppress(OSError):
            parent = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if Path(f"/proc/{parent}/comm").read_text(encoding="utf-8").startswith("slurmstepd"):
                found.add(int(parent))
    return found


@contextlib.contextmanager
def running(folder: Path, count: int) -> Iterator[Cluster]:
    """A cluster of so many nodes, each of which takes one job at a time."""
    nodes = [f"n{number}" for number in range(1, count + 1)]
    host = socket.gethostname().partition(".")[0]
    for name in ("bin", "munge", "state", "spool", "packages"):
        (folder / name).mkdir(mode=0o700)
    root = unpack(LocalConnection("this computer"), folder / "packages", PACKAGES)
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    plugins = libraries / "slurm-wlm"
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    lines = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={FIRST_NODE_PORT + number} CPUs=1 "
        "RealMemory=8000 State=UNKNOWN"
        for number, node in enumerate(nodes)
    )
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host, port=CONTROLLER_PORT, user=user, folder=folder, plugins=plugins, nodes=lines
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
    }
    key = folder / "munge/key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    cluster = Cluster(folder, environment)
    munge = [
        _program(root, "munged"), "--foreground", "--force", f"--key-file={key}",
        f"--socket={folder}/munge/socket", f"--pid-file={folder}/munge/pid",
        f"--seed-file={folder}/munge/seed",
    ]  # fmt: skip
    try:
        _start(cluster, "munged", munge)
        _await(lambda: (folder / "munge/socket").exists(), "munged", cluster)
        _start(cluster, "slurmctld", [_program(root, "slurmctld"), "-D", "-f", str(configuration)])
        # Its step is a program of its own, which is expected where Debian installs it.
        step = ["-d", _program(root, "slurmstepd")]
        for node in nodes:
            _start(
                cluster, node, [_program(root, "slurmd"), "-D", "-N", node, "-f", str(configuration), *step]
            )
        _await(lambda: set(cluster.states().values()) == {"idle"}, "nodes", cluster)
        yield cluster
    finally:
        for node in nodes:
            if node in cluster.processes:
                cluster.lose(node)
        for process in cluster.processes.values():
            process.kill()
            process.wait()


def _program(root: Path, name: str) -> str:
    """A program of the tree; Debian has it under this name and `-wlm`."""
    return str(
        next(path for path in (root / "usr/sbin").glob(f"{name}*") if path.name in (name, f"{name}-wlm"))
    )


def _start(cluster: Cluster, name: str, command: Sequence[str]) -> None:
    with (cluster.folder / f"{name}.output").open("wb") as output:
        cluster.processes[name] = subprocess.Popen(
            command, env=cluster.environment, stdout=output, stderr=output, start_new_session=True
        )


def _await(is_there: Callable[[], bool], what: str, cluster: Cluster) -> None:
    deadline = Deadline(120, f"start of {what} in {cluster.folder}")
    while True:
        with contextlib.suppress(subprocess.CalledProcessError):
            if is_there():
                return
        deadline.wait_a_little()
