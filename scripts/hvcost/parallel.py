"""Work on all processors by forks of this process: nothing is imported again, what they read not copied."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from hvcost.errors import MachineError

Result = TypeVar("Result")


def results_of(tasks: Sequence[Callable[[], Result]], what: str) -> list[Result]:
    """What tasks return, in their order; this process does some of them, and forks of it do the others.

    Results and errors of forks are copied to this process, and must be such as pickle(3) takes. An error of a
    task is raised. MachineError says that `what` is not done if a fork is killed.
    """
    count = max(1, min(len(os.sched_getaffinity(0)), len(tasks)))
    fork = multiprocessing.get_context("fork")
    with ExitStack() as stack:
        ends = []
        for place in range(1, count):
            here, there = fork.Pipe(duplex=False)
            process = fork.Process(target=_do, args=(tasks[place::count], here, there), daemon=True)
            process.start()
            stack.callback(_end, process)
            there.close()
            ends.append(stack.enter_context(here))
        parts: list[list[Result]] = [[task() for task in tasks[::count]]]
        parts += [_received(end, what) for end in ends]
    return [parts[number % count][number // count] for number in range(len(tasks))]


def _do(tasks: Sequence[Callable[[], object]], here: Connection, there: Connection) -> None:
    """Send what tasks return, or the first error. If the parent is gone, nobody reads, and this ends too."""
    here.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    said: object
    try:
        said = [task() for task in tasks]
    except Exception as error:
        said = error
    with suppress(BrokenPipeError):
        there.send(said)


def _received(end: Connection, what: str) -> Any:
    try:
        said = end.recv()
    except EOFError as error:
        raise MachineError(
            f"this computer: {what} is not done: a part of it was killed; is there too little memory?"
        ) from error
    if isinstance(said, Exception):
        raise said
    return said


def _end(process: BaseProcess) -> None:
    process.kill()
    process.join()
