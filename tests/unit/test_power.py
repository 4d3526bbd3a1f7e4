"""The number of rows or seeds that is named is one that does it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from rouge_like import World, sweep

from controller.stats.components import Fit, fit
from controller.stats.contrasts import difference
from controller.stats.power import detectable, needed
from controller.stats.scores import make_scores

WORLD = World(seed_sd=0.3, shared=0.5, shifts=(0, 1, 0, 0, 0, 0, 0, 0))
CRITICAL = 1.98


def fitted(world: World = WORLD, *, seed: int = 1) -> Fit:
    return fit(make_scores(list(sweep(world, np.random.default_rng(seed)))))


def shown(world: World, *, sweeps: int = 400) -> float:
    rng, count = np.random.default_rng(5), 0
    for _ in range(sweeps):
        low = difference(fit(make_scores(list(sweep(world, rng)))), 1, 0).low
        count += low is not None and low > 0
    return count / sweeps


def typical(world: World) -> Fit:
    """A sweep of many configurations, whose components are close to the true ones."""
    return fitted(replace(world, shifts=(0.0,) * 200))


def test_the_number_of_rows_gives_the_power_it_promises() -> None:
    found = needed(typical(WORLD), 1, 0, size=0.0088, critical=CRITICAL)  # a shift of 1 point less the zero rows
    assert found.rows is not None
    assert 0.7 <= shown(replace(WORLD, rows=WORLD.rows + found.rows)) <= 0.92


def test_the_number_of_seeds_gives_the_power_it_promises() -> None:
    world = replace(WORLD, seed_sd=0.8, shared=0.0)
    found = needed(typical(world), 1, 0, size=0.0088, critical=CRITICAL)
    assert found.rows is None
    assert found.seeds is not None
    assert 0.7 <= shown(replace(world, seeds=world.seeds + found.seeds)) <= 0.92


def test_what_is_needed_shows_the_size_and_one_less_does_not() -> None:
    one = fitted()
    found = needed(one, 1, 0, size=0.012, critical=3.1)
    assert found.rows is not None
    assert detectable(one, 1, 0, critical=3.1, more_rows=found.rows) <= 0.012
    assert detectable(one, 1, 0, critical=3.1, more_rows=found.rows - 1) > 0.012


def test_a_large_difference_needs_nothing_more_and_none_at_all_cannot_be_shown() -> None:
    large, none = (needed(fitted(), 1, 0, size=size, critical=CRITICAL) for size in (0.5, 0.0))
    assert (large.rows, large.seeds) == (0, 0)
    assert (none.rows, none.seeds) == (None, None)


def test_with_one_seed_each_no_number_of_seeds_is_named() -> None:
    found = needed(fitted(replace(WORLD, seeds=1)), 1, 0, size=0.005, critical=CRITICAL)
    assert found.rows is not None
    assert (found.seeds, found.seeds_known) == (None, False)


def test_seeds_are_added_to_the_trained_side_alone() -> None:
    tables = sweep(replace(WORLD, seed_sd=1.0), np.random.default_rng(2))
    one = fit(make_scores(list(tables), [tables[0].mean(axis=0) - 0.01]))
    variance = [
        detectable(one, 0, 8, critical=CRITICAL, more_seeds=more) ** 2 / (CRITICAL + 0.8416212) ** 2 for more in (0, 3)
    ]
    parts = one.components
    assert variance[0] - variance[1] == pytest.approx((parts.seed + parts.residual / parts.rows) / 6, rel=1e-5)
