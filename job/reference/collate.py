"""Token rows as the tensors of one forward pass in training.

Limits
- Rows are padded on the right, where causal attention cannot see the padding and positions count from 0 by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

__all__ = ["IGNORED", "TokenRow", "longest_rows", "training_batch"]

IGNORED = -100
"""The label that torch's cross-entropy leaves out."""


class TokenRow(Protocol):
    """What training needs of an encoded row."""

    @property
    def prompt_ids(self) -> tuple[int, ...]: ...

    @property
    def completion_ids(self) -> tuple[int, ...]: ...


def training_batch(rows: Sequence[TokenRow], *, pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and `labels`, each (batch, longest row), and `positions` (kept,); int64 on the CPU.

    Masked are the prompt and the padding, by their lengths: the pad token may well be the end token, which is learned.
    `positions` are those from which some row of the batch predicts a target; no other logits are needed.
    """
    width = max(_length(row) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED, dtype=torch.long)
    for index, row in enumerate(rows):
        start, end = len(row.prompt_ids), _length(row)
        ids[index, :end] = torch.tensor([*row.prompt_ids, *row.completion_ids], dtype=torch.long)
        mask[index, :end] = 1
        labels[index, start:end] = ids[index, start:end]
    labels[:, 0] = IGNORED  # nothing comes before the first token that could predict it
    positions = labels[:, 1:].ne(IGNORED).any(dim=0).nonzero()[:, 0]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels, "positions": positions}


def longest_rows(rows: Sequence[TokenRow], *, count: int) -> list[TokenRow]:
    """The `count` longest rows, longest first; rows of one length in their order."""
    return sorted(rows, key=_length, reverse=True)[:count]


def _length(row: TokenRow) -> int:
    return len(row.prompt_ids) + len(row.completion_ids)
