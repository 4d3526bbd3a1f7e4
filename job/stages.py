"""Where the seconds go: one stage at a time, an inner stage pausing the outer one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from job.contract.documents import Seconds

__all__ = ["Stage", "StageClock"]

Stage = Literal["startup", "data", "train", "evaluate", "publish"]


class StageClock:
    """Wall-clock seconds per stage; evaluations in the middle of training count as evaluation, not as training."""

    def __init__(self, now: Callable[[], float], *, startup_s: float = 0.0) -> None:
        """`now` is a monotonic clock in seconds; `startup_s` passed before this clock was made."""
        self._now = now
        self._spent: dict[Stage, float] = dict.fromkeys(get_args(Stage), 0.0)
        self._spent["startup"] = startup_s
        self._open: list[Stage] = []
        self._since = now()

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Count what happens inside as `name`."""
        self._settle()
        self._open.append(name)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def add(self, earlier: Seconds) -> None:
        """Count the seconds of an attempt that this one resumes."""
        for name in self._spent:
            self._spent[name] += getattr(earlier, name)

    def charge(self, name: Stage, seconds: float) -> None:
        """Count a share of seconds that several trials spent together."""
        self._spent[name] += seconds

    def seconds(self) -> Seconds:
        """What each stage took so far, the open one included."""
        self._settle()
        return Seconds(**{name: round(value, 3) for name, value in self._spent.items()})

    def working_s(self) -> float:
        """Training and evaluation together: what trial_timeout_s bounds."""
        self._settle()
        return self._spent["train"] + self._spent["evaluate"]

    def _settle(self) -> None:
        now = self._now()
        if self._open:
            self._spent[self._open[-1]] += now - self._since
        self._since = now
