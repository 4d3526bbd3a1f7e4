"""Whether the overall mean of a run is lower than that of others, or than a floor, by more than noise. Pure.

The overall mean is the plain mean over the matched configurations. Its noise is taken from two places, and a loss
counts only where both show it, which is to judge by the larger of them at its own degrees of freedom:

- seeds and rows within the runs: the contrast of controller.stats.contrasts, paired by row, seeds pooled over all
  configurations and runs. It knows nothing of what changes from night to night with seeds that stay the same.
- past runs: the variance of their overall means (k - 1 degrees of freedom), from 5 of them on. It knows whatever moves
  a run as a whole, and is near zero where the seeds stayed the same and nothing was changed.

With other seeds or more of them tonight, the part of the past runs' variance that seeds explain is taken in tonight's
number. A floor is about the scored rows themselves, so rows are no sample there and only seeds and nights are noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from controller.stats.components import Fit
from controller.stats.contrasts import contrast, p_value
from controller.stats.draws import nothing
from controller.stats.scores import Direction
from controller.stats.student import t_quantile, t_tail

__all__ = ["BOUND", "FEWEST_PAST", "Side", "Tested", "drop_from", "overall", "seeds_variance", "short_of"]

FEWEST_PAST = 5
"""Past runs below which their variance says too little: with 4, its 1 % quantile is 4.5 standard errors wide."""
BOUND = 0.99
"""Of the one-sided bounds that are shown beside a loss."""

Source = Literal["runs", "seeds", "none"]
"""Which noise was the larger one; `none`: one seed and too few past runs, so nothing can be decided."""


class Side(NamedTuple):
    """One run: the places of its matched configurations in the fit, in the same order for every run."""

    places: tuple[int, ...]

    @property
    def weights(self) -> dict[int, float]:
        return dict.fromkeys(self.places, 1 / len(self.places))


@dataclass(frozen=True, slots=True)
class Tested:
    """How much worse tonight is; the unit is that of the scores, positive is worse."""

    size: float
    """Of the loss, before any tolerance."""
    low: float | None
    """The loss is more than this with 99 % (one-sided); None where nothing can be said."""
    p: float
    """One-sided, that the loss is no more than the tolerance; 1 where nothing can be decided."""
    noise: Source
    standard_error: float
    """Of the larger noise."""


class _Noise(NamedTuple):
    p: float
    low: float
    """One-sided bound of the loss."""
    error: float


def overall(fitted: Fit, side: Side) -> float:
    """The plain mean over the configurations of a run."""
    return float(fitted.means[list(side.places)].mean())


def seeds_variance(fitted: Fit, side: Side) -> float:
    """Of a run's overall mean on these rows: what other seeds would change; 0 where one seed shows nothing."""
    return fitted.components.between_seeds * _share(fitted, side)


def drop_from(
    fitted: Fit,
    tonight: Side,
    reference: Sequence[Side],
    *,
    past: Sequence[Side],
    direction: Direction,
    tolerance: float = 0.0,
) -> Tested:
    """How much worse tonight is than the mean of the `reference` runs; `past` runs say what nights vary by.

    Raises ValueError without a reference.
    """
    if not reference:
        raise ValueError("a drop needs at least one run to be compared with")
    sign = 1.0 if direction == "maximize" else -1.0
    weights = {place: sign * share / len(reference) for side in reference for place, share in side.weights.items()}
    weights.update({place: -sign * share for place, share in tonight.weights.items()})
    size = sum(share * float(fitted.means[place]) for place, share in weights.items())
    within = _of_contrast(fitted, weights, tolerance=tolerance)
    return _tested(size, within, _between(size, tolerance, fitted, tonight, past, len(reference)), fitted=fitted)


def short_of(fitted: Fit, tonight: Side, *, floor: float, past: Sequence[Side], direction: Direction) -> Tested:
    """How much worse tonight is than `floor`, on these rows."""
    mean = overall(fitted, tonight)
    size = floor - mean if direction == "maximize" else mean - floor
    parts = fitted.components
    within = None
    if not parts.adapters_only:
        within = _student(size, 0.0, seeds_variance(fitted, tonight), parts.seed_df, fitted=fitted)
    return _tested(size, within, _between(size, 0.0, fitted, tonight, past, 0), fitted=fitted)


def _tested(size: float, within: _Noise | None, between: _Noise | None, *, fitted: Fit) -> Tested:
    if between is None and (within is None or fitted.components.adapters_only):
        return Tested(size, None, 1.0, "none", 0.0)
    found: dict[Source, _Noise] = {}
    if within is not None:
        found["seeds"] = within
    if between is not None:
        found["runs"] = between
    source = min(found, key=lambda name: found[name].low)
    return Tested(size, found[source].low, max(one.p for one in found.values()), source, found[source].error)


def _of_contrast(fitted: Fit, weights: dict[int, float], *, tolerance: float) -> _Noise:
    found = contrast(fitted, weights, level=2 * BOUND - 1)
    error = math.sqrt(max(found.from_rows + found.from_seeds, 0.0))  # equal runs: rounding may be below zero
    excess = found.estimate - tolerance
    two_sided = p_value(replace(found, estimate=excess), fitted.components)
    if two_sided is None:
        return _sure(found.estimate, tolerance, fitted=fitted)
    low = found.estimate if found.low is None else found.low
    return _Noise(two_sided / 2 if excess > 0 else 1 - two_sided / 2, low, error)


def _sure(size: float, tolerance: float, *, fitted: Fit) -> _Noise:
    """Where nothing varies: a loss is one as soon as it is more than the order of the sums makes it."""
    excess = size - tolerance
    return _Noise(0.0 if excess > 0 and excess**2 > nothing(fitted.means) else 1.0, size, 0.0)


def _student(size: float, tolerance: float, variance: float, df: float, *, fitted: Fit) -> _Noise:
    if variance <= nothing(fitted.means):
        return _sure(size, tolerance, fitted=fitted)
    error, excess = math.sqrt(variance), size - tolerance
    tail = t_tail(abs(excess) / error, df)
    return _Noise(tail if excess > 0 else 1 - tail, size - t_quantile(BOUND, df) * error, error)


def _between(
    size: float, tolerance: float, fitted: Fit, tonight: Side, past: Sequence[Side], runs: int
) -> _Noise | None:
    """The loss by what past runs varied by, against the mean of so many `runs`, or a floor for none.

    None where the past runs are too few.
    """
    if len(past) < FEWEST_PAST:
        return None
    ours = seeds_variance(fitted, tonight)
    explained = float(np.mean([seeds_variance(fitted, side) for side in past]))
    of_runs = _variance(fitted, past)
    usual = of_runs * (1 + (1 / runs if runs else 0.0))
    variance = max(usual + ours - explained, usual - of_runs + ours)
    return _student(size, tolerance, variance, len(past) - 1, fitted=fitted)


def _variance(fitted: Fit, past: Sequence[Side]) -> float:
    return float(np.var([overall(fitted, side) for side in past], ddof=1))


def _share(fitted: Fit, side: Side) -> float:
    """What the seeds' mean square is to be multiplied with for the overall mean of a run."""
    return float(sum(share**2 * fitted.seed_shares[place] for place, share in side.weights.items()))
