"""Hosts made ready: what they were prepared for, and what is written down before it is changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hvcost.environments.acceleration import Acceleration
from hvcost.environments.place import Operation
from hvcost.environments.preparation import ensure_guest, place_of_prepared
from hvcost.errors import MachineError
from hvcost.hypervisors import GuestFiles
from hvcost.images.guest import GuestImage
from hvcost.machines.local import LocalConnection

LINK = {"rate_mbit": 1000, "mtu": 1500, "network": "198.18.1.0/24", "congestion_control": "cubic"}
END = {"connection": "ssh", "interface": "eth1"}


@pytest.mark.parametrize("changed", ["host", "client", None])
def test_a_session_is_refused_on_cards_that_were_not_prepared(tmp_path: Path, changed: str | None) -> None:
    host_json = tmp_path / "host.json"
    ends = {"host": END | {"address": "one"}, "client": END | {"address": "two"}}
    host_json.write_text(
        json.dumps({"host_image": None, "machine": {"environment": "lab", "link": LINK, **ends}})
    )
    wanted = {end: END | ({"interface": "eth2"} if end == changed else {}) for end in ends}
    if changed is None:
        assert place_of_prepared(host_json, tmp_path, LINK, **wanted).client["interface"] == "eth1"
        return
    with pytest.raises(MachineError, match="lab host: it was prepared for another link or other hardware"):
        place_of_prepared(host_json, tmp_path, LINK, **wanted)


def test_a_session_runs_on_the_host_as_it_was_decided_to_be_played(tmp_path: Path) -> None:
    host_json = tmp_path / "host.json"
    host = {"connection": "emulated", "cpus": 2, "memory_mib": 3072, "accelerator": "auto"}
    machine = {"environment": "env1", "link": LINK, "host": host, "client": {}}
    decided = Acceleration("kvm", "seen")
    host_json.write_text(
        json.dumps({"host_image": None, "machine": machine, "acceleration": asdict(decided)})
    )
    assert place_of_prepared(host_json, tmp_path, LINK, host, {}).acceleration == decided


def test_a_guest_that_came_with_the_machine_is_used_as_it_is(tmp_path: Path) -> None:
    disk, kernel, initramfs = (tmp_path / name for name in ("disk.qcow2", "vmlinuz", "initrd.img"))
    image = GuestImage(disk, kernel, initramfs, {})
    host = _Untouched("env1 host")
    operation = Operation(host, "eth1", "198.18.1.2", host, "lan0", "/files", "/run", guest="/files/guest")
    found, changes = ensure_guest(operation, image)
    assert found == GuestFiles(*(f"/files/guest/{file.name}" for file in (disk, kernel, initramfs)))
    assert changes == []


class _Untouched(LocalConnection):
    """A machine on which nothing may be done."""

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        raise AssertionError(argv)
