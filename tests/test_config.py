"""The configuration: defaults, and mistakes named by key and allowed values."""

from __future__ import annotations

import contextlib
import copy
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from hvcost.errors import ConfigError
from hvcost.model import description
from hvcost.planning import config
from hvcost.planning.experiment import Experiment, as_json
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "config/schema.yaml"
MINIMAL: dict[str, Any] = {
    "systems": {"bare-metal": {"hypervisor": "bare-metal"}, "kvm": {"hypervisor": "kvm"}},
    "environments": {
        "env1": {
            "link": {"rate_mbit": 1000, "network": "198.18.1.0/24"},
            "host": {"connection": "emulated"},
            "client": {"connection": "local"},
        },
        "lab": {
            "link": {"rate_mbit": 1000, "network": "192.168.7.0/24"},
            "host": {"connection": "ssh", "address": "lab-host", "interface": "eth1"},
            "client": {"connection": "ssh", "address": "lab-client", "interface": "eth1"},
        },
    },
}
REMOVE = object()
CLAIM = {"text": "KVM is fast", "systems": ["kvm"], "against": "bare-metal", "ratio": {"at_least": 0.5}}


def experiment(content: Any) -> Experiment:
    """Experiment of a content."""
    return config.experiment(content, SCHEMA)


def changed(key: str, value: object) -> dict[str, Any]:
    """The minimal configuration with the value of one key changed, added or removed."""
    content = copy.deepcopy(MINIMAL)
    *path, last = key.split("/")
    place = content
    for part in path:
        place = place.setdefault(part, {})
    if value is REMOVE:
        del place[last]
    else:
        place[last] = value
    return content


def complaint(content: Any) -> str:
    """What is said about a wrong content."""
    with pytest.raises(ConfigError) as caught:
        experiment(content)
    return str(caught.value)


@pytest.mark.parametrize("name", ["config", "quick", "local", "aa", "lab", "provided"])
def test_configurations_of_the_project(name: str) -> None:
    result = config.read(ROOT / f"config/{name}.yaml", SCHEMA)
    assert ("bare-metal" in result.systems) == (name != "aa")


def test_default_experiment_is_the_protocol_of_the_study() -> None:
    result = config.read(ROOT / "config/config.yaml", SCHEMA)
    assert (result.boots, result.repetitions) == (1, 10)
    assert result.workloads["tcp"]["tool"] == "iperf"
    assert result.workloads["tcp"]["duration_s"] == 10
    assert result.guest == {"cpus": 1, "memory_mib": 128, "disk_gib": 10}
    assert list(result.systems) == ["bare-metal", "xen", "virtualbox", "qemu", "kvm"]
    rates = {name: place.link["rate_mbit"] for name, place in result.environments.items()}
    assert rates == {"env1": 1000, "env2": 100}


def test_default_experiment_puts_the_claims_of_the_study_to_the_test() -> None:
    result = config.read(ROOT / "config/config.yaml", SCHEMA)
    assert [claim.name for claim in result.claims] == ["C1", "C2", "C3", "C4", "C5", "C6"]
    compared = {claim.name: len(list(claim.pairs())) for claim in result.claims}
    assert compared == {"C1": 2, "C2": 4, "C3": 4, "C4": 2, "C5": 3, "C6": 1}


def test_no_two_configurations_share_an_environment() -> None:
    names: list[str] = []
    for file in ("config", "quick", "local", "aa", "lab", "provided"):
        names += yaml.safe_load((ROOT / f"config/{file}.yaml").read_text())["environments"]
    assert len(names) == len(set(names))


def test_defaults() -> None:
    before = copy.deepcopy(MINIMAL)
    result = experiment(MINIMAL)
    assert before == MINIMAL
    assert (result.seed, result.boots, result.repetitions) == (2010, 1, 10)
    tcp = {"tool": "iperf", "duration_s": 10, "streams": 1, "window": None}
    assert result.workloads == {"tcp": tcp}
    assert result.guest == {"cpus": 1, "memory_mib": 128, "disk_gib": 10}
    env1 = result.environments["env1"]
    assert env1.systems == ("bare-metal", "kvm")
    assert env1.host == {
        "connection": "emulated",
        "description": "",
        "cpus": 2,
        "memory_mib": 3072,
        "accelerator": "auto",
    }
    assert (env1.link["mtu"], env1.link["congestion_control"]) == (1500, "cubic")
    lab = result.environments["lab"].host
    assert (lab["user"], lab["port"]) == (None, None)
    assert "cpus" not in lab


def test_computers() -> None:
    environments = experiment(MINIMAL).environments
    assert environments["env1"].computers == ("this_computer",)
    assert environments["lab"].computers == ("computer_lab_client", "computer_lab_host")


def test_session_spec_holds_what_matters_and_no_more() -> None:
    result = experiment(MINIMAL)
    spec = result.session_spec("lab", "bare-metal", 1)
    assert spec["guest"] is None
    assert spec["host"] == {"connection": "ssh", "interface": "eth1"}
    assert spec["client"] == {"connection": "ssh", "interface": "eth1"}
    other = experiment(changed("environments/lab/host/user", "root") | {"seed": 3})
    assert other.session_spec("lab", "bare-metal", 1) == spec
    for end in ("host", "client"):
        other = experiment(changed(f"environments/lab/{end}/interface", "eth2"))
        assert other.session_spec("lab", "bare-metal", 1) != spec
    assert result.session_spec("env1", "kvm", 1)["guest"] == result.guest
    assert result.session_spec("env1", "kvm", 1)["client"] == {"connection": "local"}
    assert json.loads(as_json(spec)) == spec


def test_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = config.read(ROOT / "config/config.yaml", SCHEMA)
    file = tmp_path / "experiment.json"
    file.write_text(description.as_text(made.description()))
    read = description.load(file)
    assert read.claims == made.claims
    assert read.equivalence_margin == made.equivalence_margin
    assert [place.id for place in read.environments] == list(made.environments)
    assert read.links["env2"]["rate_mbit"] == 100
    assert list(read.systems) == list(made.systems)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "seed": 1}'])
def test_a_description_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "experiment.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="not an experiment's description"):
        description.load(file)


def test_claim_is_tested_wherever_its_systems_are() -> None:
    content = changed("claims/fast", CLAIM)
    assert experiment(content).claims[0].environments == ("env1", "lab")
    content["environments"]["lab"]["systems"] = ["kvm"]
    assert experiment(content).claims[0].environments == ("env1",)
    content["environments"]["env1"]["systems"] = ["kvm"]
    assert "claims.fast: in no environment are all its systems measured" in complaint(content)


def test_preparation_spec_names_hypervisors_and_no_description() -> None:
    content = changed("systems/kvm-e1000", {"hypervisor": "kvm", "options": {"nic": "e1000"}})
    spec = experiment(content).preparation_spec("env1")
    assert spec == experiment(MINIMAL).preparation_spec("env1")
    assert spec["hypervisors"] == ["bare-metal", "kvm"]
    assert spec["tools"] == ["iperf"]
    assert "description" not in spec["host"]


MISTAKES = [
    ("boots", 0, "boots: 0 is not allowed; allowed: an integer, 1 to 1000"),
    ("boots", "two", "boots: 'two' is not allowed; allowed: an integer"),
    ("seed", -1, "seed: -1 is not allowed; allowed: an integer, 0 or more"),
    ("repetitions", True, "repetitions: True is not allowed; allowed: an integer"),
    ("repetitons", 3, "repetitons: unknown key; allowed in the configuration: seed, boots, "),
    ("workloads", {}, "workloads: {} is not allowed; allowed: a mapping with at least one entry"),
    ("workloads/tcp", {}, "workloads.tcp.tool: this key is missing; allowed: a text"),
    ("workloads/tcp", {"tool": "ipref"}, "workloads.tcp.tool: 'ipref' is not allowed; allowed: i"),
    (
        "workloads/tcp",
        {"tool": "iperf", "duratoin_s": 3},
        "workloads.tcp.duratoin_s: unknown option; allowed: duration_s, streams, window",
    ),
    (
        "workloads/tcp",
        {"tool": "iperf", "window": "64 K"},
        "workloads.tcp.window: '64 K' is not allowed; allowed: a number of bytes with an optional K, M or ",
    ),
    ("workloads/TCP", {"tool": "iperf"}, "workloads: the name: 'TCP' is not allowed; allowed: a t"),
    ("guest/memory_mib", 1, "guest.memory_mib: 1 is not allowed; allowed: an integer, 64 to "),
    ("guest/memory_mib", 4096, "guest.memory_mib: 4096 is not allowed; allowed: less than env"),
    ("systems", None, "systems: None is not allowed; allowed: a mapping with at least one entry"),
    ("systems", REMOVE, "systems: this key is missing; allowed: a mapping"),
    ("systems/Xen", {"hypervisor": "kvm"}, "systems: the name: 'Xen' is not allowed; allowed: "),
    ("systems/xen", {}, "systems.xen.hypervisor: this key is missing; allowed: a text"),
    (
        "systems/x",
        {"hypervisor": "kqemu"},
        "systems.x.hypervisor: hypervisor 'kqemu' is not allowed; allowed: bare-metal, bare-metal-dom0, ",
    ),
    (
        "systems/kvm/options",
        {"nic": "e1001"},
        "systems.kvm.options.nic: 'e1001' is not allowed; allowed: virtio, e1000",
    ),
    ("systems/kvm/options", {"nick": 1}, "systems.kvm.options.nick: unknown option; allowed: nic"),
    (
        "systems/host",
        {"hypervisor": "bare-metal"},
        "systems: bare-metal, host all have the hypervisor bare-metal; allowed: at most one",
    ),
    (
        "environments/env1/systems",
        ["xen"],
        "environments.env1.systems: there is no system 'xen'; allowed: bare-metal, kvm",
    ),
    (
        "environments/env1/systems",
        ["kvm", "kvm"],
        "environments.env1.systems: ['kvm', 'kvm'] is not allowed; allowed: a list with at least ",
    ),
    ("environments/guest", MINIMAL["environments"]["env1"], "environments.guest: this name is tak"),
    ("environments/env1/link", REMOVE, "environments.env1.link: this key is missing; allowed: a m"),
    (
        "environments/env1/link/rate_mbit",
        0,
        "environments.env1.link.rate_mbit: 0 is not allowed; allowed: an integer, 1 to ",
    ),
    (
        "environments/env1/link/network",
        "198.18.1.1/24",
        "environments.env1.link.network: '198.18.1.1/24' is not allowed (198.18.1.1/24 has host",
    ),
    (
        "environments/env1/link/network",
        "10.0.0.0/24",
        "'10.0.0.0/24' is not allowed; allowed: an IPv4 network of at most 29 bits inside 198.18.0",
    ),
    (
        "environments/lab/link/network",
        "10.0.0.0/30",
        "environments.lab.link.network: '10.0.0.0/30' is not allowed; allowed: an IPv4 network of",
    ),
    (
        "environments/lab/link/network",
        "198.18.0.0/16",
        "environments.lab.link.network: 198.18.0.0/16 overlaps with that of environment env1",
    ),
    (
        "environments/env1/host/connection",
        "telnet",
        "environments.env1.host.connection: 'telnet' is not allowed; allowed: emulated, local, ssh",
    ),
    (
        "environments/env1/host/address",
        "lab-host",
        "environments.env1.host.address: unknown key; allowed in environments.env1.host: connecti",
    ),
    (
        "environments/env1/host/accelerator",
        "hvf",
        "environments.env1.host.accelerator: 'hvf' is not allowed; allowed: auto, tcg, kvm",
    ),
    (
        "environments/lab/host/address",
        REMOVE,
        "environments.lab.host.address: this key is missing; allowed: a text: a name of ~/.ssh",
    ),
    (
        "environments/lab/host/address",
        "-oProxyCommand=x",
        "environments.lab.host.address: '-oProxyCommand=x' is not allowed; allowed: a text",
    ),
    (
        "environments/lab/host/cpus",
        2,
        "environments.lab.host.cpus: unknown key; allowed in environments.lab.host: connection, ",
    ),
    (
        "environments/lab/client",
        {"connection": "local"},
        "environments.lab.client.interface: this key is missing; allowed: this computer's network",
    ),
    (
        "environments/env1/client",
        MINIMAL["environments"]["lab"]["client"],
        "environments.env1.client.connection: 'ssh' is not allowed with a host whose connection is",
    ),
    (
        "systems/esxi",
        {"hypervisor": "provided", "options": {"address": "192.168.7.30"}},
        "environments.env1.systems: 'esxi' (provided) is not allowed on a host whose connection is emulated",
    ),
    (
        "environments/lab/host",
        {"connection": "provided"},
        "environments.lab.systems: 'kvm' (kvm) is not allowed on a host that is left alone; allowed: systems",
    ),
    (
        "environments/lab/host",
        {"connection": "provided"},
        "environments.lab.host.bare_metal: this key is missing, since 'bare-metal' is measured there",
    ),
    (
        "environments/lab/host",
        {"connection": "provided", "bare_metal": {"address": "192.168.8.2"}},
        "lab.host.bare_metal.address: '192.168.8.2' is not allowed; allowed: an address in environments.lab",
    ),
    (
        "environments/env1/client/interface",
        "eth1",
        "environments.env1.client.interface: 'eth1' is not allowed with a host whose connection i",
    ),
]

MISTAKES += [
    (
        "analysis/equivalence_margin",
        0,
        "analysis.equivalence_margin: 0 is not allowed; allowed: a number, above 0",
    ),
    (
        "claims/fast",
        CLAIM | {"against": None},
        "claims.fast: allowed: either `against` with a system, or `between`",
    ),
    (
        "claims/fast",
        CLAIM | {"between": ["env1", "lab"]},
        "claims.fast: allowed: either `against` with a system, or `between`",
    ),
    (
        "claims/fast",
        CLAIM | {"against": "xen", "environments": ["env1"]},
        "claims.fast: 'xen' in 'env1' is not measured",
    ),
    (
        "claims/fast",
        CLAIM | {"environments": ["env9"]},
        "claims.fast: 'kvm' in 'env9' is not measured; allowed: in env1",
    ),
    (
        "claims/fast",
        CLAIM | {"ratio": {"at_least": 2, "at_most": 1}},
        "claims.fast.ratio.at_least: 2 is not allowed; allowed: at most 1",
    ),
    (
        "claims/fast",
        CLAIM | {"ratio": {}},
        "claims.fast.ratio: {} is not allowed; allowed: a mapping with at least one",
    ),
    ("claims/a claim", CLAIM, "claims: the name: 'a claim' is not allowed; allowed: a text: letters, digits"),
]


@pytest.mark.parametrize(("key", "value", "expected"), MISTAKES)
def test_mistake(key: str, value: object, expected: str) -> None:
    assert expected in complaint(changed(key, value))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {},
            "options.address: None is not allowed; allowed: an address in environments.lab.link",
        ),
        (
            {"address": "esxi.example"},
            "options.address: 'esxi.example' is not allowed; allowed: ",
        ),
        (
            {"address": "192.168.8.30"},
            "options.address: '192.168.8.30' is not allowed; allowed: ",
        ),
        ({"prove": "vmware -v"}, "options.expect: '' is not allowed with prove: 'vmware -v'"),
        ({"expect": "ESXi"}, "options.expect: 'ESXi' is not allowed with prove: ''"),
    ],
)
def test_mistake_with_a_guest_that_is_provided(options: dict[str, str], expected: str) -> None:
    assert expected in complaint(_provided(options))


def test_provided_guest_needs_no_image_and_no_second_network() -> None:
    content = _provided({"address": "192.168.7.30"})
    content["environments"]["lab2"] = copy.deepcopy(content["environments"]["lab"])
    result = experiment(content)
    assert not result.has_guest("lab")
    assert result.session_spec("lab2", "esxi", 1)["guest"] is None
    assert result.environments["lab"].computers == ("computer_lab_client", "computer_provided")


def _provided(options: dict[str, str]) -> dict[str, Any]:
    content = changed("environments/lab/host", {"connection": "provided"})
    content["systems"] = {"esxi": {"hypervisor": "provided", "options": options}}
    content["environments"] = {"lab": content["environments"]["lab"]}
    return content


@pytest.mark.parametrize("content", [None, [], "text"])
def test_configuration_that_is_no_mapping(content: object) -> None:
    assert "the configuration: " in complaint(content)


def test_all_mistakes_are_named_at_once() -> None:
    content = changed("boots", 0) | {"repetitions": 0, "seeed": 1, "wrokloads": {}}
    said = complaint(content)
    assert "boots: 0" in said
    assert "repetitions: 0" in said
    assert "seeed, wrokloads: unknown key" in said


def test_local_client_of_a_real_host_names_its_interface() -> None:
    client = {"connection": "local", "interface": "enp3s0"}
    result = experiment(changed("environments/lab/client", client))
    assert result.environments["lab"].computers == ("computer_lab_host", "this_computer")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("env9", "kvm", 1), "there is no environment 'env9'; allowed: env1, lab"),
        (("env1", "xen", 1), "there is no system 'xen' in environment 'env1'; allowed: bare-metal"),
        (("env1", "kvm", 2), "there is no boot 2; allowed: 1 to 1 (key `boots`)"),
    ],
)
def test_unknown_session(arguments: tuple[str, str, int], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment(MINIMAL).session_spec(*arguments)
    assert expected in str(caught.value)


MAPPINGS = [
    "",
    "guest",
    "workloads/tcp",
    "systems/kvm",
    "environments/env1",
    "environments/env1/link",
    "environments/env1/host",
    "environments/lab/host",
    "environments/lab/client",
]


@given(place=st.sampled_from(MAPPINGS), key=st.text(min_size=1, max_size=8), value=st.integers())
def test_unknown_keys_are_refused_wherever_they_are(place: str, key: str, value: int) -> None:
    content = copy.deepcopy(MINIMAL) | {"guest": {}, "workloads": {"tcp": {"tool": "iperf"}}}
    target = content
    for part in filter(None, place.split("/")):
        target = target[part]
    known = {*target, "seed", "boots", "repetitions", "cpus", "mtu", "user", "port", "streams", "window"}
    if key not in known:
        target[key] = value
        said = "unknown option; allowed: " if place == "workloads/tcp" else "unknown key; allowed in "
        assert f"{key}: {said}" in complaint(content)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=5,
    ),
    st.sampled_from(["seed", *MINIMAL, *(place for place in MAPPINGS if place)]),
)
def test_any_content_is_an_experiment_or_a_complaint(value: Any, place: str) -> None:
    with contextlib.suppress(ConfigError):
        experiment(changed(place, value))


def _keys(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {key for item in schema for key in _keys(item)}
    if not isinstance(schema, dict):
        return set()
    own = set(schema.get("properties", {})) if isinstance(schema.get("properties"), dict) else set()
    return own | {key for value in schema.values() for key in _keys(value)}


def test_every_key_is_explained() -> None:
    explained = (ROOT / "config/README.md").read_text()
    keys = _keys(yaml.safe_load(SCHEMA.read_text()))
    missing = sorted(key for key in keys if f"{key}`" not in explained)
    assert not missing


def test_conda_environment_has_the_installed_versions() -> None:
    pins = yaml.safe_load((ROOT / "envs/pipeline.yaml").read_text())["dependencies"]
    for pin in pins:
        name, _, pinned = pin.partition("=")
        if name != "python":
            assert version(name) == pinned, name
