"""Environments that take turns, in whichever checkout, and those that need not."""

from __future__ import annotations

import fcntl
import getpass
import logging
import threading
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hvcost.environments import operation
from hvcost.environments.operation import in_operation
from hvcost.environments.place import Place
from hvcost.machines import locks
from hvcost.machines.deadline import Deadline
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection
from hvcost.model.link import Link

LINK = Link(1000, 1500, IPv4Network("198.18.79.0/24"), "cubic")


@pytest.fixture
def rack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A provided guest with a client of its own; this computer stands for it."""

    def connected(name: str, _spec: Mapping[str, Any], journal: Journal, **_: bool) -> LocalConnection:
        return LocalConnection(name, journal)

    monkeypatch.setattr(operation, "connected", connected)
    tmp_path.chmod(0o777)
    monkeypatch.setattr(locks, "FOLDERS", (tmp_path,))
    client = {"connection": "ssh", "address": "client", "interface": "eth1"}
    return Place("rack", LINK, {"connection": "provided"}, client, tmp_path / "state", None)


def test_guests_that_are_provided_do_not_wait_for_this_computer(rack: Place) -> None:
    with locks.of_computer("hvcost.lock").open("a") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        with in_operation(rack, Journal(), purpose="measure", needs_host=False):
            pass


def test_guests_that_are_provided_are_measured_by_one_checkout_at_a_time(
    rack: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    def measure() -> None:
        with in_operation(rack, Journal(), purpose="measure", needs_host=False):
            pass

    second = threading.Thread(target=measure)
    with in_operation(rack, Journal(), purpose="measure", needs_host=False):
        second.start()
        deadline = Deadline(60, "second session waits")
        while (
            f"waiting: machines that are left alone are being measured by {getpass.getuser()} in"
            not in caplog.text
        ):
            deadline.wait_a_little(0.02)
        assert second.is_alive()
    second.join()
