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
    """The loss is more than this with 99 % (one-sided); None where nothing can be said, or nothing varies."""
    p: float
    """One-sided, that the loss is no more than the tolerance; 1 where nothing can be decided."""
    noise: Source
    standard_error: float
    """Of the larger noise."""


class _Noise(NamedTuple):
    p: float
    low: float | None
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
    between = _between(fitted, tonight, past)
    of_runs = None if between is None else between + _variance(fitted, past) / len(reference)
    return _tested(
        size, tolerance, _of_contrast(fitted, weights, tolerance=tolerance), of_runs, fitted=fitted, past=past
    )


def short_of(fitted: Fit, tonight: Side, *, floor: float, past: Sequence[Side], direction: Direction) -> Tested:
    """How much worse tonight is than `floor`, on these rows."""
    mean = overall(fitted, tonight)
    size = floor - mean if direction == "maximize" else mean - floor
    parts = fitted.components
    within = None
    if not parts.adapters_only:
        within = _student(size, 0.0, seeds_variance(fitted, tonight), parts.seed_df)
    return _tested(size, 0.0, within, _between(fitted, tonight, past), fitted=fitted, past=past)


def _tested(
    size: float, tolerance: float, within: _Noise | None, of_runs: float | None, *, fitted: Fit, past: Sequence[Side]
) -> Tested:
    between = None if of_runs is None else _student(size, tolerance, of_runs, len(past) - 1)
    if between is None and (within is None or fitted.components.adapters_only):
        return Tested(size, None, 1.0, "none", 0.0)
    found: dict[Source, _Noise] = {}
    if within is not None:
        found["seeds"] = within
    if between is not None:
        found["runs"] = between
    source = max(found, key=lambda name: (found[name].p, found[name].error))
    lows = [one.low for one in found.values()]
    low = None if any(one is None for one in lows) else min(one for one in lows if one is not None)
    return Tested(size, low, found[source].p, source, found[source].error)


def _of_contrast(fitted: Fit, weights: dict[int, float], *, tolerance: float) -> _Noise:
    found = contrast(fitted, weights, level=2 * BOUND - 1)
    error = math.sqrt(max(found.from_rows + found.from_seeds, 0.0))  # equal runs: rounding may be below zero
    excess = found.estimate - tolerance
    two_sided = p_value(replace(found, estimate=excess), fitted.components)
    if two_sided is None:
        return _Noise(0.0 if excess > 0 else 1.0, found.estimate, 0.0)
    return _Noise(two_sided / 2 if excess > 0 else 1 - two_sided / 2, found.low, error)


def _student(size: float, tolerance: float, variance: float, df: int) -> _Noise:
    error, excess = math.sqrt(variance), size - tolerance
    if error == 0:
        return _Noise(0.0 if excess > 0 else 1.0, size, 0.0)
    tail = t_tail(abs(excess) / error, df)
    return _Noise(tail if excess > 0 else 1 - tail, size - t_quantile(BOUND, df) * error, error)


def _between(fitted: Fit, tonight: Side, past: Sequence[Side]) -> float | None:
    """The variance of tonight's overall mean by what past runs varied by; None where they are too few."""
    if len(past) < FEWEST_PAST:
        return None
    ours = seeds_variance(fitted, tonight)
    explained = float(np.mean([seeds_variance(fitted, side) for side in past]))
    return max(_variance(fitted, past) + ours - explained, ours)


def _variance(fitted: Fit, past: Sequence[Side]) -> float:
    return float(np.var([overall(fitted, side) for side in past], ddof=1))


def _share(fitted: Fit, side: Side) -> float:
    """What the seeds' mean square is to be multiplied with for the overall mean of a run."""
    return float(sum(share**2 * fitted.seed_shares[place] for place, share in side.weights.items()))
