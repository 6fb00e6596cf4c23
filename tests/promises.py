"""What every connection promises, however the machine is reached."""

from __future__ import annotations

import pytest
from hvcost.errors import DeadlineExceeded
from hvcost.machines.base import Connection


def check_stream(machine: Connection) -> None:
    """A stream is both ways, says when nothing comes, and ends with its program."""
    stream = machine.open_stream(["sh", "-c", "read line; echo got $line"])
    with pytest.raises(DeadlineExceeded):
        stream.receive(0.1)
    stream.send(b"word\n")
    assert stream.receive(60) == b"got word\n"
    assert stream.receive(60) == b""
    stream.close()
