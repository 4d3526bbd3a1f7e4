"""Intervals of several contrasts that hold together (max-T)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controller.stats.components import Components, Fit
from controller.stats.contrasts import LEVEL, degrees_of_freedom
from controller.stats.draws import critical_of_contrasts, noise_of_means, nothing

__all__ = ["contrast_halves"]


def contrast_halves(
    fitted: Fit, weights: NDArray[np.float64], *, seed: int, level: float = LEVEL
) -> NDArray[np.float64]:
    """Half the widths for the contrasts `weights` @ means, (contrasts,); infinite where nothing varies.

    `weights` is (contrasts, configurations). With few seeds rows and seeds have a critical value each, as in
    controller.stats.contrasts.
    """
    parts = fitted.components
    of_rows = weights @ fitted.row_covariance @ weights.T
    of_shares = (weights * fitted.seed_shares) @ weights.T
    rng = np.random.default_rng(seed)
    least = nothing(fitted.means)
    if parts.few:
        squared = _squared(of_rows, least, df=parts.rows - 1, level=level, rng=rng)
        squared += _squared(of_shares * parts.between_seeds, least, df=parts.seed_df, level=level, rng=rng)
    else:
        df = _smallest_df(of_rows, of_shares, parts)
        squared = _squared(of_rows + of_shares * parts.seed, least, df=df, level=level, rng=rng)
    return np.where(squared > 0, np.sqrt(squared), np.inf)


def _squared(
    covariance: NDArray[np.float64], least: float, *, df: float, level: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """The squared half widths of one part of the variance; 0 where it is nothing."""
    variances = np.diag(covariance)
    there = variances > least
    if not there.any():
        return np.zeros_like(variances)
    errors = np.sqrt(variances[there])
    noise = noise_of_means(covariance[np.ix_(there, there)], rng=rng)
    critical = critical_of_contrasts(noise, errors, df=df, level=level, rng=rng)
    squared = np.zeros_like(variances)
    squared[there] = (critical * errors) ** 2
    return squared


def _smallest_df(of_rows: NDArray[np.float64], of_shares: NDArray[np.float64], parts: Components) -> float:
    df = degrees_of_freedom(np.diag(of_rows), np.diag(of_shares), parts)
    known = df[np.isfinite(df)]
    return float(known.min()) if known.size else float(parts.rows - 1)
