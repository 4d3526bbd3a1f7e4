"""What a target layer adds for each lane: y = base(x) + drop(x) @ down @ up * scale, all lanes in two batched products.

The base model is left as it is; its target layers get forward hooks for as long as lanes are trained or scored on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers.pytorch_utils import Conv1D

from job.dropout import RowPlace, dropped, layer_key

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle
    from transformers import PreTrainedModel

    from job.lanes.joined import Joined
    from job.lanes.stack import Stack

__all__ = ["Lanes"]


class Lanes:
    """The adapters of `stack`, attached to a base model."""

    def __init__(self, model: PreTrainedModel, stack: Stack) -> None:
        self._stack = stack
        self._lane: slice | None = slice(None)
        self._mixed: tuple[Joined, torch.Tensor] | None = None
        self._rows: Sequence[RowPlace | None] = ()
        self._targets = {name: module for name, module in model.named_modules() if name in stack.slots}
        self._handles = [self._hook(module, name) for name, module in self._targets.items()]

    def detach(self) -> None:
        """The base model is as it was."""
        for handle in self._handles:
            handle.remove()

    @contextmanager
    def training(self, rows: Sequence[RowPlace | None]) -> Iterator[None]:
        """Inside, a forward pass has the same number of rows for every lane, lane after lane, and drops theirs."""
        self._rows = rows
        try:
            yield
        finally:
            self._rows = ()

    @contextmanager
    def only(self, lane: int) -> Iterator[None]:
        """Inside, every row of a forward pass is of this lane."""
        self._lane = slice(lane, lane + 1)
        try:
            yield
        finally:
            self._lane = slice(None)

    @contextmanager
    def none(self) -> Iterator[None]:
        """Inside, the model answers as it is."""
        self._lane = None
        try:
            yield
        finally:
            self._lane = slice(None)

    @contextmanager
    def merged(self, lane: int) -> Iterator[None]:
        """As `only`, with the lane's update added to the layers' own weights, and taken out again to the last bit.

        A layer then costs what it costs without an adapter; meanwhile the adapted weights are held twice.
        """
        kept = {name: target.get_parameter("weight").detach().clone() for name, target in self._targets.items()}
        try:
            with torch.no_grad():
                for name, target in self._targets.items():
                    target.get_parameter("weight").add_(self._update(name, lane, target))
            with self.none():
                yield
        finally:
            with torch.no_grad():
                for name, target in self._targets.items():
                    target.get_parameter("weight").copy_(kept[name])

    @contextmanager
    def mixed(self, joined: Joined, foreign: torch.Tensor) -> Iterator[None]:
        """Inside, each row of a forward pass is of its own lane: that whose columns are not `foreign` to it."""
        self._mixed = joined, foreign
        try:
            yield
        finally:
            self._mixed = None

    def _update(self, name: str, lane: int, target: torch.nn.Module) -> torch.Tensor:
        """What the lane adds to the layer's weight, laid out as it is."""
        stack = self._stack
        update = (stack.downs[name][lane] * stack.scales[name][lane]) @ stack.ups[name][lane]
        return update if isinstance(target, Conv1D) else update.T  # GPT-2 stores (in, out)

    def _hook(self, module: torch.nn.Module, name: str) -> RemovableHandle:
        return module.register_forward_hook(partial(self._add, name, layer_key(name)))

    def _add(
        self, name: str, layer: int, module: torch.nn.Module, args: tuple[Any, ...], result: torch.Tensor
    ) -> torch.Tensor:
        stack, lane = self._stack, self._lane
        if self._mixed is not None:
            joined, foreign = self._mixed
            return (result + joined.update(args[0], layer=name, foreign=foreign)).to(result.dtype)
        if lane is None:
            return result
        down, up, scale = stack.downs[name], stack.ups[name], stack.scales[name]
        if lane != slice(None):
            down, up, scale = down[lane], up[lane], scale[lane]
        x = args[0].to(down.dtype)
        if self._rows:
            of_each = len(self._rows) // stack.lanes
            ratios = [ratio for ratio in stack.ratios for _ in range(of_each)]
            if any(ratios):
                x = dropped(x, rows=self._rows, ratios=ratios, layer=layer)
        inner = torch.bmm(x.reshape(len(down), -1, x.shape[-1]), down)
        inner = (inner * scale).to(inner.dtype)  # here, where it is R wide and not as wide as the layer
        if inner.dtype == result.dtype:
            return torch.baddbmm(result.view(len(down), -1, result.shape[-1]), inner, up).view(result.shape)
        return (result + torch.bmm(inner, up).view(result.shape)).to(result.dtype)
