"""How many more rows or seeds would show a difference, and how large a difference has to be to show.

A difference of true size d is shown with probability `power` when d / SE >= critical + z(power) (Cohen 1988,
Statistical Power Analysis, with the normal in place of the noncentral t). SE comes from the components of the two:

    SE^2 = row-by-configuration / n + (residual / n + seed variance) x (1/S1 + 1/S2)

so more rows never get below the seeds' part, nor more seeds below that of the rows, and "no number would" is an answer.
The size put in is mostly the observed one, which is uncertain itself: the numbers are for planning, and "about".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from controller.stats.components import Fit

__all__ = ["POWER", "Needed", "detectable", "needed"]

POWER = 0.8
_MOST_ROWS, _MOST_SEEDS = 10**7, 10**4
"""Beyond, "no number would" is the better answer."""


@dataclass(frozen=True, slots=True)
class Needed:
    """Either of the two would do."""

    rows: int | None
    """More than there are; None where no number would do."""
    seeds: int | None
    """More for each trained configuration of the two; None where no number would do, or none is known to."""
    seeds_known: bool
    """False where nobody has two seeds, so that what seeds do is not known, and `rows` is about these adapters."""


@dataclass(frozen=True, slots=True)
class _Variance:
    """Of the difference of two means, as a function of more rows and more seeds."""

    by_row: float
    """Row-by-configuration variance of the difference, of one row."""
    residual: float
    seed: float
    shares: tuple[float, float]
    """1 / seeds of each; 0 for a baseline."""
    rows: int

    def at(self, *, more_rows: int, more_seeds: int) -> float:
        rows = self.rows + more_rows
        share = sum(1 / (1 / one + more_seeds) for one in self.shares if one > 0)
        return self.by_row / rows + (self.residual / rows + self.seed) * share


def needed(fitted: Fit, first: int, second: int, *, size: float, critical: float, power: float = POWER) -> Needed:
    """What would show a difference of `size` (unit of the scores) between two configurations.

    `critical` is that of the comparison which would have to show it: Best.critical for one among all pairs.
    """
    variance = _variance(fitted, first, second)
    target = (abs(size) / (critical + NormalDist().inv_cdf(power))) ** 2
    known = not fitted.components.adapters_only
    return Needed(
        rows=_fewest(lambda more: variance.at(more_rows=more, more_seeds=0) <= target, most=_MOST_ROWS),
        seeds=_fewest(lambda more: variance.at(more_rows=0, more_seeds=more) <= target, most=_MOST_SEEDS)
        if known
        else None,
        seeds_known=known,
    )


def detectable(
    fitted: Fit,
    first: int,
    second: int,
    *,
    critical: float,
    more_rows: int = 0,
    more_seeds: int = 0,
    power: float = POWER,
) -> float:
    """The smallest true difference that is shown with that power, in the unit of the scores."""
    variance = _variance(fitted, first, second).at(more_rows=more_rows, more_seeds=more_seeds)
    return float((critical + NormalDist().inv_cdf(power)) * variance**0.5)


def _variance(fitted: Fit, first: int, second: int) -> _Variance:
    parts, covariance = fitted.components, fitted.row_covariance
    shares = (float(fitted.seed_shares[first]), float(fitted.seed_shares[second]))
    of_rows = float(covariance[first, first] + covariance[second, second] - 2 * covariance[first, second])
    own = max(of_rows * parts.rows - parts.residual * sum(shares), 0.0)
    return _Variance(by_row=own, residual=parts.residual, seed=parts.seed, shares=shares, rows=parts.rows)


def _fewest(enough: Callable[[int], bool], *, most: int) -> int | None:
    """The smallest number up to `most` that is enough; more is never less enough."""
    if not enough(most):
        return None
    low, high = -1, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
