"""What one batch of rows gives: the loss of each reference and the text that the model writes instead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from transformers import DynamicCache, PreTrainedModel

from job.contract.errors import DivergedError
from job.evaluation.batches import length_runs
from job.evaluation.completion_loss import RowLoss, completion_loss_after, completion_loss_batch
from job.evaluation.generation import Decoding, Generated, generate_batch
from job.evaluation.prompt_cache import ReadPrompts, can_read_once, join, read_prompts
from job.stopping import StopSignal

if TYPE_CHECKING:
    from job.prompts import EncodedRow

__all__ = ["RowResult", "check_finite", "score_batch"]


class RowResult(NamedTuple):
    """Of one row."""

    loss: RowLoss
    generated: Generated


def score_batch(
    *, model: PreTrainedModel, rows: Sequence[EncodedRow], decoding: Decoding, stop: StopSignal, where: str
) -> list[RowResult]:
    """Loss and text of each row, in order; rows should come longest prompt first. `where` is for messages.

    Raises DivergedError for a loss that is not finite, before anything is generated.
    """
    prompts = [row.prompt_ids for row in rows]
    cache: DynamicCache | None = None
    if decoding.options.num_beams == 1 and min(map(len, prompts)) > 1 and can_read_once(model):
        losses, cache = _read_once(model=model, rows=rows, pad_id=decoding.pad_id, stop=stop)
    else:
        losses = completion_loss_batch(model=model, rows=rows, pad_id=decoding.pad_id)
    check_finite(rows, losses, where=where)
    stop.check()
    texts = generate_batch(model=model, prompts=prompts, decoding=decoding, stop=stop, cache=cache)
    return [RowResult(*pair) for pair in zip(losses, texts, strict=True)]


class _Read(NamedTuple):
    losses: list[RowLoss]
    cache: DynamicCache
    """Of all prompts, padded on the left to the longest, each without its last token."""


def _read_once(*, model: PreTrainedModel, rows: Sequence[EncodedRow], pad_id: int, stop: StopSignal) -> _Read:
    losses: list[RowLoss] = []
    parts: list[ReadPrompts] = []
    for run in length_runs([len(row.prompt_ids) for row in rows]):
        stop.check()
        part = read_prompts(model=model, prompts=[row.prompt_ids for row in rows[run]], pad_id=pad_id)
        stop.check()
        losses += completion_loss_after(part, model=model, rows=rows[run], pad_id=pad_id)
        parts.append(part)
    return _Read(losses, join(parts).cache())


def check_finite(rows: Sequence[EncodedRow], losses: Sequence[RowLoss], *, where: str) -> None:
    for row, loss in zip(rows, losses, strict=True):
        if not math.isfinite(loss.nll):
            raise DivergedError(
                f"completion loss of row {row.example_id!r} ({where}) is {loss.nll}; "
                "lower training.learning_rate, or use model.dtype bfloat16 in place of float16"
            )
