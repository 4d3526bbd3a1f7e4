"""An adapter's dropout, whose masks are a function of where they are used and of nothing else.

A mask is keyed by seed, optimizer step, micro-batch, row and layer. So it does not depend on how many other rows, lanes
or evaluations came before it, both engines drop the same numbers, and a resumed or recomputed pass drops them again.

The numbers are those of numpy's Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), whose raw
output numpy keeps across releases (NEP 19): key = (seed, layer), counter = (place in the row, row, micro-batch, step).
A number is dropped where 16 random bits are less than `ratio` of their range; the kept ones are scaled by the exact
inverse of what is kept, so that rounding the ratio to 16 bits biases nothing.

Limits
- Masks are made on the CPU and copied: a GPU waits for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

__all__ = ["DropoutPlace", "KeyedDropout", "RowPlace", "dropped", "layer_key"]

_BITS = 16
_DRAWS = 4
"""16-bit draws in one 64-bit output of Philox."""


class RowPlace(NamedTuple):
    """Which row of a trial's training this is."""

    seed: int
    step: int
    """Optimizer steps before it."""
    micro_batch: int
    """In the step's accumulation window."""
    row: int
    """In the micro-batch."""


class DropoutPlace:
    """The rows of the forward pass that is about to run; shared by all layers of a model."""

    def __init__(self) -> None:
        self.rows: tuple[RowPlace, ...] = ()


class KeyedDropout(nn.Module):
    """In the place of nn.Dropout, on input of shape (rows, tokens, width); in eval mode it passes everything."""

    def __init__(self, ratio: float, *, layer: str, place: DropoutPlace) -> None:
        super().__init__()
        self.ratio = ratio
        self._layer = layer_key(layer)
        self._place = place

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        rows = self._place.rows
        if x.shape[0] % len(rows):  # tokens of all rows together, as experts get them
            rows = rows[:1]
        return dropped(x, rows=rows, ratios=[self.ratio] * len(rows), layer=self._layer)


def layer_key(name: str) -> int:
    """64 bits that stand for the layer of this name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def dropped(x: torch.Tensor, *, rows: Sequence[RowPlace | None], ratios: Sequence[float], layer: int) -> torch.Tensor:
    """`x`, (rows, tokens, width) or (rows * tokens, width), with each row's share of it dropped and the rest scaled.

    None stands for a row that is padding alone: nothing of it is dropped.
    """
    shaped = x.reshape(len(rows), -1, x.shape[-1])
    count = shaped[0].numel()
    drops = np.zeros((len(rows), count), dtype=np.bool_)
    for index, (row, ratio) in enumerate(zip(rows, ratios, strict=True)):
        if row is not None and ratio > 0:
            np.less(_draws(row, layer=layer, count=count), _threshold(ratio), out=drops[index])
    mask = torch.from_numpy(drops).view(shaped.shape).to(x.device, non_blocking=True)
    scales = [1 / (1 - _threshold(ratio) / (1 << _BITS)) for ratio in ratios]
    kept: torch.Tensor = shaped.masked_fill(mask, 0.0)
    if len(set(scales)) == 1:
        return (kept * scales[0]).view(x.shape)
    return (kept * torch.tensor(scales, dtype=x.dtype, device=x.device)[:, None, None]).view(x.shape)


def _threshold(ratio: float) -> int:
    return min(round(ratio * (1 << _BITS)), (1 << _BITS) - 1)  # something is always kept


def _draws(row: RowPlace, *, layer: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint16]]:
    """`count` numbers of 16 random bits. The first is that of the row's first token, whatever stands beside the row."""
    generator = np.random.Philox(
        key=np.array([row.seed, layer], dtype=np.uint64),
        counter=np.array([0, row.row, row.micro_batch, row.step], dtype=np.uint64),
    )
    words: np.ndarray[tuple[int], np.dtype[np.uint64]] = generator.random_raw(-(-count // _DRAWS))
    return words.astype("<u8", copy=False).view("<u2")[:count]
