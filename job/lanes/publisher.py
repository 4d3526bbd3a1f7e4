"""Finished trials are published on threads of their own, while the model goes on with the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self

__all__ = ["Publisher", "SharedWait"]

_AT_ONCE = 4  # a trial's files go up one after the other; an S3 client has 10 connections, and checkpoints need some


class Publisher:
    """The publications under way. One that raises is told of where the next one begins, or at the end.

    Inside `with`; leaving it after an error lets those that have begun come to their end, and drops the others.
    """

    def __init__(self) -> None:
        self.waited = SharedWait(time.monotonic)
        """What each publication has cost the process so far; a clock for `publish_trial`."""
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="publish")
        self._under_way: set[Future[None]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._threads.shutdown(cancel_futures=error is not None)

    def begin(self, publish: Callable[[], None]) -> None:
        """Have `publish` done while the caller goes on. Raises what an earlier one raised."""
        self._look(wait_s=0)
        self.waited.begun()
        future = self._threads.submit(publish)
        future.add_done_callback(lambda _: self.waited.over())
        self._under_way.add(future)

    def finish(self) -> None:
        """Wait for all of them. Raises what the first of them raised."""
        with self.waited:
            self._look(wait_s=None)

    def _look(self, *, wait_s: float | None) -> None:
        over, self._under_way = wait(self._under_way, timeout=wait_s, return_when=FIRST_EXCEPTION)
        for future in over:
            future.result()


class SharedWait:
    """A clock of the seconds that a process does nothing but wait, in equal shares for all that it waits for.

    Publishing beside training takes no time of the device. Called, it gives the share of one publication that was
    under way all along: the difference of two readings is what the publication between them has cost.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` is a monotonic clock in seconds."""
        self._now = now
        self._lock = threading.Lock()
        self._share_s = 0.0
        self._under_way = 0
        self._waiting = False
        self._since = now()

    def __call__(self) -> float:
        with self._lock:
            self._settle()
            return self._share_s

    def __enter__(self) -> None:
        self._change(waiting=True)

    def __exit__(self, *_: object) -> None:
        self._change(waiting=False)

    def begun(self) -> None:
        """One more is under way."""
        self._change(more=1)

    def over(self) -> None:
        """One of them is over."""
        self._change(more=-1)

    def _change(self, *, more: int = 0, waiting: bool | None = None) -> None:
        with self._lock:
            self._settle()
            self._under_way += more
            self._waiting = self._waiting if waiting is None else waiting

    def _settle(self) -> None:
        now = self._now()
        if self._waiting and self._under_way:
            self._share_s += (now - self._since) / self._under_way
        self._since = now
