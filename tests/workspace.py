"""A copy of the project with results of its own, in which Snakemake runs as a user runs it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hvcost.environments import network, operation
from hvcost.environments.place import Operation
from hvcost.environments.preparation import place_of_prepared
from hvcost.hypervisors import BootMode
from hvcost.images import guest as guest_image
from hvcost.machines.base import sha256_of
from hvcost.machines.deadline import Deadline
from hvcost.machines.journal import Journal
from hvcost.model import record

ROOT = Path(__file__).parents[1]
# For experiments of which no figure matters: they need not take turns with those that boot machines.
BESIDE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run/lock && exec "$@"', "beside")
PARTS = ("Snakefile", "config", "envs", "profiles", "rules", "scripts")
# Of `small`: its environment, its only system, and what makes Snakemake measure it.
SMALL, BARE_METAL = "small", "bare-metal"
MEASURE_SMALL = ("all", "--configfile", f"{SMALL}.yaml")


def with_locks_in(folder: Path) -> tuple[str, ...]:
    """Beginning of the command lines of those that take turns with each other, and with nobody else."""
    folder.chmod(0o1777)
    return ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /run/lock && exec "$@"', str(folder))


@dataclass(frozen=True)
class Workspace:
    """A folder with the project's files as links and results of its own.

    `within`: beginning of the command lines, to run Snakemake in another namespace or with another home.
    `results`: the experiment's folder.
    """

    folder: Path
    within: tuple[str, ...] = ()
    results: str = "results"

    @property
    def state(self) -> Path:
        return self.folder / self.results / "machines"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        with (self.folder / "output.txt").open("w") as output:
            return subprocess.Popen(
                # Whoever runs the tests may ignore it, by nohup(1); a user's terminal does not.
                [
                    *("env", "--default-signal=HUP", *self.within, "env", "-C", str(self.folder)),
                    *(sys.executable, "-m", "snakemake", *arguments),
                ],
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def output(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")

    def run(self, *arguments: str) -> str:
        assert self.start(*arguments).wait() == 0, self.output()
        return self.output()

    def records(self, env: str, system: str, workload: str = "*") -> list[record.Record]:
        files = sorted((self.folder / self.results / env / "raw" / system).glob(f"boot*/{workload}-*.json"))
        return [record.read(file) for file in files]

    def processes(self) -> dict[int, str]:
        """Command lines of what was started in this workspace and still runs, by process ID.

        Namespaces, mounts and networks of its own end with what is in them.
        """
        found = {}
        ours = (str(self.folder), network.prefix_of(self.state))
        for process in Path("/proc").glob("[0-9]*"):
            # It may end at any time, and a zombie is in no folder.
            with suppress(OSError):
                said = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if any(our in f"{said} {process.joinpath('cwd').readlink()}" for our in ours):
                    found[int(process.name)] = said
        return found

    def left_behind(self) -> list[str]:
        """Processes of this workspace that are still there."""
        return [line for line in self.processes().values() if "pytest" not in line]

    def await_end(self) -> None:
        """Wait until nothing of this workspace is left; DeadlineExceeded says what is."""
        deadline = Deadline(60, "end of everything that was started")
        while left := self.left_behind():
            deadline.check(str(left))
            deadline.wait_a_little()

    def digests(self, folder: str = "results") -> dict[str, str]:
        """SHA-256 of every raw file below a folder of the workspace, in hexadecimal, by its path there."""
        root = self.folder / folder
        return {str(path.relative_to(root)): sha256_of(path) for path in root.glob("*/raw/*/boot*/*.json")}

    def beside(self, name: str) -> Workspace:
        """A new one of the same user, with the project's files."""
        other = dataclasses.replace(self, folder=self.folder.with_name(name))
        other.folder.mkdir()
        owner = self.folder.stat()
        os.chown(other.folder, owner.st_uid, owner.st_gid)
        other.link_project()
        return other

    def link_project(self) -> None:
        """Put links to the project's files into the folder."""
        for part in PARTS:
            (self.folder / part).symlink_to(ROOT / part)

    @contextmanager
    def machine(self, boot_mode: BootMode = "native") -> Iterator[Operation]:
        """The emulated machine that was prepared for config/quick.yaml, switched on."""
        host_json = self.folder / self.results / "quick/host.json"
        prepared = json.loads(host_json.read_text())["machine"]
        hardware = {key: prepared["host"][key] for key in ("cpus", "memory_mib", "accelerator")}
        place = place_of_prepared(host_json, self.state, prepared["link"], hardware, {})
        place = dataclasses.replace(place, host_image=self.folder / "results/host-image/manifest.json")
        guest = guest_image.load(self.folder / "results/guest/manifest.json")
        with operation.in_operation(
            place, Journal(), purpose="measure", boot_mode=boot_mode, guest=guest
        ) as opened:
            yield opened


def evidence(one: record.Record) -> dict[str, Any]:
    """What proves that the guest of a repetition ran under QEMU, and with which accelerator."""
    return {
        "enabled": one.proof["query-kvm"]["enabled"],
        "status": one.proof["query-status"]["status"],
        "vendor": one.proof["guest"]["cpuid_vendor"],
        "driver": one.proof["guest"]["driver"],
    }


def small(folder: Path, boots: int, within: tuple[str, ...] = BESIDE) -> Workspace:
    """A workspace that measures this computer itself, in so many sessions of one run of a second each.

    One that is there already gets so many.
    """
    workspace = Workspace(folder, within)
    if not folder.exists():
        folder.mkdir(parents=True)
        workspace.link_project()
    content = yaml.safe_load((ROOT / "config/local.yaml").read_text())
    content |= {
        "results": "results",
        "boots": boots,
        "repetitions": 1,
        "workloads": {"tcp": {"tool": "iperf", "duration_s": 1}},
        "systems": {BARE_METAL: {"hypervisor": BARE_METAL}},
        "environments": {SMALL: content["environments"]["local"]},
    }
    (folder / f"{SMALL}.yaml").write_text(yaml.safe_dump(content))
    return workspace
