"""Hosts made ready: what they were prepared for, and what is written down before it is changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hvcost.environments.acceleration import Acceleration
from hvcost.environments.preparation import place_of_prepared
from hvcost.errors import MachineError

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
