"""A weighted sum of means with its interval: a mean, a difference, an effect.

For weights w over configurations the variance is A + B: A = w' (row covariance) w, with rows - 1 degrees of freedom,
and B = g x seed variance with g the sum of w^2 / seeds. The t distribution has Satterthwaite's degrees of freedom
(Satterthwaite 1946, Biometrics Bulletin 2), in which the uncertainty of B is that of both mean squares it is made of.
Where the seed variance comes out as zero the interval is that of the rows, with rows - 1: simulated, the interval of a
difference covers 96 to 97 % then, and up to 97.5 % with the fewer degrees of freedom.

Few seeds. Below 10 pooled degrees of freedom the seed variance comes out as zero too often while it is not, and no
choice of one t would repair that. The interval is then

    half^2 = t(rows - 1)^2 A + t(pooled)^2 g x (mean square between seeds)

each part with its own quantile (in the manner of Cochran and Cox 1950, Experimental Designs), and the share of the
residuals is not taken off the second: it is right where either part is all there is, and wide in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.stats.components import Components, Fit
from controller.stats.draws import nothing
from controller.stats.student import t_quantile, t_tail

__all__ = ["LEVEL", "Contrast", "contrast", "degrees_of_freedom", "difference", "mean", "means", "p_value"]

LEVEL = 0.95
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Contrast:
    """An estimate, in the unit of the scores; low and high are None where nothing varies."""

    estimate: float
    low: float | None
    high: float | None
    from_rows: float
    """Variance that comes from rows: A."""
    from_seeds: float
    """Variance that comes from seeds, as the interval counts it: B."""
    df: float | None
    """Of the whole; None where nothing varies. With few seeds the interval is wider than this says."""
    few_seeds: bool
    """Fewer than 10 pooled degrees of freedom: the interval is wider."""
    adapters_only: bool
    """Nobody has two seeds: about these adapters, not their configurations."""


def means(fitted: Fit, *, level: float = LEVEL) -> tuple[Contrast, ...]:
    """The mean of each configuration."""
    return tuple(mean(fitted, place, level=level) for place in range(len(fitted.means)))


def mean(fitted: Fit, place: int, *, level: float = LEVEL) -> Contrast:
    """The mean of the configuration at `place`."""
    return contrast(fitted, {place: 1.0}, level=level)


def difference(fitted: Fit, first: int, second: int, *, level: float = LEVEL) -> Contrast:
    """`first` minus `second`, paired by row."""
    return contrast(fitted, {first: 1.0, second: -1.0}, level=level)


def contrast(fitted: Fit, weights: dict[int, float], *, level: float = LEVEL) -> Contrast:
    """The sum of weight x mean over the configurations named in `weights`."""
    places = np.fromiter(weights, dtype=np.int64)
    shares = np.fromiter(weights.values(), dtype=np.float64)
    parts = fitted.components
    rows_part = float(shares @ fitted.row_covariance[np.ix_(places, places)] @ shares)
    share = float(shares**2 @ fitted.seed_shares[places])
    seeds_part = share * (parts.between_seeds if parts.few else parts.seed)
    estimate = float(shares @ fitted.means[places])
    if rows_part + seeds_part <= nothing(fitted.means[places]):
        return Contrast(estimate, None, None, rows_part, seeds_part, None, parts.few, parts.adapters_only)
    freedom = _single_df(rows_part, share, parts)
    spread = _Spread(rows_part=rows_part, seeds_part=seeds_part, df=freedom, components=parts)
    half = spread.half((1 + level) / 2)
    return Contrast(
        estimate=estimate,
        low=estimate - half,
        high=estimate + half,
        from_rows=rows_part,
        from_seeds=seeds_part,
        df=freedom,
        few_seeds=parts.few,
        adapters_only=parts.adapters_only,
    )


def p_value(found: Contrast, parts: Components) -> float | None:
    """Two-sided, for an estimate of zero: 1 minus the level at which the interval ends there; None without one."""
    if found.df is None:
        return None
    spread = _Spread(rows_part=found.from_rows, seeds_part=found.from_seeds, df=found.df, components=parts)
    return spread.two_sided(abs(found.estimate))


def degrees_of_freedom(
    rows_part: NDArray[np.float64], share: NDArray[np.float64], parts: Components
) -> NDArray[np.float64]:
    """Satterthwaite's, for variances `rows_part` + `share` x seed variance, of any shape; NaN where both are zero.

    Also where the seed variance comes out as zero: comparisons of many at once keep that caution.
    """
    if parts.adapters_only:
        return np.full(rows_part.shape, parts.rows - 1.0)
    uncertain = parts.between_seeds**2 / parts.seed_df
    of_seeds = parts.between_seeds
    if not parts.few:
        uncertain += (parts.residual / parts.rows) ** 2 / parts.residual_df
        of_seeds = parts.seed
    whole = (rows_part + share * of_seeds) ** 2
    with np.errstate(invalid="ignore"):  # nothing varies: NaN, which the caller leaves out
        freedom: NDArray[np.float64] = whole / (rows_part**2 / (parts.rows - 1) + share**2 * uncertain)
    return freedom


def _single_df(rows_part: float, share: float, parts: Components) -> float:
    if parts.seed == 0 and not parts.few:
        return parts.rows - 1.0
    # A seed variance near zero with no rows beside it has hardly any; below 1 the quantile would leave all numbers.
    return max(1.0, float(degrees_of_freedom(np.array(rows_part), np.array(share), parts)))


@dataclass(frozen=True, slots=True)
class _Spread:
    rows_part: float
    seeds_part: float
    df: float
    components: Components

    def half(self, probability: float) -> float:
        """Half the width of the interval that leaves 1 - `probability` on each side."""
        if not self.components.few:
            return t_quantile(probability, self.df) * math.sqrt(self.rows_part + self.seeds_part)
        of_rows = t_quantile(probability, self.components.rows - 1) ** 2 * self.rows_part
        of_seeds = t_quantile(probability, self.components.seed_df) ** 2 * self.seeds_part
        return math.sqrt(of_rows + of_seeds)

    def two_sided(self, size: float) -> float:
        """The p-value of an estimate of that size."""
        if not self.components.few:
            return 2 * t_tail(size / math.sqrt(self.rows_part + self.seeds_part), self.df)
        low, high = 0.5, 1 - 1e-12
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.half(middle) < size else (low, middle)
        return 2 * (1 - low)
