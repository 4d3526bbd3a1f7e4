"""The trials of a group that are not over, and what becomes of each: one that fails spares the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from job.context import TrialContext
from job.contract.config import PlannedTrial
from job.contract.errors import StoppedError, TransientError
from job.data import Rows
from job.lanes.publisher import Publisher
from job.measure import Measured
from job.memory import memory_is_ours
from job.trial import disk_full_is_transient, publish_trial

__all__ = ["Fail", "Members"]

Fail = Callable[[PlannedTrial, Exception], None]
T = TypeVar("T")


class Members:
    """Those that are being published end on other threads."""

    def __init__(self, contexts: Sequence[TrialContext], *, work: Path, fail: Fail, publisher: Publisher) -> None:
        self.open = list(contexts)
        self._work = work
        self._fail = fail
        self._publisher = publisher

    def fail(self, context: TrialContext, error: Exception) -> None:
        """This trial is over."""
        self.open.remove(context)
        self._fail(context.trial, error)

    def publish(self, context: TrialContext, rows: Rows, measured: Measured) -> None:
        """This trial gets its result while the others go on."""

        def publish() -> None:
            publish_trial(context, measured, rows=rows, now=self._publisher.waited)
            self.open.remove(context)

        self._publisher.begin(lambda: self.alone(context, publish))

    def together(self, work: Callable[[], T]) -> T | None:
        """What `work` gives; None when it failed, and all trials with it."""
        return self.guarded(work, of=list(self.open))

    def alone(self, context: TrialContext, work: Callable[[], T]) -> T | None:
        """What `work` gives; None when it failed, and this trial with it. The others go on, whatever it died of."""
        return self.guarded(work, of=[context])

    def guarded(self, work: Callable[[], T], *, of: Sequence[TrialContext]) -> T | None:
        """What `work` gives; None when it failed, and these trials with it."""
        try:
            with memory_is_ours(_out_of_memory), disk_full_is_transient(self._work):
                return work()
        except (StoppedError, TransientError):
            raise
        except Exception as err:  # as for a trial of its own: people read the words of a failure
            for context in of:
                if context in self.open:
                    self.fail(context, err)
        return None

    def each(self, work: Callable[[TrialContext], T], *, of: Sequence[TrialContext]) -> dict[str, T]:
        """What `work` gives for each of these trials that it did not fail for, by trial id."""
        found = {context.trial.trial_id: self.alone(context, partial(work, context)) for context in of}
        return {trial_id: value for trial_id, value in found.items() if value is not None}


def _out_of_memory(said: str) -> str:
    return f"out of memory: {said}; lower execution.eval_batch_size, or use a smaller model or dtype"
