"""What a program does in namespaces of its own: root of its networks, whoever the user is, and no trace."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import ordinary
import pytest
from hvcost.errors import MachineError
from hvcost.machines import user_namespace
from ordinary import Ordinary
from workspace import PARTS, ROOT, Workspace

APART = str(ROOT / "scripts/apart.py")
needs_administrator = pytest.mark.skipif(
    not ordinary.IS_ADMINISTRATOR, reason="it takes an administrator to make a user"
)
# The network of the instrument, made by hand: what it takes is allowed.
NETWORK = """
set -e
mkdir /run/netns
for name in client far; do touch /run/netns/$name; unshare --net=/run/netns/$name true; done
ip -n client link add lan0 type veth peer name port0 netns far
ip -n far link add switch0 type bridge
ip -n far tuntap add tap0 mode tap
ip -n far link set tap0 master switch0 up
ip netns exec client tc qdisc add dev lan0 root tbf rate 100mbit burst 25k limit 625k
ip netns exec client ethtool -K lan0 tso off
ip -n client address add 198.18.9.1/24 dev lan0
ip -n client link set lan0 up
ip -n client route add 198.18.9.9/32 dev lan0 congctl cubic
echo made
ls /run/netns
"""


@pytest.fixture
def user() -> Iterator[Ordinary]:
    """A user of a computer that is prepared for one."""
    with ordinary.made([ROOT]) as user:
        yield user


def said_by(user: Ordinary, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*user.within, *command], capture_output=True, text=True)


def apart(*command: str) -> list[str]:
    return [sys.executable, APART, *command]


def test_the_exit_code_is_the_command_s() -> None:
    assert subprocess.run(apart("sh", "-c", "exit 7")).returncode == 7
    assert subprocess.run(apart("sh", "-c", "kill -KILL $$")).returncode == 128 + signal.SIGKILL


def test_what_is_made_inside_is_not_seen_outside() -> None:
    done = subprocess.run(apart("sh", "-c", NETWORK), capture_output=True, text=True)
    assert done.stdout.split() == ["made", "client", "far"], done.stderr
    assert not any(Path("/run/netns", name).exists() for name in ("client", "far"))


@needs_administrator
def test_an_ordinary_user_makes_the_same_networks(user: Ordinary) -> None:
    done = said_by(user, *apart("sh", "-c", f"id -u; {NETWORK} touch mine; id -u"))
    assert done.stdout.split() == ["0", "made", "client", "far", "0"], done.stderr
    assert user.home.joinpath("mine").stat().st_uid == ordinary.UID


def test_the_first_process_does_not_hoard_the_dead() -> None:
    script = "(setsid sh -c 'sleep 0.1' &); sleep 1; ps -eo stat --no-headers"
    done = subprocess.run(apart("sh", "-c", script), capture_output=True, text=True)
    assert done.stdout and "Z" not in done.stdout


@contextlib.contextmanager
def running(script: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A command in namespaces of its own that has said that it is there.

    Whoever runs the tests may ignore hangups, by nohup(1); a user's terminal does not.
    """
    with subprocess.Popen(
        ["env", "--default-signal=HUP", *apart("sh", "-c", script)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    ) as process:  # type: ignore[call-overload]
        assert process.stdout
        assert process.stdout.readline() == "there\n"
        try:
            yield process
        finally:
            process.kill()


CLEANS_UP = "trap 'sleep 0.2; echo clean; exit 3' TERM; echo there; while :; do sleep 0.1; done"


@pytest.mark.parametrize("number", user_namespace.ENDING, ids=lambda number: number.name)
def test_whoever_is_ended_ends_in_order(number: signal.Signals) -> None:
    with running(CLEANS_UP) as process:
        process.send_signal(number)
        assert process.communicate()[0] == "clean\n"
    assert process.returncode == 3


def test_a_program_ends_with_its_workflow() -> None:
    with subprocess.Popen(["sleep", "600"]) as workflow:
        variables = os.environ | {user_namespace.WORKFLOW: str(workflow.pid)}
        with running(CLEANS_UP, env=variables) as process:
            workflow.kill()
            assert process.communicate()[0] == "clean\n"


def test_nothing_survives_whoever_is_killed(tmp_path: Path) -> None:
    script = f"cd {tmp_path}; unshare --net setsid sh -c 'echo there; exec sleep 600' & wait"
    with running(script) as process:
        workspace = Workspace(tmp_path)
        assert "sleep 600" in " ".join(workspace.left_behind())
        process.kill()
    workspace.await_end()


@needs_administrator
def test_without_subordinate_ids_it_is_said_how_to_get_them() -> None:
    with ordinary.made([ROOT], ids=False) as user:
        ask = "from hvcost.machines import user_namespace; user_namespace.check_ids()"
        done = said_by(user, *apart("env", f"PYTHONPATH={ROOT}/scripts", sys.executable, "-c", ask))
    assert "MachineError: this computer: a tree of Debian has users and groups" in done.stderr
    assert "usermod --add-subuids 100000-165535 --add-subgids 100000-165535" in done.stderr


@needs_administrator
def test_a_closed_device_is_said_in_a_sentence() -> None:
    with ordinary.made([ROOT], tun_mode="0600") as user:
        done = said_by(user, *apart("true"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("this computer: the user ada cannot open /dev/net/tun (Permission denied)")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("switch", "forbids", "allows"),
    [
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "10000"),
    ],
)
def test_what_forbids_namespaces_is_named_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str, forbids: str, allows: str
) -> None:
    """The switches of this computer stay as they are: files in their place say what theirs would."""
    refusing = tmp_path / "bin/unshare"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho unshare failed: Operation not permitted >&2\nexit 1\n")
    refusing.chmod(0o755)
    file = tmp_path / switch
    file.parent.mkdir(parents=True)
    file.write_text(f"{forbids}\n")
    monkeypatch.setenv("PATH", str(refusing.parent), prepend=os.pathsep)
    monkeypatch.setattr(user_namespace, "SWITCHES", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MachineError, match=f"`sudo sysctl {switch.replace('/', '.')}={allows}` allows"):
        user_namespace.check()
    file.unlink()
    with pytest.raises(MachineError, match=r"Operation not permitted; in a container, whoever starts it"):
        user_namespace.check()


@pytest.fixture
def project(user: Ordinary) -> Workspace:
    """A copy of the project that is the user's, and what that user runs in it."""
    project = user.workspace("project")
    for part in PARTS:
        subprocess.run(["cp", "-rL", ROOT / part, project.folder / part], check=True)
    user.owned(project.folder)
    return replace(project, results="results/local")


@needs_administrator
@pytest.mark.slow
def test_an_ordinary_user_measures_this_computer(project: Workspace) -> None:
    """From the guest's image, which is built anew, to the table."""
    arguments = ["--configfile", "config/local.yaml", "--config", "repetitions=1"]
    project.run("results/local/local/measurements/bare-metal.csv", *arguments)
    assert [one.status for one in project.records("local", "bare-metal")] == ["ok", "ok"]
    assert project.left_behind() == []
    made = [path for name in ("results", "logs") for path in project.folder.joinpath(name).rglob("*")]
    assert {path.lstat().st_uid for path in made} == {ordinary.UID}
