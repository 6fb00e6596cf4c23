"""What a connection by SSH promises, against the server that real machines have."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import openssh
import pytest
from hvcost.environments import network
from hvcost.errors import CommandError, DeadlineExceeded, MachineError
from hvcost.machines import ssh
from hvcost.machines.base import sha256_of
from hvcost.machines.deadline import Deadline
from hvcost.machines.local import LocalConnection
from hvcost.machines.ssh import SshAddress, SshConnection
from hypothesis import given, settings
from hypothesis import strategies as st
from openssh import CLIENT_ADDRESS, FAR_ADDRESS, INTERFACE, PORT, SshServer
from promises import check_stream

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

NAME = "far machine"
HOST = "far"
SMALL = "/run/small"
SMALL_BYTES = 1 << 20
MIB = 1 << 20
# What a run may take beyond its limit to notice that nothing comes back.
GRACE_S = 5.0

awkward = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(
    [*"'\"\\\n\t*?~!#;é", "", "a b", "$HOME", "`id`", "-n", "--", "\r\n"]
)


@dataclass(frozen=True)
class Place:
    """The machine, and the namespace of the client."""

    server: SshServer
    client: str
    computer: LocalConnection


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    computer = LocalConnection("this computer")
    home = openssh.make_home(computer, tmp_path_factory.mktemp("home"))
    mounts = [f"mkdir {SMALL}", f"mount -t tmpfs -o size={SMALL_BYTES} tmpfs {SMALL}"]
    with (
        openssh.programs(computer) as programs,
        openssh.client_and_far(computer, "openssh") as (client, far),
        openssh.running(computer, programs, home, far, FAR_ADDRESS, HOST, mounts) as server,
    ):
        yield Place(server, client, computer)


@pytest.fixture(scope="module")
def shared(place: Place) -> Iterator[SshConnection]:
    """One connection for the tests that leave it as it was."""
    with contextlib.closing(place.server.connect(place.client)) as connection:
        yield connection


@pytest.fixture
def connection(place: Place) -> Iterator[SshConnection]:
    with contextlib.closing(place.server.connect(place.client)) as connection:
        yield connection


@pytest.fixture(scope="module")
def overdue(place: Place, shared: SshConnection) -> str:
    """A command that took longer than its limit; the machine, too, ends it, but some seconds later."""
    line = "sleep 61.5"
    with pytest.raises(DeadlineExceeded, match=r"far: `sh -c .*` was not done within 0\.2 s"):
        shared.run(["sh", "-c", f"{line} & {line}"], timeout_s=0.2)
    return line


def log_in(place: Place, address: SshAddress) -> None:
    transport = network.open_tcp(place.client, FAR_ADDRESS, PORT, 10)
    try:
        SshConnection(NAME, address, transport=transport).close()
    finally:
        transport.close()


def wait_for_command(server: SshServer, line: str) -> None:
    deadline = Deadline(10, f"start of {line}")
    while line not in server.commands().values():
        deadline.wait_a_little(0.02)


@contextlib.contextmanager
def all_packets_lost(place: Place) -> Iterator[None]:
    """The way between both ends silent: what is sent is dropped, and nobody is told."""
    ends = {place.client: CLIENT_ADDRESS, place.server.namespace: FAR_ADDRESS}
    inside = {end: LocalConnection(end, namespace=end) for end in ends}
    cards = {
        end: inside[end].run(["cat", f"/sys/class/net/{INTERFACE}/address"]).stdout.strip() for end in ends
    }
    for end, other in zip(ends, reversed(ends), strict=True):
        # A neighbour that does not answer would be noticed, and behind a router there is none.
        inside[end].run(["ip", "neighbor", "replace", ends[other], "lladdr", cards[other], "dev", INTERFACE])
        inside[end].run(["tc", "qdisc", "add", "dev", INTERFACE, "root", "pfifo", "limit", "0"])
    try:
        yield
    finally:
        for end in ends:
            inside[end].run(["tc", "qdisc", "delete", "dev", INTERFACE, "root"])
            inside[end].run(["ip", "neighbor", "flush", "dev", INTERFACE, "nud", "permanent"])


def test_a_command_that_takes_too_long_is_given_up(place: Place, shared: SshConnection, overdue: str) -> None:
    assert overdue in place.server.commands().values()
    assert shared.run(["echo", "usable"]).stdout == "usable\n"


def test_output_without_end_is_given_up(shared: SshConnection) -> None:
    start_s = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"far: `yes` was not done within 0\.5 s"):
        shared.run(["yes"], timeout_s=0.5)
    assert time.monotonic() - start_s < 0.5 + GRACE_S / 2


@settings(max_examples=15)
@given(arguments=st.lists(awkward, max_size=4))
def test_arguments_arrive_as_they_are(shared: SshConnection, arguments: list[str]) -> None:
    script = 'for argument; do printf "%s\\0" "$argument"; done'
    output = shared.run(["sh", "-c", script, "sh", *arguments]).stdout
    assert output == "".join(f"{argument}\0" for argument in arguments)


def test_input_and_both_outputs_of_several_mib_flow_at_once(shared: SshConnection) -> None:
    data = "".join(f"{number}\n" for number in range(1_000_000))
    result = shared.run(["tee", "/dev/stderr"], stdin=data.encode())
    assert result.stdout == data
    assert result.stderr == data


def test_input_that_a_command_does_not_read_is_no_failure(shared: SshConnection) -> None:
    for _ in range(5):
        assert shared.run(["head", "--bytes=3"], stdin=b"abc" * 4 * MIB).stdout == "abc"
        assert shared.run(["sh", "-c", "exit 3"], stdin=b"abc" * 4 * MIB, check=False).exit_code == 3


def test_nothing_is_lost_at_the_end_of_a_command(shared: SshConnection) -> None:
    for number in range(12):
        result = shared.run(["sh", "-c", f"echo out{number}; echo err{number} >&2"])
        assert (result.stdout, result.stderr) == (f"out{number}\n", f"err{number}\n")


@pytest.mark.parametrize("exit_code", [0, 1, 2, 126, 127, 255])
def test_exit_codes_arrive(shared: SshConnection, exit_code: int) -> None:
    assert shared.run(["sh", "-c", f"exit {exit_code}"], check=False).exit_code == exit_code


def test_a_command_that_a_signal_ends_has_failed(shared: SshConnection) -> None:
    with pytest.raises(CommandError, match=r"far: `sh -c kill -TERM \$\$` ended with exit code 143"):
        shared.run(["sh", "-c", "kill -TERM $$"])


def test_a_program_that_is_not_there_is_named(shared: SshConnection) -> None:
    with pytest.raises(CommandError, match=r"far: `no-such-program` .*exit code 127.*no-such-program"):
        shared.run(["no-such-program"])


def test_a_stream_is_both_ways_and_ends(shared: SshConnection) -> None:
    check_stream(shared)


def test_a_command_that_the_server_refuses_to_start_is_named(connection: SshConnection) -> None:
    # As many as a server takes by default (MaxSessions of sshd_config(5)).
    streams = [connection.open_stream(["cat"]) for _ in range(10)]
    with pytest.raises(MachineError, match="far: cannot run `true` over SSH"):
        connection.run(["true"])
    streams.pop().close()
    deadline = Deadline(10, "end of one session")
    while True:
        with contextlib.suppress(MachineError):
            assert connection.run(["echo", "free"]).stdout == "free\n"
            return
        deadline.wait_a_little(0.05)


def test_put_copies_and_replaces(shared: SshConnection, tmp_path: Path) -> None:
    source = tmp_path / "source"
    target = f"{SMALL}/a b 'c'"
    for size in (300_000, 0, 70_000):
        source.write_bytes(os.urandom(size))
        shared.put(source, target)
        seen = shared.run(["sha256sum", target]).stdout.split()[0]
        assert seen == sha256_of(source)
        assert shared.run(["ls", SMALL]).stdout == "a b 'c'\n"
    shared.run(["rm", target])


def test_put_to_a_full_disk_leaves_what_was_there(shared: SshConnection, tmp_path: Path) -> None:
    source = tmp_path / "source"
    target = f"{SMALL}/target"
    source.write_bytes(b"old")
    shared.put(source, target)
    source.write_bytes(bytes(2 * SMALL_BYTES))
    with pytest.raises(MachineError, match=f"far: cannot copy {source} to {target}: .*"):
        shared.put(source, target)
    assert shared.run(["cat", target]).stdout == "old"
    assert shared.run(["ls", SMALL]).stdout == "target\n"
    shared.run(["rm", target])


def test_an_unknown_host_key_is_refused(place: Place, tmp_path: Path) -> None:
    unknown = tmp_path / "known_hosts"
    unknown.touch()
    with pytest.raises(MachineError, match=f"{NAME}: .*unknown.*`ssh -p 22 root@{re.escape(FAR_ADDRESS)}`"):
        log_in(place, replace(place.server.ssh_address(), known_hosts=unknown))


def test_a_changed_host_key_is_refused_until_it_is_removed_as_the_message_says(
    place: Place, tmp_path: Path
) -> None:
    other = openssh.make_home(place.computer, tmp_path / "other") / ".ssh/id_ed25519.pub"
    known = tmp_path / "known_hosts"
    known.write_text(f"{FAR_ADDRESS} {' '.join(other.read_text().split()[:2])}\n")
    address = replace(place.server.ssh_address(), known_hosts=known)
    with pytest.raises(MachineError, match=f"{NAME}: .*not the one that is known") as raised:
        log_in(place, address)
    advice = re.search("`(ssh-keygen -R [^`]*)`", str(raised.value))
    assert advice
    subprocess.run([*advice[1].split(), "-f", known], check=True, capture_output=True)
    with pytest.raises(MachineError, match="is unknown"):
        log_in(place, address)


def test_a_key_that_the_machine_does_not_know_is_refused(place: Place, tmp_path: Path) -> None:
    other = openssh.make_home(place.computer, tmp_path / "other") / ".ssh/id_ed25519"
    with pytest.raises(
        MachineError, match=rf"root@{FAR_ADDRESS} refuses.*`ssh-copy-id -p 22 root@{FAR_ADDRESS}`"
    ):
        log_in(place, replace(place.server.ssh_address(), key_file=other))


def test_keys_that_everybody_may_write_are_refused(place: Place) -> None:
    keys = place.server.folder / "authorized_keys"
    mode = keys.stat().st_mode
    keys.chmod(0o666)
    try:
        with pytest.raises(MachineError, match="refuses the login"):
            log_in(place, place.server.ssh_address())
    finally:
        keys.chmod(mode)
    log_in(place, place.server.ssh_address())


BY_NAME = """
import sys
from hvcost.machines.ssh import SshAddress, SshConnection
connection = SshConnection("by name", SshAddress(sys.argv[1]))
print(connection.run(["sh", "-c", "hostname; env"]).stdout, end="")
connection.close()
"""


def by_name(place: Place, home: Path, agent: Path) -> subprocess.CompletedProcess[str]:
    """What a program of a user says who has this home and this agent."""
    return subprocess.run(
        ["ip", "netns", "exec", place.client, sys.executable, "-c", BY_NAME, HOST],
        cwd=Path(__file__).parent.parent / "scripts",
        env={**os.environ, "HOME": str(home), "SSH_AUTH_SOCK": str(agent)},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def agent(place: Place, tmp_path: Path) -> Iterator[Path]:
    """A running agent that holds the key."""
    path = tmp_path / "agent"
    process = place.computer.start(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        deadline = Deadline(10, "start of the agent")
        while not path.is_socket():
            deadline.wait_a_little(0.02)
        key = place.server.home / ".ssh/id_ed25519"
        place.computer.run(["env", f"SSH_AUTH_SOCK={path}", "ssh-add", "-q", str(key)])
        yield path
    finally:
        process.kill()
        process.wait()


def test_an_agent_opens_the_door_but_is_not_forwarded(place: Place, agent: Path, tmp_path: Path) -> None:
    folder = tmp_path / "home/.ssh"
    folder.mkdir(parents=True)
    config = (place.server.home / ".ssh/config").read_text()
    # No key but the agent's; and a user who wants it forwarded.
    lines = [line for line in config.splitlines() if "IdentityFile" not in line]
    (folder / "config").write_text("\n".join([*lines, "  ForwardAgent yes", ""]))
    seen = by_name(place, folder.parent, agent)
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.startswith(f"{HOST}\n")
    assert "SSH_CONNECTION=" in seen.stdout
    assert "SSH_AUTH_SOCK" not in seen.stdout
    without = by_name(place, folder.parent, tmp_path / "no-agent")
    assert "refuses the login" in without.stderr or "No authentication methods" in without.stderr


def test_a_listed_key_that_does_not_exist_is_passed_over(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "home/.ssh"
    folder.mkdir(parents=True)
    config = (place.server.home / ".ssh/config").read_text()
    (folder / "config").write_text(f"{config}Host *\n  IdentityFile ~/.ssh/id_none\n")
    seen = by_name(place, folder.parent, tmp_path / "no-agent")
    assert seen.stdout.startswith(f"{HOST}\n"), seen.stderr
    (folder / "config").write_text(f"Host *\n  IdentityFile ~/.ssh/id_none\n{config}")
    seen = by_name(place, folder.parent, tmp_path / "no-agent")
    assert seen.stdout.startswith(f"{HOST}\n"), seen.stderr


@pytest.mark.parametrize("size", [0, 64 * MIB], ids=["silent", "while input is sent"])
def test_a_server_that_dies_is_noticed_by_the_command_that_runs(
    place: Place, connection: SshConnection, size: int
) -> None:
    def kill() -> None:
        wait_for_command(place.server, "sleep 60.5")
        place.server.kill()

    stream = connection.open_stream(["cat"])
    killer = threading.Thread(target=kill)
    killer.start()
    start_s = time.monotonic()
    try:
        with pytest.raises(MachineError, match=r"far: SSH connection lost while `sleep 60\.5` ran") as raised:
            connection.run(["sleep", "60.5"], stdin=bytes(size))
        assert not isinstance(raised.value, DeadlineExceeded)
        assert time.monotonic() - start_s < GRACE_S
        # Before or after the connection's own thread has noticed, too.
        with pytest.raises(MachineError, match=r"far: (the )?SSH connection (is )?lost"):
            connection.run(["true"])
        assert stream.receive(5) == b""
        with pytest.raises(MachineError, match="far: cat: the stream is closed"):
            stream.send(b"more")
    finally:
        killer.join()
        for pid, line in place.server.commands().items():
            if "sleep 60.5" in line:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        place.server.start()
    with contextlib.closing(place.server.connect(place.client)) as again:
        assert again.run(["echo", "back"]).stdout == "back\n"


def test_a_silent_network_does_not_outlast_the_limit_of_a_command(
    place: Place, connection: SshConnection
) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            connection.run(["sleep", "3.25"], timeout_s=1)
        except MachineError as error:
            raised.append(error)

    runner = threading.Thread(target=run)
    runner.start()
    wait_for_command(place.server, "sleep 3.25")
    with all_packets_lost(place):
        runner.join(1 + GRACE_S)
        assert not runner.is_alive()
    assert [type(error) for error in raised] == [DeadlineExceeded]
    assert str(raised[0]) == "far: `sleep 3.25` was not done within 1 s"


def test_a_command_for_a_silent_network_is_given_up(place: Place, connection: SshConnection) -> None:
    start_s = time.monotonic()
    with all_packets_lost(place):
        with pytest.raises(DeadlineExceeded, match=r"far: `cat` was not done within 0\.5 s"):
            connection.run(["cat"], timeout_s=0.5)
        assert time.monotonic() - start_s < 0.5 + GRACE_S


def test_input_for_a_network_that_falls_silent_is_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = network.open_tcp(place.client, FAR_ADDRESS, PORT, 10)
    # Little enough that it fills: then sending itself waits.
    transport.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    connection = SshConnection("far", place.server.ssh_address(), transport=transport)
    monkeypatch.setattr(ssh, "CONNECT_TIMEOUT_S", 0.5)
    cut = contextlib.ExitStack()

    def cut_the_wire() -> None:
        wait_for_command(place.server, "sha256sum")
        cut.enter_context(all_packets_lost(place))

    cutter = threading.Thread(target=cut_the_wire)
    cutter.start()
    start_s = time.monotonic()
    with contextlib.closing(connection), cut:
        try:
            with pytest.raises(DeadlineExceeded, match="far: `sha256sum` was not done within 1 s"):
                connection.run(["sha256sum"], timeout_s=1, stdin=bytes(512 * MIB))
            assert time.monotonic() - start_s < 1 + GRACE_S
        finally:
            cutter.join()


def test_a_copy_to_a_silent_network_is_given_up(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "SILENCE_S", 1)
    source = tmp_path / "source"
    source.write_bytes(b"word")
    with contextlib.closing(place.server.connect(place.client)) as connection, all_packets_lost(place):
        start_s = time.monotonic()
        with pytest.raises(MachineError, match=f"far: cannot copy {source} to {SMALL}/target"):
            connection.put(source, f"{SMALL}/target")
        assert time.monotonic() - start_s < 1 + GRACE_S


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda machine, source: machine.put(source, f"{SMALL}/target"), "cannot copy .*"),
        (lambda machine, _: machine.open_stream(["cat"]), "cannot run `cat` over SSH"),
    ],
    ids=["copy", "stream"],
)
def test_a_machine_that_hangs_is_given_up(
    place: Place,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[SshConnection, Path], object],
    words: str,
) -> None:
    for name in ("CONNECT_TIMEOUT_S", "SILENCE_S"):
        monkeypatch.setattr(ssh, name, 1)
    source = tmp_path / "source"
    source.write_bytes(b"word")
    with contextlib.closing(place.server.connect(place.client)) as connection, place.server.standing_still():
        start_s = time.monotonic()
        with pytest.raises(MachineError, match=f"^far: {words}"):
            ask(connection, source)
        assert time.monotonic() - start_s < GRACE_S


def test_a_command_that_took_too_long_was_ended_by_the_machine(place: Place, overdue: str) -> None:
    deadline = Deadline(15, f"end of `{overdue}` on the machine")
    while overdue in place.server.commands().values():
        deadline.wait_a_little(0.02)


def test_nothing_is_left_on_the_machine(place: Place) -> None:
    deadline = Deadline(15, "end of all commands")
    while left := place.server.commands():
        deadline.check(str(left))
        deadline.wait_a_little(0.02)
