"""A token bucket: so many requests at once, then so many a second."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["TokenBucket"]


class TokenBucket:
    """Hands out turns. The Python client has no rate limiter of its own, and an API server serves others too."""

    def __init__(
        self, *, per_s: float, burst: int, monotonic: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        """`per_s` turns a second after the first `burst`; both above 0."""
        self._per_s = per_s
        self._burst = float(burst)
        self._monotonic = monotonic
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._at = monotonic()

    def take(self) -> None:
        """Return when it is the caller's turn; turns are given in the order in which they are asked for."""
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_s) - 1
            self._at = now
            pause_s = max(0.0, -self._tokens / self._per_s)
        if pause_s:
            self._sleep(pause_s)
