"""An adapter's dropout, whose masks are a function of where they are used and of nothing else.

A mask is keyed by seed, optimizer step, micro-batch, row and layer. So it does not depend on how many other rows, lanes
or evaluations came before it, both engines drop the same numbers, and a resumed or recomputed pass drops them again.

The numbers are those of numpy's Philox (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), whose raw
output numpy keeps across releases (NEP 19): key = (seed, layer), counter = (place in the row, row, micro-batch, step).
A number is dropped where 16 random bits are less than `ratio` of their range; the kept ones are scaled by the exact
inverse of what is kept, so that rounding the ratio to 16 bits biases nothing.

On a GPU they are made there, to the same bits (job.philox, job.philox_kernel).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from job import philox
from job.philox import Stream

__all__ = ["DropoutPlace", "KeyedDropout", "RowPlace", "dropped", "layer_key"]

logger = logging.getLogger(__name__)

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


_NOWHERE = RowPlace(0, 0, 0, 0)
"""In the place of a row of padding, of which nothing is dropped."""


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
    thresholds = [0 if row is None else _threshold(ratio) for row, ratio in zip(rows, ratios, strict=True)]
    make = _drops_here if x.device.type == "cpu" else _drops_there
    mask = make(rows, thresholds, layer=layer, count=shaped[0].numel(), device=x.device).view(shaped.shape)
    scales = [1 / (1 - _threshold(ratio) / (1 << _BITS)) for ratio in ratios]
    kept: torch.Tensor = shaped.masked_fill(mask, 0.0)
    if len(set(scales)) == 1:
        return (kept * scales[0]).view(x.shape)
    return (kept * torch.tensor(scales, dtype=x.dtype, device=x.device)[:, None, None]).view(x.shape)


def _drops_here(
    rows: Sequence[RowPlace | None], thresholds: Sequence[int], *, layer: int, count: int, device: torch.device
) -> torch.Tensor:
    drops = np.zeros((len(rows), count), dtype=np.bool_)
    for index, (row, threshold) in enumerate(zip(rows, thresholds, strict=True)):
        if row is not None and threshold:
            np.less(_draws(row, layer=layer, count=count), threshold, out=drops[index])
    return torch.from_numpy(drops).to(device)


def _drops_there(
    rows: Sequence[RowPlace | None], thresholds: Sequence[int], *, layer: int, count: int, device: torch.device
) -> torch.Tensor:
    streams = [
        Stream((row.seed, layer), (row.row, row.micro_batch, row.step), threshold)
        for row, threshold in zip((row or _NOWHERE for row in rows), thresholds, strict=True)
    ]
    return _maker(device)(streams, count=count, device=device)


@cache
def _maker(device: torch.device) -> Callable[..., torch.Tensor]:
    """The kernel where it can be compiled and gives the right bits; else some 300 operations of torch do its work."""
    probe = [Stream((1, 2), (3, 4, 5), 1 << 15)]
    expected = philox.drops(probe, count=1000, device=device)
    try:
        from job.philox_kernel import drops

        if torch.equal(drops(probe, count=1000, device=device), expected):
            return drops
        why = "it gives other bits"
    except Exception as err:  # no triton, no C compiler, another triton: torch's operations do the same
        why = str(err)
    logger.warning("dropout masks are made without their kernel, which is slower: %s", why)
    return philox.drops


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
