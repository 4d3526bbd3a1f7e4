"""Adapters of some lanes side by side, so that each row of a batch may be of another lane.

A row goes through the factors of all these lanes in two plain products, and what is foreign to its own lane is hidden
between them: x @ [A1 | A2 | ...], hidden, @ [B1; B2; ...]. With ranks of 16 that is a matrix of 16 columns a lane: less
work than fetching each row's own factors, and any row may leave the batch without the others changing places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from job.lanes.stack import Stack

__all__ = ["Joined"]


class Joined:
    """The factors of `lanes` of a stack as they were at the last `refresh`, in memory that stays where it is."""

    def __init__(self, stack: Stack, *, lanes: range) -> None:
        self.lanes = lanes
        self._stack = stack
        self._columns = torch.arange(len(lanes), device=stack.values.device).repeat_interleave(stack.rank)
        like, width = stack.values, len(self._columns)
        self.downs = {name: like.new_empty(slot.shape.inputs, width) for name, slot in stack.slots.items()}
        """(in, lanes * R) by layer."""
        self.ups = {name: like.new_empty(width, slot.shape.outputs) for name, slot in stack.slots.items()}
        """(lanes * R, out) by layer, scaled."""

    def refresh(self) -> list[int]:
        """Take the present factors; gives the lanes that have others than numbers, which are left out.

        One such factor would spoil every lane's rows: hidden or not, it takes part in their sums.
        """
        stack, part = self._stack, slice(self.lanes.start, self.lanes.stop)
        sound = stack.values[part].isfinite().all(1)
        kept = sound[:, None, None]
        with torch.no_grad():
            for name, down in self.downs.items():
                its = stack.downs[name][part].masked_fill(~kept, 0.0)
                down.copy_(its.permute(1, 0, 2).flatten(1))
                ups = (stack.ups[name][part] * stack.scales[name][part]).masked_fill(~kept, 0.0)
                self.ups[name].copy_(ups.flatten(0, 1))
        return [lane for lane, fine in zip(self.lanes, sound.tolist(), strict=True) if not fine]

    def foreign(self, lanes: Sequence[int]) -> torch.Tensor:
        """True in the columns that are not of row i's lane, (rows, 1, lanes * R), if row i is of `lanes[i]`.

        All columns are foreign to a row of none of these lanes: it gets what the base model gives it.
        """
        own = torch.tensor([lane - self.lanes.start for lane in lanes], device=self._columns.device)
        return (self._columns != own[:, None])[:, None]

    def update(self, x: torch.Tensor, *, layer: str, foreign: torch.Tensor) -> torch.Tensor:
        """What a layer adds for its input `x`, (rows, tokens, in) or, as OPT has it, (rows * tokens, in)."""
        shaped = x.reshape(len(foreign), -1, x.shape[-1])
        inner = (shaped.to(self.downs[layer].dtype) @ self.downs[layer]).masked_fill(foreign, 0.0)
        return (inner @ self.ups[layer]).view(*x.shape[:-1], -1)
