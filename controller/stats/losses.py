"""Completion losses that may be compared across prompts.

A loss per token compares only where the tokens to predict are the same: a prompt that ends with a space leaves other
tokens than one that does not, and fewer tokens of more nats each say the same. Where every row has equally many target
tokens in all configurations the loss is in nats per token, else in bits per character of the target text, which no
tokenizer changes (bits per character: Graves 2013, arXiv 1308.0850).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Losses", "comparable_losses"]


@dataclass(frozen=True, slots=True)
class Losses:
    """Per-row values for `make_scores`; their plain mean is the loss, and their spread is that of the ratio."""

    tables: tuple[NDArray[np.float64], ...]
    """(seeds, rows) of each configuration."""
    unit: Literal["nats per token", "bits per character"]


def comparable_losses(
    nats: Sequence[NDArray[np.float64]],
    tokens: Sequence[NDArray[np.float64]],
    characters: NDArray[np.float64],
) -> Losses:
    """The losses of all configurations in one unit.

    `nats` and `tokens` are (seeds, rows) for each configuration, summed over the target of a row; `characters` is
    (rows,), the length of the target text. Raises ValueError for shapes that differ and for rows without a target.
    """
    for place, (of_nats, of_tokens) in enumerate(zip(nats, tokens, strict=True)):
        if of_nats.shape != of_tokens.shape or of_nats.ndim != 2 or of_nats.shape[1:] != characters.shape:
            raise ValueError(
                f"configuration {place} has nats of the shape {of_nats.shape}, tokens of {of_tokens.shape} and "
                f"{characters.shape} lengths of rows; all need the same rows"
            )
    if all((one == tokens[0][0]).all() for one in tokens):
        return Losses(tables=tuple(_linearised(one, tokens[0][0]) for one in nats), unit="nats per token")
    return Losses(tables=tuple(_linearised(one / np.log(2), characters) for one in nats), unit="bits per character")


def _linearised(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values whose plain mean is the ratio of the sums, and whose residuals are its own (Cochran 1977, section 6.4).

    `above` is (seeds, rows), `below` (rows,). Each seed has its own ratio, so that seeds differ by what they are.
    """
    if not (below > 0).all():
        raise ValueError("a row has no target token or character to take the loss of; leave it out")
    weights = below / below.mean()
    ratios = above.sum(axis=1, keepdims=True) / below.sum()
    table: NDArray[np.float64] = ratios + above / below.mean() - ratios * weights
    return table
