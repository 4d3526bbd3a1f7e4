"""SIGTERM as a question that long work asks: has anyone asked us to stop? Asking shows that the work is alive.

Installed before the first heavy import, so that no phase of the process dies with the default action.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from job.contract.errors import StoppedError

__all__ = ["StopSignal"]


class StopSignal:
    """Remembers a SIGTERM; polled per optimizer step, per decode step and per upload."""

    def __init__(self) -> None:
        self.requested = False
        self.on_check: Callable[[], None] | None = None
        """Called with every question; the watchdog listens here."""

    def install(self) -> None:
        """Take SIGTERM over; the main thread has to call this."""
        signal.signal(signal.SIGTERM, self._remember)

    def check(self) -> None:
        """Raise StoppedError once a stop was asked for."""
        if self.on_check is not None:
            self.on_check()
        if self.requested:
            raise StoppedError("stopped by SIGTERM; run the same request again to go on from the newest checkpoint")

    def _remember(self, signum: int, frame: FrameType | None) -> None:
        del signum, frame
        self.requested = True
