"""The experiment in a container, whose root is the user who starts it: its image is built, and measures.

For `-m lab`, since it takes Podman, and Debian's own image from a registry or from Podman's store. What
a computer has to say beside that (runtime, certificates), it says in containers.conf(5) and by
BUILDAH_ISOLATION.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IMAGE = "hvcost-tested"

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
]


def test_what_is_measured_in_a_container_is_the_user_s(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    subprocess.run(["podman", "build", "--tag", IMAGE, str(ROOT)], check=True)
    run = ["podman", "run", "--rm", "--privileged", "--device", "/dev/net/tun"]
    run += ["--volume", f"{results}:/hvcost/results", IMAGE]
    measure = ["scripts/run.sh", "all", "--configfile", "config/local.yaml"]
    done = subprocess.run([*run, *measure], capture_output=True, text=True)
    assert "Measured: 2 of 2 sessions, 12 of 12 runs ok" in done.stdout + done.stderr, done.stderr[-4000:]
    assert (results / "local/report.html").is_file()
    assert {path.lstat().st_uid for path in results.rglob("*")} == {os.getuid()}
