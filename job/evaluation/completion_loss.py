"""How surprised a model is by the references: summed negative log-likelihood and target count of each row.

The language-model head is applied to the completion's positions only. With a vocabulary of 50,000, logits over a whole
prompt would be most of the memory and a good part of the time.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional
from transformers import PreTrainedModel

from job.evaluation.batches import Padded, left_padded, right_padded

if TYPE_CHECKING:
    from job.evaluation.prompt_cache import ReadPrompts
    from job.prompts import EncodedRow

__all__ = ["RowLoss", "completion_loss_after", "completion_loss_batch"]


class RowLoss(NamedTuple):
    """Of one row."""

    nll: float
    """Nats, summed over the targets; computed in float32 whatever the weights are."""
    target_tokens: int
    """Completion tokens, the end token among them."""


def completion_loss_batch(*, model: PreTrainedModel, rows: Sequence[EncodedRow], pad_id: int) -> list[RowLoss]:
    """The loss of each row's completion given its prompt; the prompt must not be empty.

    Rows are padded on the left, so that the completions end together and the last positions hold all targets.
    """
    batch = left_padded([(*row.prompt_ids, *row.completion_ids) for row in rows], pad_id=pad_id, device=model.device)
    counts = [len(row.completion_ids) for row in rows]
    widest = max(counts)
    logits = _last_logits(model, batch=batch, keep=widest + 1)[:, :-1]
    from_end = torch.arange(widest - 1, -1, -1, device=model.device)
    is_target = from_end < torch.tensor(counts, device=model.device)[:, None]
    return _row_losses(logits, targets=batch.ids[:, -widest:], is_target=is_target)


def completion_loss_after(
    read: ReadPrompts, *, model: PreTrainedModel, rows: Sequence[EncodedRow], pad_id: int
) -> list[RowLoss]:
    """The loss of each row's completion, going on from what the model remembers of the rows' prompts."""
    completions = right_padded([row.completion_ids for row in rows], pad_id=pad_id, device=model.device)
    mask = torch.cat([read.prompts.mask, completions.mask[:, :-1]], dim=1)
    width = completions.ids.shape[1]
    whole = Padded(ids=torch.cat([read.prompts.ids, completions.ids[:, :-1]], dim=1), mask=mask)
    logits: torch.Tensor = model(
        input_ids=whole.ids[:, -width:],
        attention_mask=whole.mask,
        position_ids=whole.positions[:, -width:],
        past_key_values=read.cache(),
        use_cache=True,
    ).logits
    return _row_losses(logits, targets=completions.ids, is_target=completions.mask.bool())


def _row_losses(logits: torch.Tensor, *, targets: torch.Tensor, is_target: torch.Tensor) -> list[RowLoss]:
    """Sums over each row; `targets` and `is_target` are (batch, positions), `logits` (batch, positions, vocabulary)."""
    nll = torch.zeros(is_target.shape, device=logits.device)
    nll[is_target] = functional.cross_entropy(logits[is_target].float(), targets[is_target], reduction="none")
    return [RowLoss(*pair) for pair in zip(nll.sum(1).tolist(), is_target.sum(1).tolist(), strict=True)]


def _last_logits(model: PreTrainedModel, *, batch: Padded, keep: int) -> torch.Tensor:
    """Logits of the last `keep` positions, (batch, keep, vocabulary), in the model's dtype."""
    accepted = inspect.signature(model.forward).parameters
    arguments: dict[str, Any] = {"input_ids": batch.ids, "attention_mask": batch.mask, "use_cache": False}
    if "position_ids" in accepted:
        arguments["position_ids"] = batch.positions
    if "logits_to_keep" in accepted:
        arguments["logits_to_keep"] = keep
    logits: torch.Tensor = model(**arguments).logits
    return logits[:, -keep:]
