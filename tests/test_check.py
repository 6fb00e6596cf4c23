"""What is said of real machines before they are measured, from what their programs say."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hvcost.environments.check import Finding, _examine_packages, examine_end
from hvcost.machines.local import LocalConnection

# As apt says it, in the language of the machine unless it is told otherwise.
POLICY = """#!/bin/sh
[ "${LC_ALL-}" = C ] && none="Candidate: (none)" || none="Installationskandidat: (keine)"
printf 'hvcost-nosuch:\\n  Installed: (none)\\n  %s\\n  Version table:\\n' "$none"
"""
IPERF = """#!/bin/sh
echo iperf version 2.1.8
"""


def program(folder: Path, name: str, text: str) -> None:
    """A program of a machine."""
    file = folder / name
    file.write_text(text)
    file.chmod(0o755)


def test_a_package_without_candidate_is_missing_in_every_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "apt-cache", POLICY)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    found = list(_examine_packages(LocalConnection("lab host"), "every session", ["hvcost-nosuch"]))
    assert [finding.kind for finding in found] == ["missing"]
    assert "hvcost-nosuch" in found[0].text


def test_a_machine_without_bash_is_told_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, "iperf", IPERF)
    for name in ("sh", "uname", "setpriv", "head"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path))
    machine = LocalConnection("lab client")
    missing = Finding("lab client", "missing", "bash: install it, for example apt-get install bash")
    assert missing in list(examine_end(machine, ["iperf"]))
    (tmp_path / "bash").symlink_to("/bin/bash")
    assert not any(finding.is_bad for finding in examine_end(machine, ["iperf"]))
