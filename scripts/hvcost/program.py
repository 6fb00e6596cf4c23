"""What the programs of the workflow have in common: log, signals, and errors as one sentence."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from hvcost.errors import HvcostError, told

log = logging.getLogger(__name__)

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(main: Callable[[], None], log_file: Path | None) -> int:
    """Run a program to its exit code. What a person waits for goes to stderr, everything to the log file.

    The first of the signals ENDING ends it the way an error does: every `with` and `finally` is left in
    order. Those that are ignored from the start, as nohup(1) has it, stay ignored.
    """
    screen = logging.StreamHandler(sys.stderr)
    screen.setLevel(logging.INFO)
    screen.setFormatter(logging.Formatter("%(message)s"))
    handlers: list[logging.Handler] = [screen]
    if log_file:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        file = logging.FileHandler(log_file, mode="w", encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(file)
    logging.basicConfig(level=logging.DEBUG, handlers=handlers, force=True)
    for chatty in ("matplotlib", "PIL", "paramiko"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    _end_in_order()
    try:
        main()
    except HvcostError as error:
        log.error("%s", told(error))
        log.debug("where it came from", exc_info=True)
        return 1
    except KeyboardInterrupt:
        log.error("interrupted")
        return 130
    return 0


def _end_in_order() -> None:
    heeded = [number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN]

    def end(_number: int, _frame: FrameType | None) -> None:
        # A second signal must not interrupt the cleaning up that the first one started. It is not ignored
        # but heard for nothing: what is ignored, the programs that clean up would ignore as well.
        for number in heeded:
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    for number in heeded:
        signal.signal(number, end)
