"""By how much the best mean overstates itself for having been picked.

The best of several means was lucky on average (Smith and Winkler 2006, The Optimizer's Curse, Management Science 52).
How lucky depends on the true means, which are not known: the observed ones spread too widely, as noise is in them. So
they are drawn together by the share of their variance that the noise explains (empirical Bayes; Efron and Morris 1975,
JASA 70), noise is drawn around them, and the mean luck of those that come out best is the optimism. Where the means
spread no more than noise does, it is what the largest of that many noises is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.stats.components import Fit
from controller.stats.draws import DRAWING_SEED, noise_of_means
from controller.stats.scores import Direction

__all__ = ["Optimism", "optimism_of_best"]


@dataclass(frozen=True, slots=True)
class Optimism:
    """In the unit of the scores; take it off the best mean (add it, where lower is better)."""

    size: float
    """What picking adds on average; not negative."""
    kept: float
    """Share of the spread between means that is not noise, 0 to 1."""


def optimism_of_best(
    fitted: Fit, *, candidates: tuple[int, ...], direction: Direction, seed: int = DRAWING_SEED
) -> Optimism:
    """What picking the best of the candidates adds to its mean.

    Raises ValueError when there is none.
    """
    if not candidates:
        raise ValueError("the best of no configuration; give at least one candidate")
    if len(candidates) == 1:
        return Optimism(size=0.0, kept=1.0)
    places = np.array(candidates, dtype=np.int64)
    goodness = fitted.means[places] * (1 if direction == "maximize" else -1)
    covariance = fitted.row_covariance[np.ix_(places, places)] + np.diag(
        fitted.seed_shares[places] * fitted.components.seed
    )
    # What all means have in common picks nobody.
    by_chance = float(np.trace(covariance) - covariance.mean(axis=0).sum()) / (len(places) - 1)
    observed = float(goodness.var(ddof=1))
    kept = max(0.0, 1 - by_chance / observed) if observed > 0 else 0.0
    middle = goodness.mean()
    noise = noise_of_means(covariance, rng=np.random.default_rng(seed))
    noise -= noise.mean(axis=1, keepdims=True)
    picked = (middle + kept * (goodness - middle) + noise).argmax(axis=1)
    luck = np.take_along_axis(noise, picked[:, None], axis=1)
    return Optimism(size=max(float(luck.mean()), 0.0), kept=kept)
