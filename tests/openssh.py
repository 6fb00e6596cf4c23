"""OpenSSH's own server, for this test run alone, on a machine that is played by this computer.

Whether a connection keeps its promises shows only against the server that real machines have. Installing
that would start a service on a developer's computer, so it is unpacked and nothing else. The machine has
its own network (a namespace), processes, host name, /run and home of root; it shares all other files with
this computer. What is started, mounted or killed in it is gone with it, and this computer never notices.

    client namespace                     namespace of the machine
    lan0 198.18.77.1 ================= lan0 198.18.77.2   sshd, and what is run there
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hvcost.environments import network
from hvcost.machines.deadline import Deadline
from hvcost.machines.journal import Journal
from hvcost.machines.local import LocalConnection, end_group
from hvcost.machines.ssh import SshAddress, SshConnection
from unpacked import unpack

CLIENT_ADDRESS = "198.18.77.1"
FAR_ADDRESS = "198.18.77.2"
CONTROLLER_ADDRESS = "198.18.77.9"
INTERFACE = "lan0"
SWITCH = "switch0"
PORT = 22
START_S = 30
# The first process of the machine. It collects orphans, and ends with its standard input: with the tests.
FIRST_PROCESS = """
set -eu
folder=$1 name=$2
mount -t tmpfs -o mode=755 tmpfs "$folder/run"
mkdir "$folder/run/sshd" "$folder/run/lock" "$folder/run/${folder##*/}"
mount --bind "$folder" "$folder/run/${folder##*/}"
mount --rbind "$folder/run" /run
mount --bind "/run/${folder##*/}/passwd" /etc/passwd
mount --bind "/run/${folder##*/}/shadow" /etc/shadow
echo "$name" >/proc/sys/kernel/hostname
"""
SERVE = """
echo ready
cat >/dev/null
exit
"""


@dataclass(frozen=True)
class Programs:
    """OpenSSH's server below `root`: / where it is installed, otherwise where it was unpacked."""

    root: Path

    @property
    def sshd(self) -> Path:
        return self.root / "usr/sbin/sshd"

    @property
    def parts(self) -> dict[str, Path]:
        """The programs into which newer releases have split it, by the keyword that says where they are."""
        folder = self.root / "usr/lib/openssh"
        paths = {"SshdSessionPath": folder / "sshd-session", "SshdAuthPath": folder / "sshd-auth"}
        return {keyword: path for keyword, path in paths.items() if path.exists()}

    @property
    def command(self) -> list[str]:
        libraries = [str(path) for path in self.root.glob("usr/lib/*-linux-gnu") if self.root != Path("/")]
        return [*(["env", f"LD_LIBRARY_PATH={':'.join(libraries)}"] if libraries else []), str(self.sshd)]


@dataclass(frozen=True)
class SshServer:
    """A machine with OpenSSH's server, and the home of the clients that may log in as its root."""

    namespace: str
    address: str
    name: str
    home: Path
    folder: Path
    programs: Programs
    computer: LocalConnection
    process: subprocess.Popen[bytes]

    def ssh_address(self) -> SshAddress:
        """Where it is, with key and known hosts, for a client without that home."""
        ssh = self.home / ".ssh"
        return SshAddress(self.address, "root", PORT, ssh / "id_ed25519", ssh / "known_hosts")

    def connect(self, client: str, journal: Journal | None = None) -> SshConnection:
        """Connection from the namespace `client`."""
        transport = network.open_tcp(client, self.address, PORT, START_S)
        return SshConnection(self.name, self.ssh_address(), journal, transport)

    def start(self) -> None:
        """Start the server; it is done when the port takes connections."""
        log = self.folder / "log"
        inside = f"/proc/{self.process.pid}/ns"
        files = {"net": "net", "mount": "mnt", "uts": "uts", "pid": "pid_for_children"}
        enter = [f"--{kind}={inside}/{file}" for kind, file in files.items()]
        serve = [*self.programs.command, "-f", str(self.folder / "sshd_config"), "-E", str(log)]
        self.computer.run(["nsenter", *enter, *serve])
        deadline = Deadline(START_S, f"start of the SSH server of {self.name}")
        while True:
            try:
                network.open_tcp(self.namespace, self.address, PORT, 1).close()
                return
            except OSError as error:
                deadline.check(f"{error}; its log: {log.read_text()}")
                deadline.wait_a_little(0.02)

    def kill(self) -> None:
        """End the server and all its sessions, by their ids; what runs in the sessions is not touched."""
        deadline = Deadline(START_S, f"end of the SSH server of {self.name}")
        while pids := [pid for pid in self._pids() if self._is_server(pid)]:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            deadline.wait_a_little(0.02)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """The server and its sessions hang. Their kernel still confirms what is sent to them."""
        pids = [pid for pid in self._pids() if self._is_server(pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def commands(self) -> dict[int, str]:
        """What else runs on the machine: command lines by the ids they have on this computer."""
        found = {}
        for pid in self._pids():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()
                if not self._is_server(pid) and not self._is_first(pid):
                    found[pid] = line
        return found

    def _pids(self) -> list[int]:
        wanted = Path(f"/proc/{self.process.pid}/ns/pid_for_children").readlink()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            # A process that only waits to be collected has no namespace any more.
            with contextlib.suppress(OSError):
                if (folder / "ns/pid").readlink() == wanted:
                    found.append(int(folder.name))
        return found

    def _is_server(self, pid: int) -> bool:
        try:
            return any(
                Path(f"/proc/{pid}/exe").samefile(path)
                for path in (self.programs.sshd, *self.programs.parts.values())
            )
        except OSError:
            return False

    def _is_first(self, pid: int) -> bool:
        # Whatever comes in by SSH has a session of its own.
        return os.getsid(pid) == self.process.pid


@contextlib.contextmanager
def programs(computer: LocalConnection) -> Iterator[Programs]:
    """The server that is installed, or else the one of this computer's release, unpacked while it is used."""
    if Path("/usr/sbin/sshd").exists():
        yield Programs(Path("/"))
        return
    with tempfile.TemporaryDirectory(prefix="hvcost-openssh-") as folder:
        yield Programs(unpack(computer, Path(folder), ["openssh-server"]))


def make_home(computer: LocalConnection, folder: Path) -> Path:
    """A home with a fresh key; `running` adds to its configuration what is needed to log in there."""
    ssh = folder / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    _make_key(computer, ssh / "id_ed25519")
    for name in ("config", "known_hosts"):
        (ssh / name).touch(mode=0o600)
    return folder


@contextlib.contextmanager
def running(
    computer: LocalConnection,
    programs: Programs,
    home: Path,
    namespace: str,
    address: str,
    name: str,
    mounts: Sequence[str] = (),
) -> Iterator[SshServer]:
    """A machine `name` with a running server, whose network is a namespace that has `address`.

    `mounts` are shell lines that are run on the machine before its server starts.
    """
    with contextlib.ExitStack() as stack:
        # Below /tmp the server trusts no key.
        folder = Path(tempfile.mkdtemp(prefix="hvcost-sshd-", dir="/run"))
        stack.callback(shutil.rmtree, folder)
        _configure(computer, programs, home, folder, address, name)
        script = FIRST_PROCESS + "".join(f"{line}\n" for line in mounts) + SERVE
        process = LocalConnection(computer.name, computer.journal, namespace).start(
            ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc",
             "sh", "-c", script, "sh", str(folder), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        stack.callback(_switch_off, process)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n", f"{name}: the machine did not start"
        server = SshServer(namespace, address, name, home, folder, programs, computer, process)
        server.start()
        yield server


@contextlib.contextmanager
def client_and_far(computer: LocalConnection, label: str) -> Iterator[tuple[str, str]]:
    """Two namespaces of this test run, joined by a wire: the client's, and the one of a machine."""
    name = f"{network.PREFIX}{label}-{os.getpid()}"
    with (
        network.namespace(computer, f"{name}-client") as client,
        network.namespace(computer, f"{name}-far") as far,
    ):
        lay_wire(computer, (client, INTERFACE, CLIENT_ADDRESS), (far, INTERFACE, FAR_ADDRESS))
        yield client, far


@dataclass(frozen=True)
class Machines:
    """Machines on a switch, which is the interface SWITCH of the controller's namespace."""

    controller: str
    home: Path
    by_name: dict[str, SshServer]

    @property
    def within(self) -> tuple[str, ...]:
        """Beginning of a command line, to run it on the controller with a home from which all are reached."""
        return ("ip", "netns", "exec", self.controller, "env", f"HOME={self.home}")


@contextlib.contextmanager
def switched(
    computer: LocalConnection, label: str, home: Path, addresses: dict[str, str], mounts: Sequence[str] = ()
) -> Iterator[Machines]:
    """Machines with running servers, by their names, at a switch whose ports are named after them."""
    name = f"{network.PREFIX}{label}-{os.getpid()}"
    make_home(computer, home)
    machines = {}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(programs(computer))
        controller = stack.enter_context(network.namespace(computer, name))
        for arguments in (
            ["link", "add", SWITCH, "type", "bridge", "stp_state", "0", "forward_delay", "0"],
            ["link", "set", SWITCH, "up"],
            ["address", "add", f"{CONTROLLER_ADDRESS}/24", "dev", SWITCH],
        ):
            computer.run(["ip", "-n", controller, *arguments])
        for machine, address in addresses.items():
            namespace = stack.enter_context(network.namespace(computer, f"{name}-{machine}"))
            lay_wire(computer, (controller, machine, None), (namespace, INTERFACE, address))
            computer.run(["ip", "-n", controller, "link", "set", machine, "master", SWITCH])
            running_machine = running(computer, server, home, namespace, address, machine, mounts)
            machines[machine] = stack.enter_context(running_machine)
        yield Machines(controller, home, machines)


# A namespace, its new interface, and the address of that (of a /24), if it gets one.
Plug = tuple[str, str, str | None]


def lay_wire(computer: LocalConnection, one: Plug, other: Plug) -> None:
    """Join two namespaces."""
    computer.run(
        ["ip", "-n", one[0], "link", "add", one[1], "type", "veth",
         "peer", "name", other[1], "netns", other[0]]
    )  # fmt: skip
    for place, interface, address in (one, other):
        if address:
            computer.run(["ip", "-n", place, "address", "add", f"{address}/24", "dev", interface])
        computer.run(["ip", "-n", place, "link", "set", interface, "up"])


def _switch_off(process: subprocess.Popen[bytes]) -> None:
    # The kernel ends whatever runs on the machine together with its first process, which is waited for.
    assert process.stdin
    process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(START_S)
    end_group(process)


def _configure(
    computer: LocalConnection, programs: Programs, home: Path, folder: Path, address: str, name: str
) -> None:
    """Server, accounts and known keys of a new machine."""
    ssh = home / ".ssh"
    _make_key(computer, folder / "host_key")
    shutil.copyfile(ssh / "id_ed25519.pub", folder / "authorized_keys")
    for empty in ("run", "root"):
        (folder / empty).mkdir(mode=0o700)
    settings = {
        "Port": PORT,
        "ListenAddress": address,
        "HostKey": folder / "host_key",
        "PidFile": folder / "sshd.pid",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "StrictModes": "yes",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "UseDNS": "no",
        "AllowAgentForwarding": "yes",
        "X11Forwarding": "no",
        "Subsystem": "sftp internal-sftp",
        **programs.parts,
    }
    if programs.parts:
        # Those releases also stay away from a client for a while that was refused or whose session crashed.
        settings["PerSourcePenalties"] = "no"
    _write(folder / "sshd_config", "".join(f"{keyword} {value}\n" for keyword, value in settings.items()))
    # The server needs its own user, which an installation would have made, and a root who may log in.
    accounts = [account for account in pwd.getpwall() if account.pw_name not in ("root", "sshd")]
    free = next(uid for uid in range(999, 100, -1) if uid not in {account.pw_uid for account in accounts})
    lines = [
        f"root:x:0:0:root:{folder / 'root'}:/bin/bash",
        f"sshd:x:{free}:65534::/run/sshd:/usr/sbin/nologin",
        *(":".join(str(field) for field in account) for account in accounts),
    ]
    _write(folder / "passwd", "".join(f"{line}\n" for line in lines))
    (folder / "passwd").chmod(0o644)
    _write(folder / "shadow", "root:*:20000:0:99999:7:::\n")
    kind, key = (folder / "host_key.pub").read_text().split()[:2]
    with (ssh / "known_hosts").open("a") as file:
        file.write(f"{address} {kind} {key}\n")
    with (ssh / "config").open("a") as file:
        file.write(
            f"Host {name}\n  HostName {address}\n  User root\n  IdentityFile {ssh / 'id_ed25519'}\n"
            f"  UserKnownHostsFile {ssh / 'known_hosts'}\n"
        )


def _make_key(computer: LocalConnection, path: Path) -> None:
    computer.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hvcost tests", "-f", str(path)])


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
