"""Whether two measures put the same things into the same order: Kendall's tau-b.

Kendall 1945, The treatment of ties in ranking problems, Biometrika 33: pairs ordered alike minus pairs ordered the
other way, over the geometric mean of the pairs that each measure does order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Agreement", "agreement"]


class Agreement(NamedTuple):
    """Of two measures on the same things."""

    tau: float
    """1: the same order; -1: the reverse; around 0: orders that have nothing to do with each other."""
    pairs: int
    """Those that both order."""
    alike: int
    """Those of them that both order alike."""


def agreement(first: Sequence[float], second: Sequence[float]) -> Agreement | None:
    """None where one of the two puts nothing into an order. Raises ValueError for sequences of different lengths."""
    if len(first) != len(second):
        raise ValueError(f"{len(first)} values beside {len(second)}; give one of each for every thing")
    signs = [_signs(values) for values in (first, second)]
    ordered = [int(np.count_nonzero(one)) for one in signs]
    if 0 in ordered:
        return None
    product = signs[0] * signs[1]
    alike, against = int((product > 0).sum()), int((product < 0).sum())
    return Agreement(tau=(alike - against) / (ordered[0] * ordered[1]) ** 0.5, pairs=alike + against, alike=alike)


def _signs(values: Sequence[float]) -> np.ndarray:
    """Of each pair, which is the larger: 1, 0 or -1."""
    column = np.asarray(values, dtype=np.float64)
    upper = np.triu_indices(len(column), k=1)
    return np.sign(column[upper[0]] - column[upper[1]])
