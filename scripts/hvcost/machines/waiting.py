"""Waiting for a machine that is just booting: refused for now, but not for good."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from hvcost.errors import HostKeyError, MachineError
from hvcost.machines.base import Connection
from hvcost.machines.deadline import Deadline

POLL_S = 5.0

Reached = TypeVar("Reached", bound=Connection)

log = logging.getLogger(__name__)


def awaited(connect: Callable[[], Reached], deadline: Deadline) -> Reached:
    """Connection to a machine as soon as there is one.

    Raises the last complaint of `connect`, MachineError, when the time is over; one about a host key at once.
    """
    while True:
        try:
            return connect()
        except HostKeyError:
            raise
        except MachineError as error:
            if deadline.remaining_s == 0.0:
                raise
            log.info("waiting: %s", error)
        deadline.wait_a_little(POLL_S)
