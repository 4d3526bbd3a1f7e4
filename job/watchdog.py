"""Ends a process that hangs, with a stack dump in its log and the exit code that says so.

Limits: a thread that holds the interpreter lock for ever is ended by faulthandler's own timer, with exit code 1.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from job.contract.errors import ExitCode, HungError

__all__ = ["NO_PROGRESS_S", "Watchdog", "check_time"]

logger = logging.getLogger(__name__)

NO_PROGRESS_S = 1800.0
"""No optimizer step and no decoded batch for so long counts as hanging; the longest honest step is minutes on a CPU."""
_BACKSTOP_S = 120.0
_REARM_S = 10.0  # arming starts a thread; once per decoded token would be felt


class Watchdog:
    """`beat` per unit of work; a silent half hour ends the process with 81."""

    def __init__(self, *, log: Path, on_hang: Callable[[str], None], no_progress_s: float = NO_PROGRESS_S) -> None:
        """`on_hang(message)` is called once, on another thread, before the process ends."""
        self._log = log
        self._on_hang = on_hang
        self._limit_s = no_progress_s
        self._last = time.monotonic()
        self._armed = float("-inf")
        self._quiet = threading.Event()

    def start(self) -> None:
        """Begin to watch."""
        self.beat()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def beat(self) -> None:
        """Say that work goes on; cheap enough for every decoded token."""
        now = time.monotonic()
        self._last = now
        if now - self._armed > _REARM_S:
            self._armed = now
            faulthandler.dump_traceback_later(self._limit_s + _BACKSTOP_S, exit=True)

    def stop(self) -> None:
        """End the watch."""
        self._quiet.set()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        while not self._quiet.wait(min(5.0, self._limit_s / 4)):
            if time.monotonic() - self._last > self._limit_s:
                self._end()

    def _end(self) -> None:
        message = f"no step and no decoded batch for {self._limit_s:.0f} s; the stacks of all threads are in the log"
        with self._log.open("a", encoding="utf-8") as stream:
            faulthandler.dump_traceback(file=stream, all_threads=True)
        logger.error("hung: %s", message)
        try:
            self._on_hang(message)
            logging.shutdown()
        finally:  # also when the store is what hangs
            os._exit(ExitCode.TIMEOUT)


def check_time(*, spent_s: float, limit_s: float) -> None:
    """Raise HungError when a trial has used up its time."""
    if spent_s > limit_s:
        raise HungError(
            f"the trial trained and evaluated for {spent_s:.0f} s, over execution.trial_timeout_s = {limit_s:.0f}; "
            "raise it, or lower steps, rows or max_new_tokens"
        )
