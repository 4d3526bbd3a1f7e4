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

from job.batches import Padded, left_padded

if TYPE_CHECKING:
    from job.prompts import EncodedRow

__all__ = ["RowLoss", "completion_loss_batch"]


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
    widest = max(len(row.completion_ids) for row in rows)
    logits = _last_logits(model, batch=batch, keep=widest + 1)[:, :-1]
    counts = torch.tensor([len(row.completion_ids) for row in rows], device=model.device)
    is_target = torch.arange(widest, device=model.device) >= widest - counts[:, None]
    targets = batch.ids[:, -widest:][is_target]
    nll = torch.zeros(is_target.shape, device=model.device)
    nll[is_target] = functional.cross_entropy(logits[is_target].float(), targets, reduction="none")
    return [RowLoss(*pair) for pair in zip(nll.sum(1).tolist(), counts.tolist(), strict=True)]


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
