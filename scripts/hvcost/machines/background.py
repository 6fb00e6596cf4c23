"""A process in the background of one repetition, such as a server: started, watched and ended on any machine.

Its output goes to files in a private folder there; it is read when the report of the run has appeared,
since a process that is stopped before has nothing, or half of it, to say.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from hvcost.errors import CommandError, MachineError, shown
from hvcost.machines.base import CommandResult, Connection
from hvcost.machines.deadline import Deadline
from hvcost.machines.witness import CLOCKS, heard
from hvcost.model.process import Bound, Listening, Process
from hvcost.model.record import End, Reading

START_TIMEOUT_S = 120.0
REPORT_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.5

# Arguments: folder, tcp, udp or none, port in hexadecimal, limit in s, command.
# Listening sockets have the state 0A in /proc/net/tcp, bound ones 07 in /proc/net/udp (proc(5)). The shell
# reads it itself: where the machine is translated twice, each program that is started takes a good part of a
# second.
START = (
    CLOCKS
    + """
folder=$1 kind=$2 port=$3 limit=$4; shift 4
case $kind in tcp) wanted=0A ;; udp) wanted=07 ;; esac
taken() {
    for table in "/proc/net/$kind" "/proc/net/${kind}6"; do
        [ ! -r "$table" ] || while read -r _ local _ state _; do
            case $local-$state in *":$port-$wanted") return 0 ;; esac
        done <"$table"
    done
    return 1
}
# One that a lost session has left; its process id may belong to somebody else by now.
if pid=$(cat "$folder/pid" 2>/dev/null) && grep -qs '^timeout' "/proc/$pid/cmdline"; then
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
fi
[ "$kind" != none ] && taken &&
    { echo "another program listens at port $((0x$port)) already" >&2; exit 1; }
rm -rf "$folder"
mkdir -m 0700 "$folder" || exit 1
# On a full disk its output would be lost without a word.
printf '%65536s' '' 2>/dev/null >"$folder/stdout" ||
    { echo "there is no room for its output in $folder" >&2; exit 1; }
setsid timeout "$limit" "$@" >"$folder/stdout" 2>"$folder/stderr" </dev/null &
echo $! >"$folder/pid" || { kill $!; exit 1; }
until [ "$kind" = none ] || taken; do
    kill -0 "$!" 2>/dev/null || { cat "$folder/stdout" "$folder/stderr" >&2; exit 1; }
    sleep 0.1
done
clocks
"""
)
# Exit code 1: it has ended, so that there is nothing more to come.
READ = 'kill -0 "$(cat "$1/pid")" 2>/dev/null; is_gone=$?; cat "$1/stdout"; exit "$is_gone"'
# What the clocks say is told from the process' output by this line.
OUTPUT = "@output"
FINISH = (
    CLOCKS
    + f"""
clocks; echo {OUTPUT}
pid=$(cat "$1/pid")
kill "$pid" 2>/dev/null
while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
cat "$1/stdout"; cat "$1/stderr" >&2
rm -rf "$1"
"""
)


class Background:
    """A process on a machine. `folder` is a new folder there for its output.

    It ends by itself after its limit and some reserve, times the machine's slowness.
    """

    def __init__(self, machine: Connection, process: Process, folder: str) -> None:
        self.machine = machine
        self.process = process
        self.folder = folder
        self.limit_s = (process.limit_s + REPORT_TIMEOUT_S + START_TIMEOUT_S) * machine.slowness

    def start(self) -> Reading:
        """Start it and wait until it is ready; what the machine's clocks said then.

        Raises MachineError with the process' own words if it does not start.
        """
        limit = str(math.ceil(self.limit_s))
        argv = self.process.argv
        asked_s = time.monotonic()
        try:
            said = self._script(START, *_readiness(self.process), limit, *argv).stdout
        except CommandError as error:
            raise MachineError(
                f"{self.machine.name}: the {self.process.role} `{shown(argv)}` does not start: "
                f"{error.stderr.strip()}"
            ) from error
        return heard(self.machine, said, asked_s)

    def await_report(self, has_reported: Callable[[str], bool]) -> None:
        """Wait until its standard output holds its report of the run, or nothing more is to come.

        That the report is missing is no error here: it is what its output shows.
        """
        deadline = Deadline(
            REPORT_TIMEOUT_S * self.machine.slowness,
            f"{self.machine.name}: report of the {self.process.role}",
        )
        while deadline.remaining_s > 0:
            seen = self._script(READ, check=False)
            if seen.exit_code != 0 or has_reported(seen.stdout):
                return
            deadline.wait_a_little(POLL_S)

    def stop(self) -> tuple[End, Reading]:
        """End it: what it printed, and what the machine's clocks said before."""
        asked_s = time.monotonic()
        result = self._script(FINISH, timeout_s=STOP_TIMEOUT_S)
        said, _, stdout = result.stdout.partition(f"{OUTPUT}\n")
        end = End(self.machine.name, self.process.argv, None, stdout, result.stderr, None)
        return end, heard(self.machine, said, asked_s)

    def _script(
        self, script: str, *arguments: str, timeout_s: float = START_TIMEOUT_S, check: bool = True
    ) -> CommandResult:
        argv = ["sh", "-c", script, "background", self.folder, *arguments]
        return self.machine.run(argv, timeout_s=timeout_s, check=check)


def _readiness(process: Process) -> tuple[str, str]:
    """What has to be there before it is ready: tcp, udp or none, and the port in hexadecimal."""
    match process.ready:
        case Listening(port):
            return "tcp", f"{port:04X}"
        case Bound(port):
            return "udp", f"{port:04X}"
        case None:
            return "none", "0"
