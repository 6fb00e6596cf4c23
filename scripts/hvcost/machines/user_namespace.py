"""Namespaces of a program's own: root of networks and mounts that nobody else has, as whatever user.

Inside, the user who started the program is root (user_namespaces(7)) of mounts, processes and, by
`ip netns add`, networks which end with the program, however it ends: the kernel takes down what nobody is
in. For the administrator, who is root already, they are the same but for the users.
"""

from __future__ import annotations

import getpass
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from hvcost.errors import MachineError

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Process ID of the workflow that a program is a job of, whose end is its end too.
WORKFLOW = "HVCOST_WORKFLOW"
REPEAT_MS = 1000
# Users and groups that a Debian tree has: those of packages are below 1000, `nobody` is 65534.
IDS = 65536
FIRST_ID = 100_000
MAPPING = ("newuidmap", "newgidmap")
TUN = Path("/dev/net/tun")
SWITCHES = Path("/proc/sys")
# What forbids user namespaces, the value that it then has, and the one that allows them.
FORBIDDING = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "10000"),
)
# Programs that an administrator's path has and a user's need not have.
SYSTEM_PROGRAMS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
# An own /run with all that the computer's has, but for the networks and what other runs have put there. Its
# entries are reached by the working directory, which the new one does not cover.
SET_UP = """
set -e
here=$PWD
cd /run
mount -t tmpfs -o mode=755 hvcost /run
for entry in * .[!.]*; do
    case $entry in netns | mount | hvcost*) continue ;; esac
    if [ -L "$entry" ]; then
        cp -P "$entry" /run
    elif [ -d "$entry" ]; then
        mkdir -p "/run/$entry"
        mount --no-canonicalize --rbind "$entry" "/run/$entry"
    elif [ -e "$entry" ]; then
        touch "/run/$entry"
        mount --no-canonicalize --bind "$entry" "/run/$entry"
    fi
done
cd "$here"
# ip(8) takes /sys away before it mounts that of a network; a container forbids that unless it sees another.
mkdir /run/hvcost-sys
mount --rbind /sys /run/hvcost-sys
# A shell stays the first of all processes, which has to see to those that lost their parents.
"$@"
exit
"""


def run(argv: Sequence[str], variables: Mapping[str, str] | None = None) -> int:
    """Run a program in namespaces of its own; its exit code, or 128 and the signal that it died of.

    `variables` are for its environment. Any of the signals ENDING is handed on as SIGTERM, and the end of
    the workflow as well. The program dies with this process. Raises MachineError if this computer does not
    let this user have namespaces.
    """
    check()
    heeded = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]
    is_ending = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_ending
        is_ending = True

    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *_unshare(), "sh", "-c", SET_UP, "sh", *argv],
        env=_environment() | dict(variables or {}),
        # A terminal's signals come here alone, and are handed on.
        start_new_session=True,
    )
    for number in heeded:
        signal.signal(number, end)
    ends = select.poll()
    ends.register(os.pidfd_open(process.pid), select.POLLIN)
    workflow = _workflow()
    if workflow is not None:
        ends.register(workflow, select.POLLIN)
    while process.poll() is None:
        if is_ending:
            # Again and again: whoever is not there yet does not hear the first time.
            os.killpg(process.pid, signal.SIGTERM)
        for ended, _ in ends.poll(REPEAT_MS):
            if ended == workflow:
                ends.unregister(workflow)
                is_ending = True
    code = process.wait()
    return code if code >= 0 else 128 - code


def check() -> None:
    """Raise MachineError with what helps, unless this user can be root of such namespaces here."""
    tried = subprocess.run(
        [*_unshare(), "true"], env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if tried.returncode:
        raise MachineError(f"this computer: no namespaces for {_user()}: {_why(tried.stderr)}")
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise MachineError(
            f"this computer: {_user()} cannot open {TUN} ({error.strerror}), through which emulated machines "
            f"have their networks; `sudo modprobe tun && sudo chmod 0666 {TUN}` until the next boot"
        ) from error


def check_ids() -> None:
    """Raise MachineError with what helps if there are fewer users and groups here than a Debian tree has."""
    if all(_ids_here(kind) >= IDS for kind in ("uid", "gid")):
        return
    problem = "this computer: a tree of Debian has users and groups, and there is one of each here"
    if not all(map(shutil.which, MAPPING)):
        raise MachineError(f"{problem}: `sudo scripts/install-packages.sh` installs what maps more (uidmap)")
    first, last = FIRST_ID, FIRST_ID + IDS - 1
    raise MachineError(
        f"{problem}: `sudo usermod --add-subuids {first}-{last} --add-subgids {first}-{last} "
        '"$USER"` gives you more'
    )


def _ids_here(kind: str) -> int:
    """How many users or groups there are in this namespace (user_namespaces(7))."""
    ranges = Path(f"/proc/self/{kind}_map").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[2]) for line in ranges)


def _unshare() -> list[str]:
    """The command line that begins a program in namespaces of its own, and ends it when it ends itself."""
    user = ["--user", "--map-root-user", *(["--map-auto"] if _has_ids() else [])] if os.geteuid() else []
    return ["unshare", *user, "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _has_ids() -> bool:
    """Whether this user has subordinate users and groups, and may use them (subuid(5))."""
    names = {getpass.getuser(), str(os.getuid())}
    has_range = all(
        file.is_file()
        and any(line.partition(":")[0] in names for line in file.read_text(encoding="utf-8").splitlines())
        for file in (Path("/etc/subuid"), Path("/etc/subgid"))
    )
    return has_range and all(map(shutil.which, MAPPING))


def _environment() -> dict[str, str]:
    return os.environ | {"PATH": os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_PROGRAMS))}


def _user() -> str:
    return f"the user {getpass.getuser()}"


def _why(said: str) -> str:
    for switch, forbids, allows in FORBIDDING:
        file = SWITCHES / switch
        if os.geteuid() and file.is_file() and file.read_text(encoding="ascii").strip() == forbids:
            name = switch.replace("/", ".")
            return f"{name} is {forbids}; `sudo sysctl {name}={allows}` allows them until the next boot"
    return (
        f"{said.strip()}; in a container, whoever starts it has to allow them "
        "(docs/without-root.md says how for Podman and Docker)"
    )


def _workflow() -> int | None:
    """File descriptor that tells of the workflow's end; None if there is no workflow, or not here."""
    pid = os.environ.get(WORKFLOW, "")
    try:
        return os.pidfd_open(int(pid)) if pid.isdecimal() else None
    except ProcessLookupError:
        return None
