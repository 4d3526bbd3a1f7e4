"""A configuration whose seeds scatter is named, and steady ones rarely are."""

from __future__ import annotations

import numpy as np
from rouge_like import World, sweep

from controller.stats.scores import make_scores
from controller.stats.steadiness import unsteady

STEADY = World(seed_sd=0.5)


def test_one_that_scatters_far_more_than_the_others_is_named_with_both_spreads() -> None:
    tables = list(sweep(STEADY, np.random.default_rng(1)))
    tables[3] = tables[3] + np.array([[-0.08], [0.0], [0.08]])
    (found,) = unsteady(make_scores(tables))
    assert found.place == 3
    assert found.seed_sd > 5 * found.others_sd
    assert found.p < 0.05


def test_of_steady_configurations_one_is_named_in_5_percent_of_sweeps() -> None:
    rng, sweeps = np.random.default_rng(2), 300
    named = sum(bool(unsteady(make_scores(list(sweep(STEADY, rng))))) for _ in range(sweeps))
    assert 0.05 - 3 * 0.0126 <= named / sweeps <= 0.05 + 3 * 0.0126


def test_configurations_may_have_unequal_numbers_of_seeds_and_baselines_have_none() -> None:
    tables = list(sweep(STEADY, np.random.default_rng(3)))
    tables[0], tables[1] = tables[0][:1], tables[1][:2] + np.array([[-0.2], [0.2]])
    assert [one.place for one in unsteady(make_scores(tables, [tables[2][0]]))] == [1]


def test_with_nothing_to_compare_nobody_is_named() -> None:
    tables = list(sweep(STEADY, np.random.default_rng(4)))
    assert unsteady(make_scores([table[:1] for table in tables])) == ()
    assert unsteady(make_scores([tables[0], tables[1][:1]])) == ()
    assert unsteady(make_scores([np.full((2, 3), 0.5)] * 3)) == ()
