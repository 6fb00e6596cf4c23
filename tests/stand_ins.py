"""A copy of the project whose programs are replaced, for tests of what the workflow runs when and where.

They write the outputs at once (tests/workflow): what programs do is tested elsewhere.
"""

from __future__ import annotations

import ast
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import snakemake.cli  # type: ignore[import-untyped]
import yaml

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests/workflow"
ANALYSIS = (
    "parse_repetitions",
    "describe_experiment",
    "analyse_environment",
    "make_report",
)
PROGRAMS = ("build_guest_image", "build_host_image", "prepare_host", "measure_session", *ANALYSIS)
JOB = re.compile(r"^rule (\w+):\n((?:    .+\n?)+)", re.MULTILINE)


@dataclass(frozen=True)
class Project:
    """A copy of the project in a folder of its own."""

    folder: Path

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Snakemake as a user does who has not activated its Python environment."""
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.folder,
            env=os.environ | {"PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def dry_run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a dry run, in a fork that spares the import of Snakemake."""
        output = self.folder / "dry-run.txt"
        process = multiprocessing.get_context("fork").Process(
            target=_dry_run, args=(self.folder, output, arguments)
        )
        process.start()
        process.join()
        assert process.exitcode is not None
        return process.exitcode, output.read_text()

    def run(self, *arguments: str) -> str:
        """Output of Snakemake, which has to succeed."""
        finished = self.snakemake(*arguments)
        assert finished.returncode == 0, finished.stdout
        return finished.stdout

    def refused(self, *arguments: str) -> str:
        """Output of Snakemake, which has to fail without a traceback."""
        exit_code, output = self.dry_run(*arguments)
        assert exit_code != 0, output
        assert "Traceback (most recent call last)" not in output
        return output

    def to_do(self, *arguments: str) -> set[str]:
        """Jobs that a run would do, as `rule wildcard wildcard`, without `all`."""
        exit_code, output = self.dry_run(*arguments)
        assert exit_code == 0, output
        return {name for name, _ in jobs(output)} - {"all"}

    def change_config(self, change: Callable[[Any], None]) -> None:
        """Edit config/config.yaml."""
        file = self.folder / "config/config.yaml"
        content = yaml.safe_load(file.read_text())
        change(content)
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def append(self, pattern: str, text: str) -> None:
        """Append a text to every file that matches."""
        files = list(self.folder.glob(pattern))
        assert files, pattern
        for file in files:
            with file.open("a") as stream:
                stream.write(text)

    def ran(self) -> list[dict[str, Any]]:
        """What the programs noted when they ran, in order."""
        return [json.loads(line) for line in (self.folder / "ran.jsonl").read_text().splitlines()]

    def sessions_run(self) -> list[str]:
        """Sessions that were run, in order, as `env system boot`."""
        jobs = [entry["job"] for entry in self.ran()]
        return [job.removeprefix("measure_session ") for job in jobs if job.startswith("measure_session")]


def make(folder: Path) -> Project:
    """The project with stand-ins and no results, in a new folder."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("rules", "profiles", "config", "envs", "scripts/hvcost"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    shutil.copy2(ROOT / "Snakefile", folder)
    for program in PROGRAMS:
        own = DATA / f"{program}.py"
        text = (own if own.is_file() else DATA / "program.py").read_text()
        (folder / f"scripts/{program}.py").write_text(text + _imports(ROOT / f"scripts/{program}.py"))
    shutil.copy2(DATA / "config.yaml", folder / "config/config.yaml")
    (folder / "session-takes-s").write_text("0")
    (folder / "accelerator").write_text("tcg")
    return Project(folder)


def _imports(program: Path) -> str:
    """What a program imports, as a function that nobody calls: its rule depends on that."""
    nodes = ast.walk(ast.parse(program.read_text()))
    imports = [ast.unparse(node) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    own = [line for line in imports if "__future__" not in line]
    return "\n\ndef imports():\n" + "".join(f"    {line}\n" for line in own)


def _dry_run(folder: Path, output: Path, arguments: tuple[str, ...]) -> None:
    os.chdir(folder)
    with output.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = stream
        snakemake.cli.main(["-n", *arguments])


def jobs(output: str) -> list[tuple[str, dict[str, str]]]:
    """Jobs that Snakemake prints, as `rule wildcard wildcard`, each with its fields."""
    found = []
    for rule, body in JOB.findall(output):
        fields = dict(line.strip().split(": ", 1) for line in body.splitlines() if ": " in line)
        values = re.findall(r"\w+=([^,]+)", fields.get("wildcards", ""))
        found.append((" ".join([rule, *values]), fields))
    return found
