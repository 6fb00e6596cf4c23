"""What the programs have in common: command line, log, signals, and errors as one sentence.

A program is what it does, a function, and its arguments, which `main` gives to that function by their names.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hvcost.errors import ConfigError, HvcostError, told
from hvcost.machines import user_namespace

log = logging.getLogger(__name__)

# Tells a program that it was started again, in namespaces of its own.
INSIDE = "HVCOST_INSIDE"
# What Slurm calls the computer that a job of its runs on (sbatch(1)).
NODE = "SLURMD_NODENAME"


@dataclass(frozen=True)
class Argument:
    """An argument of a program, as argparse's `add_argument` takes it; `is_json`: its text is JSON."""

    name: str
    settings: Mapping[str, Any]
    is_json: bool = False

    def value(self, given: Any) -> Any:
        """What the program gets; ConfigError names the argument if it is not JSON and has to be."""
        if not self.is_json:
            return given
        try:
            return json.loads(given)
        except ValueError as error:
            raise ConfigError(f"{self.name}: not JSON: {error}") from error


def argument(name: str, **settings: Any) -> Argument:
    """An argument as argparse's `add_argument` takes it; an option without a default is required."""
    if name.startswith("-"):
        settings = {"required": "default" not in settings, **settings}
    return Argument(name, settings)


def json_argument(name: str, **settings: Any) -> Argument:
    """An option whose text is JSON, of which the program gets the value."""
    return Argument(name, {"required": True, "metavar": "JSON", **settings}, is_json=True)


def always(**_: Any) -> bool:
    """Whether a program that is always apart is it this time: see `main`."""
    return True


def main(
    work: Callable[..., object],
    description: str | None,
    *arguments: Argument,
    output: str | None = None,
    apart: Callable[..., bool] | None = None,
    failure: int = 1,
) -> NoReturn:
    """Run a program: read its command line, call `work` with the arguments by name, and exit.

    `output`: what is written, for a program with the option `--output`. All have `--log`. `apart` says of
    the arguments whether the program does its work in namespaces of its own (`user_namespace`).
    `failure`: exit code of a program that cannot do its work, if 1 is what it has found.
    """
    if output:
        arguments += (argument("--output", type=Path, metavar=output, help="what is written"),)
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given = {parser.add_argument(each.name, **each.settings).dest: each for each in arguments}
    parser.add_argument("--log", type=Path, help="file for the messages, beside standard error")
    values = vars(parser.parse_args())
    log_file = values.pop("log")

    # Of this process alone: its children do not inherit it.
    is_inside = os.environ.pop(INSIDE, None) is not None
    code = 0

    def called() -> None:
        nonlocal code
        # On a cluster, who tries again what failed has to know where (`planning.outcome`).
        log.debug("on %s", os.environ.get(NODE) or socket.gethostname())
        named = {name: given[name].value(value) for name, value in values.items()}
        if apart and not is_inside and apart(**named):
            code = user_namespace.run([sys.executable, *sys.orig_argv[1:]], {INSIDE: "1"})
        else:
            work(**named)

    code = run(called, log_file, failure) or code
    # A signal that comes again while Python takes itself down, which it does with the system's own handlers,
    # must not make another end of the one that is decided.
    for number in user_namespace.ENDING:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


def run(work: Callable[[], object], log_file: Path | None, failure: int = 1) -> int:
    """Run what a program does to its exit code, which is `failure` if it cannot do it.

    What a person waits for goes to stderr, everything to the log file.

    The first of `user_namespace.ENDING` ends it the way an error does: every `with` and `finally` is left in
    order. Those that are ignored from the start, as nohup(1) has it, stay ignored.
    """
    screen = logging.StreamHandler(sys.stderr)
    screen.setLevel(logging.INFO)
    screen.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.DEBUG, handlers=[screen], force=True)
    for chatty in ("matplotlib", "PIL", "paramiko"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    _end_in_order()
    try:
        if log_file:
            logging.getLogger().addHandler(_log_to(log_file))
        work()
    except (HvcostError, OSError, MemoryError) as error:
        log.error("%s", _in_a_sentence(error))
        log.debug("where it came from", exc_info=True)
        return failure
    except KeyboardInterrupt:
        log.error("interrupted")
        return 130
    return 0


def _log_to(file: Path) -> logging.Handler:
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler


def _in_a_sentence(error: HvcostError | OSError | MemoryError) -> str:
    if isinstance(error, HvcostError):
        return told(error)
    if isinstance(error, MemoryError):
        return "this computer: there is no memory left; end other programs, and start again"
    # A disk that is full or cannot be written to, a folder that is gone: the kernel says what, and where.
    return f"this computer: {error}"


def _end_in_order() -> None:
    heeded = [number for number in user_namespace.ENDING if signal.getsignal(number) != signal.SIG_IGN]

    def end(_number: int, _frame: FrameType | None) -> None:
        # A second signal must not interrupt the cleaning up that the first one started. It is not ignored
        # but heard for nothing: what is ignored, the programs that clean up would ignore as well.
        for number in heeded:
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    for number in heeded:
        signal.signal(number, end)
