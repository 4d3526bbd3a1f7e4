"""Scores of a sweep that runs night after night on the same rows, drawn like real ROUGE (rouge_like)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from rouge_like import Array, World, residuals

from controller.regression.decision import Stage, decide
from controller.regression.noise import Side, Tested, drop_from
from controller.stats.components import Fit, fit
from controller.stats.scores import make_scores


@dataclass(frozen=True)
class Nights:
    """What happens from night to night; spreads in points (0.01)."""

    world: World = field(default_factory=World)
    past: int = 7
    night_sd: float = 0.0
    """Of what moves a whole run: a driver, a library, the weather."""
    upgrade_sd: float = 0.0
    """Tonight's upgrade: what each configuration does differently on each row, on average nothing."""
    fixed_seeds: bool = False
    """The same seeds each night, so the same scores until something changes: all past nights are one."""
    drop: float = 0.0
    """By how much tonight is really worse."""


@dataclass(frozen=True)
class Drawn:
    """The scores of all nights, each (configurations, seeds, rows)."""

    past: tuple[Array, ...]
    tonight: Array
    """With twice the seeds: the second half are those that a suspicion adds."""


def draw(nights: Nights, rng: np.random.Generator) -> Drawn:
    """Rows, and what a configuration does to a row, stay; seeds and residuals are new each night."""
    world = nights.world
    count, rows = len(world.shifts), world.rows
    level = 0.03 + rng.gamma(2.6, 0.0875, rows)
    level[rng.random(rows) < 1 / 12] = -1.0
    level = level + np.array(world.shifts)[:, None, None] / 100
    own = residuals(rng, (count, 1, rows), sd=world.residual_sd / 100 * world.shared**0.5)

    def adapters(seeds: int) -> Array:
        each = residuals(rng, (count, seeds, rows), sd=world.residual_sd / 100 * (1 - world.shared) ** 0.5)
        whole: Array = each + rng.normal(0, world.seed_sd / 100, (count, seeds, 1))
        return whole

    def night(of_adapters: Array, more: Array | float = 0.0) -> Array:
        return np.clip(level + own + of_adapters + rng.normal(0, nights.night_sd / 100) + more, 0.0, 1.0)

    fixed = adapters(world.seeds)
    past = tuple(adapters(world.seeds) for _ in range(nights.past))
    past = tuple(night(one) for one in ((fixed,) if nights.fixed_seeds else past))
    changed = residuals(rng, (count, 1, rows), sd=nights.upgrade_sd / 100) - nights.drop / 100
    more = adapters(world.seeds)
    # An upgrade retrains: the same seed no longer gives the same adapter.
    same = nights.fixed_seeds and nights.upgrade_sd == 0
    first = fixed if same else adapters(world.seeds)
    return Drawn(past, night(np.concatenate([first, more], axis=1), changed))


def tested(drawn: Drawn, *, seeds: int, reference: int) -> Tested:
    """Tonight with so many of its seeds, against the mean of the newest `reference` nights."""
    fitted, sides = fitted_nights(drawn, seeds=seeds)
    *past, tonight = sides
    return drop_from(fitted, tonight, past[-reference:], past=past, direction="maximize")


def fitted_nights(drawn: Drawn, *, seeds: int) -> tuple[Fit, list[Side]]:
    """One fit of all nights, and the places of each; tonight is the last."""
    runs = [*drawn.past, drawn.tonight[:, :seeds]]
    count = len(drawn.tonight)
    fitted = fit(make_scores([table for run in runs for table in run]))
    return fitted, [Side(tuple(range(at * count, (at + 1) * count))) for at in range(len(runs))]


def pages(nights: Nights, rng: np.random.Generator, *, reference: int, stage: Stage = "first") -> bool:
    """Whether the whole decision of one night pages; `only` decides without a second stage."""
    drawn, seeds = draw(nights, rng), nights.world.seeds
    first = decide(tested(drawn, seeds=seeds, reference=reference).p, stage=stage)
    if first == "suspected":
        return decide(tested(drawn, seeds=2 * seeds, reference=reference).p, stage="second") == "regressed"
    return first == "regressed"
