"""Waiting for something to become true, with a deadline and a word on what was waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")

POLL_S = 0.1


class WaitedInVainError(Exception):
    """The deadline passed; the message says what was waited for, and what was seen last."""


def wait_for(what: str, look: Callable[[], Seen | None], *, deadline_s: float = 60.0) -> Seen:
    """The first answer that is neither None nor False. Raises WaitedInVainError."""
    deadline = time.monotonic() + deadline_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise WaitedInVainError(f"waited {deadline_s:.0f} s in vain for {what}")
        time.sleep(POLL_S)
    return seen


__all__ = ["WaitedInVainError", "wait_for"]
