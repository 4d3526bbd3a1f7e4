"""The adapters of all lanes as stacked tensors: [K, in, R] and [K, R, out] for each layer, R being the largest rank.

Every number of a lane lies in one row of `values`, so that the optimizer, the clip and a checkpoint are operations on
rows; the matrices of a layer are views of it. A lane of a lower rank, or without this layer, is padded with zeros:
with the other factor's padding zero too both gradients are exactly zero, and AdamW leaves a zero with zero gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

__all__ = ["AdapterShape", "Factors", "LaneAdapter", "Stack"]


class AdapterShape(NamedTuple):
    """One adapted layer of the base model."""

    inputs: int
    outputs: int


class Factors(NamedTuple):
    """The two matrices of one layer in one lane, as the layer applies them: x @ down @ up."""

    down: torch.Tensor
    """(in, r)"""
    up: torch.Tensor
    """(r, out)"""


@dataclass(frozen=True)
class LaneAdapter:
    """One lane's adapter: its layers by the base model's names."""

    factors: Mapping[str, Factors]
    scales: Mapping[str, float]
    dropout: float


class _Slot(NamedTuple):
    """Where a layer's matrices begin in a row of `values`."""

    shape: AdapterShape
    down: int
    up: int


class Stack:
    """K adapters on one device. `downs` and `ups` are leaves that gather gradients into `gradients`."""

    def __init__(self, adapters: Sequence[LaneAdapter], *, device: torch.device) -> None:
        """The adapters in the order of their lanes; a lane may lack layers that another has."""
        first = next(iter(adapters[0].factors.values()))
        self.rank = max(factors.down.shape[1] for one in adapters for factors in one.factors.values())
        self.slots: dict[str, _Slot] = {}
        size = 0
        for adapter in adapters:
            for name, (down, up) in adapter.factors.items():
                if name not in self.slots:
                    shape = AdapterShape(down.shape[0], up.shape[1])
                    self.slots[name] = _Slot(shape, size, size + shape.inputs * self.rank)
                    size += (shape.inputs + shape.outputs) * self.rank
        self.values = torch.zeros(len(adapters), size, dtype=first.down.dtype, device=device)
        self.gradients = torch.zeros_like(self.values)
        self.downs: dict[str, torch.Tensor] = {}
        self.ups: dict[str, torch.Tensor] = {}
        self.scales: dict[str, torch.Tensor] = {}
        self.ratios = [adapter.dropout for adapter in adapters]
        for name in self.slots:
            self.downs[name], self.ups[name] = self._leaves(name)
            scales = [adapter.scales.get(name, 0.0) for adapter in adapters]
            self.scales[name] = torch.tensor(scales, dtype=first.down.dtype, device=device)[:, None, None]
        for lane, adapter in enumerate(adapters):
            self.values[lane] = self.row_of(adapter.factors)

    @property
    def lanes(self) -> int:
        return len(self.values)

    def row_of(self, factors: Mapping[str, Factors]) -> torch.Tensor:
        """A lane's matrices as one row, padded to the stack's rank and layers."""
        row = torch.zeros_like(self.values[0])
        for name, (down, up) in factors.items():
            into_down, into_up = self._matrices(row, name)
            into_down[:, : down.shape[1]] = down
            into_up[: up.shape[0]] = up
        return row

    def factors(self, row: torch.Tensor, ranks: Mapping[str, int]) -> dict[str, Factors]:
        """The matrices in a row like those of `values`, cut to the ranks that the lane has; layers without one go."""
        found = {}
        for name, rank in ranks.items():
            down, up = self._matrices(row, name)
            found[name] = Factors(down[:, :rank], up[:rank])
        return found

    def _matrices(self, row: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        (inputs, outputs), down, up = self.slots[name]
        return (
            row[down : down + inputs * self.rank].view(inputs, self.rank),
            row[up : up + self.rank * outputs].view(self.rank, outputs),
        )

    def _leaves(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        (inputs, outputs), down, up = self.slots[name]
        pairs = []
        for start, shape in ((down, (inputs, self.rank)), (up, (self.rank, outputs))):
            part = slice(start, start + shape[0] * shape[1])
            leaf = self.values[:, part].view(-1, *shape).requires_grad_()
            leaf.grad = self.gradients[:, part].view(-1, *shape)  # autograd adds to what is there, in place
            pairs.append(leaf)
        return pairs[0], pairs[1]
