"""The configuration: defaults, and mistakes named by key and allowed values."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from hvcost import hypervisors, tools
from hvcost.errors import ConfigError, ParseError
from hvcost.model import description
from hvcost.planning import config, pace, plan, progress
from hvcost.planning.experiment import Experiment, as_json
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "config/schema.yaml"
# The study of 2010 is the default under another name.
SHIPPED = sorted({file.resolve() for file in ROOT.glob("config/**/*.yaml")} - {SCHEMA})
STUDIES = sorted(ROOT.glob("config/studies/*.yaml"))
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


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_configurations_of_the_project(file: Path) -> None:
    result = config.read(file, SCHEMA)
    assert ("bare-metal" in result.systems) == (file.stem not in ("aa", "maffione2017"))


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_studies_are_cited_and_planned_and_have_folders_of_their_own(file: Path) -> None:
    result = config.read(file, SCHEMA)
    assert result.study
    assert any(claim.published is not None for claim in result.claims)
    default = file.stem == "study2010"
    assert result.results == ("results" if default else f"results/{file.stem}")
    assert {place.host["connection"] for place in result.environments.values()} == {"emulated"}
    sessions = plan.sessions(result)
    assert len(sessions) == result.boots * sum(len(place.systems) for place in result.environments.values())
    assert progress.as_text(plan.whole(result, 1), pace.Pace()).startswith(f"To measure: {len(sessions)} ")


def test_studies_measure_with_one_guest() -> None:
    """Otherwise the image would be built anew for each, and all others would be out of date."""
    assert {config.read(file, SCHEMA).guest["disk_gib"] for file in STUDIES} == {10}


def test_an_analogue_is_named_as_one() -> None:
    """What is no longer there, or never was ours, is not measured under its name."""
    for file in STUDIES:
        for claim in config.read(file, SCHEMA).claims:
            stands_in = any(name in claim.text for name in ("VMware", "Docker"))
            assert bool(claim.analogue) >= stands_in, f"{file.stem} {claim.name}"


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


def test_no_two_configurations_share_a_folder() -> None:
    experiments = [config.read(file, SCHEMA) for file in SHIPPED]
    folders = [f"{each.results}/{name}" for each in experiments for name in each.environments]
    folders += {each.results for each in experiments} - {"results"}
    assert len(folders) == len(set(folders))


def test_defaults() -> None:
    before = copy.deepcopy(MINIMAL)
    result = experiment(MINIMAL)
    assert before == MINIMAL
    assert (result.results, result.seed, result.boots, result.repetitions) == ("results", 2010, 1, 10)
    tcp = {"tool": "iperf", "duration_s": 10, "direction": "to-guest", "streams": 1}
    unset = dict.fromkeys(("bytes", "length_bytes", "mss", "window", "server_window"))
    assert result.workloads == {"tcp": tcp | unset}
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


@pytest.mark.parametrize("hypervisor", ["nspawn", "xen", "bare-metal-dom0"])
def test_what_needs_a_machine_of_its_own_does_not_run_on_this_computer(hypervisor: str) -> None:
    content = changed("environments/env1/host", {"connection": "local"})
    experiment(content)
    content["systems"]["other"] = {"hypervisor": hypervisor}
    said = complaint(content)
    assert f"environments.env1.systems: 'other' ({hypervisor}) is not allowed on this computer" in said
    assert "allowed: on a host whose connection is emulated or ssh" in said


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
    with pytest.raises(ParseError, match="not an experiment's description"):
        description.load(file)


def test_a_study_and_what_it_published_are_in_the_description(tmp_path: Path) -> None:
    claim = CLAIM | {"published": 0.86, "analogue": "KVM stands for Xen", "link_limited": True}
    content = changed("claims/fast", claim) | {"study": {"citation": "Barham", "software": "Xen of 2003"}}
    made = experiment(content | {"results": "results/barham"})
    file = tmp_path / "experiment.json"
    file.write_text(description.as_text(made.description()))
    read = description.load(file)
    assert read.study == made.study == description.Study("Barham", "Xen of 2003", "")
    assert read.results == "results/barham"
    assert read.claims == made.claims
    assert (read.claims[0].published, read.claims[0].link_limited) == (0.86, True)


def test_descriptions_of_the_time_before_there_were_studies_are_read(tmp_path: Path) -> None:
    content = experiment(changed("claims/fast", CLAIM)).description()
    for key in ("study", "results"):
        del content[key]
    for key in ("published", "analogue", "link_limited"):
        del content["claims"][0][key]
    file = tmp_path / "experiment.json"
    file.write_text(description.as_text(content))
    read = description.load(file)
    assert (read.study, read.results, read.claims[0].published) == (None, "results", None)


def test_claim_is_tested_wherever_its_systems_are() -> None:
    content = changed("claims/fast", CLAIM)
    assert experiment(content).claims[0].environments == ("env1", "lab")
    content["environments"]["lab"]["systems"] = ["kvm"]
    assert experiment(content).claims[0].environments == ("env1",)
    content["environments"]["env1"]["systems"] = ["kvm"]
    check_complaint(content, "claims.fast", "env1 lab")


def test_preparation_spec_names_hypervisors_and_no_description() -> None:
    content = changed("systems/kvm-e1000", {"hypervisor": "kvm", "options": {"nic": "e1000"}})
    spec = experiment(content).preparation_spec("env1")
    assert spec == experiment(MINIMAL).preparation_spec("env1")
    assert spec["hypervisors"] == ["bare-metal", "kvm"]
    assert spec["tools"] == ["iperf"]
    assert "description" not in spec["host"]


ENV1, LAB = "environments.env1", "environments.lab"
ENDS = "`against` `between`"
# What is changed, the key that has to be named, and the words that its complaint must have: the value that is
# refused, and those that are allowed.
MISTAKES = [
    ("results", "/tmp/results", "results", "'/tmp/results' folder results/barham2003"),
    ("results", "results/../config", "results", "'results/../config' results/barham2003"),
    ("results", "results/a/b", "results", "'results/a/b' results/barham2003"),
    ("results", "results/guest", "results", "'results/guest' figures guest host-image machines"),
    ("boots", 0, "boots", "0 1 1000"),
    ("boots", "two", "boots", "'two' integer"),
    ("seed", -1, "seed", "-1 integer 0"),
    ("repetitions", True, "repetitions", "True integer"),
    ("repetitions", 2.0, "repetitions", "2.0 integer"),
    ("repetitions", 10**400, "repetitions", "1000"),
    ("analysis", {"equivalence_margin": math.nan}, "analysis.equivalence_margin", "nan number"),
    ("environments/lab/host/interface", "eth0\n", f"{LAB}.host.interface", "'eth0 name"),
    ("environments/lab/host/interface", "-h", f"{LAB}.host.interface", "'-h' name"),
    ("repetitons", 3, "repetitons", "unknown seed boots repetitions workloads systems"),
    ("workloads", {}, "workloads", "{} mapping"),
    ("workloads/tcp", {}, "workloads.tcp.tool", "missing text"),
    ("workloads/tcp", {"tool": "ipref"}, "workloads.tcp.tool", "'ipref' iperf"),
    (
        "workloads/tcp",
        {"tool": "iperf", "duratoin_s": 3},
        "workloads.tcp.duratoin_s",
        "unknown duration_s streams window",
    ),
    (
        "workloads/tcp",
        {"tool": "iperf", "window": "64 K"},
        "workloads.tcp.window",
        "'64 K' bytes K M G 64K null",
    ),
    ("workloads/TCP", {"tool": "iperf"}, "workloads", "name 'TCP' lower-case"),
    ("guest/memory_mib", 1, "guest.memory_mib", "1 integer 64 1048576"),
    ("guest/memory_mib", 4096, "guest.memory_mib", f"4096 {ENV1}.host.memory_mib 3072"),
    ("systems", None, "systems", "None mapping"),
    ("systems", REMOVE, "systems", "missing mapping"),
    ("systems/Xen", {"hypervisor": "kvm"}, "systems", "name 'Xen' lower-case"),
    ("systems/xen", {}, "systems.xen.hypervisor", "missing text"),
    ("systems/x", {"hypervisor": "kqemu"}, "systems.x.hypervisor", "'kqemu' bare-metal kvm qemu xen"),
    ("systems/kvm/options", {"nic": "e1001"}, "systems.kvm.options.nic", "'e1001' virtio e1000 rtl8139"),
    ("systems/kvm/options", {"nick": 1}, "systems.kvm.options.nick", "unknown nic vhost"),
    ("systems/kvm/options", {"queues": 2}, "systems.kvm.options.queues", "2 guest.cpus 1"),
    ("systems/host", {"hypervisor": "bare-metal"}, "systems", "bare-metal host one"),
    ("environments/env1/systems", ["xen"], f"{ENV1}.systems", "'xen' bare-metal kvm"),
    ("environments/env1/systems", ["kvm", "kvm"], f"{ENV1}.systems", "['kvm', 'kvm'] twice"),
    (
        "environments/guest",
        MINIMAL["environments"]["env1"],
        "environments.guest",
        "name figures guest machines",
    ),
    ("environments/env1/link", REMOVE, f"{ENV1}.link", "missing rate_mbit network"),
    ("environments/env1/link/rate_mbit", 0, f"{ENV1}.link.rate_mbit", "0 integer 1 400000"),
    (
        "environments/env1/link/network",
        "198.18.1.1/24",
        f"{ENV1}.link.network",
        "'198.18.1.1/24' host bits 29",
    ),
    (
        "environments/env1/link/network",
        "10.0.0.0/24",
        f"{ENV1}.link.network",
        "'10.0.0.0/24' 29 198.18.0.0/15",
    ),
    ("environments/lab/link/network", "10.0.0.0/30", f"{LAB}.link.network", "'10.0.0.0/30' 29"),
    (
        "environments/lab/link/network",
        "198.18.0.0/16",
        f"{LAB}.link.network",
        "198.18.0.0/16 env1 198.18.1.0/24",
    ),
    ("environments/env1/link/offloads", True, f"{ENV1}.link.offloads", "true plays false"),
    ("environments/env1/link/offloads", "on", f"{ENV1}.link.offloads", "'on' true false"),
    ("environments/env1/host/connection", "telnet", f"{ENV1}.host.connection", "'telnet' emulated local ssh"),
    ("environments/env1/host/address", "lab-host", f"{ENV1}.host.address", "unknown connection cpus"),
    ("environments/env1/host/accelerator", "hvf", f"{ENV1}.host.accelerator", "'hvf' auto tcg kvm"),
    ("environments/lab/host/address", REMOVE, f"{LAB}.host.address", "missing ~/.ssh/config"),
    (
        "environments/lab/host/address",
        "-oProxyCommand=x",
        f"{LAB}.host.address",
        "'-oProxyCommand=x' ~/.ssh/config",
    ),
    ("environments/lab/host/cpus", 2, f"{LAB}.host.cpus", "unknown connection address interface"),
    ("environments/lab/client", {"connection": "local"}, f"{LAB}.client.interface", "missing interface"),
    (
        "environments/env1/client",
        MINIMAL["environments"]["lab"]["client"],
        f"{ENV1}.client.connection",
        "'ssh' emulated local",
    ),
    (
        "systems/esxi",
        {"hypervisor": "provided", "options": {"address": "192.168.7.30"}},
        f"{ENV1}.systems",
        "'esxi' emulated provided",
    ),
    ("environments/lab/host", {"connection": "provided"}, f"{LAB}.systems", "'kvm' provided bare-metal"),
    (
        "environments/lab/host",
        {"connection": "provided"},
        f"{LAB}.host.bare_metal",
        "missing 'bare-metal' address ssh",
    ),
    (
        "environments/lab/host",
        {"connection": "provided", "bare_metal": {"address": "192.168.8.2"}},
        f"{LAB}.host.bare_metal.address",
        f"'192.168.8.2' {LAB}.link.network 192.168.7.0/24",
    ),
    ("environments/env1/client/interface", "eth1", f"{ENV1}.client.interface", "'eth1' emulated null"),
    ("analysis/equivalence_margin", 0, "analysis.equivalence_margin", "0 number 1"),
    ("claims/fast", CLAIM | {"against": None}, "claims.fast", ENDS),
    ("claims/fast", CLAIM | {"between": ["env1", "lab"]}, "claims.fast", ENDS),
    (
        "claims/fast",
        CLAIM | {"against": "xen", "environments": ["env1"]},
        "claims.fast",
        "'xen' 'env1' bare-metal",
    ),
    ("claims/fast", CLAIM | {"environments": ["env9"]}, "claims.fast", "'kvm' 'env9' env1 lab"),
    (
        "claims/fast",
        CLAIM | {"ratio": {"at_least": 2, "at_most": 1}},
        "claims.fast.ratio.at_least",
        "2 1 at_most",
    ),
    ("claims/fast", CLAIM | {"ratio": {}}, "claims.fast.ratio", "{} at_least at_most"),
    (
        "claims/fast",
        {key: value for key, value in CLAIM.items() if key != "ratio"},
        "claims.fast",
        "ratio difference",
    ),
    ("claims/fast", CLAIM | {"difference": {"at_most": 1}}, "claims.fast", "ratio difference"),
    (
        "claims/fast",
        {key: value for key, value in CLAIM.items() if key != "ratio"} | {"difference": {"at_most": 1}},
        "claims.fast.difference",
        "throughput tcp ratio",
    ),
    ("claims/fast", CLAIM | {"published": 0.4}, "claims.fast.published", "0.4 range"),
    ("claims/fast", CLAIM | {"published": "half"}, "claims.fast.published", "'half' number null"),
    ("claims/fast", CLAIM | {"link_limited": "yes"}, "claims.fast.link_limited", "'yes' true false"),
    (
        "claims/fast",
        CLAIM | {"link_limited": True, "metric": "host_cpu"},
        "claims.fast.link_limited",
        "true 'host_cpu' false",
    ),
    ("study", {"software": "Xen"}, "study.citation", "missing cited"),
    ("study", {"citation": "Barham", "year": 2003}, "study.year", "unknown citation software remark"),
    ("claims/a claim", CLAIM, "claims", "name 'a claim' letters"),
]


def check_complaint(content: Any, key: str, words: str) -> None:
    """A complaint of its own names the key, and then what is wrong and allowed, in whatever sentence."""
    said = complaint(content)
    of_key = [line for line in said.splitlines() if line.startswith(f"{key}: ")]
    assert any("allowed" in line and all(word in line for word in words.split()) for line in of_key), said


@pytest.mark.parametrize(("place", "value", "key", "words"), MISTAKES)
def test_a_mistake_is_named_by_its_key_with_what_is_allowed(
    place: str, value: object, key: str, words: str
) -> None:
    check_complaint(changed(place, value), key, words)


@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        ({}, "address", f"None {LAB}.link.network"),
        ({"address": "esxi.example"}, "address", f"'esxi.example' {LAB}.link.network"),
        ({"address": "192.168.8.30"}, "address", f"'192.168.8.30' {LAB}.link.network"),
        ({"prove": "vmware -v"}, "expect", "'' prove: 'vmware -v'"),
        ({"expect": "ESXi"}, "expect", "'ESXi' prove: ''"),
    ],
)
def test_a_mistake_with_a_guest_that_is_provided(options: dict[str, str], key: str, words: str) -> None:
    check_complaint(_provided(options), f"systems.esxi.options.{key}", words)


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


def _keys(schema: Any) -> set[str]:
    """Names of all properties in a schema, wherever they are."""
    if isinstance(schema, list):
        return set().union(*map(_keys, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", ())).union(*map(_keys, schema.values()))


# Some of them are allowed in some places. The generator tries words of the source, these among them.
KNOWN = _keys(yaml.safe_load(SCHEMA.read_text())) | {
    option.name for tool in tools.tool_names() for option in fields(tools.load_tool(tool).Options)
}


@given(place=st.sampled_from(MAPPINGS), key=st.text(min_size=1, max_size=8), value=st.integers())
def test_unknown_keys_are_refused_wherever_they_are(place: str, key: str, value: int) -> None:
    content = copy.deepcopy(MINIMAL) | {"guest": {}, "workloads": {"tcp": {"tool": "iperf"}}}
    target = content
    for part in filter(None, place.split("/")):
        target = target[part]
    if key not in KNOWN | set(target):
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


def described(schema: Any, root: Any, place: str = "") -> set[tuple[str, str]]:
    """All keys of the schema, each with the heading of config/README.md that it belongs below."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]] | schema
    found = set()
    for key, value in schema.get("properties", {}).items():
        found.add((HEADINGS.get(place, place), key))
        found |= described(value, root, f"{place}.{key}".lstrip("."))
    if isinstance(schema.get("additionalProperties"), dict):
        found |= described(schema["additionalProperties"], root, f"{place}.NAME")
    for branch in schema.get("allOf", ()):
        found |= described(branch["then"], root, place)
    return found


# Keys of these places are explained in the table of another one.
ENDS_HEADING = "environments.NAME.host and environments.NAME.client"
HEADINGS = {
    "": "Keys",
    "claims.NAME.ratio": "claims.NAME",
    "claims.NAME.difference": "claims.NAME",
    "environments.NAME.host": ENDS_HEADING,
    "environments.NAME.client": ENDS_HEADING,
    "environments.NAME.host.bare_metal": ENDS_HEADING,
}


def explained() -> set[tuple[str, str]]:
    """Keys that the tables of config/README.md begin a line with, each with its heading."""
    found, heading = set(), ""
    for line in (ROOT / "config/README.md").read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ").replace("`", "")
        elif row := re.match(r"\| (`[^|]*`) \|", line):
            found |= {(heading, key) for key in re.findall(r"`([^`]*)`", row[1])}
    return found


def options_of_drivers_and_tools() -> set[tuple[str, str]]:
    """Options, each with the heading that it belongs below."""
    found = {
        ("systems.NAME", field.name)
        for hypervisor in hypervisors.names()
        for field in fields(hypervisors.load_driver(hypervisor).Options)
    }
    for tool in tools.tool_names():
        found |= {(f"Options of {tool}", field.name) for field in fields(tools.load_tool(tool).Options)}
    return found


def test_every_key_is_explained_in_its_table() -> None:
    schema = yaml.safe_load(SCHEMA.read_text())
    keys = described(schema, schema) | options_of_drivers_and_tools()
    assert len(keys) > 50
    assert sorted(keys - explained()) == []


def test_conda_environment_has_the_installed_versions() -> None:
    pins = yaml.safe_load((ROOT / "envs/pipeline.yaml").read_text())["dependencies"]
    for pin in pins:
        name, _, pinned = pin.partition("=")
        if name != "python":
            assert version(name) == pinned, name
