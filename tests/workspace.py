"""A copy of the project with results of its own, in which Snakemake runs as a user runs it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hvcost.environments import network, operation
from hvcost.environments.place import Operation
from hvcost.environments.preparation import place_of_prepared
from hvcost.hypervisors import BootMode
from hvcost.images import guest as guest_image
from hvcost.machines.journal import Journal
from hvcost.model import record

ROOT = Path(__file__).parents[1]
# For experiments of which no figure matters: they need not take turns with those that boot machines.
BESIDE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run/lock && exec "$@"', "beside")
PARTS = ("Snakefile", "config", "envs", "profiles", "rules", "scripts")


@dataclass(frozen=True)
class Workspace:
    """A folder with the project's files as links and results of its own.

    `within`: beginning of the command lines, to run Snakemake in another namespace or with another home.
    """

    folder: Path
    within: tuple[str, ...] = ()

    @property
    def state(self) -> Path:
        return self.folder / "results/machines"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        with (self.folder / "output.txt").open("w") as output:
            return subprocess.Popen(
                [*self.within, sys.executable, "-m", "snakemake", *arguments],
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
        files = sorted((self.folder / f"results/{env}/raw/{system}").glob(f"boot*/{workload}-*.json"))
        return [record.read(file) for file in files]

    def left_behind(self) -> list[str]:
        """Namespaces, processes and folders of this workspace that are still there."""
        prefix = network.prefix_of(self.state)
        runtime = f"/run/{prefix.rstrip('-')}"
        processes = subprocess.run(
            ["pgrep", "-af", f"{self.folder}|{prefix}"], capture_output=True, text=True
        ).stdout.splitlines()
        return [
            *(str(path) for path in network.NAMESPACES.glob(f"{prefix}*")),
            *(str(path) for path in Path("/run").glob(f"{Path(runtime).name}*")),
            *(line for line in processes if "pytest" not in line),
        ]

    def link_project(self) -> None:
        """Put links to the project's files into the folder."""
        for part in PARTS:
            (self.folder / part).symlink_to(ROOT / part)

    @contextmanager
    def machine(self, boot_mode: BootMode = "native") -> Iterator[Operation]:
        """The emulated machine that was prepared for config/quick.yaml, switched on."""
        host_json = self.folder / "results/quick/host.json"
        prepared = json.loads(host_json.read_text())["machine"]
        hardware = {key: prepared["host"][key] for key in ("cpus", "memory_mib", "accelerator")}
        place = place_of_prepared(host_json, self.state, prepared["link"], hardware, {})
        place = dataclasses.replace(place, host_image=self.folder / "results/host-image/manifest.json")
        guest = guest_image.load(self.folder / "results/guest/manifest.json")
        with operation.in_operation(
            place, Journal(), purpose="measure", boot_mode=boot_mode, guest=guest
        ) as opened:
            yield opened
