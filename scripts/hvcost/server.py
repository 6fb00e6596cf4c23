"""The server end of one repetition: a process of its own on whatever machine, started, watched and ended.

Its output goes to files in a private folder there; it is read when the report of the run has appeared,
since a server that is stopped before has nothing, or half of it, to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from hvcost.connections.base import Connection
from hvcost.deadline import Deadline
from hvcost.errors import CommandError, DeadlineExceeded, MachineError, shown
from hvcost.record import End

START_TIMEOUT_S = 60.0
REPORT_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.5

# Arguments: folder, port in hexadecimal, limit in s, command.
# Listening sockets have the state 0A in /proc/net/tcp (proc(5)). The shell reads it itself: where the machine
# is translated twice, each program that is started takes a good part of a second.
START = """
folder=$1 port=$2 limit=$3; shift 3
listening() {
    for table in /proc/net/tcp /proc/net/tcp6; do
        [ ! -r "$table" ] || while read -r _ local _ state _; do
            case $local-$state in *":$port-0A") return 0 ;; esac
        done <"$table"
    done
    return 1
}
# One that a lost session has left; its process id may belong to somebody else by now.
if pid=$(cat "$folder/pid" 2>/dev/null) && grep -qs '^timeout' "/proc/$pid/cmdline"; then
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
fi
listening && { echo "another program listens at port $((0x$port)) already" >&2; exit 1; }
rm -rf "$folder"
mkdir -m 0700 "$folder" || exit 1
# On a full disk its output would be lost without a word.
printf '%65536s' '' 2>/dev/null >"$folder/stdout" ||
    { echo "there is no room for its output in $folder" >&2; exit 1; }
setsid timeout "$limit" "$@" >"$folder/stdout" 2>"$folder/stderr" </dev/null &
echo $! >"$folder/pid" || { kill $!; exit 1; }
until listening; do
    kill -0 "$!" 2>/dev/null || { cat "$folder/stdout" "$folder/stderr" >&2; exit 1; }
    sleep 0.1
done
"""
READ = 'cat "$1/stdout"; cat "$1/stderr" >&2'
FINISH = """
pid=$(cat "$1/pid")
kill "$pid" 2>/dev/null
while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
cat "$1/stdout"; cat "$1/stderr" >&2
rm -rf "$1"
"""


class Server:
    """`argv` as a server that listens at TCP `port` and ends by itself after `limit_s` and some reserve.

    `folder` is a new folder on the machine for its output.
    """

    def __init__(
        self, machine: Connection, argv: Sequence[str], port: int, limit_s: float, folder: str
    ) -> None:
        self.machine = machine
        self.argv = tuple(argv)
        self.port = port
        self.folder = folder
        self.limit_s = limit_s + REPORT_TIMEOUT_S + START_TIMEOUT_S

    def start(self) -> None:
        """Start it and wait until it listens; MachineError with its own words if it does not."""
        limit = str(math.ceil(self.limit_s))
        try:
            self._script(START, f"{self.port:04X}", limit, *self.argv, timeout_s=START_TIMEOUT_S)
        except CommandError as error:
            raise MachineError(
                f"{self.machine.name}: the server `{shown(self.argv)}` does not start: {error.stderr.strip()}"
            ) from error

    def stop(self, has_reported: Callable[[str], bool]) -> End:
        """Wait for the report of the run (or give up waiting), end the server, and return what it printed."""
        deadline = Deadline(REPORT_TIMEOUT_S, f"{self.machine.name}: report of the server")
        try:
            while not has_reported(self._script(READ)[0]):
                deadline.wait_a_little(POLL_S)
        except DeadlineExceeded:
            pass  # The missing report is what its output shows.
        stdout, stderr = self._script(FINISH, timeout_s=STOP_TIMEOUT_S)
        return End(self.machine.name, self.argv, None, stdout, stderr, None)

    def _script(self, script: str, *arguments: str, timeout_s: float = 30.0) -> tuple[str, str]:
        result = self.machine.run(
            ["sh", "-c", script, "server", self.folder, *arguments], timeout_s=timeout_s
        )
        return result.stdout, result.stderr
