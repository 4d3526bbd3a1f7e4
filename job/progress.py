"""progress.json: where a running trial is, for people and for `status`. Losing one write costs nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal

from job.contract.documents import BEFORE_BEGINNING, EvaluationRecord, Progress, StepRecord, to_json
from job.contract.errors import TransientError
from job.store import Keys, Store

__all__ = ["ProgressWriter"]

logger = logging.getLogger(__name__)

_SMOOTHING = 0.3  # weight of the newest step in the moving rate


class ProgressWriter:
    """Overwrites one trial's progress.json, at most every `every_s` seconds and at each change of stage."""

    def __init__(
        self, store: Store, *, trial_id: str, attempt: str, every_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._key = Keys.progress(trial_id)
        self._attempt = attempt
        self._every_s = every_s
        self._now = now
        self._written_at = float("-inf")
        self._step_at: float | None = None
        self._step_s: float | None = None
        self._stage: Literal["startup", "data", "train", "evaluate", "publish", "waiting", "done"] = "startup"
        self._step = 0
        self._max_steps = 0
        self._loss: float | None = None
        self._tokens_per_s: float | None = None
        self._metrics: dict[str, float] = {}
        self._checkpoint_step: int | None = None
        self._message = ""
        self._unwritten = False

    @property
    def begun(self) -> bool:
        """Whether the process has turned to this trial."""
        return self._stage not in BEFORE_BEGINNING

    def stage(
        self,
        stage: Literal["startup", "data", "train", "evaluate", "publish", "waiting", "done"],
        *,
        message: str = "",
        max_steps: int | None = None,
    ) -> None:
        """Enter a stage; written at once."""
        self._stage, self._message = stage, message
        self._max_steps = self._max_steps if max_steps is None else max_steps
        self._step_at = None  # the next step's duration would include what came between
        self._write()

    def step(self, record: StepRecord) -> None:
        """Take an optimizer step in."""
        now = self._now()
        if self._step_at is not None:
            took = max(now - self._step_at, 1e-9)
            self._step_s = took if self._step_s is None else _SMOOTHING * took + (1 - _SMOOTHING) * self._step_s
            self._tokens_per_s = record.tokens / took
        self._stage, self._step_at, self._step, self._loss = "train", now, record.step, record.loss
        self._write_if_due()

    def evaluated(self, record: EvaluationRecord) -> None:
        """Take an evaluation in."""
        self._metrics = {name: value.mean for name, value in record.metrics.items()}
        self._step_at = None
        self._write_if_due()

    def batch(self, done: int, total: int) -> None:
        """Say how far an evaluation is."""
        self._message = f"{done}/{total} rows"
        self._write_if_due()

    def checkpointed(self, step: int) -> None:
        """Take a complete checkpoint in."""
        self._checkpoint_step = step

    def _write_if_due(self) -> None:
        if self._now() - self._written_at >= self._every_s:
            self._write()

    def _write(self) -> None:
        left = self._max_steps - self._step
        progress = Progress(
            attempt=self._attempt,
            stage=self._stage,
            step=self._step,
            max_steps=self._max_steps,
            loss=self._loss,
            metrics=self._metrics,
            tokens_per_s=self._tokens_per_s,
            eta_s=None if self._step_s is None else round(self._step_s * left, 1),
            checkpoint_step=self._checkpoint_step,
            message=self._message,
            updated_at=datetime.now(tz=UTC),
        )
        self._written_at = self._now()
        try:
            self._store.put(self._key, to_json(progress))
        except TransientError as err:
            self._unwritten = True
            logger.warning("progress not written: %s", err, extra={"notice": f"the store takes no progress: {err}"})
        else:
            if self._unwritten:
                logger.info("progress is written again", extra={"notice": ""})
            self._unwritten = False
