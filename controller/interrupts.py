"""What SIGTERM and Ctrl-C ask of a command.

At once, unless something has to be left in order: then the first signal is remembered as a wish, which a loop asks for,
and only a second Ctrl-C ends the process from wherever it is.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

__all__ = ["Interrupts", "Wish", "ending"]

Wish = Literal["stop", "interrupt"]
_SLICE_S = 0.1  # sleep goes on after a signal (PEP 475), so it is cut into pieces that a person does not notice


@contextmanager
def ending() -> Iterator[None]:
    """Inside, a process says its last words, whatever is pressed. Afterwards Ctrl-C ends it without a word.

    What follows is the interpreter's own end, where another KeyboardInterrupt would be a traceback.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class Interrupts:
    """Both signals are KeyboardInterrupt; while `held`, the first is remembered."""

    def __init__(self) -> None:
        self.wish: Wish | None = None
        """What the last signal asked for, also when it ended what was done."""
        self._held = False

    def install(self) -> None:
        """Take both signals over; the main thread has to call this."""
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGINT, self._take)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, what runs asks for `wish` and leaves in order."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until a wish that was not there before."""
        before, deadline = self.wish, time.monotonic() + seconds
        while self.wish == before and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))

    def _take(self, signum: int, frame: FrameType | None) -> None:
        del frame
        wish: Wish = "stop" if signum == signal.SIGTERM else "interrupt"
        again = self.wish == "interrupt" == wish
        if self.wish is None or wish == "interrupt":
            self.wish = wish
        if again or not self._held:
            raise KeyboardInterrupt
