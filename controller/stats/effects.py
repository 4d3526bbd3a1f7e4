"""What mattered: the effect of each varied factor, and where that of one depends on another.

An effect of level b against level a is the mean of (b minus a) over the blocks in which both are there: configurations
that differ in that factor and in nothing else that was varied. An interaction is the mean difference of two such
differences. Each is a contrast of means, paired by row, with the seeds' variance in it; the intervals of all main
effects hold together with 95 %, and so do those of all interactions.

A design need not be balanced: a pair of levels uses the blocks that hold both, and says how many configurations were
left out. Where no block does (random search), there is no such effect to estimate, and the factor is named among those
without one rather than compared by means that differ in other things as well. Factors that vary together are one.

Every level is compared with the first one, in the order of the spec.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np

from controller.stats.components import Fit
from controller.stats.design import Change, Weighed, changes, crossed_weights, main_weights
from controller.stats.draws import DRAWING_SEED
from controller.stats.factors import Group, Settings, levels, told_apart
from controller.stats.simultaneous import contrast_halves

__all__ = ["Effect", "Effects", "Interaction", "Size", "effects"]


@dataclass(frozen=True, slots=True)
class Size:
    """An estimate in the unit of the scores, with its interval and what it rests on."""

    estimate: float
    low: float | None
    high: float | None
    """None where nothing varies."""
    blocks: int
    """Sets of configurations that differ in this alone."""
    left_out: int
    """Configurations at these levels that are in no such set."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How much the mean changes from `change.against` to `change.level`."""

    change: Change
    size: Size


@dataclass(frozen=True, slots=True)
class Interaction:
    """By how much the change of `first` is larger at `second.level` than at `second.against`."""

    first: Change
    second: Change
    size: Size


@dataclass(frozen=True, slots=True)
class Effects:
    """Of one metric on one split."""

    main: tuple[Effect, ...]
    interactions: tuple[Interaction, ...]
    without: tuple[Group, ...]
    """Factors of which nothing can be said: no two levels are found with all else equal."""
    balanced: bool
    """Every combination of levels is there, so no configuration is left out anywhere."""


def effects(
    fitted: Fit,
    *,
    places: Sequence[int],
    settings: Settings,
    factors: Sequence[str],
    seed: int = DRAWING_SEED,
) -> Effects:
    """Main effects and two-way interactions of the configurations at `places`, with their settings in that order.

    Raises ValueError when their numbers differ, or two configurations are the same in all factors.
    """
    if len(places) != len(settings):
        raise ValueError(f"{len(settings)} settings for {len(places)} configurations; give one for each")
    if len({tuple(setting[factor] for factor in factors) for setting in settings}) < len(settings):
        raise ValueError("two configurations are the same in all factors; name every path in which they differ")
    groups = told_apart(settings, factors)
    of_group = {group: changes(settings, group) for group in groups}
    singles = [change for group in groups for change in of_group[group]]
    pairs = [(a, b) for one, two in combinations(groups, 2) for a in of_group[one] for b in of_group[two]]
    main = _sizes(fitted, places, [main_weights(settings, factors, one) for one in singles], seed=seed)
    crossed = _sizes(fitted, places, [crossed_weights(settings, factors, *pair) for pair in pairs], seed=seed)
    found = tuple(Effect(change, size) for change, size in zip(singles, main, strict=True) if size)
    return Effects(
        main=found,
        interactions=tuple(Interaction(*pair, size) for pair, size in zip(pairs, crossed, strict=True) if size),
        without=tuple(group for group in groups if all(effect.change.factor != group for effect in found)),
        balanced=len(settings) == prod(len(levels(settings, group[0])) for group in groups),
    )


def _sizes(fitted: Fit, places: Sequence[int], weighed: Sequence[Weighed], *, seed: int) -> list[Size | None]:
    """The size of each contrast, None where no block holds it."""
    known = [one for one in weighed if one.blocks]
    if not known:
        return [None] * len(weighed)
    weights = np.zeros((len(known), len(fitted.means)))
    weights[:, list(places)] = [one.weights for one in known]
    halves = contrast_halves(fitted, weights, seed=seed)
    sizes = iter(
        _size(one, estimate=float(estimate), half=float(half))
        for one, estimate, half in zip(known, weights @ fitted.means, halves, strict=True)
    )
    return [next(sizes) if one.blocks else None for one in weighed]


def _size(weighed: Weighed, *, estimate: float, half: float) -> Size:
    known = np.isfinite(half)
    return Size(
        estimate=estimate,
        low=estimate - half if known else None,
        high=estimate + half if known else None,
        blocks=weighed.blocks,
        left_out=weighed.left_out,
    )
