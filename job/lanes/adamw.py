"""AdamW and the clip for all lanes at once: elementwise over rows, with each lane's own settings and step count.

The arithmetic is that of torch.optim.AdamW (Loshchilov and Hutter 2019, algorithm 2, as torch computes it: decay first,
then m / (sqrt(v) / sqrt(1 - beta2^t) + eps)) and of torch.nn.utils.clip_grad_norm_, so that a lane is equal to a run of
Trainer but for rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch

from job.contract.config import TrainingOptions

__all__ = ["AdamW", "Moments"]

_CLIP_EPSILON = 1e-6  # torch.nn.utils.clip_grad_norm_


class Moments(NamedTuple):
    """Running means of the gradient and of its square; both (K, parameters)."""

    mean: torch.Tensor
    square: torch.Tensor


class AdamW:
    """Moves `values` in place."""

    def __init__(self, values: torch.Tensor, *, options: Sequence[TrainingOptions], moments: Moments) -> None:
        self._values = values
        self._options = options
        self.moments = moments

    def step(
        self, gradients: torch.Tensor, *, rates: Sequence[float], steps: Sequence[int], frozen: Collection[int]
    ) -> torch.Tensor:
        """One step of each lane that is not among `frozen`; `steps` counts this one as the lane's 1st, 2nd ...

        Gives each lane's gradient norm before the clip, (K,). `gradients` are scaled in place. A frozen lane, and one
        with a norm that is not finite, stays as it is to the last bit.
        """
        values, (mean, square) = self._values, self.moments
        norms: torch.Tensor = torch.linalg.vector_norm(gradients, dim=1)
        limits = self._column([one.max_grad_norm or float("inf") for one in self._options])[:, 0]
        gradients.mul_((limits / (norms + _CLIP_EPSILON)).clamp(max=1.0)[:, None])
        moves = torch.tensor([lane not in frozen for lane in range(len(values))], device=values.device)
        moving = (torch.isfinite(norms) & moves)[:, None]
        gradients.masked_fill_(~moving, 0.0)
        beta1 = self._column([one.adam_beta1 for one in self._options])
        beta2 = self._column([one.adam_beta2 for one in self._options])
        decay = [1 - rate * one.weight_decay for rate, one in zip(rates, self._options, strict=True)]
        size = [rate / (1 - one.adam_beta1**at) for rate, one, at in zip(rates, self._options, steps, strict=True)]
        root = [(1 - one.adam_beta2**at) ** 0.5 for one, at in zip(self._options, steps, strict=True)]
        new_mean = torch.lerp(mean, gradients, (1 - beta1).expand_as(mean))
        new_square = (gradients * gradients).mul_(1 - beta2).add_(square * beta2)
        bottom = new_square.sqrt().div_(self._column(root))
        bottom.add_(self._column([one.adam_epsilon for one in self._options]))
        change = (self._column(size) * new_mean).div_(bottom)
        del bottom
        moved = (values * self._column(decay)).sub_(change)
        held = (mean, square, values)
        for new, old in zip((new_mean, new_square, moved), held, strict=True):
            torch.where(moving, new, old, out=new)
        for old, new in zip(
            held, (new_mean, new_square, moved), strict=True
        ):  # memory can run out no more: all or none
            old.copy_(new)
        return norms

    def _column(self, numbers: Sequence[float]) -> torch.Tensor:
        return torch.tensor(numbers, dtype=self._values.dtype, device=self._values.device)[:, None]
