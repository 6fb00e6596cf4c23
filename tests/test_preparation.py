"""Hosts made ready: what they were prepared for, and what is written down before it is changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
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
