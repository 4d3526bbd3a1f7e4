"""Rows in batches of similar length, and what happens when a batch does not fit into GPU memory.

How rows are batched changes speed and memory, never a number: every row is padded on the left, masked, and given its
own positions.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import torch

from job.contract.errors import GpuMemoryError
from job.memory import memory_is_ours

__all__ = ["Padded", "left_padded", "length_batches", "length_runs", "right_padded", "run_batches"]

logger = logging.getLogger(__name__)


def length_batches(
    lengths: Sequence[int], *, size: int, key: Callable[[int], Hashable] = lambda index: None
) -> list[tuple[int, ...]]:
    """Row indices in batches of at most `size`, longest rows first; rows of one batch share `key(index)`.

    Longest first, so that a batch too large for the device fails at once and not at the end.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    shared: dict[Hashable, list[int]] = {}
    for index in order:
        shared.setdefault(key(index), []).append(index)
    return [tuple(rows[at : at + size]) for rows in shared.values() for at in range(0, len(rows), size)]


class Padded(NamedTuple):
    """Rows as one rectangle; both are (batch, longest row), int64."""

    ids: torch.Tensor
    mask: torch.Tensor
    """1 where a token is, 0 where padding is."""

    @property
    def positions(self) -> torch.Tensor:
        """The place of each token in its own row, from 0; 0 for padding."""
        return (self.mask.cumsum(1) - 1).clamp(min=0)


def left_padded(rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device) -> Padded:
    """The rows as one rectangle that they end together in."""
    width = max(map(len, rows))
    ids = [[pad_id] * (width - len(row)) + list(row) for row in rows]
    return _on(device, ids=ids, mask=[[0] * (width - len(row)) + [1] * len(row) for row in rows])


def right_padded(rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device) -> Padded:
    """The rows as one rectangle that they begin together in."""
    width = max(map(len, rows))
    ids = [list(row) + [pad_id] * (width - len(row)) for row in rows]
    return _on(device, ids=ids, mask=[[1] * len(row) + [0] * (width - len(row)) for row in rows])


def _on(device: torch.device, *, ids: list[list[int]], mask: list[list[int]]) -> Padded:
    return Padded(ids=torch.tensor(ids).to(device), mask=torch.tensor(mask).to(device))


def length_runs(lengths: Sequence[int], *, waste: float = 0.1) -> list[slice]:
    """`lengths`, longest first, cut where padding would be more than `waste` of the tokens of a run."""
    runs: list[slice] = []
    start, tokens = 0, 0
    for at, length in enumerate(lengths):
        tokens += length
        if lengths[start] * (at + 1 - start) > tokens * (1 + waste):
            runs.append(slice(start, at))
            start, tokens = at, length
    return [*runs, slice(start, len(lengths))] if lengths else []


def run_batches(batches: Sequence[tuple[int, ...]], *, work: Callable[[tuple[int, ...]], None]) -> None:
    """Every batch has been given to `work`; one that did not fit was halved, and so were all after it.

    Raises GpuMemoryError when a single row does not fit.
    """
    waiting = deque(batches)
    while waiting:
        batch = waiting.popleft()
        failure = _out_of_memory(batch, work=work)
        if failure is None:
            continue
        if len(batch) == 1:
            raise GpuMemoryError(failure)
        half = len(batch) // 2
        logger.warning("evaluation batch does not fit into memory, going on with smaller ones size=%d", half)
        rest = [batch, *waiting]
        waiting = deque(rows[at : at + half] for rows in rest for at in range(0, len(rows), half))


def _explained(said: str) -> str:
    return (
        f"evaluating a single row does not fit into memory: {said}; lower generation.max_new_tokens, "
        "shorten the inputs, set model.dtype to bfloat16, or take a larger device"
    )


def _out_of_memory(batch: tuple[int, ...], *, work: Callable[[tuple[int, ...]], None]) -> str | None:
    """What is to be said when `batch` did not fit, or None when it did.

    Returns text and not the exception, whose traceback would keep the tensors of the failed batch alive.
    """
    try:
        with memory_is_ours(_explained):
            work(batch)
    except GpuMemoryError as err:
        message = str(err)
    else:
        return None
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return message
