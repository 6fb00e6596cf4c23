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
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from hvcost.connections.base import CHUNK_BYTES, Connection, Journal, sha256_at, sha256_of
from hvcost.errors import DeadlineExceeded, MachineError, shown

CONNECT_TIMEOUT_S = 30.0
KEEPALIVE_S = 15
POLL_S = 0.01


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
        keys = [str(address.key_file)] if address.key_file else found.get("identityfile")
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
                banner_timeout=CONNECT_TIMEOUT_S,
                auth_timeout=CONNECT_TIMEOUT_S,
            )
        except paramiko.BadHostKeyException as error:
            raise MachineError(
                f"{self.name}: the SSH host key of {host} is not the one that is known. If the machine was "
                f"installed anew, remove the old key with `ssh-keygen -R {_known_name(host, port)}` and "
                f"connect once with `ssh -p {port} {user}@{host}`"
            ) from error
        except paramiko.AuthenticationException as error:
            raise MachineError(
                f"{self.name}: {user}@{host} refuses the login ({error}); "
                f"install a key with `ssh-copy-id -p {port} {user}@{host}`"
            ) from error
        except paramiko.SSHException as error:
            if "not found in known_hosts" in str(error):
                raise MachineError(
                    f"{self.name}: the SSH host key of {host} is unknown; "
                    f"connect once with `ssh -p {port} {user}@{host}` and compare its fingerprint"
                ) from error
            raise MachineError(f"{self.name}: SSH to {host} port {port}: {error}") from error
        except (OSError, EOFError) as error:
            raise MachineError(f"{self.name}: SSH to {host} port {port}: {error}") from error
        established = self._client.get_transport()
        assert established
        established.set_keepalive(KEEPALIVE_S)
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
        try:
            return self._session().open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0))
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise MachineError(f"{self.name}: no way to {host} port {port}: {error}") from error

    def _session(self) -> paramiko.Transport:
        transport = self._client.get_transport()
        if transport is None or not transport.is_active():
            raise MachineError(f"{self.name}: the SSH connection is lost")
        return transport

    def _start(self, argv: Sequence[str]) -> paramiko.Channel:
        try:
            channel = self._session().open_session(timeout=CONNECT_TIMEOUT_S)
            channel.exec_command(shlex.join([*self._as_root, *argv]))
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise MachineError(f"{self.name}: cannot run `{argv[0]}` over SSH: {error}") from error
        return channel

    def _execute(self, argv: tuple[str, ...], timeout_s: float, stdin: bytes) -> tuple[int, bytes, bytes]:
        # timeout(1) ends the command on the machine as well, also when this connection is gone.
        limit = str(math.ceil(timeout_s) + 5)
        channel = self._start(["timeout", "--kill-after=5", limit, *argv])
        stdout, stderr = bytearray(), bytearray()
        end_s = time.monotonic() + timeout_s
        unsent = stdin
        try:
            while True:
                moved = False
                if unsent and channel.send_ready():
                    unsent = unsent[channel.send(unsent[:CHUNK_BYTES]) :]
                    moved = True
                if not unsent and not channel.eof_sent:
                    channel.shutdown_write()
                # Both streams are emptied in turn: an unread one would fill its window and stop the other.
                while channel.recv_ready():
                    stdout += channel.recv(CHUNK_BYTES)
                    moved = True
                while channel.recv_stderr_ready():
                    stderr += channel.recv_stderr(CHUNK_BYTES)
                    moved = True
                if not moved:
                    if channel.exit_status_ready() and channel.eof_received:
                        break
                    if channel.closed:
                        break
                    if time.monotonic() > end_s:
                        raise DeadlineExceeded(
                            f"{self.name}: `{shown(argv)}` was not done within {timeout_s:g} s"
                        )
                    time.sleep(POLL_S)
            if not channel.exit_status_ready():
                raise MachineError(f"{self.name}: SSH connection lost while `{shown(argv)}` ran")
            exit_code = channel.recv_exit_status()
        except OSError as error:
            raise MachineError(
                f"{self.name}: SSH connection lost while `{shown(argv)}` ran ({error})"
            ) from error
        finally:
            channel.close()
        return exit_code, bytes(stdout), bytes(stderr)

    def open_stream(self, argv: Sequence[str]) -> ChannelStream:
        return ChannelStream(f"{self.name}: {argv[0]}", self._start(argv))

    def put(self, source: Path, destination: str) -> None:
        partial = f"{destination}.partial"
        # SFTP does not become root.
        first = f"/var/tmp/hvcost-{secrets.token_hex(8)}" if self._as_root else partial
        try:
            with paramiko.SFTPClient.from_transport(self._session()) as sftp:  # type: ignore[union-attr]
                sftp.put(str(source), first)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise MachineError(f"{self.name}: cannot copy {source} to {destination}: {error}") from error
        if first != partial:
            self.run(["mv", "--", first, partial])
            self.run(["chown", "root:root", partial])
        if sha256_at(self, partial) != sha256_of(source):
            raise MachineError(f"{self.name}: {destination} differs from {source} after copying")
        self.run(["mv", "--", partial, destination])

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
        except OSError as error:
            raise MachineError(f"{self._name}: the stream is closed ({error})") from error

    def receive(self, timeout_s: float) -> bytes:
        self._channel.settimeout(timeout_s)
        try:
            return self._channel.recv(CHUNK_BYTES)
        except TimeoutError as error:
            raise DeadlineExceeded(f"{self._name}: nothing received within {timeout_s:g} s") from error

    def close(self) -> None:
        self._channel.close()


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
