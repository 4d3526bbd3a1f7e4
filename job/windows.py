"""Which rows each optimizer step of a trial trains on, as Trainer cuts them; pure, and the same for both engines."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from job.contract.config import TrainingOptions
from job.seeds import row_order

__all__ = ["Cadence", "planned_steps", "updates_per_epoch", "windows"]

_CHECKPOINTS_PER_RUN = 4


def updates_per_epoch(rows: int, options: TrainingOptions) -> int:
    """Optimizer steps of one pass over `rows`; the last may have fewer rows, as in Trainer."""
    batches = math.ceil(rows / options.per_device_train_batch_size)
    return math.ceil(batches / options.gradient_accumulation_steps)


def planned_steps(rows: int, options: TrainingOptions) -> int:
    """Optimizer steps of the whole training."""
    if options.max_steps is not None:
        return options.max_steps
    return math.ceil((options.num_train_epochs or 0) * updates_per_epoch(rows, options))


def windows(rows: int, *, options: TrainingOptions, order_seed: int, start: int) -> Iterator[list[list[int]]]:
    """For each optimizer step after `start`: its micro-batches, each a list of row indices; the last steps included.

    The windows of an epoch are cut from one permutation of the rows, so the last micro-batch of an epoch may have fewer
    rows than the others, and its last window fewer micro-batches.
    """
    batch, accumulated = options.per_device_train_batch_size, options.gradient_accumulation_steps
    per_epoch = updates_per_epoch(rows, options)
    for step in range(start, planned_steps(rows, options)):
        epoch, window = divmod(step, per_epoch)
        if window == 0 or step == start:
            order = row_order(rows, order_seed=order_seed, epoch=epoch)
        chosen = order[window * batch * accumulated : (window + 1) * batch * accumulated]
        yield [chosen[at : at + batch] for at in range(0, len(chosen), batch)]


class Cadence(NamedTuple):
    """What is due when, in optimizer steps."""

    total: int
    eval_steps: int | None
    checkpoint_every: int | None

    def evaluates(self, step: int) -> bool:
        """Whether an evaluation is due after `step`."""
        return self.eval_steps is not None and step % self.eval_steps == 0

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due after `step`: every quarter of the run by default, and after the last step."""
        every = self.checkpoint_every or math.ceil(self.total / _CHECKPOINTS_PER_RUN)
        return step % every == 0 or step == self.total
