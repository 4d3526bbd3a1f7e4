"""Prompts read once for two uses: the loss of the reference after them, and the text the model writes after them.

Reading prompts is most of an evaluation on a CPU: with SmolLM2-135M and 24 SAMSum rows, scoring took 110 s of one core
when they were read twice in whole batches, and takes 53 s so. Rows are read in pieces of like length, so that little
of the work goes into padding, and joined for decoding.

Limits
- Only for models in which every layer attends to every token and keeps plain keys and values; others read twice.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from job.evaluation.batches import Padded, left_padded

__all__ = ["ReadPrompts", "can_read_once", "join", "read_prompts"]

# Their rotary angles depend on how long the text is in the end, so that keys read earlier would be other keys.
_LENGTH_DEPENDENT_ROPE = frozenset({"dynamic", "longrope"})


class LayerStates(NamedTuple):
    """Of one layer; both are (batch, heads, positions, width)."""

    keys: torch.Tensor
    values: torch.Tensor


class ReadPrompts(NamedTuple):
    """What a model remembers of some prompts, each without its last token."""

    prompts: Padded
    """Whole, with the last token."""
    layers: tuple[LayerStates, ...]
    """Positions are those of `prompts` but the last."""

    def cache(self) -> DynamicCache:
        """A cache to continue from; growing it leaves this as it is."""
        return DynamicCache(self.layers)


def can_read_once(model: PreTrainedModel) -> bool:
    """Whether what `model` remembers of a prompt can be used twice, and its head can be kept off a prompt."""
    config: PretrainedConfig = model.config
    layers = DynamicCache(config=config).layers
    plain = bool(layers) and all(type(layer) is DynamicLayer for layer in layers)
    rope = getattr(config.get_text_config(), "rope_parameters", None) or {}
    accepted = inspect.signature(model.forward).parameters
    return (
        plain
        and not config.is_encoder_decoder
        and rope.get("rope_type") not in _LENGTH_DEPENDENT_ROPE
        and {"logits_to_keep", "position_ids", "past_key_values"} <= set(accepted)
    )


def read_prompts(*, model: PreTrainedModel, prompts: Sequence[Sequence[int]], pad_id: int) -> ReadPrompts:
    """What `model` remembers of `prompts`, each of at least 2 tokens."""
    padded = left_padded(prompts, pad_id=pad_id, device=model.device)
    cache = model(
        input_ids=padded.ids[:, :-1],
        attention_mask=padded.mask[:, :-1],
        position_ids=padded.positions[:, :-1],
        past_key_values=DynamicCache(config=model.config),
        use_cache=True,
        logits_to_keep=1,
    ).past_key_values
    return ReadPrompts(padded, tuple(LayerStates(layer.keys, layer.values) for layer in cache.layers))


def join(parts: Sequence[ReadPrompts]) -> ReadPrompts:
    """The rows of all parts as one, the shorter ones padded on the left."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.prompts.ids.shape[1] for part in parts)
    return ReadPrompts(
        prompts=Padded(
            ids=torch.cat([_pad_left(part.prompts.ids, to=width, axis=1) for part in parts]),
            mask=torch.cat([_pad_left(part.prompts.mask, to=width, axis=1) for part in parts]),
        ),
        layers=tuple(
            LayerStates(
                keys=torch.cat([_pad_left(states.keys, to=width - 1, axis=2) for states in layer]),
                values=torch.cat([_pad_left(states.values, to=width - 1, axis=2) for states in layer]),
            )
            for layer in zip(*(part.layers for part in parts), strict=True)
        ),
    )


def _pad_left(tensor: torch.Tensor, *, to: int, axis: int) -> torch.Tensor:
    """`tensor` with zeros before it along `axis`; what they stand for is masked."""
    zeros = (0, 0) * (tensor.dim() - axis - 1) + (to - tensor.shape[axis], 0)
    return functional.pad(tensor, zeros)
