"""QEMU asked about itself: the machine protocol QMP (QEMU's docs/interop/qmp-spec)."""

from __future__ import annotations

import json
from typing import Any

from hvcost.errors import MachineError
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline

TIMEOUT_S = 60.0


def ask(host: Connection, socket: str, *commands: str) -> dict[str, Any]:
    """Answers of the QEMU that listens at `socket` on `host` to commands without arguments, by command.

    Raises MachineError if QEMU refuses one or is gone.
    """
    stream = host.open_stream(["socat", "-t5", "STDIO", f"UNIX-CONNECT:{socket}"])
    deadline = Deadline(TIMEOUT_S * host.slowness, f"{host.name}: answers of QEMU's monitor {socket}")
    try:
        for command in ("qmp_capabilities", *commands):
            stream.send(json.dumps({"execute": command, "id": command}).encode() + b"\n")
        received = b""
        answers: dict[str, Any] = {}
        while len(answers) <= len(commands):
            data = stream.receive(deadline.remaining_s)
            if not data:
                raise MachineError(f"{host.name}: QEMU at {socket} is gone")
            received += data
            *lines, received = received.split(b"\n")
            for message in map(json.loads, filter(None, map(bytes.strip, lines))):
                if "error" in message:
                    raise MachineError(f"{host.name}: QEMU refuses {message.get('id')}: {message['error']}")
                if "id" in message:
                    answers[message["id"]] = message["return"]
        return {command: answers[command] for command in commands}
    finally:
        stream.close()
