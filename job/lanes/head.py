"""The language-model head on the positions that have a target, whatever the architecture calls its head.

The head gets what a pre-hook picks: (K, M, hidden) instead of (K * B, T, hidden). With a vocabulary of 50,000, logits
of a whole batch would be most of the memory and a good part of the time; what a model does to its logits afterwards
(a cap, a scale) goes on as it would.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import cross_entropy

from job.contract.errors import ConfigurationError
from job.lanes.passes import Pass
from job.reference.collate import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["lane_losses"]


def lane_losses(model: PreTrainedModel, batch: Pass) -> torch.Tensor:
    """Cross-entropy in float32 summed over each lane's targets, (K,); with a gradient."""
    with _picked(model, batch.positions):
        logits = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False).logits
    if logits.shape[:2] != batch.targets.shape:
        raise ConfigurationError(
            f"{type(model).__name__} computes its logits in a way that many adapters at once do not know; "
            "set execution.trials_per_job to 1"
        )
    each = cross_entropy(
        logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(0, 1),
        batch.targets.flatten(),
        ignore_index=IGNORED,
        reduction="none",
    )
    return each.view(batch.targets.shape).sum(1)


@contextmanager
def _picked(model: PreTrainedModel, positions: torch.Tensor) -> Iterator[None]:
    def pick(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[torch.Tensor]:
        hidden = args[0]
        by_lane = hidden.reshape(len(positions), -1, hidden.shape[-1])
        return (by_lane.gather(1, positions[:, :, None].expand(-1, -1, hidden.shape[-1])),)

    handle = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        handle.remove()
