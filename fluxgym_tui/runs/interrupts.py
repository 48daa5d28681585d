"""Ctrl+C kept back while a run is half made, so that it ends up either started or not there."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class HeldInterrupts:
    """What came meanwhile."""

    def __init__(self) -> None:
        self.came = False

    def give_way(self) -> None:
        """Let an interrupt that came take effect now: for a moment at which nothing is lost by it."""
        if self.came:
            self.came = False
            raise KeyboardInterrupt


@contextmanager
def hold_interrupts() -> Iterator[HeldInterrupts]:
    """Keep SIGINT back; at the end it is raised as KeyboardInterrupt, unless an error is under way already.

    Outside the main thread, where Python raises no KeyboardInterrupt, and where SIGINT is ignored, nothing is held.
    """
    held = HeldInterrupts()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield held
        return

    def keep(_number: int, _frame: object) -> None:
        held.came = True

    signal.signal(signal.SIGINT, keep)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
    held.give_way()
