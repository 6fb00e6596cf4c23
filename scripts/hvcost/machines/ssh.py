"""A machine reached by SSH (paramiko), with the user's own `~/.ssh/config`, known hosts and keys.

A host key that is not known, or that has changed, is refused. Nothing is forwarded, no agent least of all.
"""

from __future__ import annotations

import contextlib
import getpass
import math
import secrets
import shlex
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from hvcost.errors import DeadlineExceeded, HostKeyError, MachineError, shown
from hvcost.machines.base import CHUNK_BYTES, Connection, sha256_at, sha256_of
from hvcost.machines.journal import Journal

CONNECT_TIMEOUT_S = 30.0
# A machine that answers may still be busy, or slow at computing keys.
LOGIN_TIMEOUT_S = 120.0
KEEPALIVE_S = 15
# Longer than a machine in custody waits for us before it puts its network back.
SILENCE_S = 90
POLL_S = 0.01
# What paramiko raises when a connection is lost; it depends on who notices first.
LOST = (paramiko.SSHException, OSError, EOFError)


@dataclass(frozen=True)
class SshAddress:
    """Where a machine's SSH server is; what is None comes from `~/.ssh/config` or OpenSSH's defaults."""

    host: str
    user: str | None = None
    port: int | None = None
    key_file: Path | None = None
    known_hosts: Path | None = None


class SshConnection(Connection):
    """Runs commands on another machine.

    `transport` is a connected socket to use instead of making one, for machines that only their
    namespace can reach. `as_root`: commands of a user who is not root are run by sudo.
    """

    def __init__(
        self,
        name: str,
        address: SshAddress,
        journal: Journal | None = None,
        transport: socket.socket | None = None,
        config_file: Path | None = None,
        *,
        as_root: bool = True,
    ) -> None:
        super().__init__(name, journal)
        self._jumps: list[SshConnection] = []
        self._as_root: tuple[str, ...] = ()
        self._client = paramiko.SSHClient()
        try:
            user = self._connect(address, transport, config_file or Path.home() / ".ssh" / "config")
            if as_root and user != "root":
                self._become_root(user)
        except BaseException:
            self.close()
            raise

    def _connect(self, address: SshAddress, transport: socket.socket | None, config_file: Path) -> str:
        """Log in; the name of the user."""
        found = _lookup(address.host, config_file)
        host = found.get("hostname", address.host)
        port = address.port or int(found.get("port", "22"))
        user = address.user or found.get("user") or getpass.getuser()
        if address.known_hosts:
            self._client.load_host_keys(str(address.known_hosts))
        else:
            self._client.load_system_host_keys()
            for listed in found.get("userknownhostsfile", "").split():
                with contextlib.suppress(OSError):
                    self._client.load_host_keys(str(Path(listed).expanduser()))
        self._client.set_missing_host_key_policy(paramiko.RejectPolicy())
        # As for ssh(1), a key that is listed need not exist.
        listed_keys = [key for key in found.get("identityfile", ()) if Path(key).is_file()]
        keys = [str(address.key_file)] if address.key_file else listed_keys
        channel: socket.socket | paramiko.Channel | None = transport
        if channel is None and found.get("proxyjump", "none") != "none":
            channel = self._through(found["proxyjump"], host, port, config_file)
        try:
            self._client.connect(
                host,
                port=port,
                username=user,
                key_filename=keys,  # type: ignore[arg-type]  # a list is allowed as well
                allow_agent=address.key_file is None,
                look_for_keys=address.key_file is None,
                sock=channel,
                timeout=CONNECT_TIMEOUT_S,
                banner_timeout=LOGIN_TIMEOUT_S,
                auth_timeout=LOGIN_TIMEOUT_S,
            )
        except paramiko.BadHostKeyException as error:
            raise HostKeyError(
                f"{self.name}: the SSH host key of {host} is not the one that is known. If the machine was "
                f"installed anew, remove the old key with `ssh-keygen -R {_known_name(host, port)}` and "
                f"connect once with `ssh -p {port} {user}@{host}`"
            ) from error
        except paramiko.AuthenticationException as error:
            raise MachineError(
                f"{self.name}: {user}@{host} refuses the login ({error}); "
                f"install a key with `ssh-copy-id -p {port} {user}@{host}`"
            ) from error
        except LOST as error:
            if "not found in known_hosts" in str(error):
                raise HostKeyError(
                    f"{self.name}: the SSH host key of {host} is unknown; "
                    f"connect once with `ssh -p {port} {user}@{host}` and compare its fingerprint"
                ) from error
            raise MachineError(f"{self.name}: SSH to {host} port {port}: {_reason(error)}") from error
        established = self._client.get_transport()
        assert established
        established.set_keepalive(KEEPALIVE_S)
        if isinstance(established.sock, socket.socket):
            # Otherwise what waits for a machine that is gone, such as a copy, waits for a quarter of an hour.
            with contextlib.suppress(OSError):
                established.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_S * 1000)
        return user

    def _become_root(self, user: str) -> None:
        """Run every command by sudo(8), which must not ask for a password."""
        sudo = ("sudo", "--non-interactive", "--")
        result = self.run([*sudo, "true"], check=False)
        if result.exit_code != 0:
            raise MachineError(
                f"{self.name}: {user} cannot become root by sudo without a password "
                f"({result.stderr.strip()}); log in as root, or allow it: {user} ALL=(ALL) NOPASSWD: ALL"
            )
        self._as_root = sudo

    def _through(self, jumps: str, host: str, port: int, config_file: Path) -> paramiko.Channel:
        """Channel to host:port through the comma-separated jump hosts of ProxyJump (ssh_config(5))."""
        transport: socket.socket | paramiko.Channel | None = None
        hops = [_hop(jump) for jump in jumps.split(",")]
        for number, hop in enumerate(hops):
            connection = SshConnection(
                f"{self.name} (jump {hop.host})",
                hop,
                transport=transport,  # type: ignore[arg-type]
                config_file=config_file,
                as_root=False,
            )
            self._jumps.append(connection)
            last = number == len(hops) - 1
            target = (host, port) if last else _resolved(hops[number + 1], config_file)
            transport = connection.open_tcp(*target)
        assert isinstance(transport, paramiko.Channel)
        return transport

    def open_tcp(self, host: str, port: int) -> paramiko.Channel:
        """Connection to host:port as seen from the machine."""
        session = self._session(f"no way to {host} port {port}")
        try:
            return session.open_channel(
                "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=CONNECT_TIMEOUT_S
            )
        except LOST as error:
            raise MachineError(
                f"{self.name}: {host} port {port} cannot be reached from there: {_reason(error)}"
            ) from error

    def _session(self, consequence: str) -> paramiko.Transport:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise MachineError(f"{self.name}: the SSH connection is lost: {consequence}")
        return transport

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        # timeout(1) ends the command on the machine, even when this connection is gone. The shell turns the
        # end by a signal into an exit code, so that only a lost connection leaves none.
        limit = str(math.ceil(timeout_s) + 5)
        session = self._session(f"`{shown(argv)}` cannot be run")
        limited = [*self._as_root, "timeout", "--kill-after=5", limit, *argv]
        line = shlex.join(["sh", "-c", '"$@"; exit $?', "sh", *limited])
        end_s = time.monotonic() + timeout_s
        try:
            with (
                self._given_up_after(timeout_s + CONNECT_TIMEOUT_S),
                _opened(session, line, timeout_s) as channel,
            ):
                output = _exchange(channel, stdin, end_s)
        except LOST as error:
            if isinstance(error, paramiko.ChannelException):
                raise MachineError(f"{self.name}: cannot run `{shown(argv)}` over SSH: {error}") from error
            if time.monotonic() < end_s:
                raise MachineError(
                    f"{self.name}: SSH connection lost while `{shown(argv)}` ran ({_reason(error)})"
                ) from error
            output = None
        if output is None:
            raise DeadlineExceeded(f"{self.name}: `{shown(argv)}` was not done within {timeout_s:g} s")
        return output

    @contextlib.contextmanager
    def _given_up_after(self, seconds: float) -> Iterator[None]:
        """Close the connection if this takes longer: some calls of paramiko wait without end."""
        timer = threading.Timer(seconds, self._client.close)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def open_stream(self, argv: Sequence[str], *, outlives_us: bool = False) -> ChannelStream:
        session = self._session(f"`{shown(argv)}` cannot be run")
        try:
            with self._given_up_after(CONNECT_TIMEOUT_S):
                channel = session.open_session(timeout=CONNECT_TIMEOUT_S)
                channel.exec_command(shlex.join([*self._as_root, *argv]))
        except LOST as error:
            raise MachineError(
                f"{self.name}: cannot run `{shown(argv)}` over SSH: {_reason(error)}"
            ) from error
        return ChannelStream(f"{self.name}: {argv[0]}", channel)

    def put(self, source: Path, destination: str) -> None:
        partial = f"{destination}.partial"
        # SFTP does not become root.
        first = f"/var/tmp/hvcost-{secrets.token_hex(8)}" if self._as_root else partial
        try:
            self._upload(source, first, destination)
            if first != partial:
                self.run(["mv", "--", first, partial])
                self.run(["chown", "root:root", partial])
            if sha256_at(self, partial) != sha256_of(source):
                raise MachineError(f"{self.name}: {destination} differs from {source} after copying")
            self.run(["mv", "--", partial, destination])
        except MachineError:
            with contextlib.suppress(MachineError):
                self.run(["rm", "-f", "--", first, partial])
            raise

    def _upload(self, source: Path, first: str, destination: str) -> None:
        session = self._session(f"{source} cannot be copied")
        try:
            with self._given_up_after(SILENCE_S):
                opened = paramiko.SFTPClient.from_transport(session)
            assert opened
            with opened as sftp:
                # A machine that hangs may have somebody before it who confirms what it never gets.
                if channel := sftp.get_channel():
                    channel.settimeout(SILENCE_S)
                sftp.put(str(source), first)
        except LOST as error:
            raise MachineError(
                f"{self.name}: cannot copy {source} to {destination}: {_reason(error)}"
            ) from error

    def close(self) -> None:
        self._client.close()
        for jump in reversed(self._jumps):
            jump.close()


class ChannelStream:
    """Stream of a program at the other end of an SSH channel."""

    def __init__(self, name: str, channel: paramiko.Channel) -> None:
        self._name = name
        self._channel = channel

    def send(self, data: bytes) -> None:
        try:
            self._channel.sendall(data)
        except LOST as error:
            raise MachineError(f"{self._name}: the stream is closed ({_reason(error)})") from error

    def receive(self, timeout_s: float) -> bytes:
        self._channel.settimeout(timeout_s)
        try:
            return self._channel.recv(CHUNK_BYTES)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self._name}: nothing received within {timeout_s:g} s") from error

    def close(self) -> None:
        with contextlib.suppress(*LOST):
            self._channel.close()


@contextlib.contextmanager
def _opened(session: paramiko.Transport, line: str, timeout_s: float) -> Iterator[paramiko.Channel]:
    """Channel of a command line that runs on the machine."""
    channel = session.open_session(timeout=timeout_s)
    try:
        channel.exec_command(line)
        yield channel
    finally:
        with contextlib.suppress(*LOST):
            channel.close()


def _exchange(channel: paramiko.Channel, stdin: bytes, end_s: float) -> tuple[int, bytes, bytes] | None:
    """Feed a command to its end: exit code and both outputs. None when it is not done at `end_s`."""
    stdout, stderr = bytearray(), bytearray()
    sent = 0
    while True:
        # Looked at before the streams are emptied: what came before the end is there by then.
        ended = channel.closed or (channel.exit_status_ready() and channel.eof_received)
        moved = False
        if sent < len(stdin) and not ended and channel.send_ready():
            # A command may end without having read all of it.
            with contextlib.suppress(OSError):
                sent += channel.send(stdin[sent : sent + CHUNK_BYTES])
                moved = True
        if sent == len(stdin) and not channel.eof_sent:
            channel.shutdown_write()
        # Both streams are emptied in turn: an unread one would fill its window and stop the other.
        if channel.recv_ready():
            stdout += channel.recv(CHUNK_BYTES)
            moved = True
        if channel.recv_stderr_ready():
            stderr += channel.recv_stderr(CHUNK_BYTES)
            moved = True
        if ended and not moved:
            break
        if not ended and time.monotonic() > end_s:
            return None
        if not moved:
            time.sleep(POLL_S)
    exit_code = channel.recv_exit_status()
    if exit_code < 0:
        raise EOFError
    return exit_code, bytes(stdout), bytes(stderr)


def _reason(error: BaseException) -> str:
    return str(error) or "the other end is gone"


def _lookup(host: str, config_file: Path) -> dict[str, str]:
    if not config_file.is_file():
        return {}
    return dict(paramiko.SSHConfig.from_path(str(config_file)).lookup(host))


def _hop(jump: str) -> SshAddress:
    user, _, rest = jump.strip().rpartition("@")
    host, _, port = rest.partition(":")
    return SshAddress(host=host, user=user or None, port=int(port) if port else None)


def _resolved(address: SshAddress, config_file: Path) -> tuple[str, int]:
    found = _lookup(address.host, config_file)
    return found.get("hostname", address.host), address.port or int(found.get("port", "22"))


def _known_name(host: str, port: int) -> str:
    return host if port == 22 else f"'[{host}]:{port}'"
