"""What goes wrong with the model or the rows goes wrong in every trial: a run has one of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from job.contract.errors import SweepError

__all__ = ["shared_by_all_trials"]


@contextmanager
def shared_by_all_trials() -> Iterator[None]:
    """Marks the errors that pass through it as shared."""
    try:
        yield
    except SweepError as err:
        err.shared = True
        raise
