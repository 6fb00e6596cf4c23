"""Which version of this software makes a result, so that a raw file says by what it was measured."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from hvcost.model.record import Facts

UNKNOWN = "unknown: not in a git checkout"


def of_this_software() -> Facts:
    """Git commit of the checkout, with `-dirty` if files were edited since, and the version of Python."""
    # A checkout may belong to another user than root, who runs the sessions.
    argv = ["git", "-c", "safe.directory=*", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(
            argv, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=60, check=False
        )
        commit = found.stdout.strip() if found.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    return {"commit": commit or UNKNOWN, "python_version": platform.python_version()}
