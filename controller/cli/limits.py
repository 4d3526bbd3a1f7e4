"""The controller's own numbers, from the spec."""

from __future__ import annotations

from controller.spec.model import ExecutionSection
from controller.states import Limits

__all__ = ["limits_of"]


def limits_of(execution: ExecutionSection, *, capacity: int, canary: bool = False) -> Limits:
    """What the spec asks for, within what the backend can run at once."""
    return Limits(
        parallelism=min(execution.parallelism, capacity),
        max_attempts=execution.max_attempts,
        max_disruptions=execution.max_disruptions,
        max_failed_trials=execution.max_failed_trials,
        queue_timeout_s=execution.queue_timeout_s,
        start_timeout_s=execution.start_timeout_s,
        canary=canary,
    )
