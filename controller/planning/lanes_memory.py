"""How much memory K lanes take at their peak. Pure; an estimate within 15 % of what torch allocates.

tests/unit/test_lanes_memory.py measures it again, on steps of tiny models.

Limits
- As in memory.py: rows of ROW_TOKENS tokens are assumed, and what CUDA takes for itself is not counted.
- Every lane counts like the largest one, since a micro-batch has as many rows for each lane.
- On a CPU only what lies in tensors is counted: the libraries take some 0.5 GiB besides.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from controller.planning.memory import (
    DTYPE_BYTES,
    ROW_TOKENS,
    TRAINED_BYTES,
    MemoryEstimate,
    adapter_bytes,
    block_bytes,
    targets_of,
)
from controller.planning.model_shape import Linear, ModelShape
from job.contract.config import TrialConfig

__all__ = ["LaneShape", "lane_shape", "lanes_memory"]

_FLOAT = 4
# At the peak of the loss: log-softmax, and the gradients of it and of the logits, each in float32.
_LOGIT_BYTES = 3 * _FLOAT
_HALF = 2
# Of job/lanes/adamw.py: three new values and a quotient, before the old ones are overwritten.
_STEP_BYTES = 4 * _FLOAT
# Texts are written in memory of a multiple of so many positions, and some more (job/lanes/decode.py).
_ROUND, _MORE = 64, 8


class LaneShape(NamedTuple):
    """The most that any lane of a group asks for; every lane is padded to it."""

    rank: int
    targets: tuple[Linear, ...]
    """Layers of a block that carry an adapter in some lane."""
    drops: bool
    """Some lane has dropout."""
    rows: int
    """Of a micro-batch; 0 where nothing is trained."""
    stored: int
    """Bytes of a number of the base model."""
    autocast: bool
    new_tokens: int
    beams: int


def lane_shape(configs: Iterable[TrialConfig], *, shape: ModelShape) -> LaneShape:
    """What the lanes of these trials, which share a model and a precision, are padded to."""
    listed = tuple(configs)
    loras = [config.lora for config in listed if config.lora is not None]
    trainings = [config.training for config in listed if config.training is not None]
    generations = [config.generation for config in listed if config.generation is not None]
    used = {linear for lora in loras for linear in targets_of(lora, shape)}
    return LaneShape(
        rank=max((lora.r for lora in loras), default=0),
        targets=tuple(linear for linear in shape.linears if linear in used),
        drops=any(lora.lora_dropout > 0 for lora in loras),
        rows=max((training.per_device_train_batch_size for training in trainings), default=0),
        stored=max(DTYPE_BYTES[config.model.dtype] for config in listed),
        autocast=any(training.bf16 for training in trainings),
        new_tokens=max((generation.max_new_tokens for generation in generations), default=0),
        beams=max((generation.num_beams for generation in generations), default=1),
    )


def lanes_memory(
    lane: LaneShape, *, lanes: int, shape: ModelShape, eval_rows: int, row_tokens: int = ROW_TOKENS
) -> MemoryEstimate:
    """The peak of so many lanes; in evaluation `eval_rows` of each are written at a time."""
    tokens = min(row_tokens, shape.context)
    trained = lanes if lane.rows else 0
    parameters = trained * lane.rank * sum(linear.inputs + linear.outputs for linear in lane.targets) * shape.layers
    rows, written = trained * lane.rows, min(tokens, lane.new_tokens)
    return MemoryEstimate(
        row_tokens=tokens,
        weights=float(shape.parameters * lane.stored),
        adapter=float(TRAINED_BYTES * parameters),
        activations=rows * tokens * shape.layers * _token_bytes(lane, tokens=tokens, shape=shape)
        + (_cast_bytes(lane, adapters=parameters, shape=shape) if trained else 0.0),
        logits=float(rows * written * shape.vocabulary * _LOGIT_BYTES),
        generation=_generation(lane, lanes=lanes, rows=eval_rows, tokens=tokens, shape=shape),
        optimizer=float(_STEP_BYTES * parameters),
    )


def _token_bytes(lane: LaneShape, *, tokens: int, shape: ModelShape) -> float:
    """Kept for the backward pass, of a token in one block. Under autocast the lanes' products read half precision."""
    computed = _HALF if lane.autocast else lane.stored
    return block_bytes(shape, tokens=tokens, computed=computed) + adapter_bytes(
        lane.targets, rank=lane.rank, drops=lane.drops, computed=computed, width=_HALF if lane.autocast else _FLOAT
    )


def _cast_bytes(lane: LaneShape, *, adapters: int, shape: ModelShape) -> float:
    """Autocast keeps a copy of what it casts: of the lanes' matrices, and of the base model's where they are wider."""
    if not lane.autocast:
        return 0.0
    frozen = shape.layers * sum(linear.parameters for linear in shape.linears)
    return float(_HALF * (adapters + (frozen if lane.stored > _HALF else 0)))


def _generation(lane: LaneShape, *, lanes: int, rows: int, tokens: int, shape: ModelShape) -> float:
    """The larger of two peaks: keys and values of all prompts with the logits of one lane's references; and the same
    keys and values with the memory in which all texts are written."""
    position = 2 * shape.layers * shape.key_width * lanes * rows * lane.beams * lane.stored
    longest = min(tokens + lane.new_tokens, shape.context)
    written = math.ceil(longest / _ROUND) * _ROUND + _MORE
    logits = rows * min(tokens, lane.new_tokens) * shape.vocabulary * _LOGIT_BYTES
    return float(tokens * position + max(written * position, logits))
