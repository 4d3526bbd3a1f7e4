"""Scores drawn like real ROUGE: between 0 and 1, skewed, many zeros, and most rows answered alike by two adapters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVEL = 0.25
"""Around which the means lie."""


@dataclass(frozen=True)
class World:
    """From which sweeps are drawn; spreads in points (0.01)."""

    rows: int = 200
    seeds: int = 3
    seed_sd: float = 0.5
    residual_sd: float = 5.0
    shared: float = 0.0
    """Of the residual variance: what a configuration does to a row whatever its seed."""
    shifts: tuple[float, ...] = (0.0,) * 8
    """Of each configuration, in points."""


def sweep(world: World, rng: np.random.Generator) -> Array:
    """Scores, (configurations, seeds, rows).

    A row's own level is gamma-shaped with an SD of 14 points; one in twelve scores zero whatever is trained. Of the
    residuals half are zero (the same text again) and the others Laplace, as texts mostly stay and sometimes turn.
    """
    count = len(world.shifts)
    level = 0.03 + rng.gamma(2.6, 0.0875, world.rows)
    level[rng.random(world.rows) < 1 / 12] = -1.0
    shift = np.array(world.shifts)[:, None, None] / 100
    seed = rng.normal(0, world.seed_sd / 100, (count, world.seeds, 1))
    own = residuals(rng, (count, 1, world.rows), sd=world.residual_sd / 100 * world.shared**0.5)
    each = residuals(rng, (count, world.seeds, world.rows), sd=world.residual_sd / 100 * (1 - world.shared) ** 0.5)
    return np.clip(level + shift + seed + own + each, 0.0, 1.0)


def true_means(world: World) -> Array:
    """What the means of the configurations are in the long run, (configurations,), to about 0.01 points."""
    rng = np.random.default_rng(99)
    found = {}
    for shift in sorted(set(world.shifts)):
        long = World(
            rows=1_000_000,
            seeds=1,
            seed_sd=0.0,
            residual_sd=world.residual_sd,
            shared=world.shared,
            shifts=(shift,),
        )
        found[shift] = float(sweep(long, rng).mean())
    return np.array([found[shift] for shift in world.shifts])


def residuals(rng: np.random.Generator, shape: tuple[int, ...], *, sd: float) -> Array:
    moves = rng.random(shape) < 0.5
    return np.where(moves, rng.laplace(0.0, sd, shape), 0.0)
