"""Work on a GPU recorded once and replayed: a CUDA graph. Elsewhere the work is done each time.

A graph repeats the very kernels on the very memory, without Python and without launching them one by one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache

import torch

__all__ = ["recorded"]

logger = logging.getLogger(__name__)

_WARM_UPS = 2
"""Runs before recording: libraries get their workspaces in the first (PyTorch's notes on CUDA graphs)."""


def recorded(work: Callable[[], None], *, changed: Sequence[torch.Tensor], device: torch.device) -> Callable[[], None]:
    """`work`, recorded at its first call where `device` is a GPU.

    `work` must do the same to the same memory whenever it is called, and not wait for the device. What it changes and
    must find as it was, as it is run some times for the recording, is in `changed`.
    """
    return work if device.type != "cuda" else _AtFirstCall(work, changed)


@cache
def _beside() -> torch.cuda.Stream:
    """One for all recordings: libraries keep a workspace for each stream, for ever."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch


class _AtFirstCall:
    def __init__(self, work: Callable[[], None], changed: Sequence[torch.Tensor]) -> None:
        self._work = work
        self._changed = tuple(changed)
        self._replay: Callable[[], None] | None = None

    def __call__(self) -> None:
        if self._replay is None:
            self._replay = self._recorded()
        self._replay()

    def _recorded(self) -> Callable[[], None]:
        before = [tensor.clone() for tensor in self._changed]
        beside = _beside()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(_WARM_UPS):
                self._work()
                self._put_back(before)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=beside):
                self._work()
        except RuntimeError as err:
            if isinstance(err, torch.OutOfMemoryError):
                raise
            logger.warning("decoding without a CUDA graph, which is slower: %s", err)
            torch.cuda.synchronize()
            self._put_back(before)
            return self._work
        self._put_back(before)
        return graph.replay

    def _put_back(self, before: Sequence[torch.Tensor]) -> None:
        for tensor, value in zip(self._changed, before, strict=True):
            tensor.copy_(value)
