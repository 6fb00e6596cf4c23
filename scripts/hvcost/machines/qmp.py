"""QEMU asked about itself: the machine protocol QMP (QEMU's docs/interop/qmp-spec)."""

from __future__ import annotations

import json
from typing import Any

from hvcost.errors import MachineError
from hvcost.files import parse_json
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline

TIMEOUT_S = 60.0


def ask(host: Connection, socket: str, *commands: str) -> dict[str, Any]:
    """Answers of the QEMU that listens at `socket` on `host` to commands without arguments, by command.

    Raises MachineError if QEMU refuses one or is gone, ParseError if it says what is no message of QMP.
    """
    qemu = f"{host.name}: QEMU at {socket}"
    asked = ("qmp_capabilities", *commands)
    stream = host.open_stream(["socat", "-t5", "STDIO", f"UNIX-CONNECT:{socket}"])
    deadline = Deadline(TIMEOUT_S * host.slowness, f"{host.name}: answers of QEMU's monitor {socket}")
    try:
        for command in asked:
            stream.send(json.dumps({"execute": command, "id": command}).encode() + b"\n")
        received = b""
        answers: dict[str, Any] = {}
        while not answers.keys() >= set(asked):
            data = stream.receive(deadline.remaining_s)
            if not data:
                raise MachineError(f"{qemu} is gone")
            *lines, received = (received + data).split(b"\n")
            for line in lines:
                answers |= parse(line.decode("utf-8", errors="replace"), qemu)
        return {command: answers[command] for command in commands}
    finally:
        stream.close()


def parse(line: str, qemu: str) -> dict[str, Any]:
    """The answer in a line of what QEMU sends, by the command; none if the line is a greeting or an event.

    ParseError if it is no message of QMP, MachineError if it is a refusal; both name `qemu`, who said it.
    """
    if not line.strip():
        return {}
    return parse_json(line, qemu, "a message of QMP", lambda said: _answer(said, qemu))


def _answer(message: dict[str, Any], qemu: str) -> dict[str, Any]:
    if "error" in message:
        raise MachineError(f"{qemu} refuses {message.get('id')}: {message['error']}")
    return {message["id"]: message["return"]} if "id" in message else {}
