"""Hosts made ready: what they were prepared for, and what is written down before it is changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
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
