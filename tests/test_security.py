"""What docs/security.md promises and no other test shows; and that every test that it names is there."""

from __future__ import annotations

import ast
import copy
import itertools
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from hvcost.environments import emulated
from hvcost.environments.operation import in_operation
from hvcost.environments.place import Place
from hvcost.errors import ConfigError
from hvcost.images import cache
from hvcost.images import host as host_image
from hvcost.images.host import HostImage
from hvcost.machines.background import Backgrounds
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection
from hvcost.machines.shell import Shell
from hvcost.model.process import Process
from hvcost.planning import config
from hvcost.tools import load_tool, options_of, tool_names
from hypothesis import example, given
from hypothesis import strategies as st
from test_bare_metal import LINK, needs_root

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "config/schema.yaml"
PAGE = ROOT / "docs/security.md"
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the page


def test_every_test_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) > 20
    for file, name in named:
        defined = re.findall(
            r"^def (test_\w+)", (ROOT / "tests" / file).read_text(encoding="utf-8"), re.MULTILINE
        )
        assert name in defined, f"{file}::{name}"


# --- what comes from the configuration

LAB = yaml.safe_load((ROOT / "config/lab.yaml").read_text(encoding="utf-8"))
PROVIDED = yaml.safe_load((ROOT / "config/provided.yaml").read_text(encoding="utf-8"))
HOST, CLIENT, LINK_OF_LAB = (("environments", "lab1", key) for key in ("host", "client", "link"))
# Texts of the configuration that become words of commands on machines, by their place.
PLACES: list[tuple[Any, tuple[str, ...]]] = [
    *((LAB, (*machine, key)) for machine in (HOST, CLIENT) for key in ("address", "user", "interface")),
    *((LAB, (*LINK_OF_LAB, key)) for key in ("network", "congestion_control")),
    (LAB, ("workloads", "tcp", "window")),
    (LAB, ("workloads", "round-trip", "protocol")),
    (LAB, ("systems", "xen", "options", "type")),
    (PROVIDED, ("systems", "esxi", "options", "address")),
    (PROVIDED, ("environments", "rack", "host", "bare_metal", "address")),
]
# Names become parts of paths and of commands.
NAMES: list[tuple[str, str]] = [("environments", "lab1"), ("workloads", "tcp"), ("systems", "kvm")]
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*")
awkward = st.text(max_size=12) | st.sampled_from(
    [
        "-o",
        "--help",
        "$(id)",
        "`id`",
        "a b",
        "a;b",
        "a&b",
        "a|b",
        "a\n",
        "eth0\n",
        "../../etc",
        "'",
        '"',
        "*",
        "~",
    ]
)


def is_allowed(content: Any) -> bool:
    try:
        config.experiment(content, SCHEMA)
    except ConfigError:
        return False
    return True


@given(st.sampled_from(range(len(PLACES))), awkward)
@example(PLACES.index((LAB, (*HOST, "interface"))), "eth0\n")
@example(PLACES.index((LAB, (*HOST, "interface"))), "-h")
def test_what_becomes_a_word_of_a_command_is_a_plain_word(number: int, text: str) -> None:
    base, path = PLACES[number]
    content = copy.deepcopy(base)
    inner = content
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    inner[path[-1]] = text
    assert PLAIN.fullmatch(text) or not is_allowed(content)


@given(st.sampled_from(NAMES), awkward)
def test_a_name_is_a_plain_word_and_leads_nowhere(place: tuple[str, str], text: str) -> None:
    section, name = place
    content = copy.deepcopy(LAB)
    content[section][text] = content[section].pop(name)
    assert re.fullmatch("[a-z][a-z0-9-]*", text) or not is_allowed(content)


def test_the_places_are_those_of_configurations_that_are_allowed() -> None:
    """Otherwise nothing would be seen of what is in them."""
    assert is_allowed(LAB) and is_allowed(PROVIDED)
    assert is_allowed(LAB | {"workloads": {"tcp": {"tool": "iperf", "window": "64K"}}})


# Calls that would make a program, or an object, out of a text.
FORBIDDEN = (
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "yaml.load",
    "yaml.unsafe_load",
)


def test_no_text_is_run_as_a_program_on_this_computer() -> None:
    """Commands are lists of words: no shell of this computer reads them, unless it is one of the words."""
    for file in sorted((ROOT / "scripts").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in FORBIDDEN, f"{file}:{node.lineno}"
                assert "shell" not in {keyword.arg for keyword in node.keywords}, f"{file}:{node.lineno}"


# --- who can reach what listens


ADDRESS = "127.0.0.5"
# All servers that there are, each once, by its command line.
SERVERS = {
    process.argv: process
    for name in tool_names()
    for process in load_tool(name).processes(options_of({"tool": name}), ADDRESS)
    if process.ready
}


@pytest.mark.parametrize("server", SERVERS.values(), ids=lambda server: " ".join(server.argv))
def test_a_server_listens_at_the_measured_address_alone_and_its_folder_is_private(
    machine: LocalConnection, shell: Shell, tmp_path: Path, server: Process
) -> None:
    Backgrounds(shell, f"{tmp_path}/", 60).ready([server])
    (folder,) = tmp_path.iterdir()
    assert mode_of(folder) == 0o700
    sockets = [line.split() for line in machine.run(["ss", "-Hnltu"]).stdout.splitlines()]
    assert {words[4].partition("%")[0].rpartition(":")[0] for words in sockets} == {ADDRESS}


def test_an_emulated_machine_is_reached_by_its_own_loopback_and_reaches_nobody(tmp_path: Path) -> None:
    paths = dict.fromkeys(("disk", "kernel", "initramfs", "xen", "key", "known_hosts"), tmp_path)
    image = HostImage(**paths, qemu=["qemu"], qemu_version="10")
    hardware = emulated.Hardware(2, 3072, "tcg")
    line = emulated.command_line(hardware, image, tmp_path, "native", tmp_path, keep_changes=False)
    networks = [word for flag, word in itertools.pairwise(line) if flag == "-netdev"]
    (management,) = [word for word in networks if word.startswith("user,")]
    assert "restrict=on" in management.split(",")
    assert [each for each in management.split(",") if "fwd" in each] == [
        f"hostfwd=tcp:127.0.0.1:{emulated.SSH_PORT}-:22"
    ]
    assert [word.partition(",")[0] for word in networks if word != management] == ["tap"]
    assert not {"-monitor", "-vnc", "-gdb", "-s", "-qmp"} & set(line)


# --- who can read what is there


@needs_root
def test_the_folder_of_a_session_is_private(tmp_path: Path) -> None:
    here = {"connection": "local"}
    with in_operation(
        Place("private", LINK, here, here, tmp_path, None), Journal(), purpose="measure"
    ) as operation:
        assert mode_of(Path(operation.runtime)) == 0o700


def test_the_cache_of_images_is_private(tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "manifest.json").write_text('{"files": {}}', encoding="utf-8")

    cache.fill(tmp_path / "image", "guest", "0" * 64, build, tmp_path / "cache")
    assert mode_of(tmp_path / "cache") == 0o700


def test_the_key_of_an_emulated_machine_is_private_and_not_in_it(tmp_path: Path) -> None:
    root, folder = tmp_path / "root", tmp_path / "image"
    for path in (root / "root", root / "etc/ssh", folder):
        path.mkdir(parents=True)
    host_image._make_keys(LocalConnection("this computer"), root, folder)
    private = folder / "id_ed25519"
    assert mode_of(private) == 0o600
    # Its first lines are those of any key.
    secret = private.read_text(encoding="utf-8").splitlines()[-2]
    inside = [path for path in root.rglob("*") if path.is_file()]
    assert all(secret not in path.read_text(encoding="utf-8") for path in inside)
    assert mode_of(root / "root/.ssh") == 0o700
    assert mode_of(root / "root/.ssh/authorized_keys") == 0o600


# --- what results tell


def test_what_is_handed_to_a_command_is_in_no_record(caplog: pytest.LogCaptureFixture) -> None:
    """Command lines are recorded and published; what goes to a command's standard input is not."""
    machine = LocalConnection("this computer")
    with caplog.at_level("DEBUG"):
        assert machine.run(["cat"], stdin=b"open sesame").stdout == "open sesame"
    assert [command.argv for command in machine.journal.commands] == [("cat",)]
    assert "sesame" not in caplog.text


def test_a_configuration_has_no_place_for_a_password_or_a_key() -> None:
    keys = set(re.findall(r"^ *([a-z_]+): *(?:$|\{)", SCHEMA.read_text(encoding="utf-8"), re.MULTILINE))
    assert {"address", "user", "port"} <= keys
    assert not [key for key in keys if re.search("pass|secret|token|key|credential", key)]


# --- what is installed


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_python_package_is_pinned_with_its_hashes_and_names_no_source(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text and "--index" not in text
    pinned = r"^[a-z0-9._-]+(?:\[[a-z,]+\])?==[^ \n]+(?: ; [^\n]*)? \\\n    --hash=sha256:[0-9a-f]{64}"
    packages = re.findall(r"^[a-z0-9]", text, re.MULTILINE)
    assert len(re.findall(pinned, text, re.MULTILINE)) == len(packages) > 0


def test_packages_are_installed_only_with_their_hashes() -> None:
    """By the scripts; pip checks each of them then, and refuses what has none."""
    for script in ("install.sh", "audit.sh"):
        commands = re.findall(
            r"pip install .*(?:\\\n.*)*", (ROOT / "scripts" / script).read_text(encoding="utf-8")
        )
        assert commands and all("--require-hashes" in command for command in commands)
