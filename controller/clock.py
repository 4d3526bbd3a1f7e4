"""The time of day for whoever measures with it: it goes on evenly, whatever the machine's clock is set to meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

__all__ = ["steady_clock"]


def steady_clock(
    *, now: Callable[[], datetime] = lambda: datetime.now(UTC), elapsed: Callable[[], float] | None = None
) -> Callable[[], datetime]:
    """A clock that begins with `now` and is driven by `elapsed` seconds from then on.

    A machine's clock that is set an hour on, as after a start without network, would otherwise end every wait at once.
    """
    measured = elapsed or _since_boot
    began, began_at = now(), measured()
    return lambda: began + timedelta(seconds=measured() - began_at)


def _since_boot() -> float:
    """Seconds that no clock setting changes; with those that the machine slept, where the system counts them."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; Python's monotonic stands still in a sleep there
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)
