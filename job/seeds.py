"""The three random streams of a trial and the one row order, shared by both engines.

Evaluation draws from none of them: it runs under a saved and restored RNG state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Streams", "row_order", "streams"]


class Streams(NamedTuple):
    """Independent 32-bit seeds, one for each use."""

    init: int
    """The adapter's first weights."""
    order: int
    """The order of the train rows."""
    dropout: int
    """The masks of a training run."""


def streams(seed: int) -> Streams:
    """The three streams of a trial's seed, by numpy's SeedSequence, whose output is fixed across releases (NEP 19)."""
    init, order, dropout = np.random.SeedSequence(seed).generate_state(3, dtype=np.uint32).tolist()
    return Streams(init=init, order=order, dropout=dropout)


def row_order(rows: int, *, order_seed: int, epoch: int) -> list[int]:
    """A permutation of `range(rows)` for one pass over the train rows.

    Sorting random 64-bit keys instead of calling `permutation` keeps the order on the bit generator's promise alone:
    numpy fixes PCG64's raw output for ever, and may change the algorithm of `permutation` (NEP 19).
    """
    generator = np.random.PCG64(np.random.SeedSequence([order_seed, epoch]))
    keys = generator.random_raw(rows)
    return [int(index) for index in np.argsort(keys, kind="stable")]
