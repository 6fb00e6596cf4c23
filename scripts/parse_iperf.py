"""Read captured output of iperf 2 over TCP and say what it measured, as one line of JSON per file.

A file is the output of a client or of a server, in any layout that iperf 2 has printed since 2.0,
or one of this project's raw records, of which the client's output is read. A file that holds no
figure is `failed` with the reason; the exit code tells only whether all files could be read.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from hvcost import program
from hvcost.errors import ParseError
from hvcost.model import record
from hvcost.tools import output_of
from hvcost.tools.iperf2_text import parse

FIELDS = (
    "file",
    "status",
    "reason",
    "role",
    "throughput_bps",
    "bytes",
    "seconds",
    "streams",
    "throughput_resolution_bps",
)


def say(file: list[str]) -> None:
    """Print a line for each file; ParseError names those that cannot be read."""
    # A reader that goes away, or Ctrl-C while reading stdin, ends this like any other filter.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    unread = []
    for name in file:
        try:
            text = _read(name)
        except OSError as error:
            unread.append(f"{name}: {error.strerror}")
            continue
        print(json.dumps(_line(name, text)), flush=True)
    if unread:
        raise ParseError("; ".join(unread))


def _read(name: str) -> str:
    content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    return content.decode("utf-8", errors="replace")


def _line(name: str, text: str) -> dict[str, str | int | float | None]:
    try:
        measurement = parse(_output(name, text))
    except ParseError as error:
        return dict.fromkeys(FIELDS) | {"file": name, "status": "failed", "reason": str(error)}
    return dict.fromkeys(FIELDS) | {
        "file": name,
        "status": "ok",
        "role": measurement.role,
        "throughput_bps": measurement.throughput_bps,
        "bytes": measurement.transferred_bytes,
        "seconds": measurement.duration_s,
        "streams": measurement.streams,
        "throughput_resolution_bps": measurement.throughput_resolution_bps,
    }


def _output(name: str, text: str) -> str:
    """The output itself, or that of a raw record's client with what it said on standard error."""
    if not text.lstrip().startswith("{"):
        return text
    if name == "-":
        raise ParseError("a raw record is read from its file, since its session's is beside it")
    run = record.read(Path(name))
    if run.status == "failed":
        raise ParseError(f"the record says: {run.reason}")
    client = output_of(run.outputs, "client")
    return client.stdout + client.stderr


if __name__ == "__main__":
    program.main(
        say,
        __doc__,
        program.argument("file", nargs="+", help="captured output or raw record; '-' is stdin"),
    )
