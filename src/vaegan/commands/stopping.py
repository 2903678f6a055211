"""Ctrl-C and SIGTERM as a wish to save and stop, for the commands that train."""

import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from vaegan.processes import is_first_process

if TYPE_CHECKING:
    from vaegan.types import ProgressCallback


def interruptible(preparing: "ProgressCallback", stop: Callable[[], bool]) -> "ProgressCallback":
    """Decoding has nothing to save: a request to stop ends it at once."""

    def tell(what: str, done: int, total: int) -> None:
        if stop():
            raise KeyboardInterrupt
        preparing(what, done, total)

    return tell


@contextmanager
def stoppable() -> Generator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask the training to save and stop; a second Ctrl-C stops at once."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        if is_first_process():
            print("\nStopping and saving; a moment (again to stop at once) ...", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
