"""Draws of the means' noise, and the critical values that hold for many comparisons at once (max-T).

A critical value is the 95 % quantile of the largest |difference| / standard error when nothing differs, drawn from the
estimated covariance of the means, with a common chi-square for the degrees of freedom (a multivariate t distribution;
Hothorn, Bretz and Westfall 2008, Biometrical Journal 50). Drawing keeps the pairing: configurations that answer alike
cost less than independent ones, which the studentised range would take them for.

numpy is enough for this. scipy has studentized_range and multivariate_t, but neither takes standard errors that differ
by pair, and it unpacks to 143 MB: the controller's image adds 176 MB to its base without it and may add 200.
scipy is what the tests hold these numbers against.

Draws come from a seed that is given, and critical values are rounded up to 0.001: the same on every machine, although
sums in another order differ in their last digits. 10,000 draws know 5 % to 0.2; the value that is taken lies two such
standard errors further out, so that drawing costs 1 % of width and makes no errors.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DRAWING_SEED",
    "DRAWS",
    "critical_of_contrasts",
    "critical_of_pairs",
    "noise_of_means",
    "nothing",
    "pair_standard_errors",
]

DRAWING_SEED = 20_06
"""Of every draw, unless another is given: a report written again has the same bytes."""
DRAWS = 10_000
_EQUAL = 1e-12
_BLOCK = 2**19
"""Numbers at a time: few enough for the processor's cache."""


def noise_of_means(
    covariance: NDArray[np.float64], *, rng: np.random.Generator, draws: int = DRAWS
) -> NDArray[np.float64]:
    """Draws of zero-mean normal noise with that covariance, (draws, configurations).

    The root is the symmetric one, which is unique: another machine's eigenvectors may have other signs.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    noise: NDArray[np.float64] = rng.standard_normal((draws, len(covariance))) @ root
    return noise


def nothing(means: NDArray[np.float64]) -> float:
    """The variance up to which means of equal scores differ by the order of their sums alone."""
    return _EQUAL**2 * float((means**2).max())


def pair_standard_errors(covariance: NDArray[np.float64], *, nothing: float) -> NDArray[np.float64]:
    """Of each difference, (C, C); infinite where its variance is not over `nothing`, as equal scores show nothing."""
    variances = np.diag(covariance)
    sums = variances[:, None] + variances[None, :]
    squared = sums - 2 * covariance
    varies = squared > np.maximum(nothing, 1e-14 * sums)  # the difference of equal numbers is exact to about 1e-15
    errors: NDArray[np.float64] = np.sqrt(np.where(varies, squared, np.inf))
    return errors


def critical_of_pairs(
    noise: NDArray[np.float64],
    errors: NDArray[np.float64],
    *,
    df: float,
    level: float,
    rng: np.random.Generator,
) -> float:
    """Which all |differences| / `errors` (C, C) stay below with probability `level`."""
    weights = (1 / errors).astype(np.float32)
    step = max(1, _BLOCK // len(errors))
    largest = np.concatenate(
        [_largest(noise[at : at + step].astype(np.float32), weights) for at in range(0, len(noise), step)]
    )
    return _critical(largest, df=df, level=level, rng=rng)


def critical_of_contrasts(
    noise: NDArray[np.float64],
    errors: NDArray[np.float64],
    *,
    df: float,
    level: float,
    rng: np.random.Generator,
) -> float:
    """Which all |noise| / `errors` stay below; noise is (draws, contrasts), errors (contrasts,)."""
    return _critical(np.abs(noise / errors).max(axis=1), df=df, level=level, rng=rng)


def _largest(noise: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    by_configuration = np.ascontiguousarray(noise.T)
    largest = np.zeros(noise.shape[0], dtype=np.float32)
    for first in range(len(weights) - 1):
        apart = by_configuration[first + 1 :] - by_configuration[first]
        np.abs(apart, out=apart)
        apart *= weights[first, first + 1 :, None]
        np.maximum(largest, apart.max(axis=0), out=largest)
    return largest


def _critical(largest: NDArray[np.floating], *, df: float, level: float, rng: np.random.Generator) -> float:
    studentised = largest / np.sqrt(rng.chisquare(df, len(largest)) / df)
    caution = 2 * math.sqrt(level * (1 - level) / len(largest))
    return math.ceil(float(np.quantile(studentised, min(level + caution, 1.0))) * 1000) / 1000
