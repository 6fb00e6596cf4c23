"""Which version of this software makes a result, so that a raw file says by what it was measured."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from hvcost.model.record import Facts

UNKNOWN = "unknown: not in a git checkout"
ROOT = Path(__file__).parents[3]
# What it takes to repeat an experiment: all but the tests.
PARTS = (
    ".snakemake-workflow-catalog.yml",
    "CITATION.cff",
    "Containerfile",
    "LICENSE",
    "README.md",
    "Snakefile",
    "config",
    "docs",
    "envs",
    "profiles",
    "pyproject.toml",
    "requirements-cluster.lock",
    "requirements.lock",
    "rules",
    "scripts",
)


def of_this_software() -> Facts:
    """Git commit of the checkout, with `-dirty` if files were edited since, and the version of Python."""
    commit = _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return {"commit": commit or UNKNOWN, "python_version": platform.python_version()}


def files_of_this_software() -> list[str]:
    """Files that it takes to repeat an experiment, from the project's folder.

    Of a checkout those that git knows, so that nothing private is among them; of a copy without git all.
    """
    known = _git("ls-files", "-z", "--", *PARTS).split("\0")
    if not any(known):
        paths = (path for part in PARTS for path in (ROOT / part, *(ROOT / part).rglob("*")))
        known = [str(path.relative_to(ROOT)) for path in paths if path.parent.name != "__pycache__"]
    return sorted(name for name in known if (ROOT / name).is_file())


def _git(*arguments: str) -> str:
    """What git says of the checkout; nothing if there is none."""
    # A checkout may belong to another user than root, who runs the sessions.
    argv = ["git", "-c", "safe.directory=*", *arguments]
    try:
        found = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
