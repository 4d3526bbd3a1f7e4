"""job.philox in one kernel, for GPUs on whose machine triton finds a C compiler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from job.philox import DRAWS, Stream, signed_rows

__all__ = ["drops"]

_BLOCK = 256
"""Blocks of four words that one program makes."""


def drops(streams: Sequence[Stream], *, count: int, device: torch.device) -> torch.Tensor:
    """As job.philox.drops."""
    given = signed_rows(streams, device=device)
    blocks = -(-count // DRAWS)
    found = torch.empty(len(streams), blocks * DRAWS, dtype=torch.int8, device=device)
    grid = (len(streams), triton.cdiv(blocks, _BLOCK))
    _drops[grid](given, found, blocks, SIZE=_BLOCK)
    return found[:, :count].view(torch.bool)


@triton.jit  # type: ignore[untyped-decorator]  # triton says nothing of its types
def _drops(given: Any, found: Any, blocks: Any, SIZE: tl.constexpr) -> None:  # noqa: N803  # constants of a kernel
    row = tl.program_id(0)
    at = tl.program_id(1) * SIZE + tl.arange(0, SIZE)
    key0 = tl.load(given + row * 6).to(tl.uint64, bitcast=True)
    key1 = tl.load(given + row * 6 + 1).to(tl.uint64, bitcast=True)
    none = tl.zeros([SIZE], dtype=tl.uint64)
    word0 = at.to(tl.uint64) + 1
    word1 = tl.load(given + row * 6 + 2).to(tl.uint64, bitcast=True) + none
    word2 = tl.load(given + row * 6 + 3).to(tl.uint64, bitcast=True) + none
    word3 = tl.load(given + row * 6 + 4).to(tl.uint64, bitcast=True) + none
    threshold = tl.load(given + row * 6 + 5).to(tl.uint64, bitcast=True)
    multiplier0 = tl.full([SIZE], 0xD2E7470EE14C6C93, tl.uint64)
    multiplier1 = tl.full([SIZE], 0xCA5A826395121157, tl.uint64)
    for _ in tl.static_range(10):
        high0, low0 = tl.umulhi(word0, multiplier0), word0 * multiplier0
        high1, low1 = tl.umulhi(word2, multiplier1), word2 * multiplier1
        word0, word1, word2, word3 = high1 ^ word1 ^ key0, low1, high0 ^ word3 ^ key1, low0
        key0 += tl.full([], 0x9E3779B97F4A7C15, tl.uint64)
        key1 += tl.full([], 0xBB67AE8584CAA73B, tl.uint64)
    start = found + row * blocks * 16 + at * 16
    inside = at < blocks
    for draw in tl.static_range(4):
        shift = tl.full([], draw * 16, tl.uint64)
        mask = tl.full([], 0xFFFF, tl.uint64)
        tl.store(start + draw, (((word0 >> shift) & mask) < threshold).to(tl.int8), mask=inside)
        tl.store(start + 4 + draw, (((word1 >> shift) & mask) < threshold).to(tl.int8), mask=inside)
        tl.store(start + 8 + draw, (((word2 >> shift) & mask) < threshold).to(tl.int8), mask=inside)
        tl.store(start + 12 + draw, (((word3 >> shift) & mask) < threshold).to(tl.int8), mask=inside)
