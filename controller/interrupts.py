"""What SIGTERM and Ctrl-C ask of a controller, as a question that its loop asks.

The first signal is remembered and the loop leaves in order. A second Ctrl-C is Python's own KeyboardInterrupt, which
ends the process from wherever it is.
"""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Literal

__all__ = ["Interrupts", "Wish"]

Wish = Literal["stop", "interrupt"]
_SLICE_S = 0.1  # sleep goes on after a signal (PEP 475), so it is cut into pieces that a person does not notice


class Interrupts:
    """Remembers the first SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self.wish: Wish | None = None

    def install(self) -> None:
        """Take both signals over; the main thread has to call this."""
        signal.signal(signal.SIGTERM, self._remember)
        signal.signal(signal.SIGINT, self._remember)

    def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until a wish that was not there before."""
        before, deadline = self.wish, time.monotonic() + seconds
        while self.wish == before and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if signum == signal.SIGTERM:
            self.wish = self.wish or "stop"
            return
        if self.wish == "interrupt":
            raise KeyboardInterrupt
        self.wish = "interrupt"
