"""The random state of the whole process as one value: taken, put back, and written into a checkpoint."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

__all__ = ["RandomState", "restored_afterwards", "seed_everything"]


class RandomState(NamedTuple):
    """Of Python, numpy and torch on the CPU and on every visible CUDA device."""

    python: tuple[Any, ...]
    numpy: Mapping[str, Any]
    cpu: torch.Tensor
    cuda: tuple[torch.Tensor, ...]

    @classmethod
    def take(cls) -> RandomState:
        """The state now."""
        return cls(
            python=random.getstate(),
            numpy=np.random.get_state(legacy=False),
            cpu=torch.get_rng_state(),
            cuda=tuple(torch.cuda.get_rng_state_all()) if torch.cuda.is_available() else (),
        )

    def put_back(self) -> None:
        """Make every generator go on from here. Devices that this process does not have are left out."""
        random.setstate(self.python)
        np.random.set_state(dict(self.numpy))
        torch.set_rng_state(self.cpu)
        if torch.cuda.is_available():
            for index, state in enumerate(self.cuda[: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(state, index)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The part that is tensors; with `numbers` it holds everything."""
        words = torch.from_numpy(self.numpy["state"]["key"].astype(np.int64))
        return {"cpu": self.cpu, "numpy": words, **{f"cuda.{i}": state for i, state in enumerate(self.cuda)}}

    def numbers(self) -> dict[str, Any]:
        """The part that is JSON."""
        numpy = {**self.numpy, "state": {"pos": int(self.numpy["state"]["pos"])}}
        return {"python": self.python, "numpy": numpy, "cuda": len(self.cuda)}

    @classmethod
    def from_parts(cls, *, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any]) -> RandomState:
        """The state that `tensors` and `numbers` hold. Raises KeyError, TypeError or ValueError when they do not."""
        version, words, gauss = numbers["python"]
        key = tensors["numpy"].numpy().astype(np.uint32)
        return cls(
            python=(version, tuple(words), gauss),
            numpy={**numbers["numpy"], "state": {**numbers["numpy"]["state"], "key": key}},
            cpu=tensors["cpu"],
            cuda=tuple(tensors[f"cuda.{index}"] for index in range(numbers["cuda"])),
        )


def seed_everything(seed: int) -> None:
    """Start every generator of the process at `seed`, which has 32 bits."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # on the CPU and on every CUDA device


@contextmanager
def restored_afterwards() -> Iterator[None]:
    """A block that may draw as it likes: after it every generator stands where it stood before."""
    before = RandomState.take()
    try:
        yield
    finally:
        before.put_back()
