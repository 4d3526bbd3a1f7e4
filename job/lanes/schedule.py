"""The learning rate of each step, by transformers' own schedules."""

from __future__ import annotations

from collections.abc import Callable

import torch
from transformers.optimization import get_scheduler

from job.contract.config import TrainingOptions

__all__ = ["schedule"]


def schedule(options: TrainingOptions, *, steps: int) -> Callable[[int], float]:
    """The rate of an optimizer step, given the number of steps before it, in a training of `steps`."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=options.learning_rate)
    scheduler = get_scheduler(
        options.lr_scheduler_type, optimizer, num_warmup_steps=options.warmup_steps, num_training_steps=steps
    )
    factor = scheduler.lr_lambdas[0]
    return lambda before: options.learning_rate * float(factor(before))
