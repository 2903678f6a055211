"""Ctrl-C, SIGTERM and a closed window as a wish to save and stop, for the commands that train."""

import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from vaegan.processes import is_first_process

if TYPE_CHECKING:
    from vaegan.types import ProgressCallback


@contextmanager
def stoppable(show: "ProgressCallback") -> "Generator[tuple[Callable[[], bool], ProgressCallback]]":
    """Ctrl-C, SIGTERM and a closed window ask the training to save and stop; a second Ctrl-C stops at once.

    Yields:
        What the training asks whether to stop; and `show` for what has nothing to save: a wish to stop ends it at once.
    """
    asked = threading.Event()
    hang_up: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows knows none

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            if number != hang_up:  # that comes twice: from the terminal, and from the shell in it
                raise KeyboardInterrupt
            return
        asked.set()
        with suppress(OSError):  # nobody may read it
            if is_first_process():
                print("\nStopping and saving; a moment (again to stop at once) ...", file=sys.stderr, flush=True)

    asking = [signal.SIGINT, signal.SIGTERM]
    # A closed window asks to stop too, unless the user has said not to mind it (nohup).
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
        asking.append(hang_up)
    before = {number: signal.signal(number, ask) for number in asking}

    def preparing(what: str, done: int, total: int) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        show(what, done, total)

    try:
        yield asked.is_set, preparing
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
