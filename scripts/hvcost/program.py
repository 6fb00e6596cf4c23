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


def run(main: Callable[[], None], log_file: Path | None) -> int:
    """Run a program to its exit code. What a person waits for goes to stderr, everything to the log file.

    SIGTERM and SIGINT end it the way an error does: every `with` and `finally` is left in order.
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
    signal.signal(signal.SIGTERM, _terminate)
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


def _terminate(number: int, frame: FrameType | None) -> None:
    # A second signal must not interrupt the cleaning up that the first one started.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt
