"""Facts of a machine: everything that can change a network figure, recorded beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from hvcost.errors import ParseError
from hvcost.machines.base import Connection
from hvcost.model.record import Facts

SCRIPT = (Path(__file__).parent / "facts.sh").read_text(encoding="utf-8")
# What a processor that QEMU translates says of itself (the fact `cpuid_vendor`).
TRANSLATED = "TCGTCGTCGTCG"
NUMBERS = ("cpus", "memory_kib", "mtu", "rx_queues")
_NUMBER = re.compile("[0-9]{1,18}")


def collect(connection: Connection, interface: str) -> Facts:
    """Facts of a machine as flat names and values (`memory_kib` in KiB, `mtu` in bytes)."""
    output = connection.run(["sh", "-c", SCRIPT, "facts", interface], timeout_s=120).stdout
    return parse(output, connection.name)


def versions(connection: Connection, commands: Mapping[str, str]) -> Facts:
    """Versions of programs on a machine: of each shell command the first line that it prints, by its name.

    What prints nothing is left out.
    """
    lines = [
        f"printf '%s=%s\\n' {name} \"$({{ {command}; }} | head -n 1)\"" for name, command in commands.items()
    ]
    return parse(connection.run(["sh", "-c", "\n".join(lines)], timeout_s=120).stdout, connection.name)


def parse(output: str, machine: str) -> Facts:
    """Facts from the script's output; lines without `=` are no facts.

    ParseError, with the machine, if one of NUMBERS is none.
    """
    facts: dict[str, str | int | float] = {}
    for line in output.splitlines():
        name, _, said = line.partition("=")
        if value := said.strip():
            if name in NUMBERS and not _NUMBER.fullmatch(value):
                raise ParseError(f"{machine}: its fact {name} is no number: {value!r}")
            facts[name] = int(value) if name in NUMBERS else value
    return facts
