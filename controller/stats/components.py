"""Where scores vary: between rows, between seeds, and within.

The model is y[c,s,i] = mean[c] + row[i] + row-by-configuration[c,i] + seed[c,s] + residual[c,s,i]: rows and seeds are
random, configurations are not (two-way random effects; Searle, Casella and McCulloch 1992, Variance Components, ch. 4).
A seed is nested in its configuration: seed 1 of A and seed 1 of B are different adapters. For the mean square of the
seeds' means and that of the residuals, over n rows,

    E[between] = seed variance + residual variance / n,    E[residual] = residual variance

and both are pooled over all configurations: with three seeds each, one configuration has 2 degrees of freedom, eight
have 16.

Limits
- One seed variance for all configurations. Where one is much less steady than the others, its own interval is too
  narrow and theirs are too wide: controller.stats.steadiness names it, with what that costs.
- What seed 1 has in common across configurations (the order of rows) is taken as their own. Simulated with twice as
  much in common as of their own, differences cover 99 %; means cover 93 %, as their degrees of freedom are fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.stats.scores import Scores

__all__ = ["FEW", "Components", "Fit", "fit"]

FEW = 10
"""Pooled degrees of freedom of the seeds: below, their variance is too uncertain to subtract the residuals' share."""


class Components(NamedTuple):
    """Variances in the squared unit of the scores."""

    between_seeds: float
    """Mean square of the seeds' means; 0 where nobody has two seeds."""
    residual: float
    """Of one score, after its row and its seed; 0 where nobody has two seeds."""
    rows: int
    seed_df: int
    """Pooled over configurations."""

    @property
    def residual_df(self) -> int:
        return self.seed_df * (self.rows - 1)

    @property
    def seed(self) -> float:
        """The variance between adapters of one configuration that differ by their seed; not below zero."""
        return max(self.between_seeds - self.residual / self.rows, 0.0)

    @property
    def few(self) -> bool:
        """There are seeds, and too few of them."""
        return 0 < self.seed_df < FEW

    @property
    def adapters_only(self) -> bool:
        """Nobody has two seeds: what is inferred holds for these adapters, not for their configurations."""
        return self.seed_df == 0


@dataclass(frozen=True, slots=True)
class Fit:
    """What all comparisons start from, for C configurations."""

    means: NDArray[np.float64]
    """(C,): plain means over rows and seeds."""
    row_covariance: NDArray[np.float64]
    """(C, C): of the means, as far as it comes from rows; holds the residuals' share as well."""
    seed_shares: NDArray[np.float64]
    """(C,): 1 / seeds, and 0 for a baseline."""
    components: Components


def fit(scores: Scores) -> Fit:
    """The means and what they vary by."""
    averages = scores.seed_averages()
    centred = averages - averages.mean(axis=1, keepdims=True)
    return Fit(
        means=averages.mean(axis=1),
        row_covariance=centred @ centred.T / ((scores.rows - 1) * scores.rows),
        seed_shares=np.where(scores.trained, 1 / scores.seeds, 0.0),
        components=_components(scores, averages),
    )


def _components(scores: Scores, averages: NDArray[np.float64]) -> Components:
    rows = scores.rows
    seed_df = int((scores.seeds - 1).sum())
    if seed_df == 0:
        return Components(between_seeds=0.0, residual=0.0, rows=rows, seed_df=0)
    between, within = 0.0, 0.0
    for place in np.flatnonzero(scores.seeds > 1):
        deviations = scores.values[place, : scores.seeds[place]] - averages[place]
        of_seeds = deviations.mean(axis=1)
        between += float((of_seeds**2).sum())
        within += float(((deviations - of_seeds[:, None]) ** 2).sum())
    return Components(
        between_seeds=between / seed_df, residual=within / (seed_df * (rows - 1)), rows=rows, seed_df=seed_df
    )
